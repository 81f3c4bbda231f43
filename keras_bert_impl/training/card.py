"""Model cards: the README of a run's directory."""

from collections.abc import Mapping
from typing import Any

from keras_bert_impl.sources import public_name


def model_card(metrics: Mapping[str, Any], *, name: str, main_metric: str) -> str:
    """The model card of a fine-tuned model.

    Args:
        metrics: the content of the run's ``metrics.json``.
        name: the name of the model.
        main_metric: the metric that selected the checkpoint.
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
    versions, base = metrics["versions"], public_name(metrics["source"])
    settings = "\n".join(f"| {key} | {value} |" for key, value in metrics["settings"].items())
    labels = "".join(f"- `{label}`\n" for label in metrics["labels"])
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
{metrics["seconds"]:.0f} seconds, with keras_bert_impl {versions["keras_bert_impl"]} on {versions["backend"]}.

## Results

{header}
|---|---|{"---|" * len(names)}
{chr(10).join(rows)}

The checkpoint is from epoch {metrics["best_epoch"]} of {metrics["settings"]["epochs"]}, which had the best
{main_metric.replace("_", " ")} on the validation data.

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

transformers can load this directory too.

## Limitations

The model was evaluated on the data above only. Evaluate it on other languages, domains and kinds of text before you use
it there (`keras-bert evaluate {name} --data FILE`).
"""


def pretraining_card(metrics: Mapping[str, Any], *, name: str) -> str:
    """The model card of a pretrained model.

    Args:
        metrics: the content of the run's ``metrics.json``.
        name: the name of the model.
    """
    versions, corpus, held_out = metrics["versions"], metrics["corpus"], metrics["held_out"]
    settings = "\n".join(
        f"| {key} | {value} |" for part in ("objective", "settings") for key, value in metrics[part].items()
    )
    origin = f"from `{public_name(metrics['init'])}`" if metrics["init"] else f"of the size {metrics['preset']}"
    return f"""---
library_name: keras
tags:
- bert
- keras
- fill-mask
---

# {name}

A BERT {origin}, pretrained on masked words and next sentences for {metrics["steps"]:,} steps in
{metrics["minutes"]:.0f} minutes, with keras_bert_impl {versions["keras_bert_impl"]} on {versions["backend"]}.

## Data

{corpus["tokens"]:,} tokens in {corpus["sentences"]:,} sentences and {corpus["documents"]:,} documents from
{", ".join(f"`{source}`" for source in corpus["corpus"])}. A document ends at an empty line.
{held_out["documents"]:,} of the documents were held out: the first ones of
`numpy.random.default_rng({metrics["settings"]["seed"]}).permutation({corpus["documents"]})`. The metrics are computed
on at most 100 batches of them.

{f"    {metrics['command']}" if metrics["command"] else ""}

## Results on the held-out documents

| metric | value |
|---|---|
| masked tokens: accuracy | {held_out["masked_accuracy"]:.4f} |
| masked tokens: perplexity | {held_out["perplexity"]:.2f} |
| masked tokens: cross entropy | {held_out["masked_loss"]:.4f} |
| next sentence: accuracy | {held_out["next_sentence_accuracy"]:.4f} |

![learning curve](learning_curve.png)

## Settings

| setting | value |
|---|---|
{settings}

## Use

    keras-bert fill-mask {name} "The [MASK] crossed the river."
    keras-bert next-sentence {name} "He shut the door." "Then he sat down."
    keras-bert finetune {name} --train FILE --valid FILE --output DIR

transformers can load this directory too.
"""
