"""Fine-tuning end to end: the directory of a run, read by transformers and scored by scikit-learn and NumPy."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import keras
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import small
import transformers_models
from classifier_batches import Batch, make_batches
from sklearn.metrics import accuracy_score, f1_score
from torch_process import run_in_torch_process

from keras_bert_impl.cli.main import main
from keras_bert_impl.data import read_table, split_off
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.training import FineTuningSettings, finetune
from keras_bert_impl.training.fine_tuning import KeepBest

FILES = {
    "README.md",
    "config.json",
    "learning_curve.png",
    "metrics.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
}


def read_metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


@run_in_torch_process
def compute_torch_logits(run: Path, texts: list[str], pairs: list[str] | None = None, *, max_length: int) -> np.ndarray:
    """The logits of transformers, from the files of a run alone."""
    import torch
    import torch_models
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(run)
    model = torch_models.load("BertForSequenceClassification", run)
    inputs = tokenizer(texts, pairs, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits.numpy()


def test_the_directory_is_complete(sentiment_run: Path) -> None:
    assert {path.name for path in sentiment_run.iterdir()} == FILES
    assert not list(sentiment_run.parent.glob(".*"))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_metrics_equal_those_of_the_checkpoint_in_transformers(sentiment_run: Path, snippets: Path, split: str) -> None:
    columns = read_table(snippets / f"{split}.tsv")
    names = read_metrics(sentiment_run)["labels"]
    logits = compute_torch_logits(sentiment_run, columns["text"], max_length=29)
    predicted = [names[i] for i in logits.argmax(axis=1)]
    assert read_metrics(sentiment_run)[split] == pytest.approx(
        {
            "accuracy": accuracy_score(columns["label"], predicted),
            "macro_f1": f1_score(columns["label"], predicted, average="macro"),
            "f1": f1_score(columns["label"], predicted, pos_label="positive"),
        }
    )


def test_training_learns_its_examples(sentiment_run: Path) -> None:
    metrics = read_metrics(sentiment_run)
    losses = metrics["training_loss"]["loss"]
    assert losses[-1] < 0.3 * losses[0]
    assert metrics["training_loss"]["step"] == list(range(1, 12 * 8 + 1))


def test_metrics_describe_the_run(sentiment_run: Path, small_bert: Path) -> None:
    metrics = read_metrics(sentiment_run)
    assert (metrics["task"], metrics["source"]) == ("classification", str(small_bert))
    assert metrics["labels"] == ["negative", "positive"]
    assert metrics["examples"] == {"train": 61, "valid": 23, "test": 17}
    assert metrics["settings"] == {
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "optimizer": "adamw",
        "warmup": 0.1,
        "schedule": "linear",
        "power": 1.0,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "dropout": None,
        "max_length": 29,
        "metric": None,
        "patience": 0,
        "valid_fraction": 0.1,
        "freeze_embeddings": False,
        "freeze_layers": 0,
        "layer_decay": 1.0,
        "lora_rank": 0,
        "lora_alpha": None,
        "lora_targets": "query,value",
        "rslora": False,
        "precision": "float32",
        "accumulate": 1,
        "remat": False,
        "jit": None,
        "seed": 1,
    }
    accuracies = [scores["accuracy"] for scores in metrics["validation"]]
    assert len(accuracies) == 12
    assert metrics["best_epoch"] == 1 + int(np.argmax(accuracies))
    assert metrics["valid"] == metrics["validation"][metrics["best_epoch"] - 1]
    assert metrics["versions"].keys() == {"keras_bert_impl", "keras", "numpy", "backend"}


def test_the_learning_curve_is_an_image(sentiment_run: Path) -> None:
    path = sentiment_run / "learning_curve.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert matplotlib.image.imread(path).shape == (480, 1200, 4)


def test_the_model_card_is_valid_for_the_hub(sentiment_run: Path, small_bert: Path) -> None:
    card = huggingface_hub.ModelCard.load(sentiment_run / "README.md")
    assert (card.data.base_model, card.data.library_name) == (small_bert.name, "keras")
    assert "classification" in card.data.tags
    metrics = read_metrics(sentiment_run)
    for split in ("valid", "test"):
        values = " | ".join(f"{value:.4f}" for value in metrics[split].values())
        assert f"| {split} | {metrics['examples'][split]} | {values} |" in card.text
    assert "keras-bert predict sentiment --file FILE" in card.text
    assert "epoch {} of 12".format(metrics["best_epoch"]) in card.text


def test_training_stops_early_also_in_a_resumed_run(small_bert: Path, snippets: Path, tmp_path: Path) -> None:
    # The scores of the first epoch remain: the weights hardly change.
    settings = FineTuningSettings(
        epochs=9, batch_size=32, learning_rate=1e-12, max_length=29, metric="macro_f1", patience=1
    )

    def run(output: Path, **arguments: Any) -> dict[str, Any]:
        data = {"train": snippets / "train.tsv", "valid": snippets / "valid.tsv"}
        return finetune(small_bert, **data, output=output, settings=settings, log=lambda line: None, **arguments)

    unbroken = run(tmp_path / "unbroken")
    assert (unbroken["best_epoch"], len(unbroken["validation"])) == (1, 2)
    assert len(unbroken["training_loss"]["loss"]) == 2 * 2
    assert "epoch 1 of 9" in (tmp_path / "unbroken" / "README.md").read_text(encoding="utf-8")

    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 1:
            signal.raise_signal(signal.SIGTERM)

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(Interrupted, match="step 3 "):
        run(tmp_path / "resumed", callbacks=[callback])
    assert {**run(tmp_path / "resumed", resume=True), "seconds": 0} == {**unbroken, "seconds": 0}


def test_an_unknown_metric_is_refused_before_training(small_bert: Path, snippets: Path, tmp_path: Path) -> None:
    data = {"train": snippets / "train.tsv", "valid": snippets / "valid.tsv", "output": tmp_path / "run"}
    with pytest.raises(InputError, match=r"metric is 'auc'; the metrics .* are accuracy, macro_f1, f1"):
        finetune(small_bert, **data, settings=FineTuningSettings(metric="auc"), log=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    losses = iter([3.0, 1.0, 2.0])
    saved: list[int] = []
    keep = KeepBest(
        tmp_path,
        SimpleNamespace(save_pretrained=lambda directory: saved.append(keep.best_epoch), has_lora=False),
        score=lambda: {"loss": next(losses)},
        get_metric=lambda scores: "loss",
        lower_is_better=TASKS["masked-lm"].lower_is_better,
    )
    for epoch in range(3):
        keep.on_epoch_end(epoch, {})
    assert saved == [1, 2]


def test_a_finished_run_is_trained_further(sentiment_run: Path, snippets: Path, tmp_path: Path) -> None:
    """With a learning rate close to zero. The labels are in the other order, as a checkpoint may have them."""
    source = shutil.copytree(sentiment_run, tmp_path / "source")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    names = ["positive", "negative"]
    changes = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    (source / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    settings = FineTuningSettings(epochs=1, batch_size=8, learning_rate=1e-12, max_length=29)
    data = {"train": snippets / "train.tsv", "valid": snippets / "valid.tsv"}
    lines: list[str] = []
    metrics = finetune(source, **data, output=tmp_path / "run", settings=settings, log=lines.append)
    before, after = (safetensors.numpy.load_file(run / "model.safetensors") for run in (source, tmp_path / "run"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-9, err_msg=name)
    assert any(f"\n  {len(before)} tensors loaded" in line for line in lines)
    assert "initialized" not in "\n".join(lines)
    assert metrics["labels"] == names
    # The same logits, for exchanged labels.
    assert metrics["valid"]["accuracy"] == pytest.approx(1 - read_metrics(sentiment_run)["valid"]["accuracy"])


def test_a_finished_run_is_trained_for_other_labels_of_the_same_number(
    sentiment_run: Path, snippets: Path, tmp_path: Path
) -> None:
    """With a learning rate close to zero: only the head is new."""
    columns = read_table(snippets / "train.tsv")
    data = {**columns, "label": ["long" if len(text) > 80 else "short" for text in columns["text"]]}
    settings = FineTuningSettings(epochs=1, batch_size=32, learning_rate=1e-12, max_length=29)
    lines: list[str] = []
    metrics = finetune(
        sentiment_run, train=data, valid=data, output=tmp_path / "run", settings=settings, log=lines.append
    )
    assert metrics["labels"] == ["long", "short"]
    assert any("2 newly initialized: the file's head is for the labels negative, positive" in line for line in lines)
    before, after = (
        safetensors.numpy.load_file(run / "model.safetensors") for run in (sentiment_run, tmp_path / "run")
    )
    for name, value in before.items():
        is_same = np.allclose(after[name], value, atol=1e-9)
        assert is_same == (not name.startswith("classifier")) or name == "classifier.bias", name
    assert not np.allclose(after["classifier.bias"], before["classifier.bias"], atol=1e-9)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_in_another_process(
    sentiment_run: Path, small_bert: Path, snippets: Path, tmp_path: Path
) -> None:
    arguments = small.make_finetune_arguments(small_bert, snippets, tmp_path / "again")
    subprocess.run([sys.executable, "-m", "keras_bert_impl.cli.main", *arguments], check=True, capture_output=True)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (sentiment_run / "model.safetensors").read_bytes()
    same = {**read_metrics(sentiment_run), "seconds": 0}
    assert {**read_metrics(tmp_path / "again"), "seconds": 0} == same


@pytest.mark.slow
def test_jax_without_tensorflow(small_bert: Path, snippets: Path, tmp_path: Path) -> None:
    program = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in ("tensorflow", "torch", "transformers")
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
from keras_bert_impl.cli.main import main

sys.exit(main(sys.argv[1:]))
"""
    for command in (
        small.make_finetune_arguments(small_bert, snippets, tmp_path / "run"),
        ["evaluate", str(tmp_path / "run"), "--data", str(snippets / "test.tsv"), "--max-length", "29"],
    ):
        environment = {**os.environ, "KERAS_BACKEND": "jax"}
        result = subprocess.run(
            [sys.executable, "-c", program, *command], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    metrics = read_metrics(tmp_path / "run")
    assert metrics["versions"]["backend"].startswith("jax ")
    assert metrics["training_loss"]["loss"][-1] < 0.3 * metrics["training_loss"]["loss"][0]
    assert json.loads(result.stdout) == pytest.approx({"examples": 17, **metrics["test"]})


@pytest.mark.slow
def test_another_seed_gives_another_head_and_order(
    sentiment_run: Path, small_bert: Path, snippets: Path, tmp_path: Path
) -> None:
    assert main(small.make_finetune_arguments(small_bert, snippets, tmp_path / "run", "--seed", "7")) == 0
    losses = [read_metrics(run)["training_loss"]["loss"] for run in (sentiment_run, tmp_path / "run")]
    assert abs(losses[0][0] - losses[1][0]) > 1e-3


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_steps_without_dropout_equal_those_of_transformers_on_torch(
    snippets: Path, tmp_path: Path, precision: str
) -> None:
    columns = read_table(snippets / "train.tsv")
    # With a head, because a new head is random.
    without_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    checkpoint = small.write_checkpoint(
        tmp_path / "checkpoint", columns["text"], model="BertForSequenceClassification", **without_dropout
    )
    settings = FineTuningSettings(
        epochs=1, batch_size=8, learning_rate=1e-3, weight_decay=0.5, max_length=29, precision=precision, seed=11
    )
    data = {"train": snippets / "train.tsv", "valid": snippets / "valid.tsv"}
    metrics = finetune(checkpoint, **data, output=tmp_path / "run", settings=settings, log=lambda line: None)

    theirs, losses = train_with_torch(
        checkpoint, make_batches(checkpoint, columns, settings), dataclasses.asdict(settings)
    )

    tolerance = {"float32": 1e-4, "bfloat16": 0.03}[precision]
    np.testing.assert_allclose(metrics["training_loss"]["loss"], losses, rtol=tolerance)
    start = safetensors.numpy.load_file(checkpoint / "model.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "run" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert {array.dtype for array in ours.values()} == {np.dtype("float32")}
    # Softmax makes the gradient of the keys' biases zero: they follow rounding errors alone.
    compared = [name for name in theirs if not name.endswith("key.bias")] if precision == "float32" else []
    for name in compared:
        # Adam divides by the size of a gradient: other weights with almost no gradient follow rounding errors too.
        change = theirs[name] - start[name]
        assert np.square(ours[name] - theirs[name]).mean() < 1e-5 * np.square(change).mean(), name


@run_in_torch_process
def train_with_torch(
    checkpoint: Path, batches: list[Batch], settings: dict[str, Any]
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Weights and losses of the same training, written for torch."""
    import torch
    import transformers

    model = transformers.BertForSequenceClassification.from_pretrained(checkpoint).train()
    decayed = transformers.trainer_pt_utils.get_parameter_names(model, [torch.nn.LayerNorm], ["bias"])
    groups = [
        {"params": [p for name, p in model.named_parameters() if (name in decayed) == decays], "weight_decay": decay}
        for decays, decay in ((True, settings["weight_decay"]), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"])
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * len(batches)), len(batches))
    losses = []
    for k, (inputs, labels) in enumerate(batches):
        # Keras adds epsilon before the bias correction, torch after it.
        for group in optimizer.param_groups:
            group["eps"] = 1e-8 / (1 - 0.999 ** (k + 1)) ** 0.5
        tensors = {name: torch.tensor(value, dtype=torch.long) for name, value in inputs.items()}
        loss = model(**tensors, labels=torch.tensor(labels["logits"], dtype=torch.long)).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip_norm"])
        optimizer.step()
        schedule.step()
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}, losses


@pytest.mark.slow
def test_regression_on_pairs_from_columns_in_one_batch(small_bert: Path, tmp_path: Path) -> None:
    columns = read_table(small.write_examples(tmp_path)["regression"])
    columns = {name: values for name, values in columns.items() if name != "location"}
    columns["text"][0] += " It is very, very high." * 30
    run = tmp_path / "not" / "there" / "run"
    settings = FineTuningSettings(epochs=20, batch_size=64, learning_rate=3e-3, max_length=59)
    lines: list[str] = []
    metrics = finetune(
        small_bert, task="regression", train=columns, valid=columns, output=run, settings=settings, log=lines.append
    )
    predicted = compute_torch_logits(run, columns["text"], columns["text_pair"], max_length=59)[:, 0]
    correlation = np.corrcoef(np.array(columns["label"], float), predicted)[0, 1]
    assert metrics["valid"]["pearson"] == pytest.approx(correlation, abs=1e-4)
    assert metrics["valid"]["pearson"] > 0.5
    assert (metrics["labels"], metrics["examples"]) == (["value"], {"train": 8, "valid": 8})
    assert metrics["training_loss"]["step"] == list(range(1, 21))
    assert "test" not in metrics
    config = json.loads((run / "config.json").read_text())
    assert (config["problem_type"], config["id2label"]) == ("regression", {"0": "value"})
    truncated = "1 of 8 texts are longer than 59 tokens and were truncated; predictions read up to 131 tokens."
    assert lines[:2] == [f"{name}: {truncated}" for name in ("train", "valid")]
    assert "  2 newly initialized: not in the file" in lines[2]
    assert lines[-1] == f"valid: pearson {metrics['valid']['pearson']:.4f}, spearman {metrics['valid']['spearman']:.4f}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "model_class", "metric_names", "labels"),
    [
        (
            "tagging",
            "BertForTokenClassification",
            {"precision", "recall", "f1", "accuracy"},
            ["O", "B-location", "B-person", "I-person"],
        ),
        ("question-answering", "BertForQuestionAnswering", {"exact_match", "f1"}, ["start", "end"]),
    ],
)
def test_tasks_with_one_output_per_token(
    small_bert: Path, tmp_path: Path, task: str, model_class: str, metric_names: set[str], labels: list[str]
) -> None:
    path = small.write_examples(tmp_path)[task]
    settings = FineTuningSettings(epochs=30, batch_size=5, learning_rate=5e-3, max_length=41)
    data = {"train": path, "valid": path, "test": path}
    run = tmp_path / "run"
    metrics = finetune(small_bert, task=task, **data, output=run, settings=settings, log=lambda line: None)
    assert {path.name for path in run.iterdir()} == FILES
    assert metrics["valid"].keys() == metrics["test"].keys() == metric_names
    assert metrics["test"] == metrics["valid"]
    assert metrics["valid"]["f1"] > 0.9
    assert metrics["labels"] == labels

    predictor = Predictor(run)
    assert list(predictor.config.id2label.values()) == labels
    inputs = predictor.tokenizer(["Ada Lovelace lived in Paris."])
    ours = predictor.task.model_class.from_pretrained(run)(inputs)
    theirs = transformers_models.compute_outputs(model_class, run, inputs)
    for name, logits in ours.items():
        np.testing.assert_allclose(np.asarray(logits), theirs[name], atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_dropout_of_the_settings_is_that_of_the_model(small_bert: Path, tmp_path: Path) -> None:
    columns = read_table(small.write_examples(tmp_path)["regression"])
    settings = FineTuningSettings(epochs=1, batch_size=64, dropout=0.25, optimizer="lamb")
    data: dict[str, Any] = {"train": columns, "valid": columns}
    run = tmp_path / "run"
    finetune(small_bert, task="regression", **data, output=run, settings=settings, log=lambda line: None)
    config = json.loads((run / "config.json").read_text())
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (0.25, 0.25)


def test_validation_data_split_off_a_data_frame(small_bert: Path, snippets: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(snippets / "train.tsv", sep="\t", quoting=csv.QUOTE_NONE)
    frame = pd.DataFrame({"film": frame["text"], "label": (frame["label"] == "positive").astype(int)})
    names, settings = {"text": "film"}, FineTuningSettings(epochs=1, batch_size=64, max_length=29, valid_fraction=0.25)
    arguments: dict[str, Any] = {"train": frame, "output": tmp_path / "run", "columns": names, "settings": settings}
    lines: list[str] = []
    metrics = finetune(small_bert, **arguments, log=lines.append)
    assert lines[0] == "validation data: 15 of the 61 training examples, which are not trained on"
    assert metrics["examples"] == {"train": 46, "valid": 15}
    assert metrics["split"] == {"valid_fraction": 0.25, "seed": 1}
    assert metrics["labels"] == ["0", "1"]
    columns = {"text": frame["film"].tolist(), "label": frame["label"].tolist()}
    _, valid = split_off(columns, 0.25, seed=1, strata=columns["label"])
    positive = sum(columns["label"])
    assert sum(valid["label"]) == pytest.approx(positive / 4, abs=1)
    predictor = Predictor(tmp_path / "run", max_length=29)
    with pytest.warns(UserWarning, match="of 15 texts are longer than 29 tokens"):
        assert predictor.score(valid) == pytest.approx(metrics["valid"])
    # The same call finds the same split, and so the same run.
    assert finetune(small_bert, **arguments, resume=True, log=lines.append) == read_metrics(tmp_path / "run")
    changed = {**arguments, "settings": dataclasses.replace(settings, valid_fraction=0.2)}
    with pytest.raises(InputError, match=r"is a finished run with a different (train|valid) \(data\)"):
        finetune(small_bert, **changed, resume=True, log=lines.append)


def test_invalid_arguments(small_bert: Path, tmp_path: Path) -> None:
    columns = {"text": ["a", "b"], "label": ["0", "1"]}
    empty: dict[str, list[Any]] = {"text": [], "label": []}
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"task": "translation"},
            r"No task is named 'translation'; the tasks are classification, multi-label-classification, reg",
        ),
        ({"valid": empty}, r"valid: the columns have \{'text': 0, 'label': 0\} entries"),
        ({"train": {"text": ["a"], "label": ["0", "1"]}}, r"train: the columns have \{'text': 1, 'label': 2\} entries"),
        ({"valid": {"text": ["c"], "label": ["2"]}}, r"valid, row 1: the label '2' was not in the training data"),
        ({"task": "tagging", "columns": {"text": "x"}, "train": "x.conll"}, r"x\.conll: CoNLL files have no named"),
        ({"train": 5}, r"train has the type int; a file, a data frame, a data set, a dictionary of columns or a list"),
        ({"valid": None}, r"the training data has 2 examples with 2 different values of 'text', too few to split off"),
    ]
    for changes, message in cases:
        with pytest.raises(InputError, match=message):
            finetune(small_bert, **{"train": columns, "valid": columns, "output": tmp_path / "run", **changes})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs is 0; an integer above 0"),
        ("batch_size", -1, "batch_size is -1; an integer above 0"),
        ("max_length", 0, "max_length is 0; an integer above 0"),
        ("valid_fraction", 1.0, "valid_fraction is 1.0; a fraction above 0 and below 1"),
        ("learning_rate", float("nan"), "learning_rate is nan; a number above 0"),
        ("clip_norm", 0.0, "clip_norm is 0.0; a number above 0"),
        ("warmup", 1.5, "warmup is 1.5; a fraction from 0 to 1"),
        ("weight_decay", -0.1, "weight_decay is -0.1; 0 or more"),
        ("precision", "int8", "precision is 'int8'; float32, bfloat16 or float16"),
        ("freeze_layers", -1, "freeze_layers is -1; 0 or more"),
        ("layer_decay", 1.1, "layer_decay is 1.1; a factor above 0, up to 1"),
        ("layer_decay", 0.0, "layer_decay is 0.0; a factor above 0, up to 1"),
        ("lora_rank", -1, "lora_rank is -1; 0 or more"),
        ("lora_alpha", 0.0, "lora_alpha is 0.0; a number above 0"),
        ("lora_alpha", 8.0, "lora_alpha was given, but lora_rank is 0, which means no LoRA"),
        ("rslora", True, "rslora was given, but lora_rank is 0, which means no LoRA"),
        ("seed", -1, "seed is -1; an integer from 0 to 4294967295"),
        ("seed", 2**32, "seed is 4294967296; an integer from 0 to 4294967295"),
    ],
)
def test_settings_out_of_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FineTuningSettings(**{name: value})
