"""One step of gradient descent compared with torch: the gradients of all weights, also of tied ones."""

from typing import Any

import keras
import numpy as np
import pytest
import transformers_models
from torch_process import run_in_torch_process

from keras_bert_impl import models
from keras_bert_impl.tasks import find_task

RATE = 0.5
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}
POSITIONS = np.array([[1, 0, 4]] * transformers_models.BATCH, "int32")


def make_full_rows() -> dict[str, np.ndarray]:
    """Rows without padding, whose embedding torch does not train."""
    draw, shape = np.random.default_rng(7), (transformers_models.BATCH, transformers_models.LENGTH)
    return {"input_ids": draw.integers(1, 99, shape), "token_type_ids": draw.integers(0, 3, shape)}


def check(ours: models.BertPreTrainedModel, theirs: dict[str, np.ndarray]) -> None:
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array, theirs[name], atol=5e-6, err_msg=name)


@run_in_torch_process
def take_step(
    name: str,
    changes: dict[str, Any],
    inputs: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    *,
    learning_rate: float,
) -> dict[str, np.ndarray]:
    """The weights of a random model of transformers after one step of gradient descent."""
    import torch
    import torch_models

    model = torch_models.make_model(name, **changes)
    if name == "BertForPreTraining":
        model.cls.predictions.bias = model.cls.predictions.decoder.bias
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    model(**torch_models.to_tensors({**inputs, **labels})).loss.backward()
    optimizer.step()
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_classification(name: str, tmp_path) -> None:
    inputs = make_full_rows()
    transformers_models.save(name, tmp_path, **NO_DROPOUT)
    ours = getattr(models, name).from_pretrained(tmp_path)
    shape = inputs["input_ids"].shape[: 2 if "Token" in name else 1]
    labels = np.random.default_rng(5).integers(0, transformers_models.LABELS, shape)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours.compile(optimizer=keras.optimizers.SGD(RATE), loss={"logits": loss})
    ours.fit(inputs, {"logits": labels}, batch_size=transformers_models.BATCH, verbose=0)
    check(ours, take_step(name, NO_DROPOUT, inputs, {"labels": labels}, learning_rate=RATE))


@pytest.mark.parametrize("labels", [transformers_models.LABELS, 1])
def test_multi_label_classification(labels: int, tmp_path) -> None:
    """With ``problem_type`` of transformers, also for a single label."""
    inputs = make_full_rows()
    changes = {**NO_DROPOUT, "problem_type": "multi_label_classification", "num_labels": labels}
    transformers_models.save("BertForSequenceClassification", tmp_path, **changes)
    ours = models.BertForSequenceClassification.from_pretrained(tmp_path)
    task = find_task(ours.config)
    assert task.name == "multi-label-classification"
    shape = (transformers_models.BATCH, labels)
    has_label = np.random.default_rng(5).integers(0, 2, shape).astype("float32")
    ours.compile(optimizer=keras.optimizers.SGD(RATE), **task.make_compile_arguments())
    ours.fit(inputs, {"logits": has_label}, batch_size=transformers_models.BATCH, verbose=0)
    expected = take_step("BertForSequenceClassification", changes, inputs, {"labels": has_label}, learning_rate=RATE)
    check(ours, expected)


@pytest.mark.parametrize("tied", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pretraining(tied: bool, tmp_path) -> None:
    changes = {**NO_DROPOUT, "tie_word_embeddings": tied}
    inputs = make_full_rows()
    transformers_models.save("BertForPreTraining", tmp_path, **changes)
    ours = models.BertForPreTraining.from_pretrained(tmp_path)
    draw = np.random.default_rng(6)
    words, following = draw.integers(0, 99, POSITIONS.shape), draw.integers(0, 2, transformers_models.BATCH)

    losses = {
        name: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        for name in ("prediction_logits", "seq_relationship_logits")
    }
    ours.compile(optimizer=keras.optimizers.SGD(RATE), loss=losses)
    targets = {"prediction_logits": words, "seq_relationship_logits": following}
    ours.fit({**inputs, "masked_lm_positions": POSITIONS}, targets, batch_size=transformers_models.BATCH, verbose=0)

    labels = np.full(inputs["input_ids"].shape, -100)
    np.put_along_axis(labels, POSITIONS.astype(int), words, axis=1)
    torch_labels = {"labels": labels, "next_sentence_label": following}
    check(ours, take_step("BertForPreTraining", changes, inputs, torch_labels, learning_rate=RATE))
