"""One training step of a classifier on CPU, compared with KerasHub and transformers on torch.

    python benchmarks/train_step.py         # twelve minutes on two cores; needs 16 GB of memory

Two sizes: BERT-base with 8 rows of 128 tokens, and MiniLM's with 32 rows of 32, as in fine-tuning on short texts. All
use dropout, AdamW with weight decay and gradients clipped to a norm of 1. With bfloat16, the weights and the optimizer
are in float32. Torch runs with its default AdamW, with the fused one, which is transformers' default, and compiled.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from interleave import Peer, run
from report import Target, describe_load, make_comparison_table, write

# Sizes with the names of transformers.
BASE = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
MINILM = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
# Size, rows and tokens of a batch, calls per turn.
SIZES = {"BERT-base": (BASE, (8, 128), 1), "MiniLM": (MINILM, (32, 32), 4)}
# The targets that differ from 1.2.
MIN_RATIOS = {("MiniLM", "float32"): 1.4}
TRAINING = {"learning_rate": 5e-5, "weight_decay": 0.01}


def make_batch(shape: tuple[int, int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The batch that every peer trains on."""
    ids = np.random.default_rng(1).integers(1000, 30000, shape, dtype="int32")
    inputs = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": np.ones_like(ids)}
    return inputs, np.arange(shape[0], dtype="int32") % 2


def make_keras_bert(size: dict[str, int], shape: tuple[int, int], precision: str) -> Callable[[], Any]:
    """The classifier of this package, compiled as in fine-tuning."""
    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PRECISIONS, adamw

    model = BertForSequenceClassification(BertConfig(**size), dtype=PRECISIONS[precision])
    model.compile(optimizer=adamw(**TRAINING, steps=10_000), **TASKS["classification"].make_compile_arguments())
    inputs, labels = make_batch(shape)
    return lambda: model.train_on_batch(inputs, {"logits": labels})


def make_keras_hub(size: dict[str, int], shape: tuple[int, int], precision: str) -> Callable[[], Any]:
    """The classifier of KerasHub."""
    import keras
    import keras_hub

    from keras_bert_impl.training import PRECISIONS

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=30522,
        num_layers=size["num_hidden_layers"],
        num_heads=size["num_attention_heads"],
        hidden_dim=size["hidden_size"],
        intermediate_dim=size["intermediate_size"],
        dtype=PRECISIONS[precision],
    )
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2)
    optimizer = keras.optimizers.AdamW(**TRAINING, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs, labels = make_batch(shape)
    names = {"input_ids": "token_ids", "token_type_ids": "segment_ids", "attention_mask": "padding_mask"}
    inputs = {names[name]: array for name, array in inputs.items()}
    return lambda: model.train_on_batch(inputs, labels)


def make_torch_model(
    size: dict[str, int], shape: tuple[int, int], precision: str, fused: bool = True, compiled: bool = False
) -> Callable[[], Any]:
    """The classifier of transformers on torch, with its fused attention; compiled: by ``torch.compile``."""
    import torch
    from torch_adamw import make_torch_adamw
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(**size, attn_implementation="sdpa")).train()
    run = torch.compile(model) if compiled else model
    optimizer = make_torch_adamw(model, **TRAINING, fused=fused)
    inputs, labels = make_batch(shape)
    tensors = {name: torch.from_numpy(array).long() for name, array in inputs.items()}
    targets = torch.from_numpy(labels).long()

    def call() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = run(**tensors, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return call


def count_gigaflop(size: dict[str, int], shape: tuple[int, int]) -> float:
    """FLOPs of the matrix products, forward and backward, in 1e9."""
    (rows, length), hidden, inner = shape, size["hidden_size"], size["intermediate_size"]
    products = 4 * hidden**2 + 2 * hidden * inner + 2 * length * hidden
    return 3 * 2 * rows * length * size["num_hidden_layers"] * products / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    arguments = parser.parse_args()

    theirs = ("torch", "torch, fused AdamW", "torch, compiled")
    verdicts, sections, runs = [], [], []
    for name in arguments.sizes:
        size, shape, calls = SIZES[name]
        for precision in ("float32", "bfloat16"):
            same = {"size": size, "shape": shape, "precision": precision}
            series = run(
                [
                    Peer("keras_bert_impl", make_keras_bert, same, calls),
                    Peer("KerasHub", make_keras_hub, same, calls),
                    Peer("torch", make_torch_model, {**same, "fused": False}, calls),
                    Peer("torch, fused AdamW", make_torch_model, same, calls),
                    Peer("torch, compiled", make_torch_model, {**same, "compiled": True}, calls),
                ],
                rounds=arguments.rounds,
                warm_up=1,
            )
            heading = f"{name}, {shape[0]} × {shape[1]} tokens, {precision}"
            runs.append(series)
            target = Target("keras_bert_impl", theirs, MIN_RATIOS.get((name, precision), 1.2))
            verdicts.append(target.format_verdict(series, heading))
            shown = make_comparison_table(series, ours="keras_bert_impl", gigaflop=count_gigaflop(size, shape))
            sections.append(f"## {heading}\n\n{shown}")
    write("A training step of a classifier", "\n".join(verdicts), describe_load(*runs), *sections)


if __name__ == "__main__":
    main()
