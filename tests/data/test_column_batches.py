"""Batches of pairs and triplets: columns with their own padding, and no text twice in a batch."""

import dataclasses
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_bert_impl.data import BatchSplitter, ColumnBatches, ColumnFeatures, Ragged


def make_features(texts: np.ndarray, *, lengths: tuple[int, ...] | None = None, seed: int = 7) -> ColumnFeatures:
    """Examples of texts with these numbers. A text begins with its number, and has up to 17 tokens."""
    draw = np.random.default_rng(seed)
    pool = int(texts.max()) + 1
    rows = [[i, *draw.integers(1, 50, draw.integers(0, 17) if lengths is None else lengths[i])] for i in range(pool)]
    ids = Ragged.from_rows(rows, dtype=np.int32)
    inputs = {"input_ids": ids, "attention_mask": Ragged(np.ones_like(ids.flat), ids.offsets)}
    labels = {"sentence_embedding": np.arange(len(texts), dtype=np.float32)}
    return ColumnFeatures(inputs, labels, {}, np.arange(len(texts)), columns=texts)


def make_questions(questions: int = 119, paragraphs: int = 24) -> np.ndarray:
    """Questions that each occur once, on paragraphs that occur about five times, as in XQuAD."""
    numbers = np.arange(questions)
    return np.stack([paragraphs + numbers, numbers * paragraphs // questions], axis=1)


def test_each_column_is_padded_to_its_own_longest_text() -> None:
    texts = make_questions()
    lengths = tuple([17 + i % 11 for i in range(24)] + [2 + i % 5 for i in range(119)])
    features = make_features(texts, lengths=lengths)
    assert not features.is_merged
    np.testing.assert_array_equal(features.lengths, 2 + np.array(lengths)[texts].sum(axis=1))
    batches = ColumnBatches(features, 8, seed=5)
    assert len(batches) == 15
    for k in range(len(batches)):
        inputs, labels = batches[k]
        rows = batches.get_rows(k)
        assert list(inputs) == ["input_ids_0", "attention_mask_0", "input_ids_1", "attention_mask_1"]
        np.testing.assert_array_equal(labels["sentence_embedding"], rows)
        for n in (0, 1):
            ids, mask = inputs[f"input_ids_{n}"], inputs[f"attention_mask_{n}"]
            np.testing.assert_array_equal(ids[:, 0], texts[rows, n])
            np.testing.assert_array_equal(mask.sum(axis=1), 1 + np.array(lengths)[texts[rows, n]])
            assert mask.any(axis=0).all()


def test_similar_columns_are_padded_to_the_same_length() -> None:
    features = make_features(np.arange(102).reshape(51, 2))
    assert features.is_merged
    batches = ColumnBatches(features, 8, seed=5)
    for k in range(len(batches)):
        first, second = (batches[k][0][f"attention_mask_{n}"] for n in (0, 1))
        assert first.shape == second.shape
        assert (first | second).any(axis=0).all()
    # Sorted by length within 64 batches, as other tasks' batches are.
    widths = [batches[k][0]["input_ids_0"].shape[1] for k in range(len(batches))]
    assert min(widths) < 0.5 * max(widths)


def test_allowed_lengths() -> None:
    batches = ColumnBatches(
        make_features(make_questions(), lengths=(*[20] * 24, *[5] * 119)), 8, seed=5, lengths=(8, 16)
    )
    inputs, _ = batches[0]
    assert inputs["input_ids_0"].shape == (8, 8)
    assert inputs["input_ids_1"].shape == (8, 21)


def test_the_spec_describes_all_batches() -> None:
    batches = ColumnBatches(make_features(make_questions()), 8, seed=5)
    spec = batches.get_spec()
    for part, expected in zip(batches[0], spec, strict=True):
        assert list(part) == list(expected)
        for name, values in part.items():
            shape, dtype = expected[name]
            assert dtype == values.dtype
            assert len(shape) == values.ndim
    assert spec[0]["input_ids_1"][0] == (None, None)


@pytest.mark.parametrize("batch_size", [4, 8, 16])
@pytest.mark.parametrize("seed", range(5))
def test_no_text_is_twice_in_a_batch(batch_size: int, seed: int) -> None:
    texts = make_questions()
    batches = ColumnBatches(make_features(texts), batch_size, seed=seed, epochs=3, unique=True)
    assert batches.per_epoch == -(-119 // batch_size)
    assert len(batches) == 3 * batches.per_epoch
    for epoch in range(3):
        rows = [batches.get_rows(k) for k in range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)]
        for each in rows:
            assert 1 < len(each) <= batch_size
            assert len(np.unique(texts[each])) == 2 * len(each)
            assert (np.diff(batches.features.lengths[each]) >= 0).all()
        used = np.concatenate(rows)
        assert len(np.unique(used)) == len(used) == 119 - batches.count_left_out(epoch)
        assert batches.count_left_out(epoch) <= 2
    # An example that is left out of one epoch is in another.
    assert len({row for k in range(len(batches)) for row in batches.get_rows(k)}) == 119


def test_epochs_and_seeds_make_different_batches() -> None:
    features = make_features(make_questions())
    batches = ColumnBatches(features, 8, seed=5, epochs=2, unique=True)
    first = [batches.get_rows(k).tolist() for k in range(batches.per_epoch)]
    assert first != [batches.get_rows(k + batches.per_epoch).tolist() for k in range(batches.per_epoch)]
    assert first != [ColumnBatches(features, 8, seed=6, unique=True).get_rows(k).tolist() for k in range(len(first))]


def test_a_text_that_is_in_more_examples_than_there_are_batches() -> None:
    texts = np.stack([np.arange(2, 32), np.where(np.arange(30) < 9, 0, np.arange(32, 62))], axis=1)
    batches = ColumnBatches(make_features(texts), 8, seed=5, unique=True)
    assert batches.per_epoch == 9  # Instead of 4.
    assert batches.count_left_out() == 0
    sizes = [len(batches.get_rows(k)) for k in range(9)]
    assert sum(sizes) == 30
    assert 2 <= min(sizes) <= max(sizes) <= 5


def test_a_text_in_both_columns_of_one_example_is_no_duplicate() -> None:
    texts = np.array([[0, 0], [1, 2], [3, 1]])
    batches = ColumnBatches(make_features(texts), 3, seed=5, unique=True)
    assert batches.per_epoch == 2
    assert sorted(len(batches.get_rows(k)) for k in range(2)) == [1, 2]


def test_equal_texts_with_different_prompts_are_duplicates() -> None:
    features = make_features(np.array([[0, 1], [2, 3], [4, 5]]))
    same = dataclasses.replace(features, texts=np.array([[0, 1], [1, 3], [4, 5]]))
    assert ColumnBatches(features, 3, seed=5, unique=True).per_epoch == 1
    assert ColumnBatches(same, 3, seed=5, unique=True).per_epoch == 2


DIGEST = """
import hashlib, sys
sys.path.insert(0, {folder!r})
from test_column_batches import ColumnBatches, make_features, make_questions
batches = ColumnBatches(make_features(make_questions()), 8, seed=5, epochs=3, unique=True)
print(hashlib.sha256(b"".join(batches[k][0]["input_ids_1"].tobytes() for k in range(20, 39))).hexdigest())
"""


def test_another_process_makes_the_same_batches() -> None:
    script = DIGEST.format(folder=str(Path(__file__).parent))
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    batches = ColumnBatches(make_features(make_questions()), 8, seed=5, epochs=3, unique=True)
    assert hashlib.sha256(b"".join(batches[k][0]["input_ids_1"].tobytes() for k in range(20, 39))).hexdigest() == other


def test_many_examples_take_seconds() -> None:
    count = 20_000
    texts = np.stack([count + np.arange(count), np.random.default_rng(1).integers(0, count // 4, count)], axis=1)
    batches = ColumnBatches(make_features(texts, lengths=(1,) * 2 * count), 32, seed=5, unique=True)
    start = time.perf_counter()
    batches.get_rows(0)
    assert time.perf_counter() - start < 10
    assert batches.count_left_out() < 10


def test_parts_of_batches() -> None:
    """`BatchSplitter` splits all columns alike, and pads with rows of weight 0."""
    batches = ColumnBatches(make_features(make_questions()), 8, seed=5, unique=True)
    sizes = [len(batches.get_rows(k)) for k in range(len(batches))]
    number = int(np.argmin(sizes))
    assert sizes[number] < 8
    splitter = BatchSplitter(batches, 2, accumulate=2)
    parts = [splitter[2 * number + part] for part in (0, 1)]
    ids = {n: np.concatenate([part[0][f"input_ids_{n}"][:, 0] for part in parts]) for n in (0, 1)}
    weights = np.concatenate([part[2]["sentence_embedding"] for part in parts])
    rows = batches.get_rows(number)
    for n in (0, 1):
        np.testing.assert_array_equal(ids[n][: len(rows)], batches.features.columns[rows, n])
    np.testing.assert_array_equal(weights > 0, np.arange(8) < len(rows))
