"""Training steps under XLA, compared with TensorFlow's own operations; compilations counted in the dump of XLA."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from keras_bert_impl import BertForSequenceClassification
from keras_bert_impl.data import BUCKETS
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.text_batches import TextEncoder
from keras_bert_impl.training import FineTuningSettings, finetune, start_strategy

# Batches of 3 rows; a token per word, and two special tokens. The last batch of the 11 rows has 2 rows.
WORDS = [3, 60, 9, 11, 30, 70, 12, 5, 25, 64, 40]

TRAIN = """
import json, sys
from keras_bert_impl.training import FineTuningSettings, finetune

arguments = json.loads(sys.argv[1])
jit, precision = arguments.pop("jit"), arguments.pop("precision")
settings = FineTuningSettings(
    epochs=2, batch_size=3, dropout=0.0, learning_rate=1e-3, max_length=128, jit=jit, precision=precision
)
finetune(**arguments, settings=settings)
"""


def make_rows(small_bert: Path) -> dict[str, list[str]]:
    words = [word for word in (small_bert / "vocab.txt").read_text(encoding="utf-8").split() if word.isalpha()]
    draw = np.random.default_rng(7)
    return {
        "text": [" ".join(draw.choice(words, count)) for count in WORDS],
        "label": [("good", "bad")[n % 2] for n in range(len(WORDS))],
    }


def count_compilations(dump: Path) -> int:
    return len(list(dump.glob("*one_step_on_data*before_optimizations.txt")))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_steps_give_the_same_weights(small_bert: Path, tmp_path: Path, precision: str) -> None:
    rows = make_rows(small_bert)
    weights, counts = {}, {}
    for jit in (False, True):
        run, dump = tmp_path / f"run-{jit}", tmp_path / f"dump-{jit}"
        arguments = {"source": str(small_bert), "train": rows, "valid": rows, "output": str(run)}
        subprocess.run(
            [sys.executable, "-c", TRAIN, json.dumps({**arguments, "jit": jit, "precision": precision})],
            env={**os.environ, "XLA_FLAGS": f"--xla_dump_to={dump} --xla_dump_hlo_as_text"},
            check=True,
            capture_output=True,
        )
        weights[jit], counts[jit] = load_file(run / "model.safetensors"), count_compilations(dump)
    # One compilation for each number of rows and each padded length, although there are more lengths of rows.
    tolerance = 2e-5 if precision == "float32" else 2e-2
    for name, expected in weights[False].items():
        if name.endswith("key.bias"):  # Its gradient is zero, so Adam amplifies rounding.
            continue
        np.testing.assert_allclose(weights[True][name], expected, rtol=0, atol=tolerance, err_msg=name)
    lengths = {min(bucket for bucket in BUCKETS if bucket >= count + 2) for count in WORDS}
    assert counts[False] == 0
    assert 2 <= counts[True] <= 2 * len(lengths) < 2 * len(set(WORDS))


@pytest.mark.parametrize(("options", "strategy"), [({"accumulate": 2}, None), ({}, "mirrored")])
def test_what_is_not_compiled(small_bert: Path, tmp_path: Path, options: dict[str, int], strategy: str | None) -> None:
    rows = make_rows(small_bert)
    settings = FineTuningSettings(batch_size=4, jit=True, **options)
    with pytest.raises(InputError, match=r"jit \(--jit\) was given with accumulate or a strategy"):
        finetune(small_bert, train=rows, valid=rows, output=tmp_path / "run", settings=settings, strategy=strategy)
    assert not list(tmp_path.iterdir())


def test_the_default_on_a_cpu_is_not_to_compile() -> None:
    with start_strategy() as distribution:
        assert distribution.uses_jit(FineTuningSettings()) is False
        assert distribution.uses_jit(FineTuningSettings(jit=True)) is True


def test_fit_on_strings_pads_to_a_few_lengths(small_bert: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(small_bert)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    lengths = {}
    for jit in (False, True):
        model.compile("sgd", loss, jit_compile=jit)
        lengths[jit] = TextEncoder.create(model, "fit").lengths
    assert lengths == {False: (), True: BUCKETS}
