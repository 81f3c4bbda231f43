"""Shared by the GPU benchmarks: sizes, batches with realistic lengths, and counts of floating-point operations."""

import argparse
from typing import Any

import numpy as np

WORDS, MASKED = 30522, 0.15
# FLOP/s of an H100 in bfloat16, dense, from its data sheet.
H100 = 989e12
SIZES = {
    "tiny": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512},
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096},
}
# By default the first JAX process reserves most of the GPU's memory, and torch then lacks it.
ENVIRONMENT = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
Arrays = dict[str, np.ndarray]


def make_batch(layout: str, *, rows: int, length: int) -> tuple[Arrays, Arrays, Arrays, list[int]]:
    """Inputs, labels and weights of a batch, and the lengths of its sequences. 15 % of the tokens are predicted.

    Args:
        layout: ``full``: one sequence fills each row; ``padded``: one film snippet per row; ``packed``: several.
        rows: number of rows.
        length: tokens per row.
    """
    draw = np.random.default_rng(1)
    if layout == "full":
        lengths, row_of = np.full(rows, length), np.arange(rows)
    else:
        snippets = draw.permutation(count_snippet_tokens())
        lengths, row_of = snippets[:rows], np.arange(rows)
        if layout == "packed":
            from keras_bert_impl.data.packing import pack

            max_sequences = length // 8
            _, row_of, lengths = pack(
                snippets[: rows * max_sequences], rows=rows, row_length=length, max_sequences=max_sequences
            )
    inputs = {name: np.zeros((rows, length), np.int32) for name in ("input_ids", "position_ids", "sequence_ids")}
    filled, count = np.zeros(rows, int), np.zeros(rows, int)
    for row, tokens in zip(row_of, lengths, strict=True):
        place = slice(filled[row], filled[row] + tokens)
        count[row] += 1
        inputs["input_ids"][row, place] = draw.integers(1000, WORDS, tokens)
        inputs["position_ids"][row, place] = np.arange(tokens)
        inputs["sequence_ids"][row, place] = count[row]
        filled[row] += tokens
    inputs["attention_mask"] = (inputs["sequence_ids"] > 0).astype(np.int32)
    order = np.argsort(draw.random((rows, length)) - inputs["attention_mask"], axis=1, kind="stable")
    positions = inputs["masked_lm_positions"] = order[:, : round(MASKED * length)].astype(np.int32)
    predicted = np.arange(positions.shape[1]) < np.maximum(1, np.round(MASKED * filled))[:, None]
    labels = {
        "prediction_logits": np.take_along_axis(inputs["input_ids"], positions, axis=1),
        "seq_relationship_logits": draw.integers(0, 2, rows).astype(np.int32),
    }
    weights = {
        "prediction_logits": predicted.astype(np.float32),
        "seq_relationship_logits": np.ones(rows, np.float32),
    }
    if layout != "packed":
        del inputs["position_ids"], inputs["sequence_ids"]
    if layout == "full":
        del inputs["attention_mask"]
    return inputs, labels, weights, [int(tokens) for tokens in lengths]


def count_snippet_tokens() -> np.ndarray:
    """The lengths of the film snippets in tokens of the bundled tokenizer."""
    from importlib.resources import files

    from keras_bert_impl import BertTokenizer
    from keras_bert_impl.data import read_table

    texts = read_table(str(files("keras_bert_impl") / "assets" / "movie_snippets" / "train.tsv"))["text"]
    mask = BertTokenizer.from_pretrained("bert-tiny-novels")(list(texts))["attention_mask"]
    return np.asarray(mask).sum(axis=1)


def count_operations(size: str, lengths: list[int], predictions: int) -> float:
    """FLOPs of the forward pass for the real tokens; a training step needs three times that."""
    hidden, inner = SIZES[size]["hidden_size"], SIZES[size]["intermediate_size"]
    tokens, pairs = sum(lengths), sum(tokens**2 for tokens in lengths)
    blocks = SIZES[size]["num_hidden_layers"] * (tokens * (8 * hidden**2 + 4 * hidden * inner) + 4 * pairs * hidden)
    return blocks + predictions * (2 * hidden**2 + 2 * hidden * WORDS)


def parse_options(description: str, *, rounds: int) -> argparse.Namespace:
    """Parses the options of a script.

    Args:
        description: the docstring of the script.
        rounds: default of ``--rounds``.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base", "large"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--rows", type=int, help="rows per batch; the default fills an H100")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser.parse_args()


def find_gpu() -> str:
    """The name of the GPU, or a sentence that says that there is none."""
    import subprocess

    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "none; this run shows only that the script works, and its numbers mean nothing"
    return name


def find_torch_device() -> Any:
    """The GPU, or the CPU if there is none."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
