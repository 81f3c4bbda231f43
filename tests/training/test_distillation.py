"""Distillation: losses, gradients and labels compared with torch; runs with a teacher, resumed and on bad input."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import safetensors.numpy
import small
from classifier_batches import Batch, make_batches
from torch_process import run_in_torch_process

from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import read_table
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.models import BertForMaskedLM
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.losses import SoftenedBinaryKLDivergence, SoftenedKLDivergence
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import DistillationSettings, FineTuningSettings, SavingSettings, finetune
from keras_bert_impl.training.distillation import DistilledTask

WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# In another order than that of the student, which sorts them.
TEACHER_LABELS = ("positive", "negative")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> Path:
    """A random classifier with 5 layers, and with dropout, which it does not use."""
    return write_classifier(
        tmp_path_factory.mktemp("teachers") / "teacher", film_texts[:1000], TEACHER_LABELS, num_hidden_layers=5
    )


def write_classifier(directory: Path, texts: list[str], labels: Sequence[str], **config: Any) -> Path:
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: number for number, name in enumerate(labels)}}
    return small.write_checkpoint(directory, texts, model="BertForSequenceClassification", **names, **config)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> Path:
    """A random classifier with 2 layers and no dropout."""
    return small.write_checkpoint(
        tmp_path_factory.mktemp("students") / "student",
        film_texts[:1000],
        model="BertForSequenceClassification",
        **WITHOUT_DROPOUT,
    )


@pytest.fixture(scope="module")
def rows(snippets: Path) -> dict[str, list[str]]:
    """19 labeled snippets."""
    table = read_table(snippets / "train.tsv")
    return {name: table[name][:19] for name in ("text", "label")}


@run_in_torch_process
def compute_torch_divergences(teacher: np.ndarray, student: np.ndarray, temperature: float) -> tuple[float, float]:
    """The divergences of probabilities, and of independent probabilities, in float64, as torch defines them."""
    import torch

    scaled = [torch.from_numpy(logits.astype("float64")) / temperature for logits in (teacher, student)]
    log_teacher, log_student = (torch.log_softmax(logits, -1) for logits in scaled)
    divergence = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)(log_student, log_teacher)
    both = [torch.stack([torch.nn.functional.logsigmoid(x), torch.nn.functional.logsigmoid(-x)]) for x in scaled]
    binary = torch.nn.functional.kl_div(both[1], both[0], reduction="none", log_target=True).sum(0).mean()
    return temperature**2 * divergence.item(), temperature**2 * binary.item()


@pytest.mark.parametrize("temperature", [1.0, 3.5])
def test_the_divergences_are_those_of_torch(temperature: float) -> None:
    draw = np.random.default_rng(7)
    teacher, student = (draw.normal(0, 4, (13, 5)).astype("float32") for _ in range(2))
    expected = compute_torch_divergences(teacher, student, temperature)
    for loss_class, value in zip((SoftenedKLDivergence, SoftenedBinaryKLDivergence), expected, strict=True):
        loss = loss_class.from_config(loss_class(temperature).get_config())
        assert float(loss(teacher, student)) == pytest.approx(value, rel=1e-5)
        assert float(loss(teacher, teacher)) == pytest.approx(0, abs=1e-5)
        weights = np.array([1.0] * 4 + [0.0] * 9, "float32")
        assert float(loss(teacher, student, weights)) == pytest.approx(float(loss(teacher[:4], student[:4])), rel=1e-5)


@pytest.mark.parametrize("hidden_weight", [0.0, pytest.param(0.7, marks=pytest.mark.slow)])
def test_steps_equal_those_of_torch(
    teacher: Path, student: Path, rows: dict[str, list[str]], tmp_path: Path, hidden_weight: float
) -> None:
    settings = FineTuningSettings(epochs=1, batch_size=8, learning_rate=1e-3, warmup=0.0, max_length=29, seed=11)
    distillation = DistillationSettings(temperature=3.0, alpha=0.6, hidden_weight=hidden_weight)
    arguments: dict[str, Any] = {"train": rows, "valid": rows, "teacher": teacher, "log": lambda line: None}
    metrics = finetune(student, **arguments, output=tmp_path / "run", settings=settings, distillation=distillation)
    batches = make_batches(student, rows, settings)
    start = safetensors.numpy.load_file(student / "model.safetensors")
    weights = dataclasses.asdict(distillation)
    theirs, losses = train_with_torch(student, teacher, batches, settings.learning_rate, weights)
    np.testing.assert_allclose(metrics["training_loss"]["loss"], losses, rtol=1e-4)
    ours = safetensors.numpy.load_file(tmp_path / "run" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name in theirs:
        if not name.endswith("key.bias"):  # Softmax makes its gradient zero.
            change = theirs[name] - start[name]
            assert np.square(ours[name] - theirs[name]).mean() < 1e-4 * np.square(change).mean(), name

    # The teacher is not changed, and the run says what it was.
    assert metrics["distillation"] == {"teacher": str(teacher), **dataclasses.asdict(distillation)}
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "outputs of the teacher `teacher` (knowledge distillation), with the temperature 3 and the weight" in card
    assert "| alpha | 0.6 |" in card
    assert str(teacher) not in card

    # Accumulated parts of a batch have the same loss. Slow, because it compiles another step.
    if not hidden_weight:
        return
    settings = dataclasses.replace(settings, accumulate=2)
    parts = finetune(student, **arguments, output=tmp_path / "parts", settings=settings, distillation=distillation)
    np.testing.assert_allclose(parts["training_loss"]["loss"], losses, rtol=1e-3)


@run_in_torch_process
def train_with_torch(
    student: Path, teacher: Path, batches: list[Batch], learning_rate: float, distillation: dict[str, float]
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Weights and losses of the same distillation, written for torch."""
    import torch
    import transformers

    model = transformers.BertForSequenceClassification.from_pretrained(student).train()
    larger = transformers.BertForSequenceClassification.from_pretrained(teacher).eval()
    decayed = transformers.trainer_pt_utils.get_parameter_names(model, [torch.nn.LayerNorm], ["bias"])
    groups = [
        {"params": [p for name, p in model.named_parameters() if (name in decayed) == decays], "weight_decay": decay}
        for decays, decay in ((True, 0.01), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, len(batches))
    temperature, alpha = distillation["temperature"], distillation["alpha"]
    losses = []
    for k, (inputs, labels) in enumerate(batches):
        for group in optimizer.param_groups:  # Keras adds epsilon before the bias correction, torch after it.
            group["eps"] = 1e-8 / (1 - 0.999 ** (k + 1)) ** 0.5
        tensors = {name: torch.tensor(value, dtype=torch.long) for name, value in inputs.items()}
        labels = torch.tensor(labels["logits"], dtype=torch.long)
        outputs = model(**tensors, labels=labels, output_hidden_states=True)
        with torch.no_grad():
            taught = larger(**tensors, output_hidden_states=True)
        divergence = torch.nn.KLDivLoss(reduction="batchmean")(
            torch.log_softmax(outputs.logits / temperature, -1),
            torch.softmax(taught.logits[:, [1, 0]] / temperature, -1),  # The labels of the teacher are swapped.
        )
        loss = alpha * temperature**2 * divergence + (1 - alpha) * outputs.loss
        # Of 2 layers and 5: the embeddings, the middle (2.5 is rounded to 2) and the last.
        is_token = tensors["attention_mask"].bool()
        differences = [
            (outputs.hidden_states[own] - taught.hidden_states[other])[is_token].square().mean()
            for own, other in ((0, 0), (1, 2), (2, 5))
        ]
        loss = loss + distillation["hidden_weight"] * sum(differences) / 3
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}, losses


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_a_student_learns_from_texts_without_labels(
    sentiment_run: Path, small_bert: Path, snippets: Path, film_texts: list[str], tmp_path: Path
) -> None:
    """Its probabilities follow those of the teacher."""
    texts = film_texts[:61]
    (tmp_path / "texts.tsv").write_text("\n".join(["text", *texts]), encoding="utf-8")
    settings = ["--epochs", "20", "--batch-size", "8", "--learning-rate", "3e-3", "--max-length", "29"]
    # The same texts, so that the best epoch is the one that learned most.
    files = ["--train", str(tmp_path / "texts.tsv"), "--valid", str(snippets / "train.tsv")]
    options = ["--teacher", str(sentiment_run), "--alpha", "1", "--temperature", "1", "--dropout", "0"]
    run = tmp_path / "run"
    assert main(["finetune", str(small_bert), *files, "--output", str(run), *settings, *options]) == 0
    assert json.loads((run / "metrics.json").read_text())["labels"] == ["negative", "positive"]
    wanted, learned = (
        np.array(
            [prediction["scores"]["positive"] for prediction in Predictor(model, max_length=29).predict_texts(texts)]
        )
        for model in (sentiment_run, run)
    )
    assert np.corrcoef(learned, wanted)[0, 1] > 0.8


@pytest.mark.parametrize(
    "task",
    [
        *("masked-lm", "tagging"),
        *(
            pytest.param(task, marks=pytest.mark.slow)
            for task in ("regression", "reranking", "multiple-choice", "multi-label-classification")
        ),
    ],
)
def test_outputs_of_the_teacher_are_labels(task: str, small_bert: Path, film_texts: list[str], tmp_path: Path) -> None:
    """For each task: the labels of a batch are the outputs of the teacher for its inputs."""
    columns = make_examples(task, film_texts, tmp_path)
    spec, tokenizer = TASKS[task], BertTokenizer.from_pretrained(small_bert)
    config = BertConfig.from_pretrained(small_bert)
    changes = {
        **spec.make_config_changes(spec.find_labels(columns)),
        "extra": spec.make_config_extra(columns, max_length=23),
    }
    keras.utils.set_random_seed(3)
    model = spec.model_class(dataclasses.replace(config, **changes))
    model.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    taught = DistilledTask(spec, tmp_path / "teacher", DistillationSettings())
    features = taught.encode(columns, tokenizer, model.config, max_length=31)
    batches = taught.make_batches(features, 3, seed=1, epochs=1)
    trainable = taught.make_trainable(model, features)
    trainable.compile("sgd", **taught.make_compile_arguments(features, model.config))
    specs = batches.get_spec()[1]
    for k in range(len(batches)):
        inputs, labels, weights = batches[k]
        expected = np.asarray(model(inputs)["logits"])
        is_real = np.asarray(weights["teacher_logits"]) > 0
        np.testing.assert_allclose(labels["teacher_logits"][is_real], expected[is_real], atol=1e-5)
        assert labels.keys() == specs.keys()
        for name, (shape, dtype) in specs.items():
            pairs = zip(shape, labels[name].shape, strict=True)
            assert all(size in (None, actual) for size, actual in pairs), name
            assert labels[name].dtype == dtype
        # Of a student that is equal to the teacher, only the loss of the labels remains.
        logs = trainable.test_on_batch(inputs, labels, weights, return_dict=True)
        assert logs["loss"] == pytest.approx(0.5 * logs["logits_loss"], rel=1e-4)


def make_examples(task: str, texts: list[str], directory: Path) -> dict[str, list[Any]]:
    files = small.write_examples(directory)
    if task in files:
        return TASKS[task].read_file(files[task], columns={})
    if task == "masked-lm":
        return {"text": texts[:7], "label": texts[:7]}
    if task == "multiple-choice":
        return {"text": texts[:7], "choices": [texts[n : n + 3] for n in range(7)], "label": [1, 0, 2, 1, 1, 0, 2]}
    if task == "multi-label-classification":
        return {
            "text": texts[:7],
            "label": [["dull"], [], ["long", "short"], ["short"], [], ["dull", "long"], ["long"]],
        }
    return {"text": texts[:7], "text_pair": texts[7:14], "label": list("0110010")}


@pytest.mark.slow
def test_a_masked_word_student(small_bert: Path, film_texts: list[str], tmp_path: Path) -> None:
    """With alpha 1 the loss falls towards 0, below the entropy of the labels."""
    config = dataclasses.replace(BertConfig.from_pretrained(small_bert), **WITHOUT_DROPOUT)
    keras.utils.set_random_seed(5)
    BertForMaskedLM(config).save_pretrained(tmp_path / "teacher")
    BertTokenizer.from_pretrained(small_bert).save_pretrained(tmp_path / "teacher")
    columns = {"text": film_texts[:24], "label": film_texts[:24]}
    metrics = finetune(
        small_bert,
        task="masked-lm",
        train=columns,
        valid=columns,
        output=tmp_path / "run",
        settings=FineTuningSettings(epochs=8, batch_size=8, learning_rate=3e-3, max_length=29, dropout=0.0),
        teacher=tmp_path / "teacher",
        distillation=DistillationSettings(alpha=1.0, temperature=1.0),
        log=lambda line: None,
    )
    losses = metrics["training_loss"]["loss"]
    assert losses[-1] < 0.7 * losses[0]


class SignalAt(keras.callbacks.Callback):
    """Sends this process a signal in one step of the first session."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.remaining = step

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("hidden_weight", [0.0, 0.5])
def test_a_resumed_run_ends_with_the_same_weights(
    teacher: Path, small_bert: Path, rows: dict[str, list[str]], tmp_path: Path, hidden_weight: float
) -> None:
    def train(name: str, *callbacks: Any, alpha: float = 0.5, teacher: Path = teacher) -> dict[str, Any]:
        return finetune(
            small_bert,
            train=rows,
            valid=rows,
            output=tmp_path / name,
            settings=FineTuningSettings(epochs=2, batch_size=4, learning_rate=1e-3, max_length=29),
            saving=SavingSettings(minutes=0, keep=1),
            teacher=teacher,
            distillation=DistillationSettings(alpha=alpha, hidden_weight=hidden_weight),
            callbacks=callbacks,
            resume=True,
            log=lambda line: None,
        )

    complete = train("complete")
    with pytest.raises(Interrupted, match="the state after step 7 was saved"):
        train("run", SignalAt(7))
    (state,) = (tmp_path / ".run.partial" / "states").iterdir()
    count, weights = (
        sum(array.size for array in safetensors.numpy.load_file(path).values())
        for path in (state, tmp_path / "complete" / "model.safetensors")
    )
    assert 3 * weights <= count < 3.01 * weights  # Weights and two moments; not those of the teacher.
    with pytest.raises(InputError, match=r"a different training run: alpha is 0\.5 there and 0\.9 here\. Continue"):
        train("run", alpha=0.9)
    other = tmp_path / "other"
    model = Predictor(teacher).task.load_model(teacher)
    model.classifier.bias.assign([0.1, 0.2])
    model.save_pretrained(other)
    BertTokenizer.from_pretrained(teacher).save_pretrained(other)
    with pytest.raises(InputError, match="a different training run: checksum of teacher is '"):
        train("run", teacher=other)
    resumed = train("run")
    assert {**resumed, "seconds": 0} == {**complete, "seconds": 0}
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "complete")]
    assert files[0] == files[1]
    assert train("run") == resumed
    with pytest.raises(InputError, match=r"a finished run with a different alpha \(distillation\): 0\.5 there, 0\.9"):
        train("run", alpha=0.9)


@pytest.mark.slow
def test_several_devices(teacher: Path, student: Path, snippets: Path, tmp_path: Path) -> None:
    """The losses of two replicas are those of one device."""
    arguments = small.make_finetune_arguments(student, snippets, tmp_path / "one", "--teacher", str(teacher))
    arguments += ["--epochs", "1", "--hidden-weight", "0.5"]
    several = [part.replace(str(tmp_path / "one"), str(tmp_path / "two")) for part in arguments]
    several += ["--strategy", "mirrored", "--devices", "2"]
    losses = []
    for command, name in ((arguments, "one"), (several, "two")):
        run = [sys.executable, "-m", "keras_bert_impl.cli.main", *command]
        result = subprocess.run(run, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        losses.append(json.loads((tmp_path / name / "metrics.json").read_text())["training_loss"]["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def make_teacher(source: Path, directory: Path, edit: Callable[[dict[str, Any]], Any]) -> Path:
    """Copies a model and edits its configuration."""
    model = Predictor(source).task.load_model(source)
    model.save_pretrained(directory)
    BertTokenizer.from_pretrained(source).save_pretrained(directory)
    values = json.loads((directory / "config.json").read_text())
    edit(values)
    (directory / "config.json").write_text(json.dumps(values))
    return directory


def test_teachers_that_cannot_teach(
    teacher: Path, small_bert: Path, film_texts: list[str], snippets: Path, tmp_path: Path, capsys: Any
) -> None:
    def rename(values: dict[str, Any]) -> None:
        values["id2label"] = {"0": "bad", "1": "good"}
        del values["label2id"]

    texts = film_texts[:1000]
    other_words = write_classifier(tmp_path / "words", film_texts[1000:1200], TEACHER_LABELS)
    narrow = write_classifier(tmp_path / "narrow", texts, TEACHER_LABELS, hidden_size=24)
    three = write_classifier(tmp_path / "three", texts, ("negative", "neutral", "positive"))
    short = write_classifier(tmp_path / "short", texts, TEACHER_LABELS, max_position_embeddings=17)
    renamed = make_teacher(teacher, tmp_path / "renamed", rename)
    number = make_teacher(teacher, tmp_path / "number", lambda values: values.update(problem_type="regression"))
    windows = {"length": 16, "stride": 4, "pooling": "mean", "max_windows": 3}
    windowed = make_teacher(teacher, tmp_path / "windowed", lambda values: values.update(text_windows=windows))
    cases: list[tuple[list[str | Path], str]] = [
        (
            ["--teacher", windowed],
            f"the teacher {windowed} reads long texts in windows; one that reads single rows was",
        ),
        (["--alpha", "0.9"], "--alpha is an option of distillation, which needs a teacher. Add --teacher"),
        (["--teacher", tmp_path / "nothing"], f"{tmp_path / 'nothing'}: no such file or directory"),
        (["--teacher", teacher, "--alpha", "1.5"], "alpha is 1.5; a fraction from 0 to 1 was expected"),
        (["--teacher", teacher, "--temperature", "0"], "temperature is 0.0; a finite number above 0 was expected"),
        (["--teacher", small_bert], "lacks classifier.weight, classifier.bias: it was not trained as"),
        (["--teacher", renamed], "has the 2 labels 'bad', 'good'; the training data has the 2 labels 'negative', 'p"),
        (["--teacher", three], "has the 3 labels 'negative', 'neutral', 'positive'; the training data has the 2"),
        (["--teacher", number], f"the teacher {number} was trained for regression, and the task is classification."),
        (["--teacher", other_words], "has another vocabulary or tokenizer than the student"),
        (["--teacher", short], "cannot read the rows: max_length is 29, but the model has 17 positions"),
        (
            ["--teacher", narrow, "--hidden-weight", "1"],
            f"those of the teacher {narrow} have 24 dimensions, those of the student 32. Omit it",
        ),
        (
            ["--teacher", teacher, "--task", "question-answering"],
            "distillation is not available for question-answering. Train it without a teacher.",
        ),
    ]
    for more, message in cases:
        arguments = small.make_finetune_arguments(small_bert, snippets, tmp_path / "new" / "run", *map(str, more))
        assert main(arguments) == 2, message
        assert message in capsys.readouterr().err
        assert not (tmp_path / "new").exists()
    unlabeled = {"text": film_texts[:20]}
    with pytest.raises(
        InputError, match=r"alpha is 1, .* no validation data can be split off it\. Give validation data"
    ):
        finetune(
            small_bert,
            train=unlabeled,
            output=tmp_path / "x",
            teacher=teacher,
            distillation=DistillationSettings(alpha=1.0),
        )
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="there are settings of distillation, but no teacher"):
        finetune(small_bert, train={}, valid={}, output=tmp_path / "x", distillation=DistillationSettings())
