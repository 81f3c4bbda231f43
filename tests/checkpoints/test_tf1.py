"""Checkpoints in Google's format, written by TensorFlow's own operation."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hub_server import Hub, serve

from keras_bert_impl.checkpoints.tf1 import read_tf1
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source

GENERATOR = np.random.default_rng(0)

WEIGHTS = {
    "bert/embeddings/word_embeddings": GENERATOR.normal(size=(99, 32)).astype(np.float32),
    "bert/pooler/dense/kernel": GENERATOR.normal(size=(32, 37)).astype(np.float32),
    "cls/seq_relationship/output_bias": GENERATOR.normal(size=2).astype(np.float32),
}

OPTIMIZER = {
    "bert/pooler/dense/kernel/adam_m": np.ones((32, 37), np.float32),
    "bert/pooler/dense/kernel/adam_v": np.ones((32, 37), np.float32),
    "global_step": np.int64(7),
}


def save(prefix: Path, tensors: dict[str, np.ndarray]) -> Path:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(tensor) for tensor in tensors.values()],
    )
    return prefix


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return save(tmp_path / "bert_model.ckpt", WEIGHTS | OPTIMIZER)


def assert_same(arrays: dict[str, np.ndarray]) -> None:
    assert arrays.keys() == WEIGHTS.keys()
    for name, weight in WEIGHTS.items():
        np.testing.assert_array_equal(arrays[name], weight)


def test_reads_weights_without_the_optimizer(prefix: Path) -> None:
    assert_same(read_tf1(prefix))


def test_all_ways_to_name_it(prefix: Path) -> None:
    for source in (prefix.parent, prefix, f"{prefix}.index"):
        assert_same(read_tensors(open_source(source)))


def test_another_name_in_a_directory(tmp_path: Path) -> None:
    save(tmp_path / "model.ckpt-1000", WEIGHTS)
    assert_same(read_tensors(open_source(tmp_path)))


def test_written_by_the_saver_of_tensorflow_1(tmp_path: Path) -> None:
    code = """
import sys, numpy as np, tensorflow as tf
tf.compat.v1.disable_eager_execution()
with tf.compat.v1.variable_scope("bert"):
    tf.compat.v1.get_variable("weights", initializer=np.arange(6, dtype=np.float16).reshape(2, 3))
with tf.compat.v1.Session() as session:
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver().save(session, sys.argv[1])
"""
    prefix = tmp_path / "bert_model.ckpt"
    subprocess.run([sys.executable, "-c", code, str(prefix)], check=True, capture_output=True)
    (array,) = read_tensors(open_source(tmp_path)).values()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.slow
def test_a_model_on_the_hub(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    code = """
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.sources import open_source
print(*read_tensors(open_source("google/tiny")))
"""
    with serve(Hub({"google/tiny": {"main": prefix.parent}})) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path_factory.mktemp("home"))}
        process = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    assert process.stdout.split() == list(WEIGHTS)


def test_truncation_is_noticed(tmp_path: Path) -> None:
    prefix = save(tmp_path / "bert_model.ckpt", WEIGHTS)
    for suffix in (".index", ".data-00000-of-00001"):
        path = Path(f"{prefix}{suffix}")
        complete = path.read_bytes()
        for size in range(0, len(complete), max(1, len(complete) // 60)):
            path.write_bytes(complete[:size])
            with pytest.raises(InputError, match="truncated, damaged or incomplete"):
                read_tf1(prefix)
        path.write_bytes(complete)
    assert_same(read_tf1(prefix))


def test_damaged_bytes_are_noticed(prefix: Path) -> None:
    generator = random.Random(0)
    for suffix in (".index", ".data-00000-of-00001"):
        path = Path(f"{prefix}{suffix}")
        complete = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(complete)
            damaged[generator.randrange(len(complete))] ^= 1 << generator.randrange(8)
            path.write_bytes(damaged)
            try:
                assert_same(read_tf1(prefix))
            except InputError:
                continue
        path.write_bytes(complete)


def test_missing_numbers(prefix: Path) -> None:
    Path(f"{prefix}.data-00000-of-00001").unlink()
    with pytest.raises(InputError, match=r"bert_model\.ckpt\.index and its data"):
        read_tf1(prefix)


def test_a_checkpoint_of_tensorflow_2(tmp_path: Path) -> None:
    prefix = tf.train.Checkpoint(weights=tf.Variable([1.0, 2.0])).write(str(tmp_path / "bert_model.ckpt"))
    with pytest.raises(InputError, match="object-based checkpoint of TensorFlow 2"):
        read_tf1(Path(prefix))


def test_without_tensorflow(prefix: Path, tmp_path: Path) -> None:
    code = """
import sys; sys.modules["tensorflow"] = None
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source
try:
    read_tensors(open_source(sys.argv[1]))
except InputError as error:
    print(error)
"""
    process = subprocess.run([sys.executable, "-c", code, str(prefix)], check=True, capture_output=True, text=True)
    assert "pip install 'keras_bert_impl[tensorflow]'" in process.stdout
