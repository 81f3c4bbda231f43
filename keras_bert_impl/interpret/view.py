"""The HTML page of attention and attributions: one file, without network access; texts are escaped."""

import base64
import html
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl import files
from keras_bert_impl.errors import InputError

_TEMPLATE = Path(__file__).with_name("view.html")
# These characters could end a script element or start a comment. JSON escapes of them have the same meaning.
_MARKUP = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"}


@dataclass(frozen=True, eq=False)
class Page:
    """The content of a page. Parts that are empty or None are omitted.

    Attributes:
        title: the heading, and the title of the browser's tab.
        model: a line about the model.
        prediction: the predictions, most likely first, each with its probability or None.
        prediction_title: the heading of the predictions.
        tokens: the ``n`` tokens, as spelled in the vocabulary.
        words: the words: text, first token, and the token after the last one. They cover all tokens.
        segments: the segment of each token, 0 or 1.
        attentions: float ``[layers, heads, n, n]``: the attention of each token (row) to each token; rows sum to 1.
        rollout: float ``[layers, n, n]``: the attention rollout up to each layer.
        attributions: description, scores float ``[words]``, their sum, and the change of the logit.

    Raises:
        InputError: sizes do not match, or a number is not finite.
    """

    title: str
    model: str
    prediction: Sequence[tuple[str, float | None]]
    prediction_title: str
    tokens: Sequence[str]
    words: Sequence[tuple[str, int, int]]
    segments: Sequence[int]
    attentions: np.ndarray | None = None
    rollout: np.ndarray | None = None
    attributions: Sequence[tuple[str, np.ndarray, float, float]] = ()

    def __post_init__(self) -> None:
        size = len(self.tokens)
        ends = [0, *(end for _, _, end in self.words)]
        starts = [*(start for _, start, _ in self.words), size]
        if not size or starts != ends or any(start >= end for _, start, end in self.words):
            raise InputError(
                f"words cover the tokens from {starts[:-1]} to {ends[1:]}; all {size} tokens in order were expected."
            )
        if len(self.segments) != size:
            raise InputError(f"segments has {len(self.segments)} numbers for {size} tokens; one each was expected.")
        layers = "layers" if self.attentions is None else len(self.attentions)
        _check("attentions", self.attentions, ("layers", "heads", size, size), fractions=True)
        _check("rollout", self.rollout, (layers, size, size), fractions=True)
        for name, scores, total, change in self.attributions:
            _check(f"attributions of {name}", scores, (len(self.words),))
            _check(f"sum and change of {name}", np.array([total, change]), (2,))


def to_html(page: Page) -> str:
    """Returns the complete document. It loads nothing, and its content security policy forbids loading.

    Attention of 12 layers, 12 heads and 128 tokens takes about 1 MB.

    Example:
        >>> import numpy as np
        >>> words = [("[CLS]", 0, 1), ("Good", 1, 2), ("[SEP]", 2, 3)]
        >>> page = Page("Attention: Good", "BertModel, 1 layer, 1 head", [], "", ["[CLS]", "good", "[SEP]"], words,
        ...             [0, 0, 0], attentions=np.full((1, 1, 3, 3), 1 / 3))
        >>> to_html(page).splitlines()[0]
        '<!doctype html>'
    """
    parts = {
        "title": _escape(page.title),
        "page": _dump_json(_collect_values(page)),
        "arrays": "\n".join([*_format_arrays("attention", page.attentions), *_format_arrays("rollout", page.rollout)]),
    }
    # In one pass, so that a text that looks like a placeholder is not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda placeholder: parts[placeholder[1]], files.read_text(_TEMPLATE))


def to_iframe(page: Page, height: int = 640) -> str:
    """Returns the page for a notebook cell: a frame of ``height`` pixels that isolates styles and scripts.

    Example:
        >>> page = Page("Nothing", "", [], "", ["[CLS]"], [("[CLS]", 0, 1)], [0])
        >>> to_iframe(page, height=300)[:50]
        '<iframe title="Nothing" sandbox="allow-scripts" st'
    """
    return (
        f'<iframe title="{_escape(page.title)}" sandbox="allow-scripts" '
        f'style="width: 100%; height: {int(height)}px; border: 0" srcdoc="{html.escape(to_html(page))}"></iframe>'
    )


def _escape(text: str) -> str:
    """Returns a text as HTML in ASCII, for an element or an attribute."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _check(name: str, values: np.ndarray | None, shape: tuple[int | str, ...], *, fractions: bool = False) -> None:
    """Raises ``InputError`` unless values are None, or finite and of that shape; a name in it means any size."""
    if values is None:
        return
    fits = len(shape) == np.ndim(values) and all(
        size > 0 if isinstance(expected, str) else size == expected
        for size, expected in zip(np.shape(values), shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise InputError(f"{name}: the shape is {list(np.shape(values))}; [{expected}] was expected.")
    low, high = np.min(values), np.max(values)  # Neither is finite where NaN is among them.
    if not np.isfinite([low, high]).all() or (fractions and (low < 0 or high > 1.001)):
        expected = "fractions from 0 to 1" if fractions else "finite numbers"
        raise InputError(f"{name}: the values range from {low} to {high}; {expected} were expected.")


def _collect_values(page: Page) -> dict[str, Any]:
    """Everything except the attention, as JSON values."""
    attentions, rollout = page.attentions, page.rollout
    return {
        "title": page.title,
        "model": page.model,
        "prediction": [[name, None if score is None else float(score)] for name, score in page.prediction],
        "predictionTitle": page.prediction_title,
        "tokens": list(page.tokens),
        "words": [[text, int(start), int(end)] for text, start, end in page.words],
        "segments": [int(segment) for segment in page.segments],
        "layers": len(attentions) if attentions is not None else len(rollout) if rollout is not None else 0,
        "heads": 0 if attentions is None else attentions.shape[1],
        "rollout": rollout is not None,
        "attributions": [
            {"name": name, "scores": np.asarray(scores, float).tolist(), "sum": float(total), "change": float(change)}
            for name, scores, total, change in page.attributions
        ],
    }


def _dump_json(value: Any) -> str:
    """JSON in ASCII that is safe in a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda letter: _MARKUP[letter[0]], text)


def _format_arrays(name: str, values: np.ndarray | None) -> list[str]:
    """One script element per layer with its attention.

    A byte contains ``round(255 * sqrt(a))`` for an attention ``a``. Without the root, 1/512, the uniform attention to
    512 tokens, would become 0; with it the error is below 0.4 % even for large values. The bytes compress to about half
    their size. There is one element per layer, so that a page of 512 tokens can show the first layer before the last
    is decompressed.
    """
    return [
        f'<script type="text/plain" id="{name}-{layer}">{_encode(value)}</script>'
        for layer, value in enumerate([] if values is None else values)
    ]


def _encode(attention: np.ndarray) -> str:
    """Attention as bytes of its roots, compressed, in base64."""
    roots = np.rint(255 * np.sqrt(np.minimum(attention, 1))).astype(np.uint8)
    return base64.b64encode(zlib.compress(roots.tobytes(), level=4)).decode("ascii")
