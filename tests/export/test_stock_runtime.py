"""Exports run by TensorFlow's C library, without Python, Keras and TF Text."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sentence_models
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_bert_impl.export import export_model
from keras_bert_impl.models import BertForSentenceEmbedding
from keras_bert_impl.prediction import Predictor

TEXTS = ["A good film.", "bad, naïve 日本 👍", "", "[MASK] unaffable " * 50]


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``client.c``, compiled."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("no C compiler; on Debian: apt-get install gcc libc6-dev")
    library = Path(tf.__file__).parent
    program = tmp_path_factory.mktemp("client") / "client"
    command = [compiler, "-Wall", "-Werror", "-O1", Path(__file__).with_name("client.c"), "-o", program]
    command += ["-I", library / "include", "-L", library, f"-Wl,-rpath,{library}"]
    command += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    subprocess.run(command, check=True)
    return program


def read_meta_graph(export: Path) -> tf.compat.v1.MetaGraphDef:
    content = saved_model_pb2.SavedModel.FromString((export / "saved_model.pb").read_bytes())
    return next(graph for graph in content.meta_graphs if "serve" in graph.meta_info_def.tags)


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("float32", 1e-5),
        *(
            pytest.param(name, 0.02, marks=pytest.mark.slow)
            for name in ("bfloat16", "int8", "int8-bfloat16", "int8-weights")
        ),
    ],
)
def test_a_c_program_gets_the_answers_of_keras(
    client: Path, sentiment_export: Path, sentiment_run: Path, tmp_path: Path, precision: str, tolerance: float
) -> None:
    if precision != "float32":
        sentiment_export = export_model(sentiment_run, tmp_path / "sentiment" / "1", precision=precision).directory
    signature = read_meta_graph(sentiment_export).signature_def["serving_default"]
    names = [signature.inputs["text"].name, signature.outputs["label"].name, signature.outputs["scores"].name]
    command = [client, sentiment_export, "1", *names]
    done = subprocess.run(command, input="\n".join(TEXTS) + "\n", capture_output=True, text=True, check=True)
    labels, scores = (line.split("\t") for line in done.stdout.splitlines())
    with pytest.warns(UserWarning, match="1 of 4 texts are longer"):
        expected = Predictor(sentiment_run).predict_texts(TEXTS)
    assert labels == [prediction["label"] for prediction in expected]
    flat = [score for prediction in expected for score in prediction["scores"].values()]
    assert [float(score) for score in scores] == pytest.approx(flat, abs=tolerance)


@pytest.mark.parametrize("name", ["small", pytest.param("minilm", marks=pytest.mark.slow)])
def test_a_c_program_gets_the_vectors_of_encode(
    client: Path, small_bert: Path, tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    if name == "small":
        source = sentence_models.make_directory("prompts", tmp_path / "embedder", bert=small_bert)
    else:
        source = request.getfixturevalue(name)
    export = export_model(source, tmp_path / "x" / "1").directory
    model = BertForSentenceEmbedding.from_pretrained(source)
    expected = {"serving_default": model.encode(TEXTS)}
    if name == "small":
        expected["query"] = model.encode_query(TEXTS)
    for key, vectors in expected.items():
        signature = read_meta_graph(export).signature_def[key]
        names = [signature.inputs["text"].name, signature.outputs["sentence_embedding"].name]
        command = [client, export, "1", *names]
        done = subprocess.run(command, input="\n".join(TEXTS) + "\n", capture_output=True, text=True, check=True)
        found = np.array(done.stdout.split(), np.float32).reshape(len(TEXTS), -1)
        assert found.shape == (4, model.get_sentence_embedding_dimension())
        np.testing.assert_allclose(found, vectors, atol=1e-5)


def test_all_operations_are_plain_tensorflow(sentiment_export: Path) -> None:
    graph = read_meta_graph(sentiment_export).graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    operations = {node.op for node in nodes} - {function.signature.name for function in graph.library.function}
    assert "UnicodeDecode" in operations
    known = set(tf.raw_ops.__dict__) | {"Placeholder", "NoOp"}
    assert operations - known <= {"_FusedMatMul", "_MklLayerNorm"}
    assert not {operation for operation in operations if "PyFunc" in operation}
