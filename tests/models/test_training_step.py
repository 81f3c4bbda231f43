"""One step of gradient descent beside torch: the gradients of all weights, of tied ones too."""

import beside_torch
import keras
import numpy as np
import pytest
import torch

from keras_bert_impl import models

RATE = 0.5
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}
POSITIONS = np.array([[1, 0, 4]] * beside_torch.BATCH, "int32")


def full_rows() -> dict[str, np.ndarray]:
    """Rows without padding, whose embedding torch does not train."""
    draw, shape = np.random.default_rng(7), (beside_torch.BATCH, beside_torch.LENGTH)
    return {"input_ids": draw.integers(1, 99, shape), "token_type_ids": draw.integers(0, 3, shape)}


def check(ours: models.BertPreTrainedModel, theirs: torch.nn.Module) -> None:
    after = theirs.state_dict()
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array, after[name].numpy(), atol=5e-6, err_msg=name)


def step(theirs: torch.nn.Module, loss: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(theirs.parameters(), lr=RATE)
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_classification(name: str, tmp_path) -> None:
    theirs, inputs = beside_torch.bert(name, **STILL), full_rows()
    theirs.save_pretrained(tmp_path)
    ours = getattr(models, name).from_pretrained(tmp_path)
    shape = inputs["input_ids"].shape[: 2 if "Token" in name else 1]
    labels = np.random.default_rng(5).integers(0, beside_torch.LABELS, shape)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours.compile(optimizer=keras.optimizers.SGD(RATE), loss={"logits": loss})
    ours.fit(inputs, {"logits": labels}, batch_size=beside_torch.BATCH, verbose=0)
    tensors = {key: torch.from_numpy(value).long() for key, value in inputs.items()}
    step(theirs, theirs(**tensors, labels=torch.from_numpy(labels)).loss)
    check(ours, theirs)


@pytest.mark.parametrize("tied", [True, False])
def test_pretraining(tied: bool, tmp_path) -> None:
    theirs = beside_torch.bert("BertForPreTraining", tie_word_embeddings=tied, **STILL)
    theirs.cls.predictions.bias = theirs.cls.predictions.decoder.bias
    inputs = full_rows()
    theirs.save_pretrained(tmp_path)
    ours = models.BertForPreTraining.from_pretrained(tmp_path)
    draw = np.random.default_rng(6)
    words, following = draw.integers(0, 99, POSITIONS.shape), draw.integers(0, 2, beside_torch.BATCH)

    losses = {
        name: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        for name in ("prediction_logits", "seq_relationship_logits")
    }
    ours.compile(optimizer=keras.optimizers.SGD(RATE), loss=losses)
    targets = {"prediction_logits": words, "seq_relationship_logits": following}
    ours.fit({**inputs, "masked_lm_positions": POSITIONS}, targets, batch_size=beside_torch.BATCH, verbose=0)

    labels = np.full(inputs["input_ids"].shape, -100)
    np.put_along_axis(labels, POSITIONS.astype(int), words, axis=1)
    tensors = {key: torch.from_numpy(value).long() for key, value in inputs.items()}
    outputs = theirs(**tensors, labels=torch.from_numpy(labels), next_sentence_label=torch.from_numpy(following))
    step(theirs, outputs.loss)
    check(ours, theirs)
