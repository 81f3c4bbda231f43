"""Which words made the model answer so: integrated gradients over the embeddings."""

import functools
import itertools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.answers import answers, inputs_of, kept
from keras_bert_impl.interpret.gradients import compiled, gradient
from keras_bert_impl.interpret.pages import TextView, described
from keras_bert_impl.interpret.targets import Asked, targets_of
from keras_bert_impl.interpret.view import Page
from keras_bert_impl.interpret.words import Row, encode_row
from keras_bert_impl.tokenization import BertTokenizer

# How far the sum of the words may be from the change of the logit: a share of the change, or as a number.
TOLERANCE, SMALLEST = 0.01, 1e-3
_MOST_STEPS = 1000
# How many times as many steps a path gets whose sum is further off.
_MORE = 4
# Tokens in one pass, all steps counted: more are no faster on a CPU, and take memory.
MOST_TOKENS = 4096


@dataclass(frozen=True)
class Target:
    """One number that the model gave, and what each word did for it.

    Attributes:
        name: what the number is, such as ``logit of 'positive'``.
        scores: float64 ``[words]``; what a word adds to it, or takes from it if negative. Special tokens have 0.
        change: how much larger the number is than for the same row with all words blank.
    """

    name: str
    scores: np.ndarray
    change: float

    @property
    def total(self) -> float:
        """The sum of the words, which is to equal the change."""
        return float(self.scores.sum())

    @property
    def is_complete(self) -> bool:
        """Whether the sum equals the change within one percent."""
        return abs(self.total - self.change) <= max(TOLERANCE * abs(self.change), SMALLEST)


@dataclass(frozen=True)
class Attribution(TextView):
    """A text, what the model answers, and which words made it. A notebook shows it as a page.

    Attributes:
        row, heading, prediction, model: see `TextView`.
        targets: one for each number that was asked for.
    """

    targets: tuple[Target, ...]

    @property
    def words(self) -> list[str]:
        """The words that `Target.scores` count, special tokens included."""
        return [word.text for word in self.row.words]

    def table(self) -> str:
        """The words with the most weight for each target, for a terminal."""
        lines = []
        for target in self.targets:
            lines.append(f"{target.name}: {target.change:+.2f} against blank words, {target.total:+.2f} by the words")
            order = [n for n in np.argsort(-np.abs(target.scores)) if not self.row.words[n].is_special]
            lines += [f"  {target.scores[n]:+7.3f}  {self.words[n]}" for n in order[:10]]
        return "\n".join(lines)

    def page(self) -> Page:
        """What the page shows."""
        found = [(target.name, target.scores, target.total, target.change) for target in self.targets]
        return self._page("Words that mattered", attributions=found)


def attribute(
    model: Any,
    tokenizer: BertTokenizer,
    text: str,
    text_pair: str | None = None,
    *,
    target: str | None = None,
    steps: int = 50,
) -> Attribution:
    """Which words of a text made the model answer so; see `attribute_all`.

    >>> why = attribute(model, tokenizer, "It was a great movie.")  # doctest: +SKIP
    >>> print(why.table())  # doctest: +SKIP
    """
    pairs = None if text_pair is None else [text_pair]
    return attribute_all(model, tokenizer, [text], pairs, target=target, steps=steps)[0]


def attribute_all(
    model: Any,
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    target: str | None = None,
    steps: int = 50,
) -> list[Attribution]:
    """Integrated gradients for texts, or pairs: what each word did for what the model answers.

    The gradient of a logit to the embeddings is integrated on the straight way from the row with blank words (``[PAD]``
    in their places, special tokens kept) to the row itself, and summed over each word. By construction the words' sum
    is the difference of the logit between both ends; where ``steps`` points do not come within one percent of it, four
    times as many are taken.

    Args:
        model: a model with a head: classification, regression, tagging, question answering, masked words, next sentence
            or both.
        tokenizer: its tokenizer.
        texts: the texts; for question answering the questions.
        text_pairs: as many second texts.
        target: what to explain. Classification: a label; absent, the likeliest. Tagging: a word of the text, for the
            tag it gets; absent, each word that gets one. Question answering: words of the context, as an answer;
            absent, the likeliest start and end. Masked words: a token; absent, the likeliest at each ``[MASK]``.
        steps: points of the integral (Gauss-Legendre).

    Raises:
        InputError: the model has no head, the target is unknown, a text is too long or has no words, or there is
            nothing to explain, as a text without ``[MASK]``.

    Warns:
        UserWarning: the sum is still further off.

    Source: https://arxiv.org/abs/1703.01365
    """
    if not 1 <= steps <= _MOST_STEPS:
        raise InputError(f"steps is {steps}; a whole number from 1 to {_MOST_STEPS} was expected.")
    if text_pairs is not None and len(texts) != len(text_pairs):
        raise InputError(f"there are {len(texts)} texts but {len(text_pairs)} second ones; a pair needs one of each.")
    pairs = text_pairs if text_pairs is not None else itertools.repeat(None)
    rows = [encode_row(tokenizer, model.config, *pair) for pair in zip(texts, pairs, strict=False)]
    told, asked = [], []
    for number, row in enumerate(rows):
        outputs = model.predict_on_batch(inputs_of(model, row, tokenizer))
        asked += [_Path(number, row, found) for found in targets_of(model, tokenizer, row, outputs, target)]
        told.append(answers(model, tokenizer, row, outputs))
    found = _integrated(model, tokenizer, asked, steps)
    rough = [k for k, one in enumerate(found) if not one.is_complete]
    for k, finer in zip(rough, _integrated(model, tokenizer, [asked[k] for k in rough], _MORE * steps), strict=True):
        found[k] = finer
    targets = defaultdict(list)
    for path, one in zip(asked, found, strict=True):
        targets[path.number].append(one)
        if not one.is_complete:
            warnings.warn(
                f"{path.row.text!r:.60}, {one.name}: the words sum to {one.total:.4f}, the change is "
                f"{one.change:.4f}. Give more steps than {steps}.",
                stacklevel=2,
            )
    return [
        Attribution(row, *told[number], described(model), tuple(targets[number])) for number, row in enumerate(rows)
    ]


@dataclass(frozen=True)
class _Path:
    """One integral to take: from a row with blank words to the row, of one number."""

    number: int
    row: Row
    asked: Asked


def _integrated(model: Any, tokenizer: BertTokenizer, paths: Sequence[_Path], steps: int) -> list[Target]:
    """The integrals, each from so many points."""
    special = np.array(tokenizer.special_token_ids)
    places, weights = np.polynomial.legendre.leggauss(steps)
    # From [-1, 1] to [0, 1].
    places, weights = ((places + 1) / 2).astype(np.float32), (weights / 2).astype(np.float32)
    result: dict[int, Target] = {}
    for chosen in _batches(paths, steps):
        batch = [paths[k] for k in chosen]
        output = batch[0].asked.output
        ends, mean_gradient = kept(model, f"passes to {output}", functools.partial(_passes, model, output))
        rows = _padded([path.row.inputs for path in batch])
        ids = rows["input_ids"]
        blanks = np.where(np.isin(ids, special), ids, tokenizer.pad_token_id).astype(np.int32)
        # In float32 whatever the model computes in, for many small parts are summed.
        states = [
            ops.cast(model.embeddings(values, token_type_ids=rows["token_type_ids"]), "float32")
            for values in (ids, blanks)
        ]
        rows["masked_lm_positions"] = np.array([[path.asked.position] for path in batch], np.int32)
        index = np.array([path.asked.index for path in batch], np.int32)
        others = (index, *(rows[name] for name in _beside(model)))
        at_once = max(1, MOST_TOKENS // ids.size)
        scores = np.zeros(ids.shape)
        for begin in range(0, steps, at_once):
            part = slice(begin, begin + at_once)
            points = (places[part], weights[part])
            scores += ops.convert_to_numpy(mean_gradient(*states, *points, *others))
        changes = ops.convert_to_numpy(ends(*states, *others))
        for k, path, values, change in zip(chosen, batch, scores, changes, strict=True):
            result[k] = Target(path.asked.name, path.row.sums(values[: len(path.row)]), float(change))
    return [result[k] for k in range(len(paths))]


def _beside(model: Any) -> list[str]:
    """What a model takes beside the embeddings' output."""
    return [name for name in ("input_ids", "attention_mask", "masked_lm_positions") if name in model.input_names]


def _passes(model: Any, output: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The compiled functions for one of a model's outputs: the change between both ends, and a part of the integral.

    To compile them takes as long as some texts.
    """
    names = _beside(model)
    behind = model.from_embedding_output(*names)

    def number_asked(states: Any, index: Any, *inputs: Any) -> Any:
        given = {"embedding_output": ops.cast(states, model.embeddings.compute_dtype)}
        logits = behind(given | dict(zip(names, inputs, strict=True)), training=False)[output]
        flat = ops.reshape(logits, (ops.shape(logits)[0], -1))
        return ops.take_along_axis(flat, index[:, None], axis=1)[:, 0]  # [rows]

    def ends(states: Any, blank: Any, *others: Any) -> Any:
        return number_asked(states, *others) - number_asked(blank, *others)

    def mean_gradient(states: Any, blank: Any, places: Any, weights: Any, *others: Any) -> Any:
        """The integral over some places: ``[rows, tokens]``."""
        shape, count = ops.shape(states), ops.shape(places)[0]
        way = states - blank
        points = blank[:, None] + places[None, :, None, None] * way[:, None]  # [rows, places, tokens, hidden]
        points = ops.reshape(points, (-1, *shape[1:]))
        repeated = [ops.repeat(values, count, axis=0) for values in others]
        slopes = gradient(lambda point: number_asked(point, *repeated), points)
        slopes = ops.reshape(slopes, (shape[0], count, *shape[1:]))
        mean = ops.sum(weights[None, :, None, None] * slopes, axis=1)  # [rows, tokens, hidden]
        return ops.sum(mean * way, axis=-1)

    return compiled(ends, model), compiled(mean_gradient, model)


def _batches(paths: Sequence[_Path], steps: int) -> Iterator[list[int]]:
    """The numbers of paths that are taken together: of one output, similar in length, few enough."""
    order = sorted(range(len(paths)), key=lambda k: (paths[k].asked.output, -len(paths[k].row)))
    for _, group in itertools.groupby(order, key=lambda k: paths[k].asked.output):
        numbers = list(group)
        while numbers:
            size = max(1, MOST_TOKENS // (len(paths[numbers[0]].row) * steps))
            yield numbers[:size]
            numbers = numbers[size:]


def _padded(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows ``[1, tokens]`` as one batch, zeros behind the shorter ones."""
    length = max(row["input_ids"].shape[1] for row in rows)
    return {
        name: np.concatenate([np.pad(row[name], ((0, 0), (0, length - row[name].shape[1]))) for row in rows])
        for name in rows[0]
    }
