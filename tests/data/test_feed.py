"""The batches that ``fit`` receives, on each backend in a process of its own, and Grain's saved state."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_bert_impl.data import Features, LengthBatches, Ragged, make_evaluation_data, make_fit_data, to_grain

# The model returns the mean id of each row and learns nothing, so its losses show which batches it received.
SCRIPT = """
import json
import warnings
import keras
import numpy as np
from keras_bert_impl.data import Features, LengthBatches, Ragged, make_fit_data

warnings.simplefilter("error")
generator = np.random.default_rng(5)
lengths = np.r_[np.full(40, 7), np.full(16, 9)]
ids = Ragged.from_rows([generator.integers(1, 50, length) for length in lengths], dtype=np.int32)
labels = np.zeros((56, 1), np.float32)
features = Features({"input_ids": ids}, {"mean": labels}, {"mean": np.ones(56, np.float32)}, np.arange(56))

def has_equal_start(seed):
    batches = LengthBatches(features, 8, seed=seed, epochs=3)
    return batches[9][0]["input_ids"].shape == batches[10][0]["input_ids"].shape

# Batches of one size, because Keras weights its running loss by size.
batches = LengthBatches(features, 8, seed=next(filter(has_equal_start, range(99))), epochs=3)
inputs = keras.Input((None,), dtype="int32", name="input_ids")
scale = keras.layers.Dense(1, kernel_initializer="ones")
mean = scale(keras.ops.cast(keras.ops.mean(inputs, axis=1, keepdims=True), "float32"))
model = keras.Model({"input_ids": inputs}, {"mean": mean})
model.compile(keras.optimizers.SGD(0.0), loss={"mean": keras.losses.MeanAbsoluteError()})
seen = []

class Record(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        seen.append(float(logs["loss"]) * (batch + 1) - sum(seen[len(seen) - batch:]))

# As when a run that stopped in its second epoch continues: two batches of one length come first, then longer ones.
dataset = make_fit_data(batches, start=9)
model.fit(dataset, epochs=2, steps_per_epoch=6, shuffle=False, verbose=0, callbacks=[Record()])
expected = [float(batches[k][0]["input_ids"].mean(axis=1).mean()) for k in range(9, 21)]
print(json.dumps([seen, expected]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_fit_receives_the_batches_in_order_from_any_start(backend: str) -> None:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seen, expected = json.loads(run.stdout.splitlines()[-1])
    assert len(seen) == 12
    np.testing.assert_allclose(seen, expected, rtol=1e-4)


def test_grain_state_can_be_restored() -> None:
    ids = Ragged.from_rows([np.arange(length) for length in range(1, 30)], dtype=np.int32)
    batches = LengthBatches(Features({"input_ids": ids}, {}, {}, np.arange(29)), 4, seed=2, epochs=2)
    iterator = iter(to_grain(batches, start=3))
    for _ in range(5):
        next(iterator)
    state = iterator.get_state()
    rest = [inputs["input_ids"] for (inputs,) in iterator]
    assert len(rest) == len(batches) - 8
    again = iter(to_grain(batches, start=3))
    again.set_state(state)
    for expected, (inputs,) in zip(rest, again, strict=True):
        np.testing.assert_array_equal(inputs["input_ids"], expected)
    np.testing.assert_array_equal(rest[0], batches[8][0]["input_ids"])


WITHOUT_JAX = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from keras_bert_impl.data import to_grain
print(list(to_grain(range(3))))
"""


def test_no_message_without_jax() -> None:
    """Grain warns about it when it is imported, which does not matter to users of TensorFlow."""
    result = subprocess.run([sys.executable, "-c", WITHOUT_JAX], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[0, 1, 2]\n", "")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends have no tf.data")
def test_the_process_ends_without_waiting_for_a_tuner() -> None:
    ids = Ragged.from_rows([np.arange(length) for length in range(1, 30)], dtype=np.int32)
    batches = LengthBatches(Features({"input_ids": ids}, {}, {}, np.arange(29)), 4)
    for dataset in (make_fit_data(batches), make_evaluation_data(batches)):
        assert dataset.options().autotune.enabled is False
    assert make_evaluation_data(batches).cardinality() == len(batches) == 8
    for (inputs,), (expected,) in zip(make_evaluation_data(batches), (batches[k] for k in range(8)), strict=True):
        np.testing.assert_array_equal(inputs["input_ids"], expected["input_ids"])
