"""The list of tasks: every task is complete, and one loop trains, predicts and scores all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BUCKETS, LengthBatches
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer

NUMBERS = range(1, 33)
TEXTS = ["a a a a a a a a a a" for _ in NUMBERS]

# Examples that can be learned: whether there is an "x", how many, which words are "x", where it is.
EASY: dict[str, Callable[[], Columns]] = {
    "classification": lambda: {
        "text": ["a b" + " x" * (i % 2) for i in NUMBERS],
        "text_pair": ["c" * (i % 5) for i in NUMBERS],
        "label": [("none", "some")[i % 2] for i in NUMBERS],
    },
    "multi-label-classification": lambda: {
        "text": ["a" + " x" * (i % 2) + " y" * (i % 3) for i in NUMBERS],
        "label": [["x"] * (i % 2) + ["y"] * min(i % 3, 1) for i in NUMBERS],
    },
    "regression": lambda: {
        "text": ["a" + " x" * (i % 4) for i in NUMBERS],
        "label": [str(i % 4 / 2) for i in NUMBERS],
    },
    "reranking": lambda: {
        "text": ["a b" for _ in NUMBERS],
        "text_pair": ["c" * (i % 5) + " x" * (i % 2) for i in NUMBERS],
        "label": [str(i % 2) for i in NUMBERS],
    },
    "tagging": lambda: {
        "words": [["a"] * (i % 3) + ["x", "xy"] + ["b"] * (i % 4) for i in NUMBERS],
        "label": [["O"] * (i % 3) + ["B-x", "I-x"] + ["O"] * (i % 4) for i in NUMBERS],
    },
    "question-answering": lambda: {
        "id": [f"q{i}" for i in NUMBERS],
        "question": ["x?" for _ in NUMBERS],
        "context": ["a " * (i % 7) + "x b" for i in NUMBERS],
        "answers": [{"text": ["x"], "answer_start": [2 * (i % 7)]} for i in NUMBERS],
    },
    "masked-lm": lambda: {"text": TEXTS, "label": TEXTS},
    "next-sentence": lambda: {
        "text": ["a b" for _ in NUMBERS],
        "text_pair": [("c d e", "x y z")[i % 2] + " f" * (i % 4) for i in NUMBERS],
        "label": [("is_next", "not_next")[i % 2] for i in NUMBERS],
    },
    "multiple-choice": lambda: {
        "text": ["a b" for _ in NUMBERS],
        "choices": [["x" if k == i % 3 else "y" * (1 + i % 4) for k in range(3)] for i in NUMBERS],
        "label": [i % 3 for i in NUMBERS],
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EASY)
def test_one_loop_serves_every_task(name: str, letters: BertTokenizer) -> None:
    task, columns = TASKS[name], EASY[name]()
    keras.utils.set_random_seed(1)
    config = BertConfig.preset(
        "tiny", vocab_size=letters.vocab_size, **task.make_config_changes(task.find_labels(columns))
    )
    features = task.encode(columns, letters, config, max_length=24)
    model = task.model_class(config)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), **task.make_compile_arguments())
    # Batches of one shape, which TensorFlow compiles once.
    batches = LengthBatches(features, 8, seed=1, epochs=25, lengths=(1,))
    losses = [float(model.train_on_batch(*batches[k])[0]) for k in range(len(batches))]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])

    predictions = task.predict(
        model.predict_on_batch, features, columns, config=config, lengths=BUCKETS, max_tokens=140
    )
    assert len(predictions) == len(NUMBERS)
    metrics = task.score(predictions, columns)
    assert metrics[task.get_main_metric(metrics)] > 0.9


@pytest.mark.parametrize("name", TASKS)
def test_tasks_name_models_that_exist(name: str) -> None:
    assert TASKS[name].name == name
    assert TASKS[name].model_class.__name__ == TASKS[name].model_name


def list_fitting_tasks(config: BertConfig) -> list[str]:
    classes = set(config.architectures)
    return [task.name for task in TASKS.values() if classes & set(task.architectures) and task.fits(config)]


@pytest.mark.parametrize("name", TASKS)
def test_no_task_takes_the_models_of_another(name: str) -> None:
    """A configuration that fine-tuning writes fits one task, and so does one without ``problem_type`` and such keys."""
    task = TASKS[name]
    architectures = {"architectures": [task.architectures[-1]]}
    found = set()
    for count in (1, 2, 3):
        changes = task.make_config_changes([f"label {number}" for number in range(count)])
        extra = task.make_config_extra({"answers": []}, max_length=23)
        (fitting,) = list_fitting_tasks(BertConfig(**changes, extra={**extra, **architectures}))
        found.add(fitting)
        changes["problem_type"] = None
        assert len(list_fitting_tasks(BertConfig(**changes, extra=architectures))) == 1
    assert name in found


@pytest.mark.parametrize("name", EASY)
def test_prediction_needs_no_labels(name: str, letters: BertTokenizer) -> None:
    task = TASKS[name]
    columns = {key: values for key, values in EASY[name]().items() if key not in ("label", "answers")}
    features = task.encode(columns, letters, BertConfig.preset("tiny", vocab_size=99), max_length=24)
    assert not features.labels
    assert not features.weights


@pytest.mark.parametrize("name", EASY)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_position_embeddings": 16}, "max_length is 17, but the model has 16 positions"),
        ({"vocab_size": 60}, "the tokenizer has 83 tokens, but the model's vocabulary has 60"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    name: str, changes: dict[str, Any], message: str, letters: BertTokenizer
) -> None:
    config = BertConfig.preset("tiny", **{"vocab_size": 99, **changes})
    with pytest.raises(ValueError, match=message):
        TASKS[name].encode(EASY[name](), letters, config, max_length=17)


def test_files_are_read_by_the_task(data_dir: Path) -> None:
    columns = TASKS["classification"].read_file(data_dir / "test.tsv", columns={})
    assert TASKS["classification"].find_labels(columns) == ["negative", "positive"]
