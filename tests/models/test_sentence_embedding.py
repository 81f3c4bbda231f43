"""`BertForSentenceEmbedding` compared with sentence-transformers, in both directions."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import sentence_models
from sentence_models import KINDS, TEXTS, make_directory
from transformers_models import load_state_dict

from keras_bert_impl import BertConfig, BertForSentenceEmbedding, BertModel, BertTokenizer
from keras_bert_impl.checkpoints.sentence_settings import DenseSettings, SentenceSettings
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.recipes.convert import convert
from keras_bert_impl.sources import open_source

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 61,
}


def embed(model: BertForSentenceEmbedding, texts: list[str], prompt: str = "") -> np.ndarray:
    """Returns the vectors of texts in one batch."""
    assert model.tokenizer is not None
    inputs = model.tokenizer([prompt + text for text in texts], max_length=model.max_seq_length)
    if prompt and not model.settings.include_prompt:
        excluded = model.tokenizer(prompt, max_length=model.max_seq_length)["input_ids"].shape[1] - 1  # Without [SEP].
        is_pooled = np.arange(inputs["input_ids"].shape[1]) >= excluded
        inputs["pooling_mask"] = np.tile(is_pooled.astype("int32"), (len(texts), 1))
    return keras.ops.convert_to_numpy(model(inputs)["sentence_embedding"])


def assert_same_vectors(ours: np.ndarray, theirs: np.ndarray) -> None:
    """``theirs`` may be truncated."""
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, atol=1e-5, rtol=1e-5)


# Each pooling alone is tested in tests/layers.
QUICK = ("several", "dense of several", "prompts", "several without prompt", "lower case", "folder")


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS]
)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    return make_directory(request.param, tmp_path_factory.mktemp("sentence") / request.param, bert=small_bert)


@pytest.fixture(scope="module")
def model(directory: Path) -> BertForSentenceEmbedding:
    return BertForSentenceEmbedding.from_pretrained(directory)


@pytest.fixture(scope="module")
def expected(directory: Path) -> np.ndarray:
    return sentence_models.encode(directory, TEXTS)


def test_vectors(model: BertForSentenceEmbedding, directory: Path, expected: np.ndarray) -> None:
    """With the default prompt, and with a prompt by its name."""
    settings = model.settings
    assert_same_vectors(embed(model, TEXTS, settings.prompts.get(settings.default_prompt_name, "")), expected)
    assert expected.shape == (len(TEXTS), model.get_sentence_embedding_dimension())
    if "passage" in settings.prompts:
        theirs = sentence_models.encode(directory, TEXTS, prompt_name="passage")
        assert_same_vectors(embed(model, TEXTS, settings.prompts["passage"]), theirs)


def test_saved(model: BertForSentenceEmbedding, directory: Path, expected: np.ndarray, tmp_path: Path) -> None:
    """sentence-transformers opens what is saved, and what it saves is read with the same settings."""
    model.save_pretrained(tmp_path / "ours")
    assert_same_vectors(sentence_models.encode(tmp_path / "ours", TEXTS), expected)
    again = BertForSentenceEmbedding.from_pretrained(tmp_path / "ours")
    assert again.settings == model.settings
    np.testing.assert_array_equal(embed(again, TEXTS), embed(model, TEXTS))
    sentence_models.save_again(directory, tmp_path / "theirs")
    theirs = BertForSentenceEmbedding.from_pretrained(tmp_path / "theirs")
    # The tokenizer now has the maximum length, and lower-cases; but transformers 5 does not read the latter again.
    changes = {"max_seq_length": None, "do_lower_case": False}
    assert theirs.settings == dataclasses.replace(model.settings, **changes)
    assert theirs.max_seq_length == model.max_seq_length
    if model.settings.do_lower_case:
        assert_same_vectors(embed(theirs, TEXTS), sentence_models.encode(tmp_path / "theirs", TEXTS))
    else:
        np.testing.assert_array_equal(embed(theirs, TEXTS), embed(model, TEXTS))


def make_config(**settings: object) -> BertConfig:
    """Returns a small configuration with settings of a sentence embedding."""
    return SentenceSettings(**settings).add_to(BertConfig(**SIZES))


def make_inputs() -> dict[str, np.ndarray]:
    """Returns three rows, one with padding and one whose last tokens are pooled only."""
    ids = np.random.default_rng(0).integers(1, SIZES["vocab_size"], (3, 7))
    mask = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [1] * 7])
    pooling_mask = np.array([[1] * 7, [1] * 7, [0, 0, 0, 0, 0, 1, 1]])
    arrays = {"input_ids": ids, "attention_mask": mask, "pooling_mask": pooling_mask}
    return {name: array.astype("int32") for name, array in arrays.items()}


def test_a_plain_bert_gets_mean_pooling(small_bert: Path) -> None:
    with pytest.warns(UserWarning, match=r"small_bert has no modules\.json: mean pooling is used, without normaliz"):
        model = BertForSentenceEmbedding.from_pretrained(small_bert)
    assert model.settings == SentenceSettings()
    assert model.max_seq_length == 131
    assert_same_vectors(embed(model, TEXTS), sentence_models.encode(small_bert, TEXTS))


def test_the_head_of_a_plain_bert(small_bert: Path, tmp_path: Path) -> None:
    model = BertForSentenceEmbedding.from_pretrained(small_bert, pooling="cls", normalize=True)
    assert model.settings == SentenceSettings(pooling="cls", modules=("normalize",))
    model.save_pretrained(tmp_path)
    assert_same_vectors(embed(model, TEXTS), sentence_models.encode(tmp_path, TEXTS))


def test_a_new_dense_module(small_bert: Path, tmp_path: Path) -> None:
    """Settings that are given take precedence over those of the directory; the new module has new weights."""
    settings = SentenceSettings(modules=(DenseSettings(32, 5, activation="sigmoid"), "normalize"))
    config = settings.add_to(BertConfig.from_pretrained(small_bert))
    model = BertForSentenceEmbedding.from_pretrained(small_bert, extra=config.extra)
    names = ["sentence_dense.0.linear.weight", "sentence_dense.0.linear.bias"]
    assert model.load_report.list_names("newly initialized") == names
    model.save_pretrained(tmp_path)
    assert_same_vectors(embed(model, TEXTS), sentence_models.encode(tmp_path, TEXTS))


def test_it_is_still_a_bert(small_bert: Path, tmp_path: Path) -> None:
    """Unknown keys of ``config.json`` and the pooler, which the model does not use, are written back."""
    source = make_directory("dense", tmp_path / "source", bert=small_bert)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"my_key": [1, 2]}))
    assert find_model_class(open_source(source)) is BertForSentenceEmbedding
    model = BertForSentenceEmbedding.from_pretrained(source, strict=True)
    assert {entry.status for entry in model.load_report.entries} == {"loaded"}
    model.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["my_key"] == [1, 2]
    assert saved["architectures"] == ["BertModel"]
    assert "sentence_embedding" not in saved
    original, ours = (load_state_dict("BertModel", path) for path in (source, tmp_path / "saved"))
    assert original.keys() == ours.keys()
    for name, tensor in original.items():
        np.testing.assert_array_equal(ours[name], tensor, err_msg=name)
    backbone = BertModel.from_pretrained(tmp_path / "saved")
    assert not backbone.load_report.list_names("newly initialized")


def test_convert_writes_the_complete_directory(small_bert: Path, tmp_path: Path) -> None:
    source = make_directory("dense", tmp_path / "source", bert=small_bert)
    convert(source, tmp_path / "converted", dtype="bfloat16")
    theirs = sentence_models.encode(source, TEXTS)
    assert np.abs(sentence_models.encode(tmp_path / "converted", TEXTS) - theirs).max() < 0.05
    assert {path.name for path in (tmp_path / "converted").iterdir()} >= {"modules.json", "vocab.txt", "2_Dense"}


def test_the_maximum_length_can_be_set(small_bert: Path, tmp_path: Path) -> None:
    model = BertForSentenceEmbedding.from_pretrained(make_directory("cls", tmp_path / "source", bert=small_bert))
    model.max_seq_length = 17
    model.save_pretrained(tmp_path / "saved")
    assert_same_vectors(embed(model, TEXTS), sentence_models.encode(tmp_path / "saved", TEXTS))
    model.max_seq_length = 1000
    assert model.max_seq_length == 131  # The positions.


def test_the_tree_shows_the_head() -> None:
    model = BertForSentenceEmbedding(make_config(pooling=("cls", "max"), modules=(DenseSettings(64, 5), "normalize")))
    assert str(model).splitlines()[-4:] == [
        "  (pooling): SentencePooling(cls, max)",
        "  (dense_0): Dense(in=64, out=5, bias=True)",
        "  (normalize): L2Normalization()",
        ")",
    ]


def test_keras_file(tmp_path: Path) -> None:
    config = make_config(pooling=("cls", "lasttoken"), modules=(DenseSettings(64, 5), "normalize"), max_seq_length=13)
    model = BertForSentenceEmbedding(config)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.settings == model.settings
    inputs = make_inputs()
    expected, found = (keras.ops.convert_to_numpy(each(inputs)["sentence_embedding"]) for each in (model, again))
    np.testing.assert_array_equal(found, expected)


def test_hidden_states_and_the_vector_of_cls() -> None:
    """The first token alone is computed in the last block, unless other outputs are requested."""
    model = BertForSentenceEmbedding(make_config(pooling="cls"))
    inputs = {name: array for name, array in make_inputs().items() if name != "pooling_mask"}
    outputs = model.with_outputs(output_hidden_states=True)(inputs)
    vectors = keras.ops.convert_to_numpy(outputs["sentence_embedding"])
    np.testing.assert_array_equal(vectors, keras.ops.convert_to_numpy(outputs["hidden_states"][-1])[:, 0])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(inputs)["sentence_embedding"]), vectors, atol=1e-6)


def test_the_head_is_float32_in_bfloat16() -> None:
    config = make_config(modules=(DenseSettings(32, 5), "normalize"))
    model = BertForSentenceEmbedding(config)
    other = BertForSentenceEmbedding(config, dtype="bfloat16")
    other.set_weights(model.get_weights())
    inputs = make_inputs()
    expected, found = (keras.ops.convert_to_numpy(each(inputs)["sentence_embedding"]) for each in (model, other))
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_all_weights_are_trained() -> None:
    model = BertForSentenceEmbedding(make_config(modules=(DenseSettings(32, 5), "normalize")))
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss={"sentence_embedding": "mse"})
    before = model.state_dict()
    model.fit(make_inputs(), {"sentence_embedding": np.ones((3, 5), "float32")}, verbose=0)
    after = model.state_dict()
    # Keys are moved by all queries alike, so their biases have no gradient.
    unchanged = [name for name in before if np.array_equal(before[name], after[name]) and "key.bias" not in name]
    assert unchanged == []


@pytest.mark.slow
def test_minilm(minilm: Path, film_texts: list[str]) -> None:
    """The published model; the last texts are longer than its 256 tokens."""
    model = BertForSentenceEmbedding.from_pretrained(minilm)
    assert model.max_seq_length == 256
    long = [" ".join(film_texts[start : start + 40]) for start in range(0, 800, 40)]
    assert min(len(model.tokenizer.tokenize(text)) for text in long) > 256
    for texts in (film_texts[:200], long):
        assert_same_vectors(embed(model, texts), sentence_models.encode(minilm, texts))


def test_a_tokenizer_that_is_set_is_saved(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film"]
    model = BertForSentenceEmbedding(make_config())
    assert model.max_seq_length == 61
    model.save_pretrained(tmp_path / "without")
    assert not (tmp_path / "without" / "vocab.txt").exists()
    model.tokenizer = BertTokenizer(words, model_max_length=9)
    assert model.max_seq_length == 9
    model.save_pretrained(tmp_path / "with")
    assert BertTokenizer.from_pretrained(tmp_path / "with").vocabulary == words
