"""Batches: every row once per epoch, determined by seed and number, with little padding; outputs in the rows' order."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_bert_impl.data import BUCKETS, Features, LengthBatches, Ragged, read_table, restore_order
from keras_bert_impl.tokenization import BertTokenizer


def make_features(count: int = 101, longest: int = 37) -> Features:
    """Rows that begin with their own number, so that a batch shows which rows it contains."""
    generator = np.random.default_rng(7)
    rows = [np.r_[i, generator.integers(1, 50, generator.integers(0, longest))] for i in range(count)]
    ids = Ragged.from_rows(rows, dtype=np.int32)
    return Features(
        {"input_ids": ids}, {"logits": np.arange(count, dtype=np.int32)}, {}, np.arange(count, dtype=np.int32)
    )


def list_epoch(batches: LengthBatches, number: int) -> list[list[int]]:
    first = number * batches.per_epoch
    return [batches[k][1]["logits"].tolist() for k in range(first, first + batches.per_epoch)]


@pytest.mark.parametrize("seed", [None, 5])
def test_every_row_once_per_epoch(seed: int | None) -> None:
    batches = LengthBatches(make_features(), 8, seed=seed, epochs=3)
    assert batches.per_epoch == 13
    assert len(batches) == 39
    for number in range(3):
        rows = list_epoch(batches, number)
        assert sorted(row for batch in rows for row in batch) == list(range(101))
        assert sorted(map(len, rows)) == [5] + [8] * 12


def test_rows_and_labels_belong_together_and_padding_is_minimal() -> None:
    source = make_features()
    batches = LengthBatches(source, 8, seed=5)
    for k in range(len(batches)):
        inputs, labels = batches[k]
        np.testing.assert_array_equal(inputs["input_ids"][:, 0], labels["logits"])
        assert inputs["input_ids"].shape[1] == source.lengths[labels["logits"]].max()


def test_seeds_and_epochs_shuffle_differently() -> None:
    source = make_features()
    batches = LengthBatches(source, 8, seed=5, epochs=2)
    assert list_epoch(batches, 0) != list_epoch(batches, 1)
    assert list_epoch(batches, 0) != list_epoch(LengthBatches(source, 8, seed=6), 0)
    means = [source.lengths[rows].mean() for rows in list_epoch(batches, 0)]
    assert means != sorted(means)


def test_any_order_of_access_gives_the_same_batches() -> None:
    batches = LengthBatches(make_features(), 8, seed=5, epochs=3)
    forward = [batches[k][0]["input_ids"] for k in range(len(batches))]
    fresh = LengthBatches(make_features(), 8, seed=5, epochs=3)
    for k in reversed(range(len(batches))):
        np.testing.assert_array_equal(fresh[k][0]["input_ids"], forward[k])


DIGEST = """
import hashlib, sys
sys.path.insert(0, {folder!r})
from test_batches import LengthBatches, make_features
batches = LengthBatches(make_features(), 8, seed=5, epochs=3)
print(hashlib.sha256(b"".join(batches[k][0]["input_ids"].tobytes() for k in range(20, 39))).hexdigest())
"""


def test_another_process_makes_the_same_batches() -> None:
    script = DIGEST.format(folder=str(Path(__file__).parent))
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    batches = LengthBatches(make_features(), 8, seed=5, epochs=3)
    own = hashlib.sha256(b"".join(batches[k][0]["input_ids"].tobytes() for k in range(20, 39))).hexdigest()
    assert other == own


@pytest.mark.parametrize("k", [-1, 13])
def test_numbers_beyond_the_run_are_errors(k: int) -> None:
    with pytest.raises(IndexError, match=f"batch {k} does not exist; the batches are 0 to 12"):
        LengthBatches(make_features(), 8)[k]


def test_allowed_lengths() -> None:
    batches = LengthBatches(make_features(), 8, seed=5, lengths=(16, 24, 512))
    longest = int(make_features().lengths.max())
    assert {batches[k][0]["input_ids"].shape[1] for k in range(len(batches))} == {16, 24, longest}


def test_evaluation_has_the_longest_rows_first() -> None:
    batches = LengthBatches(make_features(), 8)
    lengths = [batches[k][0]["input_ids"].shape[1] for k in range(len(batches))]
    assert lengths == sorted(lengths, reverse=True)


def test_the_order_of_outputs_is_restored() -> None:
    source = make_features()
    batches = LengthBatches(source, 8, lengths=BUCKETS)
    per_row = restore_order(
        ({"logits": batches[k][0]["input_ids"][:, :1] * 2.5} for k in range(13)), batches, per_token=False
    )
    np.testing.assert_array_equal(per_row["logits"], np.arange(101)[:, None] * 2.5)
    outputs = ({"logits": np.stack([batches[k][0]["input_ids"]] * 3, axis=-1)} for k in range(13))
    per_token = restore_order(outputs, batches, per_token=True)["logits"]
    ids = source.inputs["input_ids"]
    assert isinstance(per_token, Ragged)
    np.testing.assert_array_equal(per_token.flat, np.stack([ids.flat] * 3, axis=-1))
    np.testing.assert_array_equal(per_token.offsets, ids.offsets)


def test_film_snippets_have_little_padding(minilm: Path, data_dir: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    texts = read_table(data_dir / "train.tsv", labeled=False)["text"]
    ids = Ragged.from_rows(tokenizer(texts, padding=False, max_length=128)["input_ids"], dtype=np.int32)
    batches = LengthBatches(Features({"input_ids": ids}, {}, {}, np.arange(len(ids))), 32, seed=3)
    padded = sum(batches[k][0]["input_ids"].size for k in range(len(batches)))
    assert padded / ids.offsets[-1] < 1.04


@pytest.mark.parametrize("lengths", [(), BUCKETS])
def test_batches_are_filled_by_tokens(lengths: tuple[int, ...]) -> None:
    rows = make_features(count=301)
    batches = LengthBatches(rows, 1, lengths=lengths, max_tokens=120)
    shapes = [batches[k][0]["input_ids"].shape for k in range(len(batches))]
    assert sorted(row for batch in list_epoch(batches, 0) for row in batch) == list(range(301))
    assert max(size * width for size, width in shapes) <= 120
    assert all((size + 1) * width > 120 for size, width in shapes[:-1])
    outputs = ({"logits": batches[k][1]["logits"]} for k in range(len(batches)))
    assert restore_order(outputs, batches, per_token=False)["logits"].tolist() == list(range(301))


def test_a_row_longer_than_a_batch_is_a_batch() -> None:
    rows = make_features(count=11)
    batches = LengthBatches(rows, 1, max_tokens=2)
    assert len(batches) == 11 - int((rows.lengths == 1).sum()) // 2
