"""Retrieval with all-MiniLM-L6-v2 on XQuAD, compared with sentence-transformers, and after reranking.

    python benchmarks/retrieval.py CHECKPOINT xquad.en.json

First both libraries search all paragraphs with all questions: MRR@10, nDCG@10 and recall. Then a cross-encoder is
trained from the same checkpoint on the questions of 40 articles, and orders the 10 best paragraphs, among all, for the
questions of the other 8 articles. Targets: the metrics of both libraries are equal to four digits; MRR@10 is higher
after reranking.

The checkpoint has read single texts only, so the cross-encoder is trained in two stages. With mined negatives alone,
two epochs do not get below the loss of a constant score. The first stage has single sentences and easy negatives:
sentences against some of their words, and questions against the sentence with the answer. The second has paragraphs
and mined negatives.
"""

import argparse
import dataclasses
import random
import re
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
    read_paragraphs,
    read_questions,
    run_in_process,
)
from report import make_table, write

METRICS = ("mrr@10", "ndcg@10", "recall@1", "recall@10")
CANDIDATES = 10
# The last four of the articles for training are the validation data.
_SPLITS = (slice(TRAIN_ARTICLES - 4), slice(TRAIN_ARTICLES - 4, TRAIN_ARTICLES))
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"\d])")


def evaluate_with_peer(checkpoint: Path, data: Retrieval) -> dict[str, float]:
    """The metrics of sentence-transformers, in a process with torch."""
    from sentence_transformers import SentenceTransformer

    scores = make_peer_evaluator(data)(SentenceTransformer(str(checkpoint), device="cpu"))
    return {name: float(scores[f"cosine_{name}"]) for name in METRICS}


def make_sentence_pairs(path: Path, articles: slice) -> dict[str, list[str]]:
    """Labeled pairs of the first stage: a question and a sentence; some words of a sentence and a sentence.

    A question has the sentence with its answer, two others of the paragraph and two of any paragraph; some words have
    their sentence and the next one.
    """
    draw = random.Random(1)
    paragraphs = read_paragraphs(path, articles)
    split = [_SENTENCE_END.split(paragraph["context"]) for paragraph in paragraphs]
    sentences = [sentence for of_paragraph in split for sentence in of_paragraph]
    rows: list[tuple[str, str, str]] = []
    for paragraph, of_paragraph in zip(paragraphs, split, strict=True):
        for entry in paragraph["qas"]:
            # The first character of the answer shows whether a sentence starts with it.
            before = paragraph["context"][: entry["answers"][0]["answer_start"] + 1]
            answer = len(_SENTENCE_END.findall(before))
            others = of_paragraph[:answer] + of_paragraph[answer + 1 :]
            negatives = draw.sample(others, min(2, len(others))) + draw.choices(sentences, k=2)
            rows.append((entry["question"], of_paragraph[answer], "1"))
            rows += [(entry["question"], sentence, "0") for sentence in negatives]
    for sentence, other in zip(sentences, sentences[1:] + sentences[:1], strict=True):
        words = sentence.split()
        query = " ".join(word for word in words if draw.random() < 0.4) or words[0]
        rows += [(query, sentence, "1"), (query, other, "0")]
    return dict(zip(("text", "text_pair", "label"), map(list, zip(*rows, strict=True)), strict=True))


def mine_paragraph_pairs(model: Any, path: Path, articles: slice) -> dict[str, list[str]]:
    """Labeled pairs of the second stage: a question, its paragraph and three mined ones."""
    from keras_bert_impl.prediction import MiningSettings, mine_hard_negatives

    data = read_questions(path, articles)
    pairs = {"text": data.questions, "positive": [data.paragraphs[number] for number in data.answers]}
    return mine_hard_negatives(model, pairs, settings=MiningSettings(num_negatives=3, output_format="labeled-pair"))


def train_reranker(model: Any, checkpoint: Path, path: Path, output: Path) -> None:
    """Trains a cross-encoder in two stages; the run of the first is ``output`` with ``-sentences`` at its end."""
    from keras_bert_impl.training import FineTuningSettings, finetune

    first = output.with_name(f"{output.name}-sentences")
    train, valid = (make_sentence_pairs(path, articles) for articles in _SPLITS)
    settings = FineTuningSettings(epochs=2, learning_rate=1e-4, max_length=128)
    finetune(checkpoint, task="reranking", train=train, valid=valid, output=first, settings=settings)
    train, valid = (mine_paragraph_pairs(model, path, articles) for articles in _SPLITS)
    settings = FineTuningSettings(epochs=1, learning_rate=5e-5, max_length=256)
    finetune(first, task="reranking", train=train, valid=valid, output=output, settings=settings)


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
    parser.add_argument("--reranker", type=Path, help="directory for the run; one that exists is not trained again")
    arguments = parser.parse_args()

    from keras_bert_impl import BertForSentenceEmbedding
    from keras_bert_impl.prediction import Predictor, Reranker

    data = read_questions(arguments.questions)
    theirs = run_in_process(evaluate_with_peer, arguments.checkpoint, data)
    scores = Predictor(arguments.checkpoint, task="embedding").score(make_queries(data))
    ours = {name: scores[name] for name in METRICS}

    model = BertForSentenceEmbedding.from_pretrained(arguments.checkpoint)
    first = len(read_questions(arguments.questions, slice(TRAIN_ARTICLES)).questions)
    held_out = dataclasses.replace(data, questions=data.questions[first:], answers=data.answers[first:])
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.reranker or Path(scratch, "reranker")
        if not directory.exists():
            train_reranker(model, arguments.checkpoint, arguments.questions, directory)
        rankings = rank(model, Reranker(directory, max_length=256), held_out)
    mrr_before, mrr_after = (compute_mrr(ranking, held_out.answers) for ranking in rankings)
    recall_before, recall_after = (
        np.mean([numbers[0] == answer for numbers, answer in zip(ranking, held_out.answers, strict=True)])
        for ranking in rankings
    )

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
        f"## Held-out questions\n\n{len(held_out.answers)} questions, {len(data.paragraphs)} paragraphs; the "
        f"cross-encoder orders {CANDIDATES} candidates of each question.\n\n"
        + make_table(
            ("ranking", "MRR@10", "recall@1"),
            [
                ("embedding model", f"{mrr_before:.4f}", f"{recall_before:.4f}"),
                ("reranked", f"{mrr_after:.4f}", f"{recall_after:.4f}"),
            ],
        ),
    )


if __name__ == "__main__":
    main()
