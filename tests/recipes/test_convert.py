"""Conversion of real checkpoints: all numbers stay the same, and transformers opens the result."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import small
import tensorflow as tf
import transformers_models
from torch_process import run_in_torch_process

from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertModel
from keras_bert_impl.recipes.convert import convert

# Fixture, directory in it, and the class of what is written.
REAL = [
    ("minilm", ".", "BertModel"),
    ("tiny_cassette", ".", "BertForMaskedLM"),
    ("rxn", "bert_pretrained", "BertForPreTraining"),
    ("rxn", "bert_ft", "BertModel"),
    ("rxn", "bert_ft_10k_25s", "BertForSequenceClassification"),
]


def read_published(directory: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint, read by the format's own library."""
    if (directory / "model.safetensors").is_file():
        return safetensors.numpy.load_file(directory / "model.safetensors")
    return load_with_torch(directory / "pytorch_model.bin")


@run_in_torch_process
def load_with_torch(path: Path) -> dict[str, np.ndarray]:
    import torch

    return {name: tensor.numpy() for name, tensor in torch.load(path, map_location="cpu", weights_only=True).items()}


@pytest.mark.parametrize(("fixture", "name", "architecture"), REAL)
@pytest.mark.filterwarnings("ignore:num_labels is 50, but id2label has 2 labels:UserWarning")
def test_real_checkpoints(
    fixture: str, name: str, architecture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source, target = request.getfixturevalue(fixture) / name, tmp_path / "converted"

    # The vocabulary of reactions does not say that it is cased.
    report = convert(source, target, cased=True if fixture == "rxn" else None)

    assert not report.list_names("unexpected")
    assert json.loads((target / "config.json").read_text())["architectures"] == [architecture]
    before, after = read_published(source), transformers_models.load_state_dict(architecture, target)
    assert {*report.list_names("loaded"), *report.list_names("ignored")} == set(before)
    for name in report.list_names("loaded"):
        current = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        key_after = next(key for key in (current, f"bert.{current}", current.removeprefix("bert.")) if key in after)
        np.testing.assert_array_equal(after[key_after], before[name], err_msg=name)
    assert all(re.search(r"position_ids|decoder\.|predictions\.bias", name) for name in report.list_names("ignored"))


def test_a_vocabulary_without_a_setting_for_case(rxn: Path, tmp_path: Path) -> None:
    for cased in (True, False):
        convert(rxn / "bert_ft", tmp_path / str(cased), cased=cased)
        tokenizer = transformers_models.Tokenizer(tmp_path / str(cased))
        assert tokenizer.tokenize("Cl") == (["Cl"] if cased else ["[UNK]"])


@pytest.mark.parametrize("fixture", ["minilm", "tiny_cassette"])
def test_the_tokenizer_is_converted_too(fixture: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source = request.getfixturevalue(fixture)
    convert(source, tmp_path / "converted")
    texts = ["A quiet, funny and deeply moving film.", "Ünïcode 😀 [SEP] naïve", ""]
    before, after = (transformers_models.Tokenizer(place) for place in (source, tmp_path / "converted"))
    assert after(texts)["input_ids"] == before(texts, padding=False)["input_ids"]


def test_googles_format(tmp_path: Path) -> None:
    """A checkpoint as google-research/bert saves it, which transformers can read too."""
    source, target = tmp_path / "uncased_L-2_H-32_A-4", tmp_path / "converted"
    source.mkdir()
    small.write_vocabulary(source, ["a good film"], vocab_size=997)
    sizes = {**small.SIZES, "vocab_size": 31, "hidden_act": "gelu", "type_vocab_size": 2}
    (source / "bert_config.json").write_text(json.dumps(sizes))
    tensors = transformers_models.make_state_dict("BertForPreTraining", **sizes)
    google = dict(list_google_variables(tensors))
    tf.raw_ops.SaveV2(
        prefix=str(source / "bert_model.ckpt"),
        tensor_names=list(google),
        shape_and_slices=[""] * len(google),
        tensors=[tf.constant(array) for array in google.values()],
    )

    report = convert(source, target, strict=True)

    assert {entry.status for entry in report.entries} == {"loaded"}
    converted = transformers_models.load_state_dict("BertForPreTraining", target)
    assert converted.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(converted[name], array, err_msg=name)
    assert (target / "vocab.txt").read_bytes() == (source / "vocab.txt").read_bytes()


def list_google_variables(tensors: dict[str, np.ndarray]) -> Any:
    """PyTorch's tensors under the names of google-research/bert's ``modeling.py``, kernels transposed."""
    for name, array in tensors.items():
        if name.endswith("position_ids") or name.startswith("cls.predictions.decoder"):
            continue
        if name.startswith("cls.seq_relationship"):
            yield "cls/seq_relationship/output_" + name.rsplit(".", 1)[1] + "s" * name.endswith("weight"), array
        elif name == "cls.predictions.bias":
            yield "cls/predictions/output_bias", array
        else:
            google = name.replace("encoder.layer.", "encoder.layer_").replace(".", "/")
            for torch_ending, google_ending in (
                ("_embeddings/weight", "_embeddings"),
                ("LayerNorm/weight", "LayerNorm/gamma"),
                ("LayerNorm/bias", "LayerNorm/beta"),
                ("/weight", "/kernel"),
            ):
                if google.endswith(torch_ending):
                    google = google.removesuffix(torch_ending) + google_ending
                    break
            yield google, array.T if google.endswith("kernel") else array


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_files(small_bert: Path, tmp_path: Path, dtype: str) -> None:
    """Transformers opens it in this dtype, and all numbers are rounded to the nearest of the dtype."""
    convert(small_bert, tmp_path / "full")
    convert(small_bert, tmp_path / "half", dtype=dtype)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.53 * sizes[0]
    theirs = load_rounded_state(tmp_path / "half", tmp_path / "full", dtype)
    ours = BertModel.from_pretrained(tmp_path / "half").state_dict()
    assert ours.keys() == theirs.keys()
    for name, (opened, rounded) in theirs.items():
        np.testing.assert_array_equal(opened, rounded, err_msg=name)
        np.testing.assert_array_equal(ours[name], opened, err_msg=name)


@run_in_torch_process
def load_rounded_state(half: Path, full: Path, dtype: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The tensors of a model opened in the precision it was saved in, and those of another model, rounded to it."""
    import torch
    import torch_models
    import transformers

    opened = transformers.BertModel.from_pretrained(half)
    if opened.dtype != getattr(torch, dtype):
        raise AssertionError(f"the model was opened as {opened.dtype}")
    expected = torch_models.load("BertModel", full).state_dict()
    return {
        name: (tensor.float().numpy(), expected[name].to(tensor.dtype).float().numpy())
        for name, tensor in opened.state_dict().items()
    }


def test_numbers_that_a_dtype_cannot_hold(small_bert: Path, tmp_path: Path) -> None:
    model = BertModel.from_pretrained(small_bert)
    model.embeddings.word_embeddings.embeddings.assign_add(np.full((997, 32), 1e5, "float32"))
    with pytest.raises(InputError, match=r"word_embeddings\.weight contains 1e\+05, which is too large for float16"):
        model.save_pretrained(tmp_path / "half", dtype="float16")
    with pytest.raises(InputError, match="dtype is 'int8'; float32 or float16 or bfloat16 was expected"):
        model.save_pretrained(tmp_path / "half", dtype="int8")
