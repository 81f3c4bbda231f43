"""What the benchmarks on a GPU have in common: sizes, batches of real lengths, and the operations that they need."""

import argparse
from typing import Any

import numpy as np

WORDS, MASKED = 30522, 0.15
# Operations a second of an H100 in bfloat16, dense, by its data sheet.
H100 = 989e12
SIZES = {
    "tiny": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512},
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096},
}
# The memory of a GPU goes to who needs it, not to who comes first.
ENVIRONMENT = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
Arrays = dict[str, np.ndarray]


def batch(layout: str, *, rows: int, length: int) -> tuple[Arrays, Arrays, Arrays, list[int]]:
    """Inputs, labels and weights of a batch, and the lengths of the sequences in it. 15 % of the tokens are predicted.

    Args:
        layout: ``full``, a sequence a row that fills it; ``padded``, a film snippet a row; ``packed``, several of them.
        rows: how many.
        length: of a row, in tokens.
    """
    draw = np.random.default_rng(1)
    if layout == "full":
        lengths, row_of = np.full(rows, length), np.arange(rows)
    else:
        found = draw.permutation(snippet_lengths())
        lengths, row_of = found[:rows], np.arange(rows)
        if layout == "packed":
            from keras_bert_impl.data.packing import pack

            most = length // 8
            _, row_of, lengths = pack(found[: rows * most], rows=rows, row_length=length, max_sequences=most)
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
    asked = np.arange(positions.shape[1]) < np.maximum(1, np.round(MASKED * filled))[:, None]
    labels = {
        "prediction_logits": np.take_along_axis(inputs["input_ids"], positions, axis=1),
        "seq_relationship_logits": draw.integers(0, 2, rows).astype(np.int32),
    }
    weights = {
        "prediction_logits": asked.astype(np.float32),
        "seq_relationship_logits": np.ones(rows, np.float32),
    }
    if layout != "packed":
        del inputs["position_ids"], inputs["sequence_ids"]
    if layout == "full":
        del inputs["attention_mask"]
    return inputs, labels, weights, [int(tokens) for tokens in lengths]


def snippet_lengths() -> np.ndarray:
    """Tokens of the film snippets of the package, by its own tokenizer."""
    from importlib.resources import files

    from keras_bert_impl import BertTokenizer
    from keras_bert_impl.data import read_table

    texts = read_table(str(files("keras_bert_impl") / "assets" / "movie_snippets" / "train.tsv"))["text"]
    mask = BertTokenizer.from_pretrained("bert-tiny-novels")(list(texts))["attention_mask"]
    return np.asarray(mask).sum(axis=1)


def operations(size: str, lengths: list[int], predictions: int) -> float:
    """Multiplications and additions of the forward pass of real tokens; a training step needs three times that."""
    hidden, inner = SIZES[size]["hidden_size"], SIZES[size]["intermediate_size"]
    tokens, pairs = sum(lengths), sum(tokens**2 for tokens in lengths)
    blocks = SIZES[size]["num_hidden_layers"] * (tokens * (8 * hidden**2 + 4 * hidden * inner) + 4 * pairs * hidden)
    return blocks + predictions * (2 * hidden**2 + 2 * hidden * WORDS)


def options(description: str, *, rounds: int) -> argparse.Namespace:
    """The options of a script: its docstring, and its usual rounds."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base", "large"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--rows", type=int, help="instead of those that fill an H100")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser.parse_args()


def gpu() -> str:
    """What the benchmark runs on."""
    import subprocess

    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "no GPU: these figures say that the script runs, and nothing else"
    return found


def torch_device() -> Any:
    """The GPU, or the CPU where there is none."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
