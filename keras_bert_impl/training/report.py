"""Reports on training runs: learning curves, and model cards, which are the README of a run's directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.drawing import COLORS, make_figure, save_figure
from keras_bert_impl.sources import find_public_name

_BLUE, _ORANGE = COLORS[:2]
_NOTE: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": "small", "color": "grey"}
_LABEL: dict[str, Any] = {"ha": "center", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.7}}
_POINTS = 100


def compute_step_losses(running_means: Sequence[Sequence[float]], rows: Sequence[int]) -> np.ndarray:
    """Computes the loss of each step from the running means that Keras logs.

    Args:
        running_means: for each epoch, after each step, the mean of the loss over the epoch's rows so far.
        rows: number of rows in the batch of each step, over all epochs.

    Returns:
        float64 ``[steps]``.

    >>> compute_step_losses([[4.0, 3.5], [2.0, 1.75]], rows=[3, 3, 3, 1]).tolist()
    [4.0, 3.0, 2.0, 1.0]
    """
    counts = np.split(np.asarray(rows), np.cumsum([len(means) for means in running_means])[:-1])
    sums = [np.diff(means * np.cumsum(count), prepend=0) for means, count in zip(running_means, counts, strict=True)]
    return np.concatenate(sums) / rows


def average_blocks(losses: np.ndarray, *, points: int = _POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Averages losses over blocks of consecutive steps.

    Args:
        losses: the loss of each step.
        points: max. number of blocks.

    Returns:
        the last step of each block, counted from 1, and the mean loss of its steps.

    >>> steps, losses = average_blocks(np.array([4.0, 3.0, 2.0, 1.0]), points=2)
    >>> steps.tolist(), losses.tolist()
    ([2, 4], [3.5, 1.5])
    """
    blocks = np.array_split(np.arange(len(losses)), min(points, len(losses)))
    return np.array([block[-1] + 1 for block in blocks]), np.array([losses[block].mean() for block in blocks])


def save_learning_curve(
    path: Path, losses: np.ndarray, validation: Sequence[Mapping[str, Any]], *, metric: str, best_epoch: int
) -> None:
    """Plots the training loss over the steps and the validation metric over the epochs.

    Args:
        path: the PNG file to write.
        losses: the loss of each step, over all epochs; all epochs have the same number of steps.
        validation: for each epoch the metrics on the validation data.
        metric: the metric to plot.
        best_epoch: the epoch of the saved checkpoint, counted from 1; it is marked.
    """
    from matplotlib.ticker import MaxNLocator

    steps, means = average_blocks(losses)
    epochs, values = np.arange(1, len(validation) + 1), [entry[metric] for entry in validation]
    name = metric.replace("_", " ")
    plot, (left, right) = make_figure(8, 3.2, columns=2)
    left.plot(steps, means, color=_BLUE, marker=".", markersize=3)
    left.set(title="Training loss", xlabel="step", xlim=(0, len(losses)), ylim=(0, 1.1 * means.max()))
    for epoch in epochs[:-1]:
        left.axvline(epoch * len(losses) / len(epochs), color="grey", linewidth=0.8, linestyle=":")
    note = f"each point: mean of {-(-len(losses) // len(steps))} steps" if len(steps) < len(losses) else ""
    left.text(0.98, 0.03, note, transform=left.transAxes, **_NOTE)
    right.plot(epochs, values, color=_ORANGE, marker="o")
    right.plot(best_epoch, values[best_epoch - 1], color=_ORANGE, marker="o", markersize=11)
    for epoch, value in zip(epochs, values, strict=True):
        right.annotate(f"{value:.3f}", (epoch, value), xytext=(0, 10), textcoords="offset points", **_LABEL)
    right.set(title=f"Validation {name}", xlabel="epoch", xlim=(0.5, len(epochs) + 0.5))
    right.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    right.margins(y=0.3)
    right.text(0.98, 0.03, "large point: the saved checkpoint", transform=right.transAxes, **_NOTE)
    save_figure(plot, path)


def save_pretraining_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Plots the loss of each objective over time, of training and held-out documents.

    Args:
        path: the PNG file to write.
        history: for each evaluation ``minutes``, and the metrics ``train`` and ``held_out``.
    """
    minutes = [entry["minutes"] for entry in history]
    panels = {"masked_loss": "Masked words: cross entropy", "next_sentence_loss": "Next sentence: cross entropy"}
    panels = {name: title for name, title in panels.items() if name in history[0]["held_out"]}
    plot, columns = make_figure(8, 3.2, columns=len(panels))
    for axes, (name, title) in zip(columns, panels.items(), strict=True):
        for part, label, color in (("train", "training", _BLUE), ("held_out", "held out", _ORANGE)):
            values = [entry[part][name] for entry in history]
            axes.plot(minutes, values, color=color, marker=".", markersize=4, label=label)
        axes.set(title=title, xlabel="minutes", xlim=(0, None))
        axes.legend(frameon=False)
    save_figure(plot, path)


def save_weight_curves(path: Path, values: Mapping[str, np.ndarray]) -> None:
    """Plots the change of weights over the steps.

    Args:
        path: the PNG or SVG file to write.
        values: the values of each weight, by its name, starting before the first step.
    """
    from matplotlib.ticker import MaxNLocator

    plot, (axes,) = make_figure(8, 3.2)
    for number, (name, weights) in enumerate(values.items()):
        axes.plot(weights - weights[0], color=COLORS[number % len(COLORS)], label=f"{name}, from {weights[0]:.4f}")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(title="Weights during training", xlabel="step", ylabel="change since the start")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False, fontsize="small")
    save_figure(plot, path)


def make_model_card(metrics: Mapping[str, Any], *, name: str, main_metric: str, note: str) -> str:
    """Returns the model card of a fine-tuned model.

    Args:
        metrics: the content of the run's ``metrics.json``.
        name: the name of the model.
        main_metric: the metric that selected the checkpoint.
        note: the sentence that says which other library opens the directory.
    """
    splits = [split for split in ("valid", "test") if split in metrics]
    names = list(metrics[splits[0]])
    header = "| data | examples | " + " | ".join(names) + " |"
    rows = [
        f"| {split} | {metrics['examples'][split]} | "
        + " | ".join(f"{metrics[split][name]:.4f}" for name in names)
        + " |"
        for split in splits
    ]
    versions, base = metrics["versions"], find_public_name(metrics["source"])
    learned = _describe_teacher(metrics)
    lesson = {name: value for name, value in metrics.get("distillation", {}).items() if name != "teacher"}
    chosen = {**metrics["settings"], **metrics.get("options", {}), **lesson}
    settings = "\n".join(f"| {key} | {value} |" for key, value in chosen.items())
    labels = "".join(f"- `{label}`\n" for label in metrics["labels"])
    trained, epochs = len(metrics["validation"]), metrics["settings"]["epochs"]
    early = f" Training stopped early, after epoch {trained}." if trained < epochs else ""
    return f"""---
library_name: keras
tags:
- bert
- keras
- {metrics["task"]}
base_model: {base}
---

# {name}

A BERT fine-tuned for {metrics["task"]} from `{base}`, on {metrics["examples"]["train"]} examples in
{metrics["seconds"]:.0f} seconds, with keras_bert_impl {versions["keras_bert_impl"]} on {versions["backend"]}.{learned}

## Results

{header}
|---|---|{"---|" * len(names)}
{chr(10).join(rows)}

The checkpoint is from epoch {metrics["best_epoch"]} of {epochs}, which had the best
{main_metric.replace("_", " ")} on the validation data.{early}

![learning curve](learning_curve.png)

## Labels

{labels or "This task has no labels." + chr(10)}
## Settings

| setting | value |
|---|---|
{settings}

## Use

    keras-bert predict {name} --file FILE
    keras-bert export {name} saved_models/{name}/1

{note}

## Limitations

The model was evaluated on the data above only. Evaluate it on other languages, domains and kinds of text before you use
it there (`keras-bert evaluate {name} --data FILE`).
"""


def _describe_teacher(metrics: Mapping[str, Any]) -> str:
    """Returns the paragraph about the teacher; empty if there was none."""
    lesson = metrics.get("distillation")
    if not lesson:
        return ""
    return (
        f"\n\nIt also learned the outputs of the teacher `{find_public_name(lesson['teacher'])}` (knowledge "
        f"distillation), with the temperature {lesson['temperature']:g} and the weight alpha {lesson['alpha']:g}."
    )


def make_pretraining_card(metrics: Mapping[str, Any], *, name: str) -> str:
    """Returns the model card of a pretrained model.

    Args:
        metrics: the content of the run's ``metrics.json``.
        name: the name of the model.
    """
    versions, corpus, held_out = metrics["versions"], metrics["corpus"], metrics["held_out"]
    settings = "\n".join(
        f"| {key} | {value} |" for part in ("objective", "settings") for key, value in metrics[part].items()
    )
    origin = f"from `{find_public_name(metrics['init'])}`" if metrics["init"] else f"of the size {metrics['preset']}"
    base = f"base_model: {find_public_name(metrics['init'])}\n" if metrics["init"] else ""
    learned, following, try_following = "masked words", "", ""
    if "next_sentence_accuracy" in held_out:
        learned += " and next sentences"
        following = f"| next sentence: accuracy | {held_out['next_sentence_accuracy']:.4f} |\n"
        try_following = f'    keras-bert next-sentence {name} "He shut the door." "Then he sat down."\n'
    documents = "Each line is a document." if corpus.get("line_by_line") else "A document ends at an empty line."
    taught = _describe_teacher(metrics)
    return f"""---
library_name: keras
tags:
- bert
- keras
- fill-mask
{base}---

# {name}

A BERT {origin}, pretrained on {learned} for {metrics["steps"]:,} steps in
{metrics["minutes"]:.0f} minutes, with keras_bert_impl {versions["keras_bert_impl"]} on {versions["backend"]}.{taught}

## Data

{corpus["tokens"]:,} tokens in {corpus["sentences"]:,} sentences and {corpus["documents"]:,} documents from
{", ".join(f"`{Path(source).name}`" for source in corpus["corpus"])}. {documents}
{held_out["documents"]:,} of the documents were
held out: the first ones of
`numpy.random.default_rng({metrics["settings"]["seed"]}).permutation({corpus["documents"]})`. The metrics are computed
on at most 100 batches of them.

{f"    {metrics['command']}" if metrics["command"] else ""}

## Results on the held-out documents

| metric | value |
|---|---|
| masked tokens: accuracy | {held_out["masked_accuracy"]:.4f} |
| masked tokens: perplexity | {held_out["perplexity"]:.2f} |
| masked tokens: cross entropy | {held_out["masked_loss"]:.4f} |
{following}
![learning curve](learning_curve.png)

## Settings

| setting | value |
|---|---|
{settings}

## Use

    keras-bert fill-mask {name} "The [MASK] crossed the river."
{try_following}    keras-bert finetune {name} --train FILE --valid FILE --output DIR

transformers can load this directory too.
"""
