"""Files of Keras 3: ``.weights.h5`` and ``.keras`` of this package, and presets of KerasHub."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
from recorded_formats import count_errors, damage, extract, load

from keras_bert_impl import BertConfig, BertModel, BertTokenizer, models
from keras_bert_impl.checkpoints import SentenceSettings
from keras_bert_impl.checkpoints.sentence_settings import DenseSettings
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.sources import open_source

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a film was good bad . , ##ed ##s cafe play".split()
# All different, so that a swapped axis fails.
CONFIG = BertConfig(
    vocab_size=len(WORDS),
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=19,
    max_position_embeddings=13,
    type_vocab_size=5,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    id2label=dict(enumerate("abcdef")),
)
TEXTS = ["The film was good.", "a bad, bad film", "Played cafés"]


def randomize(model: keras.Model) -> None:
    """Replaces all weights, so that none is zero or one."""
    draw = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(draw.normal(size=variable.shape, scale=0.2))


def make_model(name: str, **changes: Any) -> models.BertPreTrainedModel:
    model = getattr(models, name)(BertConfig(**{**CONFIG.__dict__, **changes}))
    randomize(model)
    return model


def assert_same_state(first: models.BertPreTrainedModel, second: models.BertPreTrainedModel) -> None:
    ours, expected = first.state_dict(), second.state_dict()
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def make_embedder() -> models.BertPreTrainedModel:
    dense = DenseSettings(in_features=12, out_features=7, bias=True, activation="tanh")
    settings = SentenceSettings(pooling=("cls",), modules=(dense, "normalize"))
    model = models.BertForSentenceEmbedding(settings.add_to(CONFIG))
    randomize(model)
    return model


@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMultipleChoice", "BertForSentenceEmbedding"])
def test_files_of_this_package(name: str, tmp_path: Path) -> None:
    """A model that was trained: the file has the optimizer's variables too."""
    untied = {"tie_word_embeddings": False} if name == "BertForPreTraining" else {}
    model = make_embedder() if name == "BertForSentenceEmbedding" else make_model(name, **untied)
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "own.keras")
    for source in (tmp_path, tmp_path / "own.keras"):
        opened = open_source(source)
        assert find_model_class(opened) is getattr(models, name)
    loaded = getattr(models, name).from_pretrained(tmp_path)
    assert loaded.config == BertConfig(**{**model.config.__dict__, "extra": loaded.config.extra})
    assert_same_state(loaded, model)
    report = loaded.load_report
    assert report.list_names("newly initialized") == report.list_names("unexpected") == []
    assert all(name.startswith("optimizer/") for name in report.list_names("ignored"))
    (tmp_path / "own.keras").unlink()
    model.save_weights(tmp_path / "my.weights.h5")
    with pytest.raises(InputError, match=r"has neither config\.json nor bert_config\.json.*Copy"):
        BertConfig.from_pretrained(tmp_path / "my.weights.h5")
    (tmp_path / "config.json").write_text(str(model.config))
    for variable in loaded.weights:
        variable.assign(np.zeros(variable.shape))
    loaded.load_pretrained(tmp_path)
    assert_same_state(loaded, model)


def test_bfloat16(tmp_path: Path) -> None:
    model = BertModel(CONFIG, dtype="bfloat16")
    model.save(tmp_path / "own.keras")
    assert_same_state(BertModel.from_pretrained(tmp_path), model)


def make_preset(directory: Path, name: str, **options: Any) -> Any:
    """Writes the preset of a random task of KerasHub, or of a backbone; returns the model."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(WORDS),
        num_layers=2,
        num_heads=3,
        hidden_dim=12,
        intermediate_dim=19,
        max_sequence_length=13,
        num_segments=5,
    )
    model = backbone
    if name != "BertBackbone":
        tokenizer = keras_hub.models.BertTokenizer(vocabulary=WORDS, lowercase=True)
        preprocessor = getattr(keras_hub.models, f"{name}Preprocessor")(tokenizer, sequence_length=11)
        model = getattr(keras_hub.models, name)(backbone, preprocessor=preprocessor, **options)
    randomize(model)
    model.save_to_preset(directory)
    return model


def assert_close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (ours, theirs)), atol=1e-5)


def run_hub(backbone: Any, batch: dict[str, np.ndarray]) -> Any:
    names = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
    return backbone({theirs: batch[ours] for theirs, ours in names.items()})


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The preset of a classifier, and the classifier."""
    directory = tmp_path_factory.mktemp("preset")
    return directory, make_preset(directory, "BertTextClassifier", num_classes=6, activation="softmax", dropout=0.3)


def test_a_preset_of_a_classifier(preset: tuple[Path, Any]) -> None:
    directory, theirs = preset
    assert find_model_class(open_source(directory)) is models.BertForSequenceClassification
    model = models.BertForSequenceClassification.from_pretrained(directory)
    assert (model.config.hidden_act, model.config.layer_norm_eps) == ("gelu_new", 1e-12)
    assert (model.config.num_labels, model.config.classifier_dropout) == (6, 0.3)
    # Without the accent, which KerasHub's tokenizer does not know in another form.
    texts = [text.replace("é", "e") for text in TEXTS]
    batch = model.tokenizer(texts, padding="max_length", max_length=11)
    expected = theirs.preprocessor(texts)
    np.testing.assert_array_equal(batch["input_ids"], np.asarray(expected["token_ids"]))
    assert BertTokenizer.from_pretrained(directory)("café")["input_ids"].tolist() == [[2, 1, 3]]
    assert_close(keras.ops.softmax(model(batch)["logits"]), theirs(expected))
    report = str(model.load_report)
    assert "note: KerasHub's encoder computes GELU by tanh, so hidden_act is gelu_new" in report
    assert "the activation 'softmax' of the BertTextClassifier is not applied" in report
    assert not model.load_report.list_names("newly initialized") + model.load_report.list_names("unexpected")


def test_a_preset_of_keras_nlp() -> None:
    """It has the classes of layers instead of their names, and the head's file contains the backbone again."""
    directory = extract("keras_nlp")
    assert json.loads((directory / "versions.json").read_text())["keras"] == "3.3.3"
    assert find_model_class(open_source(directory / "preset")) is models.BertForSequenceClassification
    model = models.BertForSequenceClassification.from_pretrained(directory / "preset")
    logits = model(load(directory / "inputs.npz"))["logits"]
    assert_close(logits, load(directory / "preset" / "outputs.npz")["logits"])
    assert model.load_report.list_names("newly initialized") + model.load_report.list_names("unexpected") == []
    assert model.tokenizer.tokenize("The book.") == ["the", "book", "."]


def test_a_preset_of_a_backbone(tmp_path: Path) -> None:
    theirs = make_preset(tmp_path, "BertBackbone")
    model = BertModel.from_pretrained(tmp_path)
    ids = np.random.default_rng(0).integers(1, len(WORDS), (4, 11))
    batch = {"input_ids": ids, "token_type_ids": ids % 5, "attention_mask": np.ones_like(ids)}
    ours, expected = model(batch), run_hub(theirs, batch)
    assert_close(ours["last_hidden_state"], expected["sequence_output"])
    assert_close(ours["pooler_output"], expected["pooled_output"])
    assert {entry.status for entry in model.load_report.entries} == {"loaded"}
    theirs.save(tmp_path / "backbone.keras")
    again = BertModel.from_pretrained(tmp_path / "backbone.keras")
    assert_same_state(again, model)
    assert again.load_report.notes == model.load_report.notes


def test_a_preset_of_a_masked_lm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """KerasHub's head has another epsilon and the exact GELU, which the report says."""
    theirs = make_preset(tmp_path / "preset", "BertMaskedLM")
    assert main(["convert", str(tmp_path / "preset"), str(tmp_path / "converted"), "--strict"]) == 0
    assert "KerasHub's masked-LM head computes the exact GELU" in capsys.readouterr().out
    config = json.loads((tmp_path / "converted" / "config.json").read_text())
    assert (config["architectures"], config["hidden_act"]) == (["BertForMaskedLM"], "gelu_new")
    assert (tmp_path / "converted" / "vocab.txt").read_text().split() == WORDS
    model = models.BertForMaskedLM.from_pretrained(tmp_path / "converted")
    head = theirs.get_layer("mlm_head")
    assert len(model.cls.weights) == 5
    ours = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.cls.weights}
    for path, expected in {
        "cls/predictions/bias": head._bias,
        "cls/predictions/transform/dense/kernel": head._intermediate_dense.kernel,
        "cls/predictions/transform/LayerNorm/gamma": head._intermediate_layer_norm.gamma,
    }.items():
        np.testing.assert_array_equal(ours[path], keras.ops.convert_to_numpy(expected))


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_damaged_preset(preset: tuple[Path, Any], count: int, tmp_path: Path) -> None:
    errors = count_errors(preset[0] / "model.weights.h5", tmp_path, count=count)
    assert 2 * count / 5 <= errors < count


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_settings_of_a_preset(preset: tuple[Path, Any], count: int, tmp_path: Path) -> None:
    """An error of this package, or a configuration and a tokenizer."""
    shutil.copytree(preset[0], tmp_path, dirs_exist_ok=True)
    names = ("config.json", "task.json", "tokenizer.json", "assets/tokenizer/vocabulary.txt")
    errors = 0
    for seed in range(count):
        name = names[seed // 5 % len(names)]
        (tmp_path / name).write_bytes(damage((preset[0] / name).read_bytes(), seed)[0])
        try:
            BertConfig.from_pretrained(tmp_path)
            BertTokenizer.from_pretrained(tmp_path)
        except InputError:
            errors += 1
        shutil.copy(preset[0] / name, tmp_path / name)
    assert 0 < errors < count


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", {"class_name": "RobertaBackbone"}, r"config\.json contains a RobertaBackbone"),
        ("config.json", {"config": {}}, "the BertBackbone lacks vocabulary_size"),
        ("tokenizer.json", {"class_name": "GemmaTokenizer"}, "contains a GemmaTokenizer"),
        ("assets/tokenizer/vocabulary.txt", None, r"has no assets/tokenizer/vocabulary\.txt"),
        ("model.weights.h5", None, r"has no weights: looked for .*model\.weights\.h5"),
    ],
)
def test_bad_presets(
    preset: tuple[Path, Any],
    name: str,
    change: dict[str, Any] | None,
    message: str,
    tmp_path: Path,
) -> None:
    shutil.copytree(preset[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        (read_tensors if name.endswith(".h5") else BertTokenizer.from_pretrained)(open_source(tmp_path))


def test_a_preset_in_several_files(preset: tuple[Path, Any], tmp_path: Path) -> None:
    preset[1].backbone.save_to_preset(tmp_path, max_shard_size=1e-5)
    with pytest.raises(InputError, match=r"several files of Keras \(model\.weights\.json\)"):
        BertModel.from_pretrained(tmp_path)


def test_verify_refuses_a_preset(preset: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(preset[0])]) == 2
    assert "is a preset of KerasHub, which transformers cannot read" in capsys.readouterr().err


def write_archive(path: Path, members: dict[str, bytes], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ({}, {}, r"has no config\.json; a file that Keras 3 wrote"),
        ({"config.json": b"{"}, {}, r"config\.json in .*own\.keras is not JSON"),
        ({"config.json": b"\xff"}, {}, "is not UTF-8"),
        ({"config.json": b"[]"}, {}, "contains a JSON list"),
        ({"config.json": b"{}"}, {"compression": zipfile.ZIP_DEFLATED}, r"config\.json is compressed"),
        (
            {"config.json": b'{"class_name": "Lambda", "config": {}, "registered_name": null}'},
            {},
            "own.keras contains a Lambda; a model of this package or KerasHub's BertBackbone was expected",
        ),
        ({"config.json": str(CONFIG).encode()}, {}, r"has no model\.weights\.h5"),
        ({"config.json": str(CONFIG).encode(), "model.weights.h5": b"HDF"}, {}, "is not an HDF5 file"),
    ],
)
def test_bad_archives(members: dict[str, bytes], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_archive(tmp_path / "own.keras", members, **options)
    with pytest.raises(InputError, match=message):
        BertModel.from_pretrained(tmp_path)


def test_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "own.keras").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"own\.keras is truncated, damaged or not a \.keras file"):
        BertModel.from_pretrained(tmp_path / "own.keras")
