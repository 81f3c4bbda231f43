"""Weights recorded during training, compared with ``state_dict`` after each step, on every backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_bert_impl import BertConfig, BertForSequenceClassification
from keras_bert_impl.errors import InputError
from keras_bert_impl.training import WeightHistory

NAMES = [
    "encoder.layer.1.output.dense.weight[17][3]",
    "bert.encoder.layer.0.attention.self.query.bias[5]",
    "embeddings.word_embeddings.weight[71][2]",
]


def make_small_model() -> BertForSequenceClassification:
    keras.utils.set_random_seed(3)
    sizes = {"hidden_size": 20, "num_attention_heads": 4, "intermediate_size": 31}
    model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99, **sizes))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), {"logits": loss})
    return model


def make_two_sentences() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[2, 71, 8, 3], [2, 9, 71, 3]]), np.array([0, 1])


def read_weight(model: BertForSequenceClassification, name: str) -> float:
    tensor, indices = name.split("[", 1)
    index = tuple(int(part.strip("[]")) for part in indices.split("]["))
    state = model.state_dict()
    return float(state[tensor if tensor in state else f"bert.{tensor}"][index])


OTHER_BACKEND = """
import json
import keras, numpy as np
from keras_bert_impl import BertConfig, BertForSequenceClassification
from keras_bert_impl.training import WeightHistory

keras.utils.set_random_seed(3)
model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99, hidden_dropout_prob=0.0))
model.compile(keras.optimizers.SGD(0.02), {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
name = "classifier.weight[1][3]"
history = WeightHistory([name])
model.fit(np.array([[2, 71, 3], [2, 9, 3]]), np.array([0, 1]), batch_size=1, epochs=2, callbacks=[history], verbose=0)
print(json.dumps([history.values[name], float(model.state_dict()["classifier.weight"][1, 3])]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_other_backends(backend: str) -> None:
    """Each step changes the weight, and the last value is that of the trained model."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", OTHER_BACKEND]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    values, last = json.loads(result.stdout.splitlines()[-1])
    assert len(set(values)) == 5
    assert values[-1] == pytest.approx(last, rel=1e-6)


def test_values_are_those_of_state_dict(tmp_path: Path) -> None:
    model = make_small_model()
    before = {name: read_weight(model, name) for name in NAMES}
    seen: dict[str, list[float]] = {name: [] for name in NAMES}
    after = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: [seen[name].append(read_weight(model, name)) for name in NAMES]
    )
    history, table = WeightHistory(NAMES), keras.callbacks.CSVLogger(tmp_path / "log.csv")
    model.fit(*make_two_sentences(), batch_size=1, epochs=3, callbacks=[history, after, table], verbose=0)
    for name in NAMES:
        np.testing.assert_allclose(history.values[name], [before[name], *seen[name]], rtol=1e-6)
        assert len(set(history.values[name])) > 3
    assert f"{NAMES[0]}" in (tmp_path / "log.csv").read_text()
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        history.save_picture(tmp_path / f"weights.{kind}")
        assert (tmp_path / f"weights.{kind}").read_bytes().startswith(start)


def test_tensorboard_logs_the_weights(tmp_path: Path) -> None:
    """Its files are read with TensorFlow."""
    import tensorflow as tf
    from tensorflow.core.util.event_pb2 import Event

    history, board = WeightHistory(NAMES[:1]), keras.callbacks.TensorBoard(str(tmp_path), update_freq=1)
    make_small_model().fit(*make_two_sentences(), batch_size=1, epochs=2, callbacks=[history, board], verbose=0)
    records = tf.data.TFRecordDataset([str(path) for path in (tmp_path / "train").glob("*tfevents*")])
    values = [value for record in records for value in Event.FromString(record.numpy()).summary.value]
    logged = [float(tf.make_ndarray(value.tensor)) for value in values if value.tag == f"batch_{NAMES[0]}"]
    np.testing.assert_allclose(logged, history.values[NAMES[0]][1:], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoder.layer.2.output.dense.weight[0][0]", "is not a weight of this model"),
        ("encoder.layer.1.output.dense.weight", "is not a weight of this model"),
        ("nothing[0]", "is not a weight of this model"),
        ("encoder.layer.1.output.dense.weight[0]", r"has the shape \[20, 31\] in PyTorch"),
        ("encoder.layer.1.output.dense.weight[20][0]", r"has the shape \[20, 31\] in PyTorch"),
    ],
)
def test_names_that_are_not_weights(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_small_model().fit(*make_two_sentences(), callbacks=[WeightHistory([name])], verbose=0)
