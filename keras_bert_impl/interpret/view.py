"""One HTML file that shows attention and attributions: no network, no build step, text is never markup."""

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
# Inside a script element these could end it, or begin a comment; as escapes they are the same JSON.
_MARKUP = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"}


@dataclass(frozen=True, eq=False)
class Page:
    """What a page shows. Parts that are empty or None are left out.

    Attributes:
        title: the heading, and the title of the browser's tab.
        model: a line about the model.
        prediction: answers, the likeliest first, with probabilities where they have one.
        prediction_title: the heading of these answers.
        tokens: the ``n`` tokens as the vocabulary spells them.
        words: what is shown as a word: its text, its first token, the token behind its last. They cover all tokens.
        segments: the segment of each token, 0 or 1.
        attentions: float ``[layers, heads, n, n]``: how much the token of a row attends to each; rows sum to 1.
        rollout: float ``[layers, n, n]``: the attention rollout up to each layer.
        attributions: what was explained, float ``[words]`` scores, their sum, the change of the logit.

    Raises:
        InputError: sizes do not go together, or a number is not finite.
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
            raise InputError(f"words goes from token {starts[:-1]} to {ends[1:]}; all {size} in order were expected.")
        if len(self.segments) != size:
            raise InputError(f"segments has {len(self.segments)} numbers for {size} tokens; one each was expected.")
        layers = "layers" if self.attentions is None else len(self.attentions)
        _check("attentions", self.attentions, ("layers", "heads", size, size), share=True)
        _check("rollout", self.rollout, (layers, size, size), share=True)
        for name, scores, total, change in self.attributions:
            _check(f"attributions of {name}", scores, (len(self.words),))
            _check(f"sum and change of {name}", np.array([total, change]), (2,))


def to_html(page: Page) -> str:
    """The whole document. Nothing in it fetches anything, and its policy forbids that.

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
        "title": _escaped(page.title),
        "page": _json(_facts(page)),
        "arrays": "\n".join([*_arrays("attention", page.attentions), *_arrays("rollout", page.rollout)]),
    }
    # In one pass, so that a text that looks like a place to fill stays text.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], files.read_text(_TEMPLATE))


def to_iframe(page: Page, height: int = 640) -> str:
    """The page for a notebook's cell: a frame ``height`` pixels high, whose styles and scripts stay inside.

    Example:
        >>> page = Page("Nothing", "", [], "", ["[CLS]"], [("[CLS]", 0, 1)], [0])
        >>> to_iframe(page, height=300)[:50]
        '<iframe title="Nothing" sandbox="allow-scripts" st'
    """
    return (
        f'<iframe title="{_escaped(page.title)}" sandbox="allow-scripts" '
        f'style="width: 100%; height: {int(height)}px; border: 0" srcdoc="{html.escape(to_html(page))}"></iframe>'
    )


def _escaped(text: str) -> str:
    """A text as HTML in ASCII letters, for an element or an attribute."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _check(name: str, values: np.ndarray | None, shape: tuple[int | str, ...], *, share: bool = False) -> None:
    """Raises ``InputError`` unless the values are None or finite and of that shape; a word there is any size."""
    if values is None:
        return
    fits = len(shape) == np.ndim(values) and all(
        found > 0 if isinstance(expected, str) else found == expected
        for found, expected in zip(np.shape(values), shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise InputError(f"{name}: the shape is {list(np.shape(values))}; [{expected}] was expected.")
    least, most = np.min(values), np.max(values)  # Neither is finite where NaN is among them.
    if not np.isfinite([least, most]).all() or (share and (least < 0 or most > 1.001)):
        expected = "shares from 0 to 1" if share else "finite numbers"
        raise InputError(f"{name}: the values go from {least} to {most}; {expected} were expected.")


def _facts(page: Page) -> dict[str, Any]:
    """Everything but the attention, as JSON knows it."""
    attentions, rollout = page.attentions, page.rollout
    return {
        "title": page.title,
        "model": page.model,
        "prediction": [[name, None if share is None else float(share)] for name, share in page.prediction],
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


def _json(value: Any) -> str:
    """JSON in ASCII letters that can stand inside of a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda letter: _MARKUP[letter[0]], text)


def _arrays(name: str, values: np.ndarray | None) -> list[str]:
    """A script element a layer, which holds its attention.

    A byte holds ``round(255 * sqrt(share))``. A plain ``round(255 * share)`` would make nothing of 1/512, what each of
    512 words gets where a head looks at all alike; the root keeps it, and errs by less than 0.4 % of a whole where a
    share is large. Bytes of a root also compress to about half. Layers are apart so that a page of 512 tokens shows
    the first before it has unpacked the last.
    """
    return [
        f'<script type="text/plain" id="{name}-{layer}">{_coded(value)}</script>'
        for layer, value in enumerate([] if values is None else values)
    ]


def _coded(shares: np.ndarray) -> str:
    """Shares as bytes of their roots, compressed, as base64."""
    roots = np.rint(255 * np.sqrt(np.minimum(shares, 1))).astype(np.uint8)
    return base64.b64encode(zlib.compress(roots.tobytes(), level=4)).decode("ascii")
