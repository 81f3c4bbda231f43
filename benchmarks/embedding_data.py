"""The data of the benchmarks of embeddings, and calls of functions in a separate process."""

import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of XQuAD's 48 articles, the last ones are held out.
TRAIN_ARTICLES = 40


@dataclass(frozen=True)
class Retrieval:
    """Paragraphs, questions, and for each question the number of its paragraph."""

    paragraphs: list[str]
    questions: list[str]
    answers: list[int]


def read_sts(path: Path) -> tuple[list[str], list[str], list[float]]:
    """Reads STS-B as CSV without a header: the first texts, the second texts and the scores, 0 to 5."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [row[0] for row in rows], [row[1] for row in rows], [float(row[2]) for row in rows]


def read_paragraphs(path: Path, articles: slice = slice(None)) -> list[dict[str, Any]]:
    """Reads the paragraphs of some articles of a SQuAD file: the text ``context`` and the questions ``qas`` of each."""
    data = json.loads(path.read_text(encoding="utf-8"))["data"][articles]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def read_questions(path: Path, articles: slice = slice(None)) -> Retrieval:
    """Reads paragraphs and questions of some articles of a SQuAD file, such as ``xquad.en.json``."""
    entries = read_paragraphs(path, articles)
    pairs = [(entry["question"], number) for number, paragraph in enumerate(entries) for entry in paragraph["qas"]]
    return Retrieval(
        [paragraph["context"] for paragraph in entries],
        [question for question, _ in pairs],
        [number for _, number in pairs],
    )


def run_in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of a module in a new process: torch and TensorFlow may crash in one."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def make_queries(data: Retrieval) -> dict[str, Any]:
    """Columns as `read_beir` returns them: a row per question, with all paragraphs as its corpus."""
    from keras_bert_impl.data.retrieval import Corpus

    ids = tuple(f"d{number:06}" for number in range(len(data.paragraphs)))
    corpus = Corpus(ids, tuple(data.paragraphs))
    return {
        "location": [f"question {number}" for number in range(len(data.questions))],
        "text": data.questions,
        "query_id": [f"q{number}" for number in range(len(data.questions))],
        "corpus": [corpus] * len(data.questions),
        "relevant": [{ids[number]: 1} for number in data.answers],
    }


def make_peer_evaluator(data: Retrieval) -> Any:
    """The evaluator of sentence-transformers for the same data; its results are ``cosine_mrr@10`` and so on."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    return InformationRetrievalEvaluator(
        {f"q{number}": text for number, text in enumerate(data.questions)},
        {f"d{number:06}": text for number, text in enumerate(data.paragraphs)},
        {f"q{number}": {f"d{answer:06}"} for number, answer in enumerate(data.answers)},
        write_csv=False,
    )


def format_verdict(text: str, is_reached: bool) -> str:
    """A line that says whether a target is reached."""
    return f"- {text}: {'reached' if is_reached else '**missed**'}"


def compute_mrr(rankings: Sequence[Sequence[int]], answers: Sequence[int]) -> float:
    """The mean reciprocal rank at 10 of the paragraph that answers each question."""
    ranks = [
        list(ranking[:10]).index(answer) + 1 if answer in ranking[:10] else None
        for ranking, answer in zip(rankings, answers, strict=True)
    ]
    return sum(1 / rank for rank in ranks if rank) / len(ranks)


def make_pairs(rows: int, lengths: Sequence[tuple[int, int]], *, seed: int = 1) -> Any:
    """Pairs of random tokens, as `ColumnFeatures`.

    Args:
        rows: number of pairs.
        lengths: for the first and the second texts, the lowest and the highest number of tokens.
        seed: seed of the tokens.
    """
    import numpy as np

    from keras_bert_impl.data import ColumnFeatures, Ragged

    draw = np.random.default_rng(seed)
    texts = [draw.integers(1000, 30000, draw.integers(low, high + 1)) for low, high in lengths for _ in range(rows)]
    ids = Ragged.from_rows(texts, dtype=np.int32)
    inputs = {"input_ids": ids, "attention_mask": Ragged(np.ones_like(ids.flat), ids.offsets)}
    labels = {"sentence_embedding": np.zeros(rows, np.float32)}
    columns = np.arange(2 * rows).reshape(2, rows).T
    return ColumnFeatures(inputs, labels, {}, np.arange(rows, dtype=np.int32), columns=columns)
