"""Predictions of a fine-tuned model, compared with transformers and plain Python."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import transformers_models
from scipy.special import softmax

from keras_bert_impl.data import read_table
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tokenization import BertTokenizer


@pytest.fixture(scope="module")
def predictor(sentiment_run: Path) -> Predictor:
    return Predictor(sentiment_run)


def score_with_transformers(run: Path, *texts: list[str], max_length: int = 131) -> list[list[float]]:
    tokenizer = transformers_models.Tokenizer(run)
    inputs = tokenizer(*texts, padding=True, truncation=True, max_length=max_length, return_tensors="np")
    theirs = transformers_models.compute_outputs("BertForSequenceClassification", run, inputs)
    return softmax(theirs["logits"], axis=-1).tolist()


def list_scores(predictions: list[dict[str, Any]]) -> list[list[float]]:
    return [list(prediction["scores"].values()) for prediction in predictions]


def is_close(found: list[list[float]], expected: list[list[float]]) -> bool:
    return found == [pytest.approx(row, abs=1e-5) for row in expected]


def test_texts_and_pairs_in_their_order(predictor: Predictor, sentiment_run: Path, snippets: Path) -> None:
    texts = [text[:49] for text in read_table(snippets / "train.tsv")["text"]] + ["", "😀", " \t "]
    assert is_close(list_scores(predictor.predict_texts(texts)), score_with_transformers(sentiment_run, texts))
    assert is_close(
        list_scores(predictor.predict_texts(texts, texts[::-1])),
        score_with_transformers(sentiment_run, texts, texts[::-1]),
    )
    for prediction in predictor.predict_texts(texts):
        assert prediction["score"] == max(prediction["scores"].values()) == prediction["scores"][prediction["label"]]


def test_nothing_to_predict(predictor: Predictor) -> None:
    assert predictor.predict_texts([]) == []


def test_a_text_beyond_the_positions_is_truncated_with_a_warning(predictor: Predictor, sentiment_run: Path) -> None:
    texts = ["good " * 400, "bad"]
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 131 tokens and were truncated"):
        predictions = predictor.predict_texts(texts)
    assert is_close(list_scores(predictions), score_with_transformers(sentiment_run, texts))
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 7 tokens"):
        shorter = Predictor(sentiment_run, max_length=7).predict_texts(texts[:1])
    assert is_close(list_scores(shorter), score_with_transformers(sentiment_run, texts[:1], max_length=7))


def test_labels_count_for_scores_alone(predictor: Predictor) -> None:
    locations = ["x.tsv, line 2", "x.tsv, line 3"]
    columns = {"text": ["good", "bad"], "label": ["positive", "surprise"], "location": locations}
    assert len(predictor.predict_columns(columns)) == 2
    with pytest.raises(InputError, match=r"x\.tsv, line 3: the label 'surprise' was not in the training data"):
        predictor.score(columns)


@pytest.mark.parametrize(
    ("max_length", "message"),
    [(132, "max_length is 132, but the model has 131 positions"), (0, "max_length=0 has no space")],
)
def test_lengths_that_do_not_fit(sentiment_run: Path, max_length: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(sentiment_run, max_length=max_length).predict_texts(["good"])


def test_a_tokenizer_of_another_model_is_refused(sentiment_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "model.safetensors"):
        (run / name).symlink_to(sentiment_run / name)
    vocabulary = BertTokenizer.from_pretrained(sentiment_run).vocabulary
    BertTokenizer([*vocabulary, "[more]"]).save_pretrained(run)
    with pytest.raises(InputError, match="the tokenizer has 998 tokens, but the model's vocabulary has 997"):
        Predictor(run).predict_texts(["good"])


@pytest.mark.filterwarnings("ignore:.* has no modules.json.* mean pooling is used:UserWarning")
def test_a_model_without_the_weights_of_the_task_is_refused(small_bert: Path, tmp_path: Path) -> None:
    message = r"small_bert lacks classifier\.weight.*: it was not trained as BertForSequenceClassification\. 'keras-"
    with pytest.raises(InputError, match=message):
        Predictor(small_bert, task="classification")
    with pytest.raises(
        InputError, match="No task is named 'sentiment'; the tasks are classification, multi-label-classification"
    ):
        Predictor(small_bert, task="sentiment")
    config = json.loads((small_bert / "config.json").read_text(encoding="utf-8"))
    del config["architectures"]
    for path in small_bert.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"does not name the class of the model .*Name the task \(--task, .*: classification"
    ):
        Predictor(tmp_path)
    assert Predictor(tmp_path, task="embedding").predict_texts(["good"])[0].keys() == {"embedding"}


def test_a_file_is_predicted_as_it_is_read(predictor: Predictor, tmp_path: Path) -> None:
    """Through a pipe whose second half is written only after predictions of the first half were made."""
    pipe = tmp_path / "texts.tsv"
    os.mkfifo(pipe)
    texts = [f"a {'good ' * (i % 11)}film {i}" for i in range(3000)]
    first_half_is_read = threading.Event()

    def write() -> None:
        with open(pipe, "w", encoding="utf-8") as file:
            file.write("text\n" + "".join(f"{text}\n" for text in texts[:2000]))
            file.flush()
            assert first_half_is_read.wait(60)
            file.writelines(f"{text}\n" for text in texts[2000:])

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    for prediction in predictor.predict_file(pipe, size=257):
        found.append(prediction)
        first_half_is_read.set()
    writer.join()
    assert is_close(list_scores(found), list_scores(predictor.predict_texts(texts)))


def test_a_file_warns_once_of_truncation(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "good"}\n' * 5 + f'{{"text": "{"good " * 400}"}}\n' * 2, encoding="utf-8")
    with pytest.warns(UserWarning, match="2 of 7 texts are longer than 131 tokens and were truncated") as warned:
        assert len(list(predictor.predict_file(path, size=2))) == 7
    assert len(warned) == 1


def test_data_in_memory_is_predicted_and_scored_as_a_file(predictor: Predictor, tmp_path: Path) -> None:
    rows = [{"film": "good", "verdict": "positive"}, {"film": "a bad film", "verdict": "positive"}]
    names = {"text": "film", "label": "verdict"}
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    expected = list_scores(list(predictor.predict_file(path, columns=names)))
    for data in (pd.DataFrame(rows), rows, (row for row in rows)):
        assert is_close(list_scores(list(predictor.predict_file(data, columns=names, size=1))), expected)
    assert predictor.score(pd.DataFrame(rows), columns=names) == predictor.score(path, columns=names)
    with pytest.raises(InputError, match="the data, row 2: the label 'surprise' was not in the training data"):
        predictor.score([rows[0], {**rows[1], "verdict": "surprise"}], columns=names)
    with pytest.raises(InputError, match="the data, row 1: there is no column 'text'; the columns are 'film', "):
        list(predictor.predict_file(rows))
