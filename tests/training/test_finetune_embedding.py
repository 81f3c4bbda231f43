"""Fine-tuning of sentence embeddings: each loss learns, options are recorded and saved, wrong data is refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_models

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.cli.main import main
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks.options import EmbeddingOptions
from keras_bert_impl.training import FineTuningSettings, finetune

# Plain BERTs say nothing about pooling.
POOLING: dict[str, Any] = {"pooling": "mean", "normalize": True}


@pytest.fixture(scope="module")
def words(small_bert: Path) -> list[str]:
    """Words of the vocabulary."""
    tokens = (small_bert / "vocab.txt").read_text(encoding="utf-8").split()
    return [token for token in tokens if token.isalpha() and len(token) > 3][:120]


@pytest.fixture(scope="module")
def pairs(words: list[str]) -> Columns:
    """Pairs of two words and their translations: nothing in the words says that they belong together."""
    numbers = np.random.default_rng(1).integers(0, 30, (96, 2))
    return {
        "location": [f"line {i}" for i in range(len(numbers))],
        "text": [f"{words[a]} {words[b]}" for a, b in numbers],
        "positive": [f"{words[60 + a]} {words[60 + b]}" for a, b in numbers],
    }


@pytest.fixture(scope="module")
def scored(words: list[str]) -> Columns:
    """Pairs whose score, 0 to 5, is high if the second text has the translation of a word of the first."""
    draw = np.random.default_rng(1)
    numbers = draw.integers(0, 30, (96, 2))
    same = draw.random((96, 2)) < 0.5
    others = np.where(same, numbers, draw.integers(0, 30, (96, 2)))
    return {
        "location": [f"line {i}" for i in range(len(numbers))],
        "text": [f"{words[a]} {words[b]}" for a, b in numbers],
        "text_pair": [f"{words[60 + a]} {words[60 + b]}" for a, b in others],
        "label": [str(2.5 * count) for count in (numbers == others).sum(axis=1)],
    }


def train(checkpoint: Path, output: Path, columns: Columns, *, epochs: int = 12, **options: Any) -> dict[str, Any]:
    return finetune(
        checkpoint,
        task="embedding",
        train=columns,
        valid=columns,
        output=output,
        settings=FineTuningSettings(epochs=epochs, batch_size=16, learning_rate=3e-3, max_length=13, dropout=0.0),
        options=EmbeddingOptions(**{**POOLING, **options}),
        log=lambda line: None,
    )


def get_scores(checkpoint: Path, columns: Columns) -> dict[str, float]:
    """Returns the metrics before training."""
    task = "embedding"
    with pytest.warns(UserWarning, match="has no modules.json"):
        return Predictor(checkpoint, task=task).score(columns)


@pytest.mark.slow
def test_texts_learn_to_find_their_positives(small_bert: Path, pairs: Columns, tmp_path: Path) -> None:
    options = {"query_prompt": "the ", "matryoshka": "32,8"}
    metrics = train(small_bert, tmp_path / "run", pairs, **options)
    scores = [epoch["ndcg@10"] for epoch in metrics["validation"]]
    assert scores[0] < 0.6
    assert max(scores) > 0.9
    assert metrics["options"] == {**POOLING, **options}
    # The directory has the head and the prompt, and gives the vectors that were scored.
    model = BertForSentenceEmbedding.from_pretrained(tmp_path / "run")
    assert model.settings.prompts == {"query": "the ", "document": ""}
    assert model.settings.modules == ("normalize",)
    again = Predictor(tmp_path / "run").score(pairs)
    assert again["ndcg@10"] == pytest.approx(metrics["valid"]["ndcg@10"], abs=1e-6)


@pytest.mark.slow
def test_rows_are_not_longer_than_those_of_the_model(small_bert: Path, film_texts: list[str], tmp_path: Path) -> None:
    """So the metrics of the run are those of the saved model."""
    model = sentence_models.make_directory("mean", tmp_path / "model", bert=small_bert)
    columns = {"text": film_texts[:12], "text_pair": film_texts[12:24], "label": [str(i % 5) for i in range(12)]}
    settings = FineTuningSettings(epochs=1, batch_size=8, max_length=59)
    lines: list[str] = []
    arguments: dict[str, Any] = {"task": "embedding", "train": columns, "valid": columns, "log": lines.append}
    metrics = finetune(model, output=tmp_path / "run", settings=settings, **arguments)
    assert lines[0] == "train: 24 of 24 texts are longer than 13 tokens and were truncated."
    with pytest.warns(UserWarning, match="texts are longer than 13 tokens"):
        again = Predictor(tmp_path / "run").score(columns)
    assert again == pytest.approx(metrics["valid"], abs=1e-5)


@pytest.mark.slow
def test_similarities_learn_the_order_of_scores(small_bert: Path, scored: Columns, tmp_path: Path) -> None:
    metrics = train(small_bert, tmp_path / "run", scored)
    assert get_scores(small_bert, scored)["spearman"] < 0.3
    assert metrics["valid"]["spearman"] > 0.8


@pytest.mark.slow
def test_cosine_and_triplets_learn_too(small_bert: Path, pairs: Columns, scored: Columns, tmp_path: Path) -> None:
    metrics = train(small_bert, tmp_path / "cosine", scored, loss="cosine", label_scale=5.0)
    assert metrics["valid"]["pearson"] > 0.8
    triplets = {**pairs, "negatives": [[text] for text in np.roll(pairs["positive"], 1)]}
    metrics = train(small_bert, tmp_path / "triplet", triplets, loss="triplet", margin=0.5, distance="cosine")
    assert metrics["valid"]["ndcg@10"] > 3 * get_scores(small_bert, pairs)["ndcg@10"]
    metrics = train(small_bert, tmp_path / "negatives", triplets)
    assert metrics["valid"]["ndcg@10"] > 0.9


def write_table(path: Path, columns: Columns) -> str:
    rows = zip(columns["text"], columns["positive"], strict=True)
    path.write_text("\n".join("\t".join(row) for row in [("anchor", "positive"), *rows]) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_the_command_line_with_parts_and_resume(small_bert: Path, pairs: Columns, tmp_path: Path) -> None:
    file = write_table(tmp_path / "pairs.tsv", pairs)
    command = ["finetune", str(small_bert), "--task", "embedding", "--train", file, "--valid", file]
    command += ["--epochs", "2", "--batch-size", "16", "--max-length", "13", "--pooling", "cls", "--scale", "10"]
    runs = []
    for name, more in {"plain": [], "parts": ["--accumulate", "4"]}.items():
        assert main([*command, *more, "--dropout", "0", "--output", str(tmp_path / name)]) == 0
        runs.append(json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8")))
    plain, parts = runs
    np.testing.assert_allclose(parts["training_loss"]["loss"], plain["training_loss"]["loss"], atol=2e-5)
    assert plain["options"] == {"pooling": "cls", "scale": 10.0}
    assert main(["evaluate", str(tmp_path / "parts"), "--data", file]) == 0
    # A finished run with the same options is complete; another option is another run.
    finished = [*command, "--dropout", "0", "--output", str(tmp_path / "plain"), "--resume"]
    assert main(finished) == 0
    assert main([*finished, "--scale", "20"]) == 2


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("pairs", {"batch_size": 1}, "batch_size is 1; in-batch negatives need at least 2 pairs in a batch"),
        ("one pair", {}, "the training data has 1 pair; in-batch negatives need at least 2"),
        (
            "one answer",
            {},
            r"a text is in 96 of 96 examples, .* 96 batches of 1\.0 examples on average; in-batch",
        ),
        ("pairs", {"loss": "triplet"}, "needs one negative per pair, and the training data has 0 negatives per pair"),
        ("pairs", {"margin": 2.0}, "margin is an option of the loss triplet, and the loss is multiple-negatives. Omit"),
        ("scored", {"symmetric": True}, "symmetric is an option of the loss multiple-negatives, and the loss is cos"),
        ("scored", {"loss": "cosine", "label_scale": 5.0, "scale": 3.0}, "scale is an option of the loss multiple-neg"),
        ("pairs", {"loss": "cosent"}, "loss cosent needs pairs with a score, and the training data has no scores"),
        ("scored", {"loss": "multiple-negatives"}, "loss multiple-negatives needs pairs without a score"),
        ("scored", {"loss": "cosine"}, r"training example \d+ is 2.5; .* -1 to 1. Set label_scale to 5,"),
        ("pairs", {"matryoshka": "64,16"}, "matryoshka has the size 64, but the vectors have 32 dimensions"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    kind: str,
    changes: dict[str, Any],
    message: str,
    small_bert: Path,
    pairs: Columns,
    scored: Columns,
    tmp_path: Path,
) -> None:
    data = {
        "pairs": pairs,
        "scored": scored,
        "one pair": {name: values[:1] for name, values in pairs.items()},
        "one answer": {**pairs, "positive": ["yes"] * 96},
    }[kind]
    settings = FineTuningSettings(epochs=1, batch_size=changes.get("batch_size", 16), max_length=13)
    options = EmbeddingOptions(**POOLING, **{name: value for name, value in changes.items() if name != "batch_size"})
    with pytest.raises(InputError, match=message):
        finetune(
            small_bert,
            task="embedding",
            train=data,
            valid=data,
            output=tmp_path / "run",
            settings=settings,
            options=options,
            log=lambda line: None,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matryoshka": "384,x"}, "matryoshka is '384,x'; sizes such as 384,256,128 were expected"),
        ({"matryoshka": "0"}, "matryoshka is '0'"),
        ({"scale": 0.0}, "scale is 0.0; a finite number above 0 was expected"),
        ({"scale": math.inf}, "scale is inf; a finite number above 0 was expected"),
        ({"label_scale": math.inf}, "label_scale is inf; a finite number above 0 was expected"),
        ({"margin": -1.0}, "margin is -1.0; a finite number from 0 was expected"),
        ({"margin": math.inf}, "margin is inf; a finite number from 0 was expected"),
        ({"loss": "mse"}, "loss is 'mse'; auto, multiple-negatives, cosent, cosine or triplet was expected"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EmbeddingOptions(**changes)
