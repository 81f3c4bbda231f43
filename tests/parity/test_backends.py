"""The same numbers on TensorFlow, JAX and Torch, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import beside_torch
import numpy as np

BACKENDS = ["tensorflow", "jax", "torch"]

RUN = """
import sys
import keras, numpy as np
from keras_bert_impl import models

name, directory, inputs, outputs, blocked = sys.argv[1:]
inputs = dict(np.load(inputs))
model = getattr(models, name).from_pretrained(directory, output_hidden_states=True)
found = model.predict(inputs, verbose=0)
states = found.pop("hidden_states")
found |= {f"hidden_state_{number}": state for number, state in enumerate(states)}

model = getattr(models, name).from_pretrained(directory)
few = {"input_ids": inputs["input_ids"]}
targets = {key: np.zeros(value.shape, "float32") for key, value in model.predict(few, verbose=0).items()}
model.compile(optimizer=keras.optimizers.SGD(0.1), loss=dict.fromkeys(targets, "mse"))
model.fit(few, targets, batch_size=13, verbose=0)
found |= {f"after a step: {key}": value for key, value in model.state_dict().items()}
np.savez(outputs, backend=keras.backend.backend(), **found)
assert not blocked or not [module for module in sys.modules if module.split(".")[0] == blocked]
"""

# Refuses an import, as where the library is not installed.
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def start(backend: str, code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_same_numbers_on_all_backends(tmp_path: Path) -> None:
    """Outputs, and all weights after a step of training without dropout; JAX with the import of TensorFlow blocked."""
    name = "BertForPreTraining"
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}
    theirs = beside_torch.bert(name, **still)
    theirs.save_pretrained(tmp_path)
    inputs = beside_torch.inputs()
    np.savez(tmp_path / "inputs.npz", **inputs)
    files = [name, tmp_path, tmp_path / "inputs.npz"]
    processes = [
        start("tensorflow", RUN, *files, tmp_path / "tensorflow.npz", ""),
        start("jax", BLOCK + RUN, *files, tmp_path / "jax.npz", "tensorflow"),
        start("torch", RUN, *files, tmp_path / "torch.npz", ""),
    ]
    for process in processes:
        _, messages = process.communicate()
        assert process.returncode == 0, messages
    first, *others = ({**np.load(tmp_path / f"{backend}.npz")} for backend in BACKENDS)
    assert [str(found.pop("backend")) for found in (first, *others)] == BACKENDS
    for other in others:
        assert other.keys() == first.keys()
        for key, value in first.items():
            np.testing.assert_allclose(other[key], value, rtol=0, atol=1e-5, err_msg=key)
    expected = beside_torch.run(theirs, inputs)
    np.testing.assert_allclose(first["seq_relationship_logits"], expected["seq_relationship_logits"], atol=1e-5)
