"""Exports of sentence embeddings and cross-encoders, compared with sentence-transformers on the same files."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_models
import tensorflow as tf
from page_code import extract_blocks
from sentence_models import KINDS, TEXTS, Kind
from serving_padding import pad_like_tf_serving
from torch_process import run_in_torch_process

from keras_bert_impl.checkpoints.sentence_settings import SentenceSettings
from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.export import FORMATS, export_model, find_format
from keras_bert_impl.export.check import check_export
from keras_bert_impl.export.graphs import int8
from keras_bert_impl.models import BertForSentenceEmbedding
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tokenization import BertTokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")

# Prompts that are pooled and that are not, with all poolings; dense modules; truncated vectors.
EXPORTED = ("mean", "cls", "dense", "prompts", "cls without prompt", "several without prompt")
PROMPTS = {"prompts": {"query": "a question: ", "a title": "title | "}, "default_prompt_name": None}


@pytest.fixture(scope="module")
def directory(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a directory of sentence-transformers of a kind, which is made once."""
    root = tmp_path_factory.mktemp("embedders")

    @functools.cache
    def make(kind: str) -> Path:
        return sentence_models.make_directory(kind, root / kind, bert=small_bert)

    return make


@pytest.fixture(scope="module")
def export(directory: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns an export of a kind in a format and a precision, which is made once."""
    root = tmp_path_factory.mktemp("exports")

    @functools.cache
    def make(kind: str, name: str = "saved_model", precision: str = "float32") -> Path:
        target = root / kind / name / precision / "1"
        return export_model(directory(kind), target, format=name, precision=precision).directory

    return make


load = functools.lru_cache(maxsize=1)(tf.saved_model.load)


def call(export: Path, signature: str, texts: list[str]) -> np.ndarray:
    """The vectors that a signature returns."""
    return load(str(export)).signatures[signature](text=tf.constant(texts))["sentence_embedding"].numpy()


def run_ids(export: Path, prompt: str) -> np.ndarray:
    """The vectors of `TEXTS` with a prompt, by any format; the tokens of the prompt are those that the files say."""
    kind = find_format(export)
    assert kind is not None
    files = kind.find_files(export)
    settings = SentenceSettings.from_config(BertConfig.from_pretrained(files))
    tokenizer = BertTokenizer.from_pretrained(files)
    inputs = dict(tokenizer([prompt + text for text in TEXTS]))
    if not settings.include_prompt:
        count = len(tokenizer([prompt])["input_ids"][0]) - 1 if prompt else 0
        inputs["pooling_mask"] = np.int32(np.arange(inputs["input_ids"].shape[1]) >= count) * inputs["attention_mask"]
    return np.asarray(kind.open(export / kind.file)(inputs)["sentence_embedding"])[:, : settings.truncate_dim]


QUICK = "several without prompt"


@pytest.mark.slow
def test_requests_that_tf_serving_pads_are_not_pooled_beyond_their_ends(export: Callable[..., Path]) -> None:
    signature = load(str(export(QUICK))).signatures["ids"]
    tokenizer = BertTokenizer.from_pretrained(export(QUICK) / "assets.extra")
    requests = [{**tokenizer(text), "pooling_mask": tokenizer(text)["attention_mask"]} for text in TEXTS[:2]]
    joined = {name: pad_like_tf_serving([request[name] for request in requests]) for name in requests[0]}
    assert joined["pooling_mask"].all()
    found = signature(**{name: tf.constant(value) for name, value in joined.items()})["sentence_embedding"]
    for vector, request in zip(found.numpy(), requests, strict=True):
        expected = signature(**{name: tf.constant(value) for name, value in request.items()})["sentence_embedding"]
        np.testing.assert_allclose(vector, expected.numpy()[0], atol=1e-6)


@pytest.mark.slow  # `test_stock_runtime.py` calls signatures of prompts in a C program.
@pytest.mark.parametrize("kind", EXPORTED)
def test_a_signature_for_each_prompt(directory: Callable[[str], Path], export: Callable[..., Path], kind: str) -> None:
    settings = BertForSentenceEmbedding.from_pretrained(directory(kind)).settings
    found = export(kind)
    assert set(load(str(found)).signatures) == {
        *("serving_default", "embed", "ids"),
        *(settings.prompts if any(settings.prompts.values()) else ()),
    }
    expected = sentence_models.encode(directory(kind), TEXTS)
    assert np.abs(expected).max() > 0.1
    for name in ("serving_default", "embed"):
        np.testing.assert_allclose(call(found, name, TEXTS), expected, atol=1e-5)
    vectors = [prediction["embedding"] for prediction in Predictor(found).predict_texts(TEXTS)]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    if not any(settings.prompts.values()):
        return
    others = {}
    for name in settings.prompts:
        others[name] = sentence_models.encode(directory(kind), TEXTS, prompt_name=name)
        np.testing.assert_allclose(call(found, name, TEXTS), others[name], atol=1e-5)
    assert np.abs(others["query"] - others["passage"]).max() > 1e-3
    page = (found / "README.md").read_text(encoding="utf-8")
    assert "Prompts before each text: `query` 'a question: ', `passage` 'the text: '; " in page


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=() if (kind, name) == (QUICK, "onnx") else pytest.mark.slow)
        for kind in EXPORTED
        for name, format in FORMATS.items()
        if not format.takes_text
    ],
)
def test_other_runtimes(directory: Callable[[str], Path], export: Callable[..., Path], kind: str, name: str) -> None:
    found = export(kind, name)
    prompts = BertForSentenceEmbedding.from_pretrained(directory(kind)).settings.prompts
    for prompt in {"", *prompts.values()}:
        expected = sentence_models.encode(directory(kind), TEXTS, prompt=prompt)
        np.testing.assert_allclose(run_ids(found, prompt), expected, atol=1e-5)
    vectors = [prediction["embedding"] for prediction in Predictor(found).predict_texts(TEXTS)]
    np.testing.assert_allclose(vectors, sentence_models.encode(directory(kind), TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name", "prompt_name"),
    [
        (QUICK, "onnx", "query"),
        pytest.param("prompts", "litert", "passage", marks=pytest.mark.slow),
        pytest.param("dense", "openvino", None, marks=pytest.mark.slow),
    ],
)
def test_the_page_of_an_export_runs(
    directory: Callable[[str], Path],
    export: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
    prompt_name: str | None,
) -> None:
    monkeypatch.chdir(export(kind, name))
    (code,) = extract_blocks(Path("README.md").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    texts = ["It was a great movie.", "A dull film."]
    expected = sentence_models.encode(directory(kind), texts, prompt_name=prompt_name)
    # OpenVINO computes in bfloat16 by default where the processor can.
    atol = 0.02 if name == "openvino" else 1e-5
    np.testing.assert_allclose(names["outputs"]["sentence_embedding"], expected, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "several without prompt"])
@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, precision) for name, kind in FORMATS.items() for precision in kind.precisions if precision != "float32"],
)
def test_small_precisions(
    directory: Callable[[str], Path],
    export: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
    precision: str,
) -> None:
    monkeypatch.setattr(int8, "_MIN_SIZE", 1)
    found = run_ids(export(kind, name, precision), "a question: ")
    expected = sentence_models.encode(directory(kind), TEXTS, prompt="a question: ")
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.99
    assert np.abs(found - expected).max() > 1e-5
    assert found.dtype == np.float32


@pytest.mark.slow
def test_serve_check(export: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve-check", str(export(QUICK))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("ok      tokenizer  vectors for texts and for the host's ids differ by ")
    assert len(lines[-1]) <= 80


@pytest.mark.slow
def test_serve_check_compares_prompts(small_bert: Path, tmp_path: Path) -> None:
    kind = Kind(KINDS["mean without prompt"].pooling, prompts=PROMPTS)
    source = sentence_models.make_directory(kind, tmp_path / "titles", bert=small_bert)
    found = export_model(source, tmp_path / "x" / "1").directory
    checks = {check.name: check for check in check_export(found)}
    assert all(check.passed for check in checks.values())
    assert checks["signatures"].details == "a title, document, embed, ids, query, serving_default: 12 requests were run"
    expected = sentence_models.encode(source, TEXTS, prompt_name="a title")
    np.testing.assert_allclose(call(found, "a title", TEXTS), expected, atol=1e-5)
    path = found / "assets.extra" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["sentence_embedding"]["prompts"]["query"] = "a film: "
    path.write_text(json.dumps(config), encoding="utf-8")
    assert [check.name for check in check_export(found) if not check.passed] == ["tokenizer"]


def test_a_prompt_with_the_name_of_a_signature(small_bert: Path, tmp_path: Path) -> None:
    kind = Kind({"pooling_mode_mean_tokens": True}, prompts={"prompts": {"ids": "x: "}})
    source = sentence_models.make_directory(kind, tmp_path / "embedder", bert=small_bert)
    with pytest.raises(
        InputError, match=r"the prompt 'ids' has the name of another signature\. Rename it in config_sent"
    ):
        export_model(source, tmp_path / "x" / "1")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_shorter_export_keeps_its_length(directory: Callable[[str], Path], tmp_path: Path) -> None:
    export = export_model(directory("prompts"), tmp_path / "x" / "1", max_length=9).directory
    model = BertForSentenceEmbedding.from_pretrained(directory("prompts"))
    model.max_seq_length = 9
    np.testing.assert_allclose(call(export, "query", TEXTS), model.encode_query(TEXTS), atol=1e-5)
    assert Predictor(export).max_length == 9


@pytest.fixture
def similarities(directory: Callable[[str], Path], film_texts: list[str], tmp_path: Path) -> Path:
    """Pairs with the similarities that sentence-transformers computes with the directory "dense"."""
    texts, pairs = film_texts[:60], film_texts[60:120]
    first, second = (sentence_models.encode(directory("dense"), column) for column in (texts, pairs))
    scores = (first * second).sum(1).tolist()
    rows = [f"{a}\t{b}\t{score:.7f}\n" for a, b, score in zip(texts, pairs, scores, strict=True)]
    (tmp_path / "sts.tsv").write_text("text\ttext_pair\tlabel\n" + "".join(rows), encoding="utf-8")
    return tmp_path / "sts.tsv"


@pytest.mark.slow
def test_the_gate_on_spearman(
    directory: Callable[[str], Path], similarities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "_MIN_SIZE", 1)
    exported = export_model(
        directory("dense"), tmp_path / "x" / "1", precision="int8-weights", data=similarities, force=True
    )
    assert exported.metric == "spearman"
    assert exported.before == pytest.approx(1, abs=1e-4)
    assert 0.95 < exported.after <= 1
    # So few levels that the model is broken.
    monkeypatch.setattr(int8, "_LARGEST", 0.2)
    with pytest.raises(InputError, match=r"spearman on .*sts\.tsv decreases from 1\.0000 to .*, by more than 0\.005"):
        export_model(directory("dense"), tmp_path / "y" / "1", precision="int8-weights", data=similarities)
    assert not (tmp_path / "y").exists()


@pytest.mark.slow
def test_the_gate_on_retrieval(directory: Callable[[str], Path], film_texts: list[str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    documents = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(film_texts[:50])]
    queries = [json.dumps({"_id": f"q{i}", "text": film_texts[i][:40]}) for i in range(9)]
    (data / "corpus.jsonl").write_text("\n".join(documents) + "\n", encoding="utf-8")
    (data / "queries.jsonl").write_text("\n".join(queries) + "\n", encoding="utf-8")
    rows = [f"q{i}\td{i}\t1\n" for i in range(9)]
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
    exported = export_model(directory("mean without prompt"), tmp_path / "x" / "1", data=data)
    assert exported.metric == "ndcg@10"
    assert exported.before == exported.after > 0.1


# ---- Cross-encoders.


@run_in_torch_process
def predict_scores(directory: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    import warnings

    from sentence_transformers import CrossEncoder

    warnings.simplefilter("ignore")
    return CrossEncoder(str(directory), device="cpu").predict(pairs)


@pytest.fixture(scope="module")
def cross_encoder(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("cross_encoders") / "identity"
    sentence_models.save_cross_encoder("identity", small_bert, target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_cross_encoders(cross_encoder: Path, tmp_path: Path, name: str) -> None:
    found = export_model(cross_encoder, tmp_path / "x" / "1", format=name).directory
    expected = predict_scores(cross_encoder, list(zip(TEXTS, TEXTS[::-1], strict=True)))
    assert np.ptp(expected) > 1e-3
    scores = [prediction["score"] for prediction in Predictor(found).predict_texts(TEXTS, TEXTS[::-1])]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    if name == "saved_model":
        signature = tf.saved_model.load(str(found)).signatures["serving_default"]
        answer = signature(text=tf.constant(TEXTS), text_pair=tf.constant(TEXTS[::-1]))
        np.testing.assert_allclose(answer["score"], expected, atol=1e-5)
        checks = {check.name: check for check in check_export(found)}
        assert all(check.passed for check in checks.values())
        assert checks["tokenizer"].details.startswith("scores for texts and for the host's ids differ by ")
