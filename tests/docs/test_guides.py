"""Runs the code of the start page and of the guides: checkpoints, fine-tuning, search, serving, the hub and views."""

import ast
import dataclasses
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, make_environment, serve
from languages import JAPANESE, make_japanese_vocabulary
from page_code import extract_blocks, extract_commands
from sentence_models import make_directory

from keras_bert_impl import BertModel
from keras_bert_impl.checkpoints.weight_files import WEIGHTS
from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.models import BertForSequenceClassification
from keras_bert_impl.sources import WEIGHTS_SUFFIXES
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.options import LOSSES, EmbeddingOptions
from keras_bert_impl.tokenization import BertJapaneseTokenizer
from keras_bert_impl.training import DistillationSettings, FineTuningSettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
START = (DOCS / "index.md").read_text(encoding="utf-8")
CHECKPOINTS = (DOCS / "guides" / "checkpoints.md").read_text(encoding="utf-8")
FINE_TUNING = (DOCS / "guides" / "fine-tuning.md").read_text(encoding="utf-8")
SMALL_BUDGETS = (DOCS / "guides" / "small-budgets.md").read_text(encoding="utf-8")
SERVING = (DOCS / "guides" / "serving.md").read_text(encoding="utf-8")
SEARCH = (DOCS / "guides" / "semantic-search.md").read_text(encoding="utf-8")
HUB = (DOCS / "guides" / "hub.md").read_text(encoding="utf-8")
LANGUAGES = (DOCS / "guides" / "languages.md").read_text(encoding="utf-8")
INTERPRETATION = (DOCS / "guides" / "interpretation.md").read_text(encoding="utf-8")


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def guide_directory(tmp_path: Path, small_bert: Path, snippets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader: a small checkpoint named as in the guides, ``train.tsv`` and ``valid.tsv``."""
    shutil.copytree(small_bert, tmp_path / "all-MiniLM-L6-v2")
    for name in ("train", "valid"):
        shutil.copy(snippets / f"{name}.tsv", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("working_directory")
def test_checkpoints(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = extract_blocks(CHECKPOINTS)
    exec(compile(code, "checkpoints.md", "exec"), {})
    report = capsys.readouterr().out
    assert "2 newly initialized: not in the file\n    pooler.dense.weight" in report
    assert "ignored: this model has no such head" in report
    (command,) = extract_commands(CHECKPOINTS)
    assert main(command) == 0
    assert Path("converted/model.safetensors").is_file()


def test_the_guide_of_checkpoints_lists_all_files_in_their_order() -> None:
    listed = [CHECKPOINTS.find(f"`{name}`") for name in WEIGHTS]
    assert -1 not in listed
    assert listed == sorted(listed)
    assert all(suffix in CHECKPOINTS for suffix in WEIGHTS_SUFFIXES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_fine_tuning(guide_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topics = [("A short comedy.", ["short", "funny"]), ("It is long.", []), ("A short story.", ["short"])]
    rows = [json.dumps({"text": text, "label": labels}) for text, labels in topics * 4]
    for name in ("topics.jsonl", "topics-valid.jsonl"):
        Path(name).write_text("\n".join(rows), encoding="utf-8")
    (annotated,) = extract_blocks(FINE_TUNING, language="json")
    Path("spans.jsonl").write_text("".join(annotated.replace("London.", f"London. {i}") for i in range(12)))
    shown = extract_commands(FINE_TUNING)
    verbs = "finetune evaluate predict finetune predict finetune finetune finetune predict finetune finetune predict"
    assert [command[0] for command in shown] == verbs.split()
    for command in shown:
        assert main(command) == 0, command
    for name in re.findall(r"^      ([\w.]+)(?:, ([\w.]+))?", FINE_TUNING, flags=re.M):
        assert all((guide_directory / "runs" / "sentiment" / part).is_file() for part in name if part), name
    capsys.readouterr()
    first, in_memory, _, *with_strings, with_ids = extract_blocks(FINE_TUNING)
    names: dict[str, Any] = {}
    exec(compile(first, "fine-tuning.md", "exec"), names)
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1
    exec(compile(in_memory, "fine-tuning.md", "exec"), names)
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1].replace("'", '"'))) <= {"1", "5"}
    exec(compile("\n".join(with_strings), "fine-tuning.md", "exec"), {})
    assert len(ast.literal_eval(capsys.readouterr().out.splitlines()[-1])) == 2
    assert Path("runs/text-in/saved_model.pb").is_file()
    exec(compile(with_ids, "fine-tuning.md", "exec"), {})
    for run in ("with-strings", "with-fit"):
        assert main(["predict", f"runs/{run}", "A great film."]) == 0


@pytest.mark.slow
def test_other_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    vocabulary = make_japanese_vocabulary([*JAPANESE, "ネコは平成生まれ。とても面白い映画だった。退屈な"])
    tokenizer = BertJapaneseTokenizer([*vocabulary, "ネコ", "平成"], word_tokenizer_type="mecab", model_max_length=61)
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 17}
    config = BertConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=61, **sizes)
    BertForSequenceClassification(config).save_pretrained("japanese-sentiment")
    for directory in ("tohoku-nlp/bert-base-japanese-v3", "japanese-sentiment"):
        tokenizer.save_pretrained(directory)
    Path("corpus.txt").write_text("\n\n".join(JAPANESE), encoding="utf-8")
    for command in extract_commands(LANGUAGES):
        assert main(command) == 0, command
    capsys.readouterr()
    in_text, served = extract_blocks(LANGUAGES)
    exec(compile(in_text, "languages.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[:3] == ["ネコ ﾈｺ", "は は", "平成 ㍻"]
    exec(compile(served, "languages.md", "exec"), {})
    assert "shape=(2,), dtype=string" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")  # KerasTuner's, of Python's threads.
def test_the_search_for_settings(guide_directory: Path, snippets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a few rows; the search that is run again has nothing to do."""
    pytest.importorskip("keras_tuner", reason="needs the package keras-tuner")
    for name in ("train", "valid"):
        shutil.copy(snippets / "test.tsv", guide_directory / f"{name}.tsv")
    (code,) = (block for block in extract_blocks(FINE_TUNING) if "keras_tuner" in block)
    for _ in range(2):
        exec(compile(code, "fine-tuning.md", "exec"), {})
        best = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    runs = [json.loads(path.read_text("utf-8")) for path in Path("runs/search").glob("*/metrics.json")]
    assert len(runs) == 2
    (chosen,) = (run for run in runs if best.items() <= run["settings"].items())
    assert chosen["valid"]["accuracy"] == max(run["valid"]["accuracy"] for run in runs)


def test_the_fine_tuning_guide_lists_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (\S+) \|", FINE_TUNING, flags=re.M))
    defaults = dataclasses.asdict(FineTuningSettings())
    assert len(rows) == 10
    for name, listed in rows.items():
        value = defaults[name.replace("-", "_")]
        assert type(value)(listed) == value


@pytest.mark.slow
@pytest.mark.usefixtures("guide_directory")
def test_small_budgets() -> None:
    before, _ = SMALL_BUDGETS.split("## Distillation")  # See `test_distillation`.
    shown = extract_commands(before.replace("--freeze-layers 4", "--freeze-layers 2"))
    assert [command[0] for command in shown] == ["finetune"] * 3 + ["predict", "convert"]
    for command in shown:
        assert main(command) == 0, command
    listed = re.findall(r"^      ([\w.]+)  ", SMALL_BUDGETS, flags=re.M)
    assert {path.name for path in Path("runs/lora/adapter").iterdir()} == set(listed)
    (block,) = extract_blocks(before)
    names: dict[str, Any] = {}
    exec(compile(block, "small-budgets.md", "exec"), names)
    trained, again = names["model"].state_dict(), names["again"].state_dict()
    assert all((again[name] == array).all() for name, array in trained.items())


def test_the_guide_of_small_budgets_lists_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| ([^|]+) \|", SMALL_BUDGETS, flags=re.M))
    settings = dataclasses.asdict(FineTuningSettings())
    own = {name: value for name, value in settings.items() if name.startswith(("freeze", "layer", "lora", "rslora"))}
    own |= dataclasses.asdict(DistillationSettings())
    words = {"False": "no", "None": "the rank", "2.0": "2", "1.0": "1", "0.0": "0"}
    assert rows == {name.replace("_", "-"): words.get(str(value), str(value)) for name, value in own.items()}


def test_the_fine_tuning_guide_lists_the_tasks() -> None:
    section = FINE_TUNING.split("## Choose a task")[1].split("\n## ")[0]
    rows = set(re.findall(r"^\| `([a-z][a-z-]+)` \|", section, flags=re.M))
    assert rows == {name for name, task in TASKS.items() if "finetune" not in task.refusals}
    assert all(f"`{name}`" in section for name in TASKS)


@pytest.mark.slow
@pytest.mark.usefixtures("guide_directory")
def test_distillation(capsys: pytest.CaptureFixture[str]) -> None:
    section = SMALL_BUDGETS.split("\n## Distillation\n")[1].split("\n## ")[0]
    shown = extract_commands(section)
    assert [command[0] for command in shown] == ["finetune", "shrink", "finetune"]
    for command in shown:
        assert main(command) == 0, command
    (block,) = extract_blocks(section.replace("layers=3", "layers=1"))
    capsys.readouterr()
    exec(compile(block, "small-budgets.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("0.9 ")


@pytest.mark.parametrize("page", ["docs/guides/interpretation.md", "saved_models/README.md"])
def test_pages_list_all_tasks(page: str) -> None:
    cells = re.findall(r"^\| ([^|]*)\|", (ROOT / page).read_text(encoding="utf-8"), flags=re.M)
    listed = [name for cell in cells for name in re.findall(r"`([a-z][a-z-]+)`", cell)]
    assert sorted(listed) == sorted(TASKS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_semantic_search(
    tmp_path: Path,
    small_bert: Path,
    film_texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_directory("mean", tmp_path / "all-MiniLM-L6-v2", bert=small_bert)
    monkeypatch.chdir(tmp_path)
    passages = film_texts[:150]
    Path("passages.txt").write_text("\n".join(passages), encoding="utf-8")
    pairs = list(zip(film_texts[200:240], passages, strict=False))
    write_rows("pairs.tsv", [("text", "text_pair"), *pairs])
    write_rows("sts.tsv", [("text", "text_pair", "label"), *((*pair, str(i % 6)) for i, pair in enumerate(pairs))])
    Path("beir", "qrels").mkdir(parents=True)
    texts = {"corpus": [("d", text) for text in passages], "queries": [("q", text) for text, _ in pairs]}
    for name, entries in texts.items():
        lines = [json.dumps({"_id": f"{kind}{i}", "text": text}) for i, (kind, text) in enumerate(entries)]
        Path("beir", f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    write_rows(
        "beir/qrels/test.tsv", [("query-id", "corpus-id", "score"), *((f"q{i}", f"d{i}", "1") for i in range(40))]
    )

    shown = extract_commands(SEARCH.replace("--matryoshka 384,128 ", "--matryoshka 32,8 "))
    assert len(shown) == 11
    for command in shown:
        assert main(command) == 0, command
    capsys.readouterr()
    exec(compile("\n".join(extract_blocks(SEARCH)), "semantic-search.md", "exec"), {})
    found = capsys.readouterr().out.splitlines()[:3]
    assert all(line.split(" ", 1)[1] in passages for line in found)


def write_rows(path: str, rows: Iterable[Sequence[str]]) -> None:
    Path(path).write_text("\n".join("\t".join(row) for row in rows), encoding="utf-8")


def test_the_guide_of_semantic_search_lists_the_losses() -> None:
    section = SEARCH.split("## Train an embedding model")[1].split("\n## ")[0]
    assert all(f"`{loss}`" in section or f"`--loss {loss}`" in section for loss in LOSSES if loss != "auto")
    options = set(re.findall(r"`--([a-z-]+)[ `]", section))
    known = {field.name.replace("_", "-") for field in dataclasses.fields(EmbeddingOptions)}
    known |= {field.name.replace("_", "-") for field in dataclasses.fields(FineTuningSettings)}
    assert options - known == {"strategy", "truncate-dim"}


def test_start(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = extract_blocks(START)
    exec(compile(block, "index.md", "exec"), {})
    shape = capsys.readouterr().out.strip()
    assert f"# {shape}:" in block


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, sentiment_run: Path, snippets: Path) -> Path:
    """A directory with the run and the data that the serving guide uses, after its commands were run there."""
    directory = tmp_path_factory.mktemp("reader")
    shutil.copytree(sentiment_run, directory / "runs" / "sentiment")
    # The training texts: the small model is certain of them, so that no prediction changes in another precision.
    shutil.copy(snippets / "train.tsv", directory / "valid.tsv")
    shown = extract_commands(SERVING)
    assert [command[0] for command in shown].count("export") == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for command in shown:
            assert main(command) == 0, command
    return directory


@pytest.mark.slow
def test_the_serving_commands_write_the_files_that_the_guide_lists(serving: Path) -> None:
    export = serving / "saved_models" / "sentiment" / "1"
    listed = re.search(r"^    saved_models/sentiment/1/\n(.*?)\n\n", SERVING, flags=re.DOTALL | re.MULTILINE)[1]
    names = re.findall(
        r"([\w.]+(?:\.\w+|/)),? ?", " ".join(line.strip().split("  ")[0] for line in listed.splitlines())
    )
    assert {"saved_model.pb", "variables/", "README.md", "assets.extra/", "vocab.txt"} <= set(names)
    for name in names:
        assert (export / name).exists() or (export / "assets.extra" / name).exists(), name
    files = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
    for name, file in files.items():
        assert (serving / "exports" / f"sentiment-{name}" / file).is_file()
        assert f"`{file}`" in SERVING


@pytest.mark.slow
def test_the_guide_and_the_export_start_the_same_server(serving: Path) -> None:
    def find_command(page: str) -> str:
        return re.search(r"docker run .*?tensorflow/serving", page.replace("\\\n", " "))[0]

    page = (serving / "saved_models" / "sentiment" / "1" / "README.md").read_text(encoding="utf-8")
    assert shlex.split(find_command(SERVING)) == shlex.split(find_command(page))


@pytest.mark.slow
def test_the_request_of_the_serving_guide_is_answered(serving: Path) -> None:
    pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason="needs the package tensorflow-serving-api")
    from tf_server import Service

    ((_, method, address, _, body),) = extract_commands(SERVING, "curl")
    assert (method, address) == ("POST", "http://localhost:8501/v1/models/sentiment:predict")
    answer = Service(serving / "saved_models" / "sentiment" / "1").answer_rest(body)
    assert answer["predictions"][0]["label"] in {"negative", "positive"}


@pytest.mark.slow
def test_the_hub(sentiment_run: Path, tmp_path: Path) -> None:
    """The guide uploads a run, opens it by its name, and uploads it again from Python."""
    shutil.copytree(sentiment_run, tmp_path / "runs" / "sentiment")
    *opening, uploading = extract_blocks(HUB)
    predict, push = extract_commands(HUB)
    assert (predict[0], push[0]) == ("predict", "push")
    with serve(Hub({}, tokens={"hf_writer": True}, root=tmp_path / "hub")) as hub:
        clients = [
            subprocess.run(
                [sys.executable, *command],
                env=make_environment(hub, tmp_path, HF_TOKEN="hf_writer"),
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            for command in (
                ["-m", "keras_bert_impl.cli.main", *push],
                ["-m", "keras_bert_impl.cli.main", *predict],
                ["-c", "\n".join([*opening, uploading])],
            )
        ]
    assert [client.returncode for client in clients] == [0, 0, 0], [client.stderr for client in clients]
    outputs = [client.stdout for client in clients]
    assert outputs[0].startswith("uploaded: ")
    assert (tmp_path / "downloads").is_dir()
    first, *_, label = outputs[2].splitlines()
    assert (first, label) == ("BertForSequenceClassification", json.loads(outputs[1])["label"])
    card = hub.models["my-organization/sentiment"]["main"] / "README.md"
    assert "value: 0.93" in card.read_text(encoding="utf-8")


def test_the_guide_of_the_hub_lists_the_options_of_the_hub() -> None:
    rows = re.findall(r"^\| `--([a-z-]+)` \| `(\w+)` \|", HUB, flags=re.M)
    assert all(option.replace("-", "_") == argument for option, argument in rows)
    parameters = inspect.signature(BertModel.from_pretrained).parameters
    assert [argument for _, argument in rows] == list(parameters)[1:5]


@pytest.mark.slow
def test_interpretation(sentiment_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(sentiment_run, tmp_path / "runs" / "sentiment")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("notebooks"))
    monkeypatch.chdir(tmp_path)
    shown = extract_commands(INTERPRETATION)
    assert len(shown) == 4
    for command in shown:
        assert main(command) == 0, command
    code = extract_blocks(INTERPRETATION)
    assert len(code) == 3
    exec(compile("\n".join(code), "interpretation.md", "exec"), {})
    for name in ("points.svg", "layers.svg", "view.html", "why.html", "weights.png"):
        assert Path(name).stat().st_size, name
