"""Plots: vectors in the plane, similarity over the layers, and the effect of removed words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_bert_impl.drawing import COLORS, MARKS, make_figure, save_figure


def save_points(
    path: Path, vectors: np.ndarray, names: Sequence[str], groups: Sequence[str] | None, *, title: str
) -> None:
    """Draws vectors as points in the plane of their two principal components.

    Args:
        path: the file, ``.png`` or ``.svg``.
        vectors: ``[points, hidden]``, three or more.
        names: the label of each point.
        groups: the group of each point, for colors and markers; None: a single group.
        title: the heading.
    """
    from sklearn.decomposition import PCA

    analysis = PCA(n_components=2).fit(vectors)
    points = analysis.transform(vectors)
    drawn, (axes,) = make_figure(6.4, 4.8)
    kinds = list(dict.fromkeys(groups)) if groups else [""]
    for number, kind in enumerate(kinds):
        of_kind = points if groups is None else points[[group == kind for group in groups]]
        style = {"color": COLORS[number % len(COLORS)], "marker": MARKS[number % len(MARKS)]}
        axes.scatter(*of_kind.T, s=60, label=kind, **style)
    for name, point in zip(names, points, strict=True):
        axes.annotate(name, point, xytext=(6, 4), textcoords="offset points", fontsize="small")
    first, second = 100 * analysis.explained_variance_ratio_
    axes.set(title=title, xlabel=f"first component ({first:.0f} % of the variance)")
    axes.set_ylabel(f"second component ({second:.0f} %)")
    axes.margins(0.12)
    if groups:
        axes.legend(frameon=False)
    save_figure(drawn, path)


def save_layers(path: Path, same: np.ndarray, different: np.ndarray, *, title: str) -> None:
    """Draws the mean cosines of pairs with the same sense and with different senses, both ``[layers + 1]``."""
    drawn, (axes,) = make_figure(6.4, 4.0)
    layers = np.arange(len(same))
    for number, (values, label) in enumerate(((same, "same sense"), (different, "different senses"))):
        axes.plot(layers, values, color=COLORS[number], marker=MARKS[number], label=label)
    axes.fill_between(layers, same, different, color="grey", alpha=0.15, linewidth=0)
    axes.set(title=title, xlabel="layer (0: embeddings)", ylabel="mean cosine of pairs")
    axes.set_xticks(layers)
    axes.set_ylim(top=1.02)
    axes.legend(frameon=False, loc="lower left")
    save_figure(drawn, path)


def save_removal(path: Path, curves: Mapping[str, np.ndarray], *, texts: int, title: str) -> None:
    """Draws the probability of the predicted label while words are removed one after the other.

    Args:
        path: the file, ``.png`` or ``.svg``.
        curves: by the name of each order, the mean probability after 0, 1, 2 … removed words.
        texts: the number of texts in the means.
        title: the heading.
    """
    drawn, (axes,) = make_figure(6.4, 4.0)
    for number, (label, values) in enumerate(curves.items()):
        axes.plot(np.arange(len(values)), values, color=COLORS[number], marker=MARKS[number], label=label)
    axes.set(title=title, xlabel="words removed", ylabel=f"probability of the first prediction,\nmean of {texts} texts")
    axes.set_xticks(np.arange(max(map(len, curves.values()))))
    axes.legend(frameon=False)
    save_figure(drawn, path)
