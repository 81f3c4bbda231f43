"""Pretraining steps on a GPU, on Keras' JAX backend, compared with transformers on torch.

    python benchmarks/gpu_train.py                          # about 15 minutes on an H100, estimated
    python benchmarks/gpu_train.py --sizes tiny --rows 4    # on a CPU, to check that it works

BERT-base and large in bfloat16 with weights in float32, rows of 128 and 512 tokens, dropout, AdamW, clipped gradients.
This package runs ``fit``, without cuDNN's attention, because Keras does not support dropout in it; torch is compiled
and uses its fused attention and fused AdamW. Rows are full; at 512 tokens also with one film snippet (padded), and in
this package with several (packed). transformers computes the logits of all tokens, this package those of the predicted
ones. Utilization is the FLOPs per second for real tokens and predictions, divided by 989 TFLOP/s.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from gpu_batches import (
    ENVIRONMENT,
    H100,
    SIZES,
    count_operations,
    find_gpu,
    find_torch_device,
    make_batch,
    parse_options,
)
from interleave import Peer, Ratio, run
from report import describe_load, make_table, write
from same_batch import SameBatch

TRAINING = {"learning_rate": 1e-4, "weight_decay": 0.01}
STEPS = 20
ROWS = {("base", 128): 256, ("base", 512): 64, ("large", 128): 128, ("large", 512): 32}
MIN_RATIO, MIN_UTILIZATION, MIN_PACKED = 1.2, 0.35, 1.8


def make_keras_bert(size: str, layout: str, rows: int, length: int) -> Callable[[], Any]:
    """Training steps of this package with ``fit``."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.data import make_fit_data
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import adamw

    model = BertForPreTraining(BertConfig(**SIZES[size]), dtype="mixed_bfloat16")
    model.compile(adamw(**TRAINING, steps=1_000_000), **TASKS["pretraining"].make_compile_arguments())
    *parts, _ = make_batch(layout, rows=rows, length=length)
    batches = SameBatch(*parts)

    def call() -> float:
        return model.fit(make_fit_data(batches), steps_per_epoch=STEPS, verbose=0, shuffle=False).history["loss"][0]

    return call


def make_torch_model(size: str, layout: str, rows: int, length: int) -> Callable[[], Any]:
    """The model of transformers on torch, compiled."""
    import torch
    from torch_adamw import make_torch_adamw
    from transformers import BertConfig, BertForPreTraining

    device = find_torch_device()
    model = BertForPreTraining(BertConfig(**SIZES[size], attn_implementation="sdpa")).to(device).train()
    compiled = torch.compile(model)
    optimizer = make_torch_adamw(model, **TRAINING, fused=True)
    inputs, labels, weights, _ = make_batch(layout, rows=rows, length=length)
    words = np.full((rows, length), -100)
    masked = np.where(weights["prediction_logits"] > 0, labels["prediction_logits"], -100)
    np.put_along_axis(words, inputs.pop("masked_lm_positions"), masked, axis=1)
    arrays = {**inputs, "labels": words, "next_sentence_label": labels["seq_relationship_logits"]}
    tensors = {name: torch.from_numpy(array).long() for name, array in arrays.items()}
    if device.type == "cuda":
        tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}

    def call() -> float:
        for _ in range(STEPS):
            batch = {name: array.to(device, non_blocking=True) for name, array in tensors.items()}
            with torch.autocast(device.type, torch.bfloat16):
                loss = compiled(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    return call


def main() -> None:
    arguments = parse_options(__doc__, rounds=5)
    verdicts, rows, runs = [], [], []
    for size in arguments.sizes:
        for length in arguments.lengths:
            count = arguments.rows or ROWS[size, length]
            layouts = ["full"] if length < 512 else ["full", "padded", "packed"]
            rates, filled = {}, {}
            for layout in layouts:
                same = {"size": size, "layout": layout, "rows": count, "length": length}
                peers = [Peer("keras_bert_impl", make_keras_bert, same, environment=ENVIRONMENT)]
                if layout != "packed":
                    peers.append(Peer("transformers on torch", make_torch_model, same))
                series = run(peers, rounds=arguments.rounds, warm_up=1)
                runs.append(series)
                _, _, weights, lengths = make_batch(layout, rows=count, length=length)
                filled[layout] = sum(lengths) / (count * length)
                needed = 3 * count_operations(size, lengths, int(weights["prediction_logits"].sum()))
                for name, turns in series.items():
                    seconds = turns.median / STEPS
                    rates[layout, name] = sum(lengths) / seconds
                    use = needed / seconds / H100
                    tokens = f"{sum(lengths) / seconds:,.0f}"
                    rows.append((size, str(length), layout, name, f"{seconds * 1e3:.1f}", tokens, f"{use:.1%}"))
                if layout == "full":
                    ours, theirs = series.values()
                    times, use = Ratio.compute(ours, theirs), needed * STEPS / ours.median / H100
                    first = size == "base" and length == 128
                    targets = f", at least {MIN_RATIO} and {MIN_UTILIZATION:.0%}" if first else ""
                    reached = times.medians >= MIN_RATIO and use >= MIN_UTILIZATION
                    verdict = f": {'reached' if reached else '**missed**'}" if first else ""
                    verdicts.append(f"- {size}, {length}: {times} × torch, {use:.1%} of the GPU{targets}{verdict}")
            if "packed" in layouts:
                gain = rates["packed", "keras_bert_impl"] / rates["padded", "keras_bert_impl"]
                verdict = "reached" if gain >= MIN_PACKED else "**missed**"
                verdicts.append(
                    f"- {size}, {length}: packed {gain:.2f} × padded in real tokens a second, at least {MIN_PACKED}: "
                    f"{verdict}. {filled['padded']:.0%} of the tokens in padded rows are real, "
                    f"{filled['packed']:.0%} in packed rows."
                )
    header = ("size", "length", "rows", "peer", "ms a step", "real tokens a second", "useful fraction of 989 TFLOP/s")
    write(
        "Pretraining on a GPU",
        f"- GPU: {find_gpu()}",
        "\n".join(verdicts),
        describe_load(*runs),
        make_table(header, rows),
    )


if __name__ == "__main__":
    main()
