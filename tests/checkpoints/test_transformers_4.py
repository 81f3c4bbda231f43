"""``tf_model.h5`` and ``flax_model.msgpack``: every head, recorded outputs, damaged and hostile files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
from keras import ops
from recorded_formats import WEIGHTS, arrange, count_errors, extract, load
from transformers_models import CLASSES

from keras_bert_impl import models
from keras_bert_impl.checkpoints.flax_file import read_flax
from keras_bert_impl.checkpoints.h5_file import read_h5
from keras_bert_impl.checkpoints.matching import match_tensors
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.sources import open_source

LIMIT = 1e-5


def compare(model: models.BertPreTrainedModel, library: str, name: str) -> None:
    """The model has the recorded outputs, except at padding, where they are undefined."""
    directory = extract(library)
    inputs = load(directory / ("choices.npz" if name == "BertForMultipleChoice" else "inputs.npz"))
    expected = load(directory / name / "outputs.npz")
    outputs = dict(model(inputs))
    outputs |= {f"hidden_states_{i}": state for i, state in enumerate(outputs.pop("hidden_states", ()))}
    assert outputs.keys() == expected.keys()
    mask = inputs["attention_mask"].astype(bool)
    for key, value in expected.items():
        real = mask if value.shape[:2] == mask.shape else ...
        np.testing.assert_allclose(ops.convert_to_numpy(outputs[key])[real], value[real], atol=LIMIT, err_msg=key)


@pytest.mark.parametrize("name", CLASSES)
def test_every_head(name: str) -> None:
    """Without an option; the report lists each tensor."""
    (tensorflow, flax) = (open_source(extract(library) / name) for library in ("tensorflow", "flax"))
    assert find_model_class(tensorflow) is find_model_class(flax) is getattr(models, name)
    model = getattr(models, name).from_pretrained(tensorflow, output_hidden_states=name == "BertModel")
    compare(model, "tensorflow", name)
    reports = [model.load_report, model.load_pretrained(flax)]
    compare(model, "flax", name)
    for report in reports:
        assert {entry.status for entry in report.entries} == {"loaded"}
        assert len(report.entries) == len(model.weights)


@pytest.mark.parametrize("library", ["tensorflow", "flax"])
def test_shards(library: str) -> None:
    directory = extract(library)
    assert len(list((directory / "sharded").glob(f"*-of-*.{WEIGHTS[library].split('.')[1]}"))) >= 3
    whole, sharded = (read_tensors(open_source(directory / name)) for name in ("BertForPreTraining", "sharded"))
    assert whole.keys() == sharded.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(sharded[name], array)


@pytest.mark.parametrize("library", ["tensorflow", "flax"])
def test_the_recorded_versions(library: str) -> None:
    versions = json.loads((extract(library) / "versions.json").read_text())
    assert versions["transformers"] == "4.52.4"
    assert {"tensorflow": "tensorflow", "flax": "jax"}[library] in versions


def test_names_of_groups_and_models_do_not_matter(tmp_path: Path) -> None:
    """A user's own model inside which TFBert is, and whose groups are in another order."""
    path = extract("tensorflow") / "BertForSequenceClassification" / "tf_model.h5"
    names: list[str] = []
    with h5py.File(path) as file, h5py.File(tmp_path / "tf_model.h5", "w", track_order=True) as other:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in reversed(names):
            group, _, rest = name.partition("/")
            other[f"{group}_7/my_model/" + rest.replace("tf_bert_for", "tf_bert_for_7")] = file[name][()]
    first, second = (arrange(read_h5(file)) for file in (path, tmp_path / "tf_model.h5"))
    assert first.keys() == second.keys()
    assert all((second[name] == array).all() for name, array in first.items())


@pytest.mark.parametrize("count", [25, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("library", ["tensorflow", "flax"])
def test_damaged_files(library: str, count: int, tmp_path: Path) -> None:
    """An error of this package, or the same tensors with as many other numbers as bytes were changed."""
    errors = count_errors(extract(library) / "BertForMaskedLM" / WEIGHTS[library], tmp_path, count=count)
    assert 2 * count / 5 <= errors < count


def write_h5(path: Path, fill: Callable[[h5py.File], Any]) -> None:
    """Writes a file with a copy of BERT's groups, changed by ``fill``."""
    shutil.copy(extract("tensorflow") / "BertForSequenceClassification" / "tf_model.h5", path)
    with h5py.File(path, "r+") as file:
        fill(file)


POOLER = "bert/tf_bert_for_sequence_classification/bert/pooler/dense/bias:0"
HEAD = "classifier/tf_bert_for_sequence_classification/classifier/kernel:0"
EMBEDDINGS = "bert/tf_bert_for_sequence_classification/bert/embeddings"


def replace(file: h5py.File, name: str, **options: Any) -> None:
    """Writes a data set again, in another way."""
    values = file[name][()]
    del file[name]
    file.create_dataset(name, **{"data": values, **options})


def empty(file: h5py.File) -> None:
    for name in list(file):
        del file[name]


def set_text(file: h5py.File) -> None:
    replace(file, POOLER, data=["a", "b"])


def write_twice(file: h5py.File) -> None:
    file["mlm___cls/tf_bert/bert/pooler/dense/bias:0"] = np.ones(20, "float32")


def link_to_itself(file: h5py.File) -> None:
    file["bert/again"] = file["bert"]


def make_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(20,), dtype="float32")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(20,))
    del file[POOLER]
    file.create_virtual_dataset(POOLER, layout)


BAD_H5: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "no weights": (empty, "contains no weights"),
    "text": (set_text, "has the type object; floating-point numbers or integers were expected"),
    "a group is missing": (
        lambda file: file.__delitem__(EMBEDDINGS),
        r"lacks embeddings\.LayerNorm\.bias, .*embeddings\.word_embeddings\.weight",
    ),
    "another shape": (
        lambda file: replace(file, HEAD, data=np.ones((20, 5), "float32")),
        r"classifier/kernel has the shape \[20, 5\]; the configuration needs \[20, 6\]",
    ),
    "twice": (write_twice, "contains bert/pooler/dense/bias twice, with different values"),
    "compressed": (
        lambda file: replace(file, POOLER, compression="gzip"),
        "are compressed, missing or in another file",
    ),
    "never written": (
        lambda file: replace(file, POOLER, data=None, shape=(20,), dtype="float32"),
        "are compressed, missing or in another file",
    ),
    "a huge shape": (
        lambda file: replace(file, POOLER, data=None, shape=(1 << 50,), dtype="float32"),
        "are compressed, missing or in another file",
    ),
    "external values": (
        lambda file: replace(file, POOLER, external=[("/etc/passwd", 0, 80)], data=None, shape=(20,), dtype="float32"),
        "are compressed, missing or in another file",
    ),
    "virtual values": (make_virtual, "are compressed, missing or in another file"),
    "an external link": (
        lambda file: file.__setitem__("bert/other", h5py.ExternalLink("/etc/passwd", "/")),
        "bert/other is a link, which may read another file",
    ),
    "a soft link": (lambda file: file.__setitem__("bert/other", h5py.SoftLink("/bert")), "bert/other is a link"),
    "a cycle": (link_to_itself, "bert/again is in it twice"),
}


@pytest.mark.parametrize("case", BAD_H5)
def test_bad_h5(case: str, tmp_path: Path) -> None:
    fill, message = BAD_H5[case]
    path = tmp_path / "tf_model.h5"
    write_h5(path, lambda file: None)
    shapes = {name: array.shape for name, array in arrange(read_h5(path)).items()}
    write_h5(path, fill)
    with pytest.raises(InputError, match=message):
        match_tensors(read_h5(path), shapes, source=str(path))


def pack(array: np.ndarray, *, code: int = 1, **changes: Any) -> msgpack.ExtType:
    """The extension in which Flax has an array."""
    parts = {"shape": array.shape, "dtype": array.dtype.name, "data": array.tobytes(), **changes}
    return msgpack.ExtType(code, msgpack.packb(tuple(parts.values())))


ONES = np.ones((2, 3), "float32")
BAD_MSGPACK: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "truncated": (msgpack.packb({"a": pack(ONES)})[:-1], "truncated, damaged or not a file of Flax"),
    "more bytes": (msgpack.packb({"a": pack(ONES)}) + b"\x00", "truncated, damaged or not a file of Flax"),
    "a pickle": (b"\x80\x04cos\nsystem\n.", "truncated, damaged or not a file of Flax"),
    "a list": (msgpack.packb([pack(ONES)]), "contains a list; a map of arrays was expected"),
    "nothing": (msgpack.packb({}), "contains no arrays"),
    "a number": (msgpack.packb({"a": {"b": 3}}), "a/b is a int; an array was expected"),
    "complex": (msgpack.packb({"a": msgpack.ExtType(2, b"")}), "the extension type 2; arrays, of type 1"),
    "a scalar": (msgpack.packb({"a": pack(ONES[0, 0], code=3)}), "the extension type 3"),
    "another type": (msgpack.packb({"a": pack(ONES, code=42)}), "the extension type 42"),
    "a time": (msgpack.packb({"a": msgpack.Timestamp(3)}), "a is a Timestamp"),
    "a key twice": (b"\x82" + 2 * (msgpack.packb("a") + msgpack.packb(pack(ONES))), "has a key twice"),
    "a key that is a number": (msgpack.packb({3: pack(ONES)}), "truncated, damaged|not a name"),
    "a huge shape": (msgpack.packb({"a": pack(ONES, shape=[1 << 40, 1 << 40])}), "do not belong together"),
    "a negative shape": (msgpack.packb({"a": pack(ONES, shape=[-2, -3])}), "do not belong together"),
    "an object": (msgpack.packb({"a": pack(ONES, dtype="object")}), "do not belong together"),
    "an array in an array": (msgpack.packb({"a": pack(ONES, data=[])}), "do not belong together"),
    "nested": (b"\x91" * 100_000 + b"\xc0", "truncated, damaged or not a file of Flax"),
    "chunks of another size": (
        msgpack.packb({"a": {"__msgpack_chunked_array__": True, "shape": {"0": 7}, "chunks": {"0": pack(ONES)}}}),
        "the chunks of an array do not belong together",
    ),
}


@pytest.mark.parametrize("case", BAD_MSGPACK)
def test_bad_msgpack(case: str, tmp_path: Path) -> None:
    content, message = BAD_MSGPACK[case]
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_flax(path)


def test_chunks_and_the_state_of_a_training_script(tmp_path: Path) -> None:
    """Arrays above one gigabyte are split; the weights are under ``params``."""
    halves = {"1": pack(ONES[1] * 3), "0": pack(ONES[0])}
    split = {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 3}, "chunks": halves}
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(msgpack.packb({"step": 7, "params": {"x": {"kernel": split}}}))
    tensors = read_flax(path)
    assert tensors.keys() == {"x/kernel"}
    np.testing.assert_array_equal(tensors["x/kernel"], [[1, 1, 1], [3, 3, 3]])


@pytest.mark.parametrize("library", ["tensorflow", "flax"])
def test_commands_refuse_a_truncated_file(library: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One message, exit code 2, nothing written."""
    shutil.copytree(extract(library) / "BertModel", tmp_path / "bert")
    path = tmp_path / "bert" / WEIGHTS[library]
    path.write_bytes(path.read_bytes()[:-5])
    assert main(["convert", str(tmp_path / "bert"), str(tmp_path / "new" / "converted")]) == 2
    assert "is truncated" in capsys.readouterr().err
    assert {child.name for child in tmp_path.iterdir()} == {"bert"}


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To what transformers opens, with the tokenizer; the converted model is the same."""
    source = extract("tensorflow") / "BertForPreTraining"
    assert main(["convert", str(source), str(tmp_path / "converted"), "--strict"]) == 0
    assert "62 tensors loaded" in capsys.readouterr().out
    converted = arrange(read_tensors(open_source(tmp_path / "converted")))
    for name, array in arrange(read_h5(source / "tf_model.h5")).items():
        np.testing.assert_array_equal(converted[name], array)
    assert (tmp_path / "converted" / "vocab.txt").read_bytes() == (source / "vocab.txt").read_bytes()
