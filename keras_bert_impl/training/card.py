"""The model card of a run."""

from collections.abc import Mapping
from typing import Any


def model_card(metrics: Mapping[str, Any], *, name: str, main_metric: str) -> str:
    """A README for the directory of a run, from what its ``metrics.json`` holds.

    Args:
        metrics: the result of ``finetune``.
        name: what to call the model.
        main_metric: the figure that chose the checkpoint.
    """
    splits = [split for split in ("valid", "test") if split in metrics]
    figures = list(metrics[splits[0]])
    head = "| data | examples | " + " | ".join(figures) + " |"
    rows = [
        f"| {split} | {metrics['examples'][split]} | "
        + " | ".join(f"{metrics[split][figure]:.4f}" for figure in figures)
        + " |"
        for split in splits
    ]
    versions = metrics["versions"]
    settings = "\n".join(f"| {key} | {value} |" for key, value in metrics["settings"].items())
    labels = "".join(f"- `{label}`\n" for label in metrics["labels"])
    return f"""---
library_name: keras
tags:
- bert
- keras
- {metrics["task"]}
base_model: {metrics["source"]}
---

# {name}

A BERT fine-tuned for {metrics["task"]} from `{metrics["source"]}`, on {metrics["examples"]["train"]} examples in
{metrics["seconds"]:.0f} seconds, with keras_bert_impl {versions["keras_bert_impl"]} on {versions["backend"]}.

## Results

{head}
|---|---|{"---|" * len(figures)}
{chr(10).join(rows)}

The checkpoint is that of epoch {metrics["best_epoch"]} of {metrics["settings"]["epochs"]}, the best by
{main_metric.replace("_", " ")} on the validation data.

![learning curve](learning_curve.png)

## Labels

{labels or "None: the answer is a part of the text." + chr(10)}
## Settings

| setting | value |
|---|---|
{settings}

## Use

    keras-bert predict {name} --file FILE
    keras-bert export {name} saved_models/{name}/1

The directory opens in transformers too.

## Not known

What the training data does not show, this model has not learned: other languages, domains and kinds of text need an
evaluation of their own (`keras-bert evaluate {name} --data FILE`).
"""
