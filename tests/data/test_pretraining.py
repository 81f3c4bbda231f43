"""Batches for pretraining, checked token by token."""

import itertools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import SPECIAL, WORDS, make_corpus, serialize_batch

from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus, to_grain
from keras_bert_impl.errors import InputError

CLS, SEP, MASK = 2, 3, 4
BATCH, LENGTH = 13, 67


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    return make_corpus(tmp_path_factory.mktemp("made"), documents=53, sentences=(1, 31), tokens=(2, 23))


def make_batches(corpus: TokenCorpus, *, steps: int = 200, seed: int = 1, **objective: Any) -> PretrainingBatches:
    return PretrainingBatches(
        corpus, batch_size=BATCH, objective=Objective(max_length=LENGTH, **objective), seed=seed, steps=steps
    )


def unmask(inputs: dict, labels: dict, weights: dict) -> np.ndarray:
    """The ids before masking, restored from labels and positions."""
    ids = inputs["input_ids"].copy()
    row, slot = np.nonzero(weights["prediction_logits"])
    ids[row, inputs["masked_lm_positions"][row, slot]] = labels["prediction_logits"][row, slot]
    return ids


def check_sequence(ids: np.ndarray, types: np.ndarray, label: int) -> None:
    """``[CLS] a [SEP] b [SEP]``, segments of the corpus, the second after the first if they are consecutive."""
    assert ids[0] == CLS
    assert ids[-1] == SEP
    first_sep, last_sep = np.flatnonzero(ids == SEP)
    np.testing.assert_array_equal(types, np.arange(len(ids)) > first_sep)
    a, b = ids[1:first_sep] - len(SPECIAL), ids[first_sep + 1 : last_sep] - len(SPECIAL)
    for segment in (a, b):
        assert len(segment)
        assert (np.diff(segment) % WORDS == 1).all()
    # Token ids rise through the corpus, so that those of a consecutive segment closely follow the first's.
    if label == 0:
        assert (b[0] - a[-1]) % WORDS <= 2 * 23


@pytest.mark.parametrize("whole_words", [True, False])
def test_rows(corpus: TokenCorpus, whole_words: bool) -> None:
    source = make_batches(corpus, whole_words=whole_words)
    for k in range(0, 200, 9):
        inputs, labels, weights = source[k]
        assert inputs["input_ids"].shape == (BATCH, LENGTH)
        ids, mask = unmask(inputs, labels, weights), inputs["attention_mask"]
        lengths = mask.sum(axis=1)
        np.testing.assert_array_equal(mask, np.arange(LENGTH) < lengths[:, None])
        assert not ids[mask == 0].any()
        for row in range(BATCH):
            n = lengths[row]
            check_sequence(ids[row, :n], inputs["token_type_ids"][row, :n], labels["seq_relationship_logits"][row])
        assert (weights["seq_relationship_logits"] == 1).all()


def test_packed_rows(corpus: TokenCorpus) -> None:
    source = make_batches(corpus, packing=True)
    sequences = 0
    for k in range(0, 150, 9):
        inputs, labels, weights = source[k]
        ids, number = unmask(inputs, labels, weights), inputs["sequence_ids"]
        np.testing.assert_array_equal(inputs["attention_mask"], number > 0)
        assert not ids[number == 0].any()
        for row in range(BATCH):
            is_used = weights["seq_relationship_logits"][row].astype(bool)
            assert is_used.sum() == number[row].max()
            # Each sequence is contiguous, in order, with positions from 0 on.
            real = number[row][number[row] > 0]
            assert (np.diff(real) >= 0).all()
            for i in np.flatnonzero(is_used):
                columns = np.flatnonzero(number[row] == i + 1)
                assert columns[0] == inputs["next_sentence_positions"][row, i]
                np.testing.assert_array_equal(inputs["position_ids"][row, columns], np.arange(len(columns)))
                check_sequence(
                    ids[row, columns],
                    inputs["token_type_ids"][row, columns],
                    labels["seq_relationship_logits"][row, i],
                )
                sequences += 1
    assert sequences > 1.1 * 17 * BATCH  # There is something to pack in this corpus.


@pytest.mark.parametrize("packing", [False, True])
def test_predictions(corpus: TokenCorpus, packing: bool) -> None:
    source = make_batches(corpus, packing=packing, max_predictions=9, short_fraction=0.0)
    chosen = shown = kept = text = 0
    for k in range(150):
        inputs, labels, weights = source[k]
        positions, is_used = inputs["masked_lm_positions"], weights["prediction_logits"] > 0
        assert positions.shape == (BATCH, 9)
        for row in range(BATCH):
            found = positions[row, is_used[row]]
            assert (np.diff(found) > 0).all()
            assert not positions[row, ~is_used[row]].any()
        original = labels["prediction_logits"][is_used]
        assert (original >= len(SPECIAL)).all()  # Never special tokens.
        seen = np.take_along_axis(inputs["input_ids"], positions, axis=1)[is_used]
        chosen += len(original)
        shown += (seen == MASK).sum()
        kept += (seen == original).sum()
        text += (unmask(inputs, labels, weights) >= len(SPECIAL)).sum()
    assert abs(chosen / text - 9 / 64) < 0.015  # The maximum of a row, in full rows.
    assert abs(shown / chosen - 0.8) < 4 * 0.4 / np.sqrt(chosen)
    assert abs(kept / chosen - 0.1) < 4 * 0.3 / np.sqrt(chosen) + 1 / WORDS


@pytest.mark.parametrize("packing", [False, True])
def test_masked_lm_alone(corpus: TokenCorpus, packing: bool) -> None:
    """Rows of ``[CLS] a [SEP]``; an epoch has every token of the corpus once, unless rows are packed."""
    source = make_batches(corpus, kind="mlm", packing=packing)
    names = {"input_ids", "token_type_ids", "attention_mask", "masked_lm_positions"}
    names |= {"position_ids", "sequence_ids"} if packing else set()
    visited = []
    for k in range(source.per_epoch):
        inputs, labels, weights = source[k]
        assert (inputs.keys(), labels.keys(), weights.keys()) == (names, {"logits"}, {"logits"})
        row, slot = np.nonzero(weights["logits"])
        ids = inputs["input_ids"].copy()
        ids[row, inputs["masked_lm_positions"][row, slot]] = labels["logits"][row, slot]
        assert not inputs["token_type_ids"].any()
        numbers = inputs["sequence_ids"] if packing else inputs["attention_mask"]
        np.testing.assert_array_equal(inputs["attention_mask"], numbers > 0)
        for number, tokens in zip(numbers, ids, strict=True):
            assert not tokens[number == 0].any()
            for i in range(1, number.max() + 1):
                sequence = tokens[number == i]
                assert (sequence[0], sequence[-1]) == (CLS, SEP)
                assert (np.diff(sequence[1:-1]) % WORDS == 1).all()
                assert 1 <= len(sequence) - 2 <= LENGTH - 2
                visited.append(sequence[1:-1])
    counts = np.bincount(np.concatenate(visited), minlength=len(SPECIAL) + WORDS)[len(SPECIAL) :]
    total = np.bincount(np.concatenate(corpus._tokens))[len(SPECIAL) :]
    assert (counts <= total).all()
    # The last chunks of an epoch do not fill a batch; packed rows omit sequences that do not fit.
    assert total.sum() - counts.sum() < (0.15 * total.sum() if packing else BATCH * LENGTH)


def test_special_tokens_in_the_corpus_are_not_predicted(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, documents=40, sentences=(4, 20), tokens=(3, 11))
    corpus._tokens = [np.where(tokens % 5 == 0, tokens % 4, tokens) for tokens in corpus._tokens]
    source = make_batches(corpus)
    for k in range(40):
        _, labels, weights = source[k]
        assert (labels["prediction_logits"][weights["prediction_logits"] > 0] >= len(SPECIAL)).all()


def test_rows_are_full_on_long_documents(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, documents=19, sentences=(150, 300), tokens=(5, 40))
    source = make_batches(corpus, packing=True)
    assert np.mean([source[k][0]["attention_mask"].mean() for k in range(50)]) > 0.98


@pytest.mark.parametrize(("kind", "packing"), [("mlm-nsp", False), ("mlm-nsp", True), ("mlm", True)])
def test_a_batch_depends_on_seed_and_number_alone(corpus: TokenCorpus, kind: str, packing: bool) -> None:
    """The same in other processes, in any order, over several epochs."""
    numbers = [0, 131, 7, 64, 199]
    source = make_batches(corpus, kind=kind, packing=packing)
    expected = [serialize_batch(source, k) for k in numbers]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        others = list(pool.map(serialize_batch, itertools.repeat(source), reversed(numbers)))
    assert others[::-1] == expected
    assert len(set(expected)) == len(numbers)
    assert source.per_epoch < 131  # Several epochs were compared.
    for k, batch in zip(range(60, 66), iter(to_grain(source, start=60)), strict=False):
        np.testing.assert_array_equal(batch[0]["input_ids"], source[k][0]["input_ids"])
    other = make_batches(corpus, kind=kind, packing=packing, seed=2)
    assert (other[0][0]["input_ids"] != source[0][0]["input_ids"]).any()


def test_an_epoch_visits_every_chunk_once(corpus: TokenCorpus) -> None:
    source = make_batches(corpus)
    chunks = np.concatenate([source._select_chunks(k) for k in range(source.per_epoch)])
    assert len(set(chunks.tolist())) == len(chunks) == BATCH * source.per_epoch
    again = np.concatenate([source._select_chunks(k) for k in range(source.per_epoch, 2 * source.per_epoch)])
    assert (again != chunks).any()


def test_only_the_selected_documents(corpus: TokenCorpus) -> None:
    train, held_out = corpus.split_documents(0.2, seed=1)
    starts = corpus.sentence_starts[corpus.document_starts]
    for part, other in ((train, held_out), (held_out, train)):
        source = PretrainingBatches(
            corpus, documents=part, batch_size=5, objective=Objective(max_length=LENGTH), steps=99
        )
        drawn = source._sampler.draw(np.random.default_rng(1), np.arange(len(source._sampler)), short=0.1)
        found = set((np.searchsorted(starts, drawn.start, side="right") - 1).ravel().tolist())
        assert found <= set(part.tolist())
        assert not found & set(other.tolist())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 7}, "max_length is 7; a pair needs at least 8 tokens"),
        ({"masked_fraction": 1.5}, "masked_fraction is 1.5; a fraction from 0 to 1"),
        ({"short_fraction": -1}, "short_fraction is -1"),
        ({"max_predictions": 0}, "max_predictions is 0; 1 to max_length"),
        ({"kind": "clm"}, "kind is 'clm'; mlm-nsp or mlm was expected"),
    ],
)
def test_objectives_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective(**changes)


def test_names_of_settings_on_disk() -> None:
    """``metrics.json`` and saved states of earlier versions contain these names."""
    assert Objective(masked_fraction=0.2, short_fraction=0.3).to_dict() == {
        "max_length": 128,
        "masked_share": 0.2,
        "max_predictions": None,
        "whole_words": True,
        "short_share": 0.3,
        "packing": False,
    }
    assert Objective(kind="mlm").to_dict()["kind"] == "mlm"


def test_too_little_text_for_a_batch(corpus: TokenCorpus) -> None:
    with pytest.raises(InputError, match=r"pairs of 128 tokens; a batch needs 9,999"):
        PretrainingBatches(corpus, batch_size=9999, steps=1)
    with pytest.raises(InputError, match=r"chunks of 128 tokens; a batch needs 9,999"):
        PretrainingBatches(corpus, batch_size=9999, objective=Objective(kind="mlm"), steps=1)
