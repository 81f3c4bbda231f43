"""Every task × every verb on a small random BERT; and a task that this file adds by one class."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_impl import BertConfig, BertForPreTraining, BertModel, BertTokenizer, models
from keras_bert_impl.cli.main import main
from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.export import export_model
from keras_bert_impl.interpret import attend, attribute
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS, find_task
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, Task, sort_predictions
from keras_bert_impl.tasks.classification import SequenceTask

# Of a BERT without the files of sentence-transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.* has no modules.json.* mean pooling is used:UserWarning")

WORDS = "the a film book story was is not good bad long dull ada rome who where and it . , ?".split()
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "film" + "o"]
TEXTS = ["The film was good.", "It is not a long story, and a dull book", "", "Ada films", "bad " * 60]
PAIRS = ["It was long.", "Rome", "a dull film", "", "good"]
# More tokens than fit in a row. In a repeated word, equal spans would have equal scores.
LONG = (
    "It was a great film about a man who lost his dog, and not a dull story; but the book by Ada was long, bad and fine"
)
MASKED = ["The [MASK] was [MASK].", "[MASK] is a book", "no mask", "a [MASK] film", "[MASK] " * 3]


def make_table(*columns: str, rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("\t".join(row) for row in [columns, *rows]) + "\n"


LABELED = [(text, ("dull", "fine", "great")[i % 3]) for i, text in enumerate((TEXTS * 3)[:12])]
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "Ada was in Rome. The film was long.",
                    "qas": [
                        {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]},
                        {"id": "2", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 11}]},
                        {"id": "3", "question": "Was it dull?", "answers": []},
                    ],
                }
            ]
        }
    ]
}
# Task: the name of a file as finetune and evaluate take it, and its content.
FILES: dict[str, tuple[str, str]] = {
    "classification": ("x.tsv", make_table("text", "label", rows=LABELED)),
    "multi-label-classification": (
        "x.tsv",
        make_table(
            "text",
            "label",
            rows=[(text, ("dull", "fine,great", "", "great")[i % 4]) for i, (text, _) in enumerate(LABELED)],
        ),
    ),
    "regression": (
        "x.tsv",
        make_table(
            "text",
            "text_pair",
            "label",
            rows=[(a, b, str(i / 2)) for i, (a, b) in enumerate(zip(TEXTS, PAIRS, strict=True))],
        ),
    ),
    "reranking": (
        "x.tsv",
        make_table(
            "text",
            "text_pair",
            "label",
            rows=[(PAIRS[i % 2], text, str(i % 3 / 2)) for i, text in enumerate((TEXTS * 2)[:9])],
        ),
    ),
    "tagging": ("x.conll", "Ada B-who\nwas O\nin O\nRome B-where\n. O\n\nthe O\nfilm O\n"),
    "question-answering": ("x.json", json.dumps(SQUAD)),
    "masked-lm": ("x.txt", "\n\n".join([*TEXTS[:2], TEXTS[-1]]) + "\n"),
    "next-sentence": (
        "x.tsv",
        make_table(
            "text",
            "text_pair",
            "label",
            rows=[(a, b, "is_next") for a, b in zip(TEXTS, PAIRS, strict=True)] + [("a", "b", "not_next")],
        ),
    ),
    "multiple-choice": (
        "x.tsv",
        make_table("text", "choice0", "choice1", "choice2", "label", rows=[(t, "good", t, "bad", "2") for t in TEXTS]),
    ),
    "embedding": (
        "x.tsv",
        make_table(
            "text",
            "text_pair",
            "label",
            rows=[(a, b, str(i)) for i, (a, b) in enumerate(zip(TEXTS, PAIRS, strict=True))],
        ),
    ),
    "pretraining": ("x.tsv", make_table("text", rows=[(text,) for text in MASKED])),
}
CHOICES = [["good film", "", text or "a book"] for text in TEXTS]  # Equal choices would have equal scores.
# Task: the texts of a request, by the argument of the export's signature, in the order of `Predictor.predict_texts`.
REQUESTS: dict[str, dict[str, list[Any]]] = {
    "classification": {"text": TEXTS},
    "multi-label-classification": {"text": TEXTS},
    "regression": {"text": TEXTS},
    "reranking": {"text": PAIRS, "text_pair": TEXTS},
    "tagging": {"text": TEXTS},
    "question-answering": {"question": PAIRS, "context": [*TEXTS[:-1], LONG]},
    "masked-lm": {"text": MASKED},
    "next-sentence": {"text": TEXTS, "text_pair": PAIRS},
    "multiple-choice": {"text": TEXTS, "choices": CHOICES},
    "embedding": {"text": TEXTS},
    "pretraining": {"text": MASKED},
}
# Task: a text, or a pair, for views.
VIEWED = {
    "question-answering": ("Who?", "Ada was in Rome."),
    "reranking": ("The film was long.", "It was dull."),
    "next-sentence": ("The film was long.", "It was dull."),
    "multiple-choice": ("The film was long.", "It was dull."),
    "masked-lm": ("The [MASK] was good.", None),
    "pretraining": ("The [MASK] was good.", None),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with both heads of pretraining."""
    keras.utils.set_random_seed(5)
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37}
    config = BertConfig(vocab_size=len(TOKENS), max_position_embeddings=41, initializer_range=0.3, **sizes)
    directory = tmp_path_factory.mktemp("checkpoints") / "random"
    BertForPreTraining(config).save_pretrained(directory)
    BertTokenizer(TOKENS, do_lower_case=True, model_max_length=41).save_pretrained(directory)
    return directory


def write_file(directory: Path, name: str) -> Path:
    file, content = FILES[name]
    directory.mkdir(exist_ok=True)
    (directory / file).write_text(content, encoding="utf-8")
    return directory / file


def finetune(task: str, checkpoint: Path, data: Path, output: Path) -> int:
    settings = ["--epochs", "3", "--batch-size", "4", "--learning-rate", "3e-3", "--max-length", "23"]
    files = [part for split in ("train", "valid") for part in (f"--{split}", str(data))]
    return main(["finetune", str(checkpoint), "--task", task, *files, "--output", str(output), *settings])


@pytest.fixture(scope="module")
def runs(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a model of a task: fine-tuned once, or the checkpoint itself if the task cannot be fine-tuned."""
    root, made = tmp_path_factory.mktemp("completeness"), {}

    def run(name: str) -> Path:
        if name not in made:
            made[name] = root / name
            if "finetune" not in TASKS[name].refusals:
                assert finetune(name, checkpoint, write_file(root / f"{name} data", name), made[name]) == 0
            else:
                model = TASKS[name].model_class.from_pretrained(checkpoint)
                model.save_pretrained(made[name])
                BertTokenizer.from_pretrained(checkpoint).save_pretrained(made[name])
        return made[name]

    return run


def test_the_tables_of_this_file_have_all_tasks() -> None:
    assert list(FILES) == list(REQUESTS) == list(SAME) == list(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_finetune(
    name: str, runs: Callable[[str], Path], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TASKS[name]
    if "finetune" in task.refusals:
        assert finetune(name, checkpoint, write_file(tmp_path / "data", name), tmp_path / "run") == 2
        error = capsys.readouterr().err
        assert f"error: finetune is not available for {name}: " in error
        assert "--task " in error  # The alternative.
        return
    run = runs(name)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert task.get_main_metric(metrics["valid"]) in metrics["valid"]
    losses = metrics["training_loss"]["loss"]
    assert np.isfinite(losses).all()
    config = BertConfig.from_pretrained(run)
    assert find_task(config) is task
    assert config.extra.get("version_2_with_negative") == (True if name == "question-answering" else None)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_evaluate(name: str, runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, data = TASKS[name], write_file(tmp_path, name)
    run = runs(name)
    capsys.readouterr()
    code = main(["evaluate", str(run), "--data", str(data), "--max-length", "23"])
    printed = capsys.readouterr()
    if "evaluate" in task.refusals:
        assert (code, printed.out) == (2, "")
        assert f"evaluate is not available for {name}: " in printed.err
        assert "--task " in printed.err
        return
    metrics = json.loads(printed.out)
    assert metrics.pop("examples") == len(task.read_file(data, columns={})["location"])
    assert task.get_main_metric(metrics) in metrics
    if (run / "metrics.json").exists():
        best = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["valid"]
        assert metrics == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_predict(name: str, runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = Predictor(runs(name))
    assert predictor.task is TASKS[name]
    predictions = predictor.predict_texts(*REQUESTS[name].values())
    assert len(predictions) == len(TEXTS)
    assert json.loads(json.dumps(predictions)) == predictions
    rows = [list(fields) for fields in zip(*REQUESTS[name].values(), strict=True)]
    lines = ["\t".join([row[0], *row[1]] if isinstance(row[-1], list) else row) for row in rows]
    capsys.readouterr()
    assert main(["predict", str(runs(name)), *lines]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert_same(printed, predictions)
    assert len(list(predictor.predict_file(write_file(tmp_path, name)))) >= 2


def assert_same(left: Any, right: Any) -> None:
    """The same values, floats within rounding."""
    if isinstance(right, float):
        assert left == pytest.approx(right, abs=1e-5)
    elif isinstance(right, dict):
        assert left.keys() == right.keys()
        for name, value in right.items():
            assert_same(left[name], value)
    elif isinstance(right, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


def decode_bytes(array: np.ndarray) -> Any:
    return np.vectorize(bytes.decode, otypes=[object])(array).tolist()


def assert_same_label(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    assert decode_bytes(answer["label"]) == [prediction["label"] for prediction in predictions]
    expected = [list(prediction["scores"].values()) for prediction in predictions]
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)


def assert_same_labels(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    named = [[name for name in row if name] for row in decode_bytes(answer["labels"])]
    assert named == [prediction["labels"] for prediction in predictions]
    expected = [list(prediction["scores"].values()) for prediction in predictions]
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)


def assert_same_value(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    np.testing.assert_allclose(answer["scores"][:, 0], [prediction["value"] for prediction in predictions], atol=1e-5)


def assert_same_relevance(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    np.testing.assert_allclose(answer["score"], [prediction["score"] for prediction in predictions], atol=1e-5)


def assert_same_tags(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    for i, prediction in enumerate(predictions):
        count = len(prediction["words"])
        assert decode_bytes(answer["tokens"][i])[:count] == prediction["words"]
        assert decode_bytes(answer["labels"][i]) == prediction["tags"] + [""] * (answer["labels"].shape[1] - count)
        np.testing.assert_allclose(answer["scores"][i][:count], prediction["scores"], atol=1e-5)


def assert_same_span(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    for i, prediction in enumerate(predictions):
        assert answer["answer"][i].decode() == prediction["answer"]
        span = [None if answer[name][i] < 0 else int(answer[name][i]) for name in ("start", "end")]
        assert span == [prediction["start"], prediction["end"]]
        assert answer["score"][i] == pytest.approx(prediction["score"], abs=1e-5)


def assert_same_masks(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    for i, prediction in enumerate(predictions):
        count = len(prediction["masks"])
        assert decode_bytes(answer["tokens"][i])[:count] == [mask["tokens"] for mask in prediction["masks"]]
        assert not any(answer["tokens"][i][count:].ravel())
        expected = np.reshape([mask["scores"] for mask in prediction["masks"]], (count, 5))
        np.testing.assert_allclose(answer["scores"][i][:count], expected, atol=1e-5)


def assert_same_choice(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    assert decode_bytes(answer["choice"]) == [prediction["choice"] for prediction in predictions]
    assert answer["label"].tolist() == [prediction["label"] for prediction in predictions]
    np.testing.assert_allclose(answer["scores"], [prediction["scores"] for prediction in predictions], atol=1e-5)


def assert_same_vectors(answer: dict[str, np.ndarray], predictions: list[Prediction]) -> None:
    vectors = [prediction["embedding"] for prediction in predictions]
    np.testing.assert_allclose(answer["sentence_embedding"], vectors, atol=1e-5)


SAME: dict[str, Callable[[dict[str, np.ndarray], list[Prediction]], None]] = {
    "classification": assert_same_label,
    "multi-label-classification": assert_same_labels,
    "regression": assert_same_value,
    "reranking": assert_same_relevance,
    "tagging": assert_same_tags,
    "question-answering": assert_same_span,
    "masked-lm": assert_same_masks,
    "next-sentence": assert_same_label,
    "multiple-choice": assert_same_choice,
    "embedding": assert_same_vectors,
    "pretraining": assert_same_masks,
}


def serve(export: Path, request: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    """The answers of an export to texts."""
    loaded = tf.saved_model.load(str(export))
    outputs = loaded.signatures["serving_default"](**{name: tf.constant(texts) for name, texts in request.items()})
    return {name: value.numpy() for name, value in outputs.items()}


# The graphs of these exports are also those of other tasks, which are tested without --slow.
SLOW_EXPORTS = ("multi-label-classification", "regression", "reranking", "next-sentence", "pretraining")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW_EXPORTS else ()) for name in TASKS]
)
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_export_with_text_in(name: str, runs: Callable[[str], Path], tmp_path: Path) -> None:
    """An export answers texts as `Predictor` does with the Keras model, and as it does with the export, from ids."""
    export = export_model(runs(name), tmp_path / name / "1", max_length=23).directory
    expected = Predictor(runs(name), max_length=23).predict_texts(*REQUESTS[name].values())
    SAME[name](serve(export, REQUESTS[name]), expected)
    assert_same(Predictor(export).predict_texts(*REQUESTS[name].values()), expected)
    assert "## REST" in (export / "README.md").read_text(encoding="utf-8")
    assert main(["serve-check", str(export)]) == 0


def load(run: Path) -> tuple[Any, BertTokenizer]:
    (architecture,) = BertConfig.from_pretrained(run).architectures
    return getattr(models, architecture).from_pretrained(run), BertTokenizer.from_pretrained(run)


@pytest.mark.parametrize("name", TASKS)
def test_summarize(name: str, runs: Callable[[str], Path]) -> None:
    view = attend(*load(runs(name)), *VIEWED.get(name, ("The film was good.", None)))
    if name == "embedding":  # A vector is not summarized.
        assert (view.heading, view.prediction) == ("", [])
    else:
        assert view.heading
        assert all(isinstance(answer, str) and answer for answer, _ in view.prediction)


@pytest.mark.parametrize("name", TASKS)
def test_explain(name: str, runs: Callable[[str], Path]) -> None:
    model, tokenizer = load(runs(name))
    text, pair = VIEWED.get(name, ("The film was good.", None))
    target = "film" if name == "tagging" else None
    if "explain" in TASKS[name].refusals:
        with pytest.raises(InputError, match=f"explain is not available for {name}: .*'keras-bert similar'"):
            attribute(model, tokenizer, text, pair)
        return
    found = attribute(model, tokenizer, text, pair, target=target)
    assert found.targets
    for explained in found.targets:
        assert explained.is_complete
        assert np.abs(explained.scores).max() > 0


@pytest.mark.slow
def test_no_answer_is_an_option(
    runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a checkpoint that does not say whether it was trained with questions without answer, as public ones."""
    run = runs("question-answering")
    model = TASKS["question-answering"].model_class.from_pretrained(
        run, extra={}, id2label={0: "LABEL_0", 1: "LABEL_1"}
    )
    model.qa_outputs.bias.assign([0.0, 0.0])
    public = tmp_path / "public"
    model.save_pretrained(public)
    BertTokenizer.from_pretrained(run).save_pretrained(public)
    questions = [f"{first} {second}" for first in ("who", "where", "is it", "was") for second in WORDS[:12]]
    arguments = (questions, ["Ada was in Rome."] * len(questions))
    by_default, never, allowed = (
        Predictor(public, allow_no_answer=allow).predict_texts(*arguments) for allow in (None, False, True)
    )
    assert by_default == never
    assert all(prediction["answer"] for prediction in never)
    with_none = [prediction["answer"] == "" for prediction in allowed]
    assert any(with_none)
    export = export_model(public, tmp_path / "qa" / "1", allow_no_answer=True).directory
    assert BertConfig.from_pretrained(export / "assets.extra").extra["version_2_with_negative"] is True
    answer = serve(export, {"question": questions, "context": arguments[1]})["answer"]
    assert [text == b"" for text in answer] == with_none
    capsys.readouterr()
    index = with_none.index(True)
    for option, expected in (("--allow-no-answer", ""), ("--require-answer", never[index]["answer"])):
        assert main(["predict", str(public), f"{questions[index]}\tAda was in Rome.", option]) == 0
        assert json.loads(capsys.readouterr().out)["answer"] == expected


@pytest.mark.slow
def test_another_head_of_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    """An option names the task where a checkpoint serves several."""
    vectors = Predictor(checkpoint, task="embedding").predict_texts(TEXTS[:2])
    model, tokenizer = BertModel.from_pretrained(checkpoint), BertTokenizer.from_pretrained(checkpoint)
    states = keras.ops.convert_to_numpy(model(tokenizer(TEXTS[:1]))["last_hidden_state"])
    np.testing.assert_allclose(vectors[0]["embedding"], states[0].mean(axis=0), atol=1e-6)
    export = export_model(checkpoint, tmp_path / "vectors" / "1", task="embedding").directory
    assert Predictor(export).task.name == "embedding"
    assert_same_vectors(serve(export, {"text": TEXTS[:2]}), vectors)


# ---- A task that is added by one class.


class Topics(SequenceTask):
    """Several topics per text, or none: ``labels`` are the topics with a probability above one half."""

    name: ClassVar[str] = "topics"
    problem_type: ClassVar[str | None] = "topics"
    main_metric: ClassVar[str] = "micro_f1"

    def find_labels(self, columns: Columns) -> list[str]:
        return sorted({topic for label in columns["label"] for topic in label.split("+")} - {"none"})

    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        names = list(config.id2label.values())
        return np.array([[name in label.split("+") for name in names] for label in columns["label"]], np.float32)

    def make_loss(self) -> dict[str, Any]:
        return {"logits": keras.losses.BinaryCrossentropy(from_logits=True)}

    def make_metrics(self) -> dict[str, Any]:
        return {"logits": [keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")]}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        names = list(config.id2label.values())
        scores = [dict(zip(names, row, strict=True)) for row in (1 / (1 + np.exp(-outputs["logits"]))).tolist()]
        return [{"labels": [name for name in names if row[name] > 0.5], "scores": row} for row in scores]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        pairs = [
            (set(p["labels"]), set(t.split("+")) - {"none"}) for p, t in zip(predictions, columns["label"], strict=True)
        ]
        matches, total = sum(len(p & t) for p, t in pairs), sum(len(p) + len(t) for p, t in pairs)
        return {"micro_f1": 2 * matches / max(1, total)}

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        names = list(serving.config.id2label.values())
        numbers = keras.ops.where(outputs["logits"] > 0, keras.ops.arange(1, len(names) + 1), 0)
        return {"labels": serving.gather(["", *names], numbers), "scores": keras.ops.sigmoid(outputs["logits"])}

    def summarize(self, prediction: Prediction) -> Summary:
        return Summary("Topics", sort_predictions(prediction["scores"]))

    def find_targets(
        self, row: Any, outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        names = list(config.id2label.values())
        chosen = (
            [target] if target else [name for name, logit in zip(names, outputs["logits"][0], strict=True) if logit > 0]
        )
        return [TargetLogit(f"logit of {name!r}", "logits", names.index(name)) for name in chosen]


TOPICS = [("the film was good", "film"), ("a book", "book"), ("film and book", "book+film"), ("it is dull", "none")] * 8


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setitem(TASKS, Topics.name, Topics())
    return TASKS[Topics.name]


@pytest.mark.slow  # `test_hooks.py` adds another task to the table, and fine-tunes it.
def test_a_task_is_added_by_one_class(
    topics: Task, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is fine-tuned, evaluated, predicted, exported and explained without changes elsewhere."""
    data, run = tmp_path / "topics.tsv", tmp_path / "run"
    data.write_text(make_table("text", "label", rows=TOPICS), encoding="utf-8")
    settings = ["--epochs", "15", "--batch-size", "8", "--learning-rate", "5e-3", "--max-length", "16"]
    files = ["--train", str(data), "--valid", str(data), "--output", str(run)]
    assert main(["finetune", str(checkpoint), "--task", "topics", *files, *settings]) == 0
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["valid"]["micro_f1"] > 0.9

    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", str(data)]) == 0
    assert json.loads(capsys.readouterr().out)["micro_f1"] > 0.9
    texts = [text for text, _ in TOPICS[:4]]
    expected = Predictor(run).predict_texts(texts)
    assert expected[2]["labels"] == ["book", "film"]

    export = export_model(run, tmp_path / "topics" / "1").directory
    answer = serve(export, {"text": texts})
    assert [[name for name in row if name] for row in decode_bytes(answer["labels"])] == [p["labels"] for p in expected]
    np.testing.assert_allclose(answer["scores"], [list(p["scores"].values()) for p in expected], atol=1e-5)
    assert_same(Predictor(export).predict_texts(texts), expected)

    model, tokenizer = load(run)
    explained = attribute(model, tokenizer, texts[2])
    assert (explained.heading, {name for name, _ in explained.prediction}) == ("Topics", {"book", "film"})
    assert [target.name for target in explained.targets] == ["logit of 'book'", "logit of 'film'"]
    assert all(target.is_complete for target in explained.targets)
