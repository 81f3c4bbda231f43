"""Files as people have them: names that wrappers change, heads for other labels, byte-order marks, no architectures."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import transformers_models
from torch_process import run_in_torch_process

from keras_bert_impl import AutoModel, BertConfig, BertForSequenceClassification, BertTokenizer
from keras_bert_impl.checkpoints.matching import match_tensors
from keras_bert_impl.checkpoints.names import find_wrappers, to_torch_names
from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json
from keras_bert_impl.tasks import open_task

NAME, LAYERS = "BertForSequenceClassification", {"num_hidden_layers": 2}


@run_in_torch_process
def save_wrapped(directory: Path, wrapper: str) -> dict[str, np.ndarray]:
    """Saves a random classifier inside of a wrapper, as training scripts do; returns its own tensors."""
    import torch
    import torch_models
    from torch_wrappers import WRAPPERS

    model = torch_models.make_model("BertForSequenceClassification", num_hidden_layers=2)
    model.config.architectures = ["BertForSequenceClassification"]
    model.config.save_pretrained(directory)
    expected = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": WRAPPERS[wrapper](model).state_dict()}, directory / "pytorch_model.bin")
    return expected


@pytest.mark.parametrize(
    ("wrapper", "removed"),
    [
        ("DataParallel", "module."),
        ("compile", "_orig_mod."),
        ("Lightning", "model."),
        ("all of them", "module.model. and _orig_mod."),
        ("a name for the BERT", "encoder."),
        ("the name bert twice", "bert."),
        ("compiled blocks", "_orig_mod."),
    ],
)
def test_names_with_what_wrappers_add(tmp_path: Path, wrapper: str, removed: str) -> None:
    expected = save_wrapped(tmp_path, wrapper)
    model = AutoModel.from_pretrained(tmp_path)
    assert type(model) is BertForSequenceClassification
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)
    report = model.load_report
    assert report is not None
    assert f"\n  names read without {removed}\n" in f"{report}\n"
    assert report.list_names("newly initialized") == []
    others = ["class_weights"] if wrapper in ("Lightning", "all of them") else []
    assert [name.rsplit(".", 1)[-1] for name in report.list_names("unexpected")] == others


@run_in_torch_process
def run_reference(directory: Path) -> str:
    """Returns the error of the reference of ``verify``."""
    from keras_bert_impl.errors import InputError
    from keras_bert_impl.interop import reference
    from keras_bert_impl.sources import open_source

    try:
        reference.run("BertForSequenceClassification", open_source(directory), {})
    except InputError as error:
        return str(error)
    return ""


def test_verify_does_not_compare_with_a_model_that_transformers_does_not_read(tmp_path: Path) -> None:
    """It would compare with random weights."""
    save_wrapped(tmp_path, "DataParallel")
    assert "does not read" in run_reference(tmp_path)
    assert "because the names are those of a wrapper. Run `keras-bert convert` and verify" in run_reference(tmp_path)


def test_plain_names_have_no_wrappers() -> None:
    for keys in (["bert.embeddings.word_embeddings.weight"], ["embeddings.word_embeddings.weight", "x.y"], ["pooler"]):
        assert find_wrappers(keys) == []
    # The parts of names are compared as a whole.
    assert list(to_torch_names(["my_bert.embeddings.word_embeddings.weight"]).values()) == [
        "embeddings.word_embeddings.weight"
    ]
    assert find_wrappers(["my_bert.embeddings.word_embeddings.weight"]) == ["my_bert."]


def test_several_berts_in_a_file() -> None:
    tensors = {f"{name}.bert.embeddings.word_embeddings.weight": np.zeros((3, 2)) for name in ("query", "document")}
    with pytest.raises(InputError, match=r"both\.bin contains several BERTs, .*'document\.' and 'query\.'; one was"):
        match_tensors(tensors, {}, source="both.bin")


def make_labeled(labels: list[str] | tuple[str, ...], directory: Path) -> dict[str, np.ndarray]:
    """Saves a random classifier of transformers with these labels; returns its tensors."""
    names = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
    transformers_models.save(NAME, directory, **LAYERS, **names)
    return transformers_models.load_state_dict(NAME, directory)


def load(directory: Path, labels: list[str], **options: Any) -> BertForSequenceClassification:
    return BertForSequenceClassification.from_pretrained(directory, id2label=labels, **options)


@pytest.mark.parametrize("new_heads", [False, True])
def test_the_same_labels_in_another_order(tmp_path: Path, new_heads: bool) -> None:
    before = make_labeled(["bad", "fair", "good"], tmp_path)
    model = load(tmp_path, ["good", "bad", "fair"], new_heads=new_heads)
    after = model.state_dict()
    np.testing.assert_array_equal(after["classifier.weight"], before["classifier.weight"][[2, 0, 1]])
    np.testing.assert_array_equal(after["classifier.bias"], before["classifier.bias"][[2, 0, 1]])
    assert "2 loaded: with the rows in the order good, bad, fair" in str(model.load_report)


def test_other_labels_of_the_same_number(tmp_path: Path) -> None:
    before = make_labeled(["bad", "fair", "good"], tmp_path)
    with pytest.warns(UserWarning, match="has a head for the labels bad, fair, good; it is used for a, b, c. Pass new"):
        kept = load(tmp_path, ["a", "b", "c"])
    np.testing.assert_array_equal(kept.state_dict()["classifier.weight"], before["classifier.weight"])
    assert "trained for the labels bad, fair, good, which are called a, b, c now" in str(kept.load_report)

    new = load(tmp_path, ["a", "b", "c"], new_heads=True)
    assert new.load_report is not None
    assert new.load_report.list_names("newly initialized") == ["classifier.weight", "classifier.bias"]
    assert "2 newly initialized: the file's head is for the labels bad, fair, good" in str(new.load_report)
    assert not np.array_equal(new.state_dict()["classifier.weight"], before["classifier.weight"])


@pytest.mark.parametrize("new_heads", [False, True])
def test_labels_without_names(tmp_path: Path, new_heads: bool) -> None:
    """``LABEL_1`` is the label 1, or one that has no name yet: the head is used, and reported."""
    before = make_labeled([f"LABEL_{i}" for i in range(3)], tmp_path)
    named = load(tmp_path, ["bad", "fair", "good"], new_heads=new_heads)
    np.testing.assert_array_equal(named.state_dict()["classifier.bias"], before["classifier.bias"])
    assert "trained for the labels LABEL_0, LABEL_1, LABEL_2, which are called bad, fair, good now" in str(
        named.load_report
    )
    numbered = load(tmp_path, ["2", "1", "0"], new_heads=new_heads)
    np.testing.assert_array_equal(numbered.state_dict()["classifier.bias"], before["classifier.bias"][::-1])


def test_the_name_of_a_single_output_does_not_matter(tmp_path: Path) -> None:
    before = make_labeled(["LABEL_0"], tmp_path)
    state = load(tmp_path, ["value"], new_heads=True).state_dict()
    np.testing.assert_array_equal(state["classifier.weight"], before["classifier.weight"])


def test_byte_order_marks(small_bert: Path, tmp_path: Path) -> None:
    """Editors of Windows write them."""
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_text((small_bert / name).read_text("utf-8"), "utf-8-sig")
    assert (tmp_path / "vocab.txt").read_bytes().startswith(b"\xef\xbb\xbf[PAD]")
    texts = ["A great film!", "Dull."]
    ours, expected = (BertTokenizer.from_pretrained(path) for path in (tmp_path, small_bert))
    assert ours.vocabulary == expected.vocabulary
    np.testing.assert_array_equal(ours(texts)["input_ids"], expected(texts)["input_ids"])
    assert BertConfig.from_pretrained(tmp_path) == BertConfig.from_pretrained(small_bert)


def test_a_configuration_without_architectures(
    small_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = BertForSequenceClassification.from_pretrained(small_bert)
    model.save_pretrained(tmp_path)
    assert model.tokenizer is not None
    model.tokenizer.save_pretrained(tmp_path)
    values = read_json(tmp_path / "config.json")
    del values["architectures"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    commands = {"predict": ["A film."], "evaluate": ["--data", "x.tsv"], "export": [str(tmp_path / "x" / "1")]}
    if keras.backend.backend() != "tensorflow":
        del commands["export"]
    for command, arguments in commands.items():
        assert main([command, str(tmp_path), *arguments]) == 2
        message = capsys.readouterr().err
        assert f"{tmp_path}: config.json does not name the class of the model (architectures)" in message
        assert "Name the task (--task, or task in Python): classification, " in message
    assert not (tmp_path / "x").exists()
    assert main(["predict", str(tmp_path), "A film.", "--task", "classification"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"].keys() == {"LABEL_0", "LABEL_1"}
    assert open_task(tmp_path, "tagging")[0].name == "tagging"
    assert type(AutoModel.from_pretrained(tmp_path)) is BertForSequenceClassification
