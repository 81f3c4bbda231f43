"""Keras loads models that this package saved, after ``import keras_bert_impl``, which itself imports no framework."""

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_bert_impl
from keras_bert_impl import models, registration

PACKAGE = Path(keras_bert_impl.__file__).parent

SAVE = """
import json, sys
import keras, numpy as np
from keras_bert_impl import BertConfig, layers, models
from keras_bert_impl.tasks.losses import CrossEntropy, MeanCrossEntropy, Perplexity
from keras_bert_impl.training import Lamb, LossScaleOptimizer, WarmupPolynomialDecay, adamw

directory = sys.argv[1]
sizes = {"vocab_size": 99, "max_position_embeddings": 17, "hidden_size": 32, "num_attention_heads": 4}
config = BertConfig(**sizes, num_hidden_layers=1, intermediate_size=37)
ids = np.array([[5, 6, 7, 0]])
for name in models.__all__:
    if name.startswith("Bert") and name != "BertPreTrainedModel":
        model = getattr(models, name)(config)
        inputs = ids[:, None] if name == "BertForMultipleChoice" else ids
        model.save(f"{directory}/{name}.keras")
        np.savez(f"{directory}/{name}.npz", **{key: np.asarray(value) for key, value in model(inputs).items()})

model = models.BertForTokenClassification(config)
model.compile(
    adamw(learning_rate=1e-3, steps=9),
    loss={"logits": MeanCrossEntropy()},
    metrics={"logits": [CrossEntropy(name="entropy"), Perplexity(name="perplexity")]},
)
model.fit(ids, {"logits": np.array([[0, 1, 1, 0]])}, verbose=0)
model.save(f"{directory}/trained.keras")
for name, optimizer in {
    "lamb": Lamb(WarmupPolynomialDecay(1e-3, steps=9, warmup_steps=1)), "scaled": LossScaleOptimizer(Lamb(1e-3))
}.items():
    outputs = layers.BertPooler(config)(inputs := keras.Input((3, 32)))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, loss="mse")
    model.fit(np.ones((1, 3, 32)), np.ones((1, 32)), verbose=0)
    model.save(f"{directory}/{name}.keras")
print(json.dumps(layers.BertPooler(BertConfig.preset("tiny")).get_config()))
"""

LOAD = """
import json, sys
{imports}
import numpy as np

assert not [name for name in sys.modules if name.startswith("keras_bert_impl.models")]
ids = np.array([[5, 6, 7, 0]])
for path in map(__import__("pathlib").Path, sys.argv[2:]):
    model = keras.{function}(path)
    if path.stem.startswith("Bert"):
        assert type(model).__name__ == path.stem
        outputs = model(ids[:, None] if path.stem == "BertForMultipleChoice" else ids)
        for name, expected in np.load(path.with_suffix(".npz")).items():
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs[name]), expected)
    else:
        print(path.stem, type(model.optimizer).__name__, type(model.optimizer).__module__)
    if path.stem == "trained":
        print(int(model.optimizer.iterations))
        model.fit(ids, {{"logits": np.array([[0, 1, 1, 0]])}}, verbose=0)
        print(sorted(name for name in model.get_metrics_result() if name != "loss"))
layer = {{"module": "keras_bert_impl.layers", "class_name": "BertPooler", "config": json.loads(sys.argv[1])}}
layer["registered_name"] = "keras_bert_impl>BertPooler"
print(type(keras.saving.deserialize_keras_object(layer)).__module__)
"""


def run(code: str, *arguments: object, backend: str = "tensorflow") -> str:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module", params=["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    """A backend, the directory of the models that were saved on it, and the configuration of a pooler, as JSON."""
    directory = tmp_path_factory.mktemp(request.param)
    return request.param, directory, run(SAVE, directory, backend=request.param)


@pytest.mark.parametrize(
    ("imports", "function"),
    [
        ("import keras_bert_impl, keras", "saving.load_model"),
        pytest.param("import keras, keras_bert_impl", "models.load_model", marks=pytest.mark.slow),
    ],
)
def test_keras_loads_every_class(saved: tuple[str, Path, str], imports: str, function: str) -> None:
    """In each order of imports, with one of the two functions of Keras that load models."""
    backend, directory, pooler = saved
    files = sorted(directory.glob("*.keras"))
    classes = {name for name in models.__all__ if name.startswith("Bert")} - {"BertPreTrainedModel"}
    assert {path.stem for path in files} == classes | {"trained", "lamb", "scaled"}
    printed = run(LOAD.format(imports=imports, function=function), pooler, *files, backend=backend)
    assert printed.splitlines() == [
        "lamb Lamb keras_bert_impl.training.optimizers",
        "scaled LossScaleOptimizer keras_bert_impl.training.distribution.base",
        "trained AdamW keras_bert_impl.training.optimizers",
        "1",
        "['entropy', 'perplexity']",
        "keras_bert_impl.layers.bert",
    ]


def test_all_decorated_classes_are_listed() -> None:
    decorated: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "register_keras_serializable" in str(
                [ast.unparse(decorator) for decorator in node.decorator_list]
            ):
                module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
                decorated.setdefault(module, set()).add(node.name)
    assert decorated == {module: set(names) for module, names in registration._CLASSES.items()}


def test_importing_the_package_imports_no_framework() -> None:
    code = (
        "import sys, keras_bert_impl; print([name for name in sys.modules if name in ('keras', 'numpy', 'tensorflow')])"
    )
    assert run(code) == "[]\n"


def test_keras_may_be_missing() -> None:
    code = (
        "import sys, keras_bert_impl\n"
        "sys.path = [path for path in sys.path if 'site-packages' not in path]\n"
        "try: import keras\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    assert run(code) == "No module named 'keras'\n"


def test_every_module_is_an_attribute() -> None:
    names = sorted(module.name for module in pkgutil.iter_modules([str(PACKAGE)]))
    assert {"interpret", "ops", "cli"} <= set(names)
    code = "import sys, keras_bert_impl\nfor name in sys.argv[1:]: print(getattr(keras_bert_impl, name).__name__)"
    assert run(code, *names).split() == [f"keras_bert_impl.{name}" for name in names]
