"""Batches of long texts: all windows of a text are in its batch, and padding is marked."""

import numpy as np
import pytest

from keras_bert_impl.data import BatchSplitter, DocumentBatches, DocumentFeatures, Features, Ragged

PAD = 9


def make_features(counts: list[int]) -> Features:
    """Texts with these numbers of windows; each window is [text, number of the window, 2 to 7 further tokens]."""
    draw = np.random.default_rng(3)
    rows = [
        [text, number, *draw.integers(10, 99, draw.integers(2, 8))]
        for text, n in enumerate(counts)
        for number in range(n)
    ]
    ids = Ragged.from_rows(rows, dtype=np.int32, pad=PAD)
    example = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    inputs = {"input_ids": ids, "attention_mask": Ragged(np.ones_like(ids.flat), ids.offsets)}
    return Features(inputs, {"logits": 100 + example}, {"logits": np.float32(0.5) * example}, example)


COUNTS = [3, 1, 5, 2, 1, 4, 1, 2, 6, 1, 3]


@pytest.mark.parametrize("lengths", [(), (5, 8)])
def test_a_batch_has_all_windows_of_its_texts(lengths: tuple[int, ...]) -> None:
    features = make_features(COUNTS)
    documents = DocumentFeatures.group(features)
    np.testing.assert_array_equal(documents.counts, COUNTS)
    batches = DocumentBatches(documents, 4, seed=1, epochs=2, lengths=lengths)
    assert len(batches) == 2 * 3
    for epoch in range(2):
        seen: list[int] = []
        for k in range(3 * epoch, 3 * epoch + 3):
            inputs, labels, weights = batches[k]
            texts = batches.get_rows(k)
            seen += texts.tolist()
            np.testing.assert_array_equal(labels["logits"], 100 + texts)
            np.testing.assert_allclose(weights["logits"], 0.5 * texts)
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            for place, text in enumerate(texts):
                rows = np.flatnonzero(features.example == text)
                for number in range(ids.shape[1]):
                    window = features.inputs["input_ids"][rows[number]] if number < len(rows) else np.empty(0)
                    length = len(window)
                    np.testing.assert_array_equal(ids[place, number, :length], window)
                    assert (ids[place, number, length:] == PAD).all()
                    assert mask[place, number].tolist() == [1] * length + [0] * (ids.shape[2] - length)
            if lengths:
                assert ids.shape[2] in (5, 8, 9)
                assert ids.shape[1] in (1, 2, 3, 4, 6)
            else:  # No window, and no column, is padding in all texts.
                assert mask.any(axis=(0, 2)).all()
                assert mask.any(axis=(0, 1)).all()
        assert sorted(seen) == list(range(len(COUNTS)))


def test_texts_of_similar_length_share_a_batch() -> None:
    documents = DocumentFeatures.group(make_features(COUNTS))
    batches = DocumentBatches(documents, 4, seed=1)
    longest = [documents.counts[batches.get_rows(k)].max() for k in range(3)]
    assert sorted(longest) == [1, 3, 6]
    # Batch k depends on k and the seed only.
    np.testing.assert_array_equal(DocumentBatches(documents, 4, seed=1)[2][0]["input_ids"], batches[2][0]["input_ids"])


def test_parts_have_complete_texts() -> None:
    documents = DocumentFeatures.group(make_features(COUNTS))
    batches = DocumentBatches(documents, 4, seed=1)
    parts = BatchSplitter(batches, 2)
    for shape in (spec[0] for spec in parts.get_spec()[0].values()):
        assert shape == (None, None, None)
    for k in range(3):
        whole = batches[k][0]["input_ids"]
        joined = np.concatenate([parts[2 * k][0]["input_ids"], parts[2 * k + 1][0]["input_ids"]])
        np.testing.assert_array_equal(joined[: len(whole)], whole)
