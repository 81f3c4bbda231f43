"""One pretraining step on CPU, compared with transformers' BertForPreTraining on torch: time and peak memory.

    python benchmarks/pretrain_step.py         # half an hour on two cores; needs 20 GB of memory

The sizes tiny (64 rows of 128 tokens) and base (8 rows for the time, 64 for the memory), 30,522 words, 20 predictions a
row. Both use dropout, AdamW with weight decay (torch's fused one) and gradients clipped to a norm of 1. With bfloat16,
the weights and the optimizer are in float32. Memory is the peak of two steps above that of the imports, the median of
three processes.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from interleave import Peer, run
from peak_memory import measure_in_processes, measure_peak
from report import Target, describe_load, make_comparison_table, make_table, write

SIZES = {
    "tiny": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512},
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
ROWS = {"tiny": 64, "base": 8}
MEMORY_ROWS = 64
LENGTH, PREDICTIONS, WORDS = 128, 20, 30522
TRAINING = {"learning_rate": 1e-4, "weight_decay": 0.01}
MIN_RATIO = 1.3
MAX_MEMORY = {"tiny": 0.5, "base": 0.8}


def make_batch(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ids, segments, positions to predict and next-sentence labels, the same for both peers."""
    draw = np.random.default_rng(1)
    ids = draw.integers(1000, WORDS, (rows, LENGTH)).astype("int32")
    segments = np.tile((np.arange(LENGTH) > LENGTH // 2).astype("int32"), (rows, 1))
    positions = np.sort(np.argsort(draw.random((rows, LENGTH - 2)), axis=1)[:, :PREDICTIONS] + 1).astype("int32")
    return ids, segments, positions, draw.integers(0, 2, rows).astype("int32")


def make_training_batch(rows: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The batch for the model of this package: inputs, targets and weights."""
    ids, segments, positions, labels = make_batch(rows)
    inputs = {
        "input_ids": ids,
        "token_type_ids": segments,
        "attention_mask": np.ones_like(ids),
        "masked_lm_positions": positions,
    }
    targets = {"prediction_logits": np.take_along_axis(ids, positions, axis=1), "seq_relationship_logits": labels}
    weights = {name: np.ones(target.shape, "float32") for name, target in targets.items()}
    return inputs, targets, weights


def make_keras_bert(size: str, rows: int, precision: str) -> Callable[[], Any]:
    """The model of this package, as `pretrain` compiles it."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PRECISIONS, adamw

    model = BertForPreTraining(BertConfig(**SIZES[size]), dtype=PRECISIONS[precision])
    model.compile(adamw(**TRAINING, steps=10_000), **TASKS["pretraining"].make_compile_arguments())
    arrays = make_training_batch(rows)
    return lambda: float(model.train_on_batch(*arrays, return_dict=True)["loss"])


def make_torch_model(size: str, rows: int, precision: str) -> Callable[[], Any]:
    """The model of transformers on torch, whose loss takes a label for each position: -100 where none is predicted."""
    import torch
    from torch_adamw import make_torch_adamw
    from transformers import BertConfig, BertForPreTraining

    model = BertForPreTraining(BertConfig(**SIZES[size], attn_implementation="sdpa")).train()
    optimizer = make_torch_adamw(model, **TRAINING, fused=True)
    ids, segments, positions, labels = (torch.from_numpy(array).long() for array in make_batch(rows))
    targets = torch.full_like(ids, -100).scatter(1, positions, ids.gather(1, positions))
    inputs = {"input_ids": ids, "token_type_ids": segments, "attention_mask": torch.ones_like(ids)}

    def call() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(**inputs, labels=targets, next_sentence_label=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return call


PEERS = {"keras_bert_impl": make_keras_bert, "torch": make_torch_model}
# The modules whose memory does not count.
IMPORTS = {
    "keras_bert_impl": ("tensorflow", "keras_bert_impl.models"),
    "torch": ("torch", "transformers.models.bert.modeling_bert"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--memory", nargs=3, metavar=("PEER", "SIZE", "PRECISION"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        peer, size, precision = arguments.memory
        print(json.dumps(measure_peak(IMPORTS[peer], lambda: PEERS[peer](size, MEMORY_ROWS, precision))))
        return

    target = Target("keras_bert_impl", ("torch",), MIN_RATIO)
    verdicts, sections, runs, rows = [], [], [], []
    for size in arguments.sizes:
        for precision in ("float32", "bfloat16"):
            same = {"size": size, "rows": ROWS[size], "precision": precision}
            series = run([Peer(name, make, same) for name, make in PEERS.items()], rounds=arguments.rounds, warm_up=1)
            heading = f"{size}, {ROWS[size]} × {LENGTH} tokens, {precision}"
            runs.append(series)
            verdicts.append(target.format_verdict(series, heading))
            hidden, inner = SIZES[size]["hidden_size"], SIZES[size]["intermediate_size"]
            layers = SIZES[size]["num_hidden_layers"] * (4 * hidden**2 + 2 * hidden * inner + 2 * LENGTH * hidden)
            heads = PREDICTIONS / LENGTH * (hidden**2 + hidden * WORDS)
            gigaflop = 6 * ROWS[size] * LENGTH * (layers + heads) / 1e9
            sections.append(
                f"## {heading}\n\n{make_comparison_table(series, ours='keras_bert_impl', gigaflop=gigaflop)}"
            )
        megabytes = {peer: measure_in_processes("--memory", peer, size, "float32") for peer in PEERS}
        ratio = megabytes["keras_bert_impl"] / megabytes["torch"]
        verdict = "reached" if ratio <= MAX_MEMORY[size] else "**missed**"
        verdicts.append(
            f"- {size}, {MEMORY_ROWS} × {LENGTH} tokens: peak memory divided by torch's: {ratio:.3f}, at most "
            f"{MAX_MEMORY[size]}: {verdict}"
        )
        rows.append((size, *(f"{megabytes[peer]:,.0f}" for peer in PEERS), f"{ratio:.3f}"))
    memory = make_table(("size, float32", *(f"MB, {peer}" for peer in PEERS), "divided by torch's"), rows)
    write(
        "A step of pretraining",
        "\n".join(verdicts),
        describe_load(*runs),
        "GFLOP/s counts the necessary matrix products: those with the vocabulary only for the predicted tokens.",
        *sections,
        f"## Peak memory above the imports, {MEMORY_ROWS} × {LENGTH} tokens\n\n{memory}",
    )


if __name__ == "__main__":
    main()
