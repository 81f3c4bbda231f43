"""Retrieval with all-MiniLM-L6-v2 on XQuAD, compared with sentence-transformers, and after reranking.

    python benchmarks/retrieval.py CHECKPOINT xquad.en.json

First both libraries search all paragraphs with all questions: MRR@10, nDCG@10 and recall. Then a cross-encoder is
trained from the same checkpoint on the questions of 40 articles with mined hard negatives, and orders the 20 best
candidates of the questions of the other 8 articles, among the paragraphs of these 8 articles. Targets: the metrics of
both libraries are equal to four digits; MRR@10 is higher after reranking.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from embedding_data import (
    TRAIN_ARTICLES,
    Retrieval,
    compute_mrr,
    format_verdict,
    make_peer_evaluator,
    make_queries,
    read_questions,
    run_in_process,
)
from report import make_table, write

METRICS = ("mrr@10", "ndcg@10", "recall@1", "recall@10")
CANDIDATES = 20


def evaluate_with_peer(checkpoint: Path, data: Retrieval) -> dict[str, float]:
    """The metrics of sentence-transformers, in a process with torch."""
    from sentence_transformers import SentenceTransformer

    scores = make_peer_evaluator(data)(SentenceTransformer(str(checkpoint), device="cpu"))
    return {name: float(scores[f"cosine_{name}"]) for name in METRICS}


def train_reranker(model: Any, checkpoint: Path, file: Path, output: Path, *, epochs: int, negatives: int) -> None:
    """Trains a cross-encoder on the questions of the first articles; the last four of them are the validation data."""
    from keras_bert_impl.prediction import MiningSettings, mine_hard_negatives
    from keras_bert_impl.training import FineTuningSettings, finetune

    splits = []
    for articles in (slice(TRAIN_ARTICLES - 4), slice(TRAIN_ARTICLES - 4, TRAIN_ARTICLES)):
        data = read_questions(file, articles)
        pairs = {"text": data.questions, "positive": [data.paragraphs[number] for number in data.answers]}
        settings = MiningSettings(num_negatives=negatives, output_format="labeled-pair")
        splits.append(mine_hard_negatives(model, pairs, settings=settings))
    finetune(
        checkpoint,
        task="reranking",
        train=splits[0],
        valid=splits[1],
        output=output,
        settings=FineTuningSettings(epochs=epochs, learning_rate=1e-4, max_length=256),
    )


def rank(model: Any, reranker: Any, data: Retrieval) -> tuple[list[list[int]], list[list[int]]]:
    """The numbers of the best paragraphs of each question, before and after reranking."""
    from keras_bert_impl.prediction import semantic_search

    queries, documents = model.encode_query(data.questions), model.encode_document(data.paragraphs)
    found = semantic_search(queries, documents, top_k=CANDIDATES, score_function=model.similarity)
    before = [[entry["corpus_id"] for entry in entries] for entries in found]
    pairs = [
        (question, data.paragraphs[number])
        for question, numbers in zip(data.questions, before, strict=True)
        for number in numbers
    ]
    scores = reranker.predict(pairs).reshape(len(before), -1)
    after = [
        [numbers[place] for place in np.argsort(-row, kind="stable")]
        for numbers, row in zip(before, scores, strict=True)
    ]
    return before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("questions", type=Path, help="xquad.en.json")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--negatives", type=int, default=4, help="mined negatives per question")
    parser.add_argument("--reranker", type=Path, help="the run of an earlier call, which is not trained again")
    arguments = parser.parse_args()

    from keras_bert_impl import BertForSentenceEmbedding
    from keras_bert_impl.prediction import Predictor, Reranker

    data = read_questions(arguments.questions)
    theirs = run_in_process(evaluate_with_peer, arguments.checkpoint, data)
    scores = Predictor(arguments.checkpoint, task="embedding").score(make_queries(data))
    ours = {name: scores[name] for name in METRICS}

    model = BertForSentenceEmbedding.from_pretrained(arguments.checkpoint)
    held_out = read_questions(arguments.questions, slice(TRAIN_ARTICLES, None))
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.reranker or Path(scratch, "reranker")
        if not directory.exists():
            options = {"epochs": arguments.epochs, "negatives": arguments.negatives}
            train_reranker(model, arguments.checkpoint, arguments.questions, directory, **options)
        before, after = rank(model, Reranker(directory, max_length=256), held_out)
    mrr_before, mrr_after = (compute_mrr(rankings, held_out.answers) for rankings in (before, after))
    first = [
        np.mean([r[0] == a for r, a in zip(rankings, held_out.answers, strict=True)]) for rankings in (before, after)
    ]

    equal = all(round(ours[name], 4) == round(theirs[name], 4) for name in METRICS)
    rows = [(name, f"{ours[name]:.6f}", f"{theirs[name]:.6f}") for name in METRICS]
    write(
        "Retrieval on XQuAD",
        "\n".join(
            [
                format_verdict("the metrics of both libraries are equal to four digits", equal),
                format_verdict(
                    f"MRR@10 {mrr_before:.4f} before and {mrr_after:.4f} after reranking", mrr_after > mrr_before
                ),
            ]
        ),
        f"## All questions\n\n{len(data.paragraphs)} paragraphs, {len(data.questions):,} questions.\n\n"
        + make_table(("metric", "keras_bert_impl", "sentence-transformers"), rows),
        f"## Held-out questions\n\n{len(held_out.paragraphs)} paragraphs, {len(held_out.questions)} questions; the "
        f"cross-encoder orders {CANDIDATES} candidates. It was trained for {arguments.epochs} epochs with "
        f"{arguments.negatives} mined negatives per question.\n\n"
        + make_table(
            ("ranking", "MRR@10", "recall@1"),
            [
                ("embedding model", f"{mrr_before:.4f}", f"{first[0]:.4f}"),
                ("reranked", f"{mrr_after:.4f}", f"{first[1]:.4f}"),
            ],
        ),
    )


if __name__ == "__main__":
    main()
