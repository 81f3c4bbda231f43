"""The vectors of several columns are those of the embedding model, which is trained with them."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_bert_impl import BertConfig, BertForSentenceEmbedding
from keras_bert_impl.models.sentence_columns import SentenceColumns

CONFIG = BertConfig(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=37,
    max_position_embeddings=23,
)


def make_inputs(lengths: tuple[int, ...], rows: int = 5) -> dict[str, np.ndarray]:
    """Columns of texts that are padded to these lengths."""
    draw = np.random.default_rng(1)
    inputs = {}
    for n, length in enumerate(lengths):
        mask = np.arange(length) < draw.integers(2, length + 1, (rows, 1))
        inputs[f"input_ids_{n}"] = (draw.integers(5, 99, (rows, length)) * mask).astype(np.int32)
        inputs[f"attention_mask_{n}"] = mask.astype(np.int32)
    return inputs


@pytest.mark.parametrize(("lengths", "is_merged"), [((7, 13, 11), False), ((13, 13, 13), True)])
def test_vectors_are_those_of_the_embedding_model(lengths: tuple[int, ...], is_merged: bool) -> None:
    embedder = BertForSentenceEmbedding(CONFIG)
    inputs = make_inputs(lengths)
    vectors = SentenceColumns(embedder, 3, is_merged=is_merged)(inputs)["sentence_embedding"]
    assert tuple(vectors.shape) == (5, 3, 32)
    for n in range(3):
        column = {name: inputs[f"{name}_{n}"] for name in ("input_ids", "attention_mask")}
        np.testing.assert_allclose(vectors[:, n], embedder(column)["sentence_embedding"], atol=1e-6)


def test_columns_have_the_weights_of_the_embedding_model(tmp_path: Path) -> None:
    embedder = BertForSentenceEmbedding(CONFIG)
    model = SentenceColumns(embedder, 2)
    assert [id(each) for each in model.trainable_weights] == [id(each) for each in embedder.trainable_weights]
    assert len({id(each) for each in model.variables}) == len(model.variables)
    assert len(model.variables) == len(embedder.variables)  # Those of dropout's generators too.
    model.compile("sgd", "mse")
    before = embedder.state_dict()
    model.fit(make_inputs((7, 13)), {"sentence_embedding": np.ones((5, 2, 32))}, verbose=0)
    after = model.state_dict()
    assert list(after) == list(before)
    assert not np.array_equal(
        after["encoder.layer.0.output.dense.weight"], before["encoder.layer.0.output.dense.weight"]
    )
    model.save_pretrained(tmp_path)
    again = BertForSentenceEmbedding.from_pretrained(tmp_path)
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, after[name])


def test_pooling_masks_belong_to_their_columns() -> None:
    embedder = BertForSentenceEmbedding(CONFIG)
    inputs = make_inputs((13, 13))
    inputs["pooling_mask_1"] = np.tile((np.arange(13) > 0).astype(np.int32), (5, 1))
    vectors = SentenceColumns(embedder, 2)(inputs)["sentence_embedding"]
    column = {name: inputs[f"{name}_1"] for name in ("input_ids", "attention_mask", "pooling_mask")}
    np.testing.assert_allclose(vectors[:, 1], embedder(column)["sentence_embedding"], atol=1e-6)
    assert np.abs(vectors[:, 1] - embedder({**column, "pooling_mask": None})["sentence_embedding"]).max() > 1e-3


def test_rematerialization_and_loss_scaling() -> None:
    model = SentenceColumns(BertForSentenceEmbedding(CONFIG, dtype="mixed_float16"), 2)
    model.compile("adam", "mse")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.gradient_checkpointing_enable()
    assert model.wrapped.encoder.gradient_checkpointing
