"""Windows over long texts: a text becomes several rows, and the logits of the rows are pooled."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError, check_field, join_names
from keras_bert_impl.tasks.encoding import cut_texts
from keras_bert_impl.tasks.options import WINDOW_POOLINGS, WindowOptions
from keras_bert_impl.tokenization import BertTokenizer

# The key of config.json with the settings of a model that was trained on windows, see `TextWindows`.
WINDOWS_KEY = "text_windows"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextWindows:
    """How a model reads long texts: the values of ``text_windows`` in ``config.json``.

    Attributes:
        length: the max. number of tokens of a window, special tokens included.
        stride: the number of tokens by which windows overlap.
        pooling: the pooling of the logits over the windows: ``mean``, ``max`` or ``first``.
        max_windows: the max. number of windows of a text.

    Raises:
        InputError: a value is out of range.
    """

    length: int
    stride: int
    pooling: str
    max_windows: int

    def __post_init__(self) -> None:
        for name, low in {"length": 4, "stride": 0, "max_windows": 1}.items():
            value = getattr(self, name)
            check_field(self, name, type(value) is int and value >= low, f"an integer from {low}")
        check_field(self, "pooling", self.pooling in WINDOW_POOLINGS, join_names(WINDOW_POOLINGS))

    @classmethod
    def from_options(cls, options: WindowOptions, length: int) -> "TextWindows":
        """Returns the settings for options that have a stride."""
        assert options.stride is not None
        return cls(
            length=length,
            stride=options.stride,
            pooling=options.window_pooling,
            max_windows=options.max_windows,
        )

    @property
    def count(self) -> int:
        """The max. number of windows of a text that are read."""
        return 1 if self.pooling == "first" else self.max_windows

    def to_dict(self) -> dict[str, Any]:
        """Returns the value of ``text_windows`` in ``config.json``."""
        return dataclasses.asdict(self)

    def fits(self, max_length: int, *, pairs: bool) -> bool:
        """Whether each window of rows of this length has new tokens."""
        return self.stride < count_space(max_length, pairs=pairs)

    def check(self, max_length: int, *, pairs: bool) -> None:
        """Raises ``InputError`` if a window would have no new tokens."""
        if not self.fits(max_length, pairs=pairs):
            text = "the second text, next to a long first text" if pairs else "a text"
            raise InputError(
                f"stride is {self.stride}, but a window of {max_length} tokens has space for "
                f"{count_space(max_length, pairs=pairs)} tokens of {text}; a smaller stride was expected. Choose one, "
                "or a larger max_length."
            )


def get_windows(config: BertConfig) -> TextWindows | None:
    """Returns the settings of a model that was trained on windows; None if it truncates long texts.

    Raises:
        InputError: the configuration has settings that cannot be used.

    >>> settings = {"length": 256, "stride": 64, "pooling": "mean", "max_windows": 16}
    >>> get_windows(BertConfig(extra={"text_windows": settings})).stride
    64
    """
    values = config.extra.get(WINDOWS_KEY)
    if values is None:
        return None
    names = [field.name for field in dataclasses.fields(TextWindows)]
    if not isinstance(values, dict) or set(values) != set(names):
        raise InputError(
            f"config.json: {WINDOWS_KEY} is {values!r:.200}; an object with {', '.join(names)} was expected. Correct "
            "it."
        )
    try:
        windows = TextWindows(**values)
        longest = config.max_position_embeddings
        check_field(windows, "length", windows.length <= longest, f"at most {longest}, the positions of the model,")
        return windows
    except InputError as error:
        raise InputError(f"config.json: {WINDOWS_KEY}: {error} Correct it.") from error


def count_first(max_length: int) -> int:
    """Returns the max. number of tokens of the first text of a pair: half of those in a row of this length."""
    return (max_length - 3) // 2


def count_space(max_length: int, *, pairs: bool) -> int:
    """Returns how many tokens of a text are in a window at least; of pairs, the windows are over the second text."""
    return max_length - 3 - count_first(max_length) if pairs else max_length - 2


def cut_windows(
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    windows: TextWindows,
    *,
    max_length: int,
) -> tuple[dict[str, Any], np.ndarray, int]:
    """Tokenizes texts as windows, one row each, without padding.

    The windows of a pair are over its second text, and each has the first text, of which at most half a row is read.

    Args:
        tokenizer: the tokenizer.
        texts: the texts, or the first texts of pairs.
        pairs: the second texts of pairs; None for single texts.
        windows: the settings.
        max_length: the max. number of tokens of a window.

    Returns:
        The rows; int32 ``[rows]``, the number of the text of each row; and how many texts were not read completely.

    Raises:
        InputError: the windows are too short for the stride.
    """
    windows.check(max_length, pairs=pairs is not None)
    truncated: list[int] = []
    if pairs is not None:
        texts, truncated = cut_texts(texts, tokenizer, max_tokens=count_first(max_length))
    rows = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        padding=False,
        truncation="only_first" if pairs is None else "only_second",
        max_length=max_length,
        stride=windows.stride,
        return_overflowing=True,
    )
    example = rows.pop("overflow_to_sample_mapping")
    number = np.arange(len(example)) - np.searchsorted(example, example)
    is_read = number < windows.count
    truncated += np.unique(example[~is_read]).tolist()
    rows = {name: [values[row] for row in np.flatnonzero(is_read)] for name, values in rows.items()}
    return rows, example[is_read], len(set(truncated))


def pool_windows(logits: np.ndarray, example: np.ndarray, pooling: str) -> np.ndarray:
    """Pools the logits of each text over its windows.

    Args:
        logits: float32 ``[rows, labels]``.
        example: int32 ``[rows]``, the number of the text of each row, ascending; each text has a row.
        pooling: ``mean``, ``max`` or ``first``.

    Returns:
        float32 ``[texts, labels]``.

    >>> pool_windows(np.float32([[1], [3], [5]]), np.array([0, 0, 1]), "mean").tolist()
    [[2.0], [5.0]]
    """
    starts = np.flatnonzero(np.diff(example, prepend=-1))
    if pooling == "first":
        return logits[starts]
    if pooling == "max":
        return np.maximum.reduceat(logits, starts)
    counts = np.diff(starts, append=len(example))
    return np.add.reduceat(logits, starts) / counts[:, None].astype(np.float32)
