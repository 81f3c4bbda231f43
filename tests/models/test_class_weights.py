"""``class_weight`` of ``fit``, compared with Keras where Keras takes it, and with a step of torch."""

from typing import Any

import keras
import numpy as np
import pytest
import transformers_models
from torch_process import run_in_torch_process

from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForSequenceClassification, BertForTokenClassification
from keras_bert_impl.models.class_weights import make_sample_weight

RATE = 0.5
WEIGHTS = {0: 0.5, 2: 4.0, 5: 0.0}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}


@run_in_torch_process
def take_step(
    name: str, changes: dict[str, Any], inputs: dict[str, np.ndarray], labels: np.ndarray, weights: list[float]
) -> dict[str, np.ndarray]:
    """The weights of a random model of transformers after one step with torch's weighted cross entropy."""
    import torch
    import torch_models

    model = torch_models.make_model(name, **changes)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    logits = model(**torch_models.to_tensors(inputs)).logits
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))
    loss(logits.flatten(0, -2), torch.tensor(labels).flatten().long()).backward()
    optimizer.step()
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize("model_class", [BertForSequenceClassification, BertForTokenClassification])
def test_a_step_is_that_of_torch(model_class: Any, tmp_path) -> None:
    name = model_class.__name__
    shape = (transformers_models.BATCH, transformers_models.LENGTH)
    draw = np.random.default_rng(7)
    inputs = {
        "input_ids": draw.integers(1, 99, shape, "int32"),
        "token_type_ids": draw.integers(0, 3, shape, "int32"),
    }
    labels = draw.integers(0, transformers_models.LABELS, shape if "Token" in name else shape[:1], "int32")
    transformers_models.save(name, tmp_path, **NO_DROPOUT)
    model = model_class.from_pretrained(tmp_path)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer=keras.optimizers.SGD(RATE), loss={"logits": loss})
    model.fit(inputs, {"logits": labels}, batch_size=shape[0], class_weight=WEIGHTS, verbose=0)

    weights = [float(WEIGHTS.get(number, 1)) for number in range(transformers_models.LABELS)]
    expected = take_step(name, NO_DROPOUT, inputs, labels, weights)
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(array, expected[key], atol=5e-6, err_msg=key)


@pytest.mark.parametrize("kind", ["int32", "float32", "column", "one-hot"])
def test_weights_are_those_of_keras(kind: str) -> None:
    ids = np.array([0, 2, 1, 2, 5, 3], "int32")
    labels = {
        "int32": ids,
        "float32": ids.astype("float32"),
        "column": ids[:, None],
        "one-hot": np.eye(6, dtype="float32")[ids],
    }[kind]
    # Keras' own conversion, through a model with one output, whose loss is the sum of the weights.
    model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones")])
    model.compile("sgd", loss=lambda true, found: keras.ops.mean(found, axis=-1))
    history = model.fit(np.ones((6, 1)), labels, batch_size=6, class_weight=WEIGHTS, verbose=0).history
    weights = make_sample_weight(labels, WEIGHTS)
    assert weights.tolist() == [0.5, 4, 1, 4, 0, 1]
    assert history["loss"][0] == pytest.approx(weights.mean())
    assert make_sample_weight({"logits": labels}, WEIGHTS)["logits"].tolist() == weights.tolist()


@pytest.mark.parametrize("form", ["array", "dictionary"])
def test_sample_weights_are_multiplied(form: str) -> None:
    labels, own = np.array([0, 1, 2]), np.array([3.0, 5.0, 7.0])
    if form == "array":
        weights = make_sample_weight(labels, WEIGHTS, own)
    else:
        weights = make_sample_weight({"logits": labels}, WEIGHTS, {"logits": own})["logits"]
    assert weights.tolist() == [1.5, 5, 28]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a": np.zeros(2, int), "b": np.zeros(2, int)}, "there are labels for a, b; one output was expected"),
        (np.array([[1.0, 1.0], [0.0, 1.0]]), r"float64 of shape \[2, 2\], are not ids .* use pos_weight"),
        (np.array([0.5, 1.0]), r"float64 of shape \[2\], are not ids of classes"),
    ],
)
def test_labels_that_are_not_classes_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_sample_weight(labels, WEIGHTS)
