"""Vectors and scores compared with sentence-transformers: all-MiniLM, directories of every kind, cross-encoders.

    python benchmarks/embedding_equality.py CHECKPOINT --sts stsb-en-dev.csv     # all-MiniLM-L6-v2

sentence-transformers makes the directories over the weights of the checkpoint: each pooling, several poolings, dense
modules, normalization, prompts, and prompts that are not pooled. Both sides embed 200 film snippets and 20 texts that
are longer than the limit of 256 tokens. Targets: no number of a vector and no score of a cross-encoder differs by more
than 1e-5, and Spearman on STS-B dev is equal to four digits.
"""

import argparse
import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from embedding_data import format_verdict, read_sts, run_in_process
from report import make_table, write

MAX_DIFFERENCE = 1e-5
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
PROMPTS = {"query": "Represent this sentence for searching: ", "document": "passage: "}
# Name: pooling modes, modules after them, whether prompts are pooled, whether there are prompts.
DIRECTORIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool, bool]] = {
    **{f"pooling {mode}": ((mode,), (), True, False) for mode in POOLINGS},
    "pooling cls, mean and max": (("cls", "mean", "max"), (), True, False),
    "mean, normalize": (("mean",), ("normalize",), True, False),
    "mean, dense with tanh, normalize": (("mean",), ("tanh", "normalize"), True, False),
    "mean, dense without activation": (("mean",), ("linear",), True, False),
    "mean, normalize, dense with GELU": (("mean",), ("normalize", "gelu"), True, False),
    "prompts": (("mean",), ("normalize",), True, True),
    "mean, prompts not pooled": (("mean",), ("normalize",), False, True),
    "cls, prompts not pooled": (("cls",), (), False, True),
}
RERANKERS = ("Identity", "Sigmoid")
_SIZE = 256


def make_directories(checkpoint: Path, target: Path, texts: list[str], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Makes the directories with sentence-transformers, in a process with torch; returns its vectors and scores."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    activations = {"tanh": torch.nn.Tanh(), "linear": torch.nn.Identity(), "gelu": torch.nn.GELU()}
    results: dict[str, Any] = {}
    for name, (modes, modules, include_prompt, has_prompts) in DIRECTORIES.items():
        torch.manual_seed(1)
        transformer = Transformer(str(checkpoint), max_seq_length=256)
        size = transformer.get_embedding_dimension()
        parts: list[Any] = [transformer, Pooling(size, list(modes), include_prompt)]
        size *= len(modes)
        for module in modules:
            if module == "normalize":
                parts.append(Normalize())
            else:
                parts.append(Dense(size, _SIZE, activation_function=activations[module]))
                size = _SIZE
        model = SentenceTransformer(modules=parts, device="cpu", prompts=PROMPTS if has_prompts else None)
        model.save_pretrained(str(target / name), create_model_card=False)
        results[name] = _encode(model, texts, has_prompts)
    plain = target / "bert"  # Without the files of an embedding model.
    shutil.copytree(checkpoint, plain, ignore=shutil.ignore_patterns("modules.json", "*sentence*", "[0-9]_*"))
    for name in RERANKERS:
        torch.manual_seed(1)
        activation = getattr(torch.nn, name)()
        reranker = CrossEncoder(str(plain), num_labels=1, activation_fn=activation, device="cpu")
        reranker.save_pretrained(str(target / name), create_model_card=False)
        results[name] = reranker.predict(pairs)
    return results


def _encode(model: Any, texts: list[str], has_prompts: bool) -> np.ndarray:
    """Vectors of the texts; of a model with prompts, half of them are queries."""
    if not has_prompts:
        return model.encode(texts)
    half = len(texts) // 2
    return np.concatenate([model.encode_query(texts[:half]), model.encode_document(texts[half:])])


def encode_with_peer(checkpoint: Path, texts: list[str], sts: Any) -> tuple[np.ndarray, float]:
    """The vectors and Spearman of sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    model = SentenceTransformer(str(checkpoint), device="cpu")
    spearman = EmbeddingSimilarityEvaluator(*sts, write_csv=False)(model)["spearman_cosine"]
    return model.encode(texts), float(spearman)


def compute_spearman(checkpoint: Path, sts: Any) -> float:
    """Spearman of this package, as ``keras-bert evaluate`` computes it."""
    from keras_bert_impl.prediction import Predictor

    columns = {"text": sts[0], "text_pair": sts[1], "label": [str(score) for score in sts[2]]}
    return Predictor(checkpoint, task="embedding").score(columns)["spearman"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--sts", type=Path, required=True, help="stsb-en-dev.csv")
    parser.add_argument("--limit", type=int, default=200, help="number of film snippets")
    arguments = parser.parse_args()

    from keras_bert_impl import BertForSentenceEmbedding
    from keras_bert_impl.data import read_table
    from keras_bert_impl.prediction import Reranker
    from keras_bert_impl.recipes.quickstart import SNIPPETS

    snippets = read_table(SNIPPETS / "valid.tsv")["text"]
    texts = snippets[: arguments.limit] + [" ".join(snippets[start : start + 40]) for start in range(20)]
    # No pair is longer than the limit, so that neither side warns that it truncates.
    pairs = list(itertools.pairwise(snippets[: arguments.limit + 1]))
    sts = read_sts(arguments.sts)
    rows: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch)
        expected = run_in_process(make_directories, arguments.checkpoint, target, texts, pairs)
        for name, (_, _, _, has_prompts) in DIRECTORIES.items():
            model = BertForSentenceEmbedding.from_pretrained(target / name)
            vectors = _encode(model, texts, has_prompts)
            rows.append((name, float(np.abs(vectors - expected[name]).max()), float(np.abs(expected[name]).max())))
        for name in RERANKERS:
            scores = Reranker(target / name).predict(pairs)
            difference = float(np.abs(scores - expected[name]).max())
            rows.append((f"cross-encoder, {name}", difference, float(np.abs(expected[name]).max())))
    published, spearman_peer = run_in_process(encode_with_peer, arguments.checkpoint, texts, sts)
    vectors = BertForSentenceEmbedding.from_pretrained(arguments.checkpoint).encode(texts)
    name = f"{arguments.checkpoint.name}, as published"
    rows.insert(0, (name, float(np.abs(vectors - published).max()), float(np.abs(published).max())))
    spearman = compute_spearman(arguments.checkpoint, sts)

    largest = max(difference for _, difference, _ in rows)
    write(
        "Vectors compared with sentence-transformers",
        "\n".join(
            [
                format_verdict(
                    f"largest difference {largest:.1e}, at most {MAX_DIFFERENCE}", largest <= MAX_DIFFERENCE
                ),
                format_verdict(
                    f"Spearman on STS-B dev: {spearman:.6f}, sentence-transformers {spearman_peer:.6f}, equal to four "
                    "digits",
                    round(spearman, 4) == round(spearman_peer, 4),
                ),
            ]
        ),
        f"{arguments.limit} film snippets and 20 texts above 256 tokens; cross-encoders: {len(pairs)} pairs.",
        make_table(
            ("directory", "largest difference", "largest number"),
            [(name, f"{difference:.1e}", f"{largest_number:.3f}") for name, difference, largest_number in rows],
        ),
    )


if __name__ == "__main__":
    main()
