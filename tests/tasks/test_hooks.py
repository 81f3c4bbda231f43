"""The methods by which a task differs from the others: one task overrides them all, and the commands call them."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import keras
import numpy as np
import pytest

from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Features, LengthBatches
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertModel
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tasks import TASK_OPTIONS, TASKS, get_task, list_foreign_keys, open_task
from keras_bert_impl.tasks.classification import Classification
from keras_bert_impl.tasks.options import ClassificationOptions
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import FineTuningSettings, finetune

ROWS = {"text": ["a b", "a x", "X b", "b a c"] * 4, "label": ["none", "some", "some", "none"] * 4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions(ClassificationOptions):
    """Options of a task, in addition to those of classification.

    Args:
        ratio: ratio of something.
        kind: kind of something.
        strict: whether it is strict; None: as in the file.
    """

    ratio: float = 1.0
    kind: str = dataclasses.field(default="old", metadata={"choices": ("old", "new")})
    strict: bool | None = None


class Search(Classification):
    """A classifier with a setting of its own, in ``limit.json``, and options."""

    name: ClassVar[str] = "search"
    problem_type: ClassVar[str | None] = "search"
    config_keys: ClassVar[tuple[str, ...]] = ("limit",)
    card_note: ClassVar[str] = "Another library can load this directory too."

    def __init__(self, options: SearchOptions | None = None) -> None:
        self.options = options or SearchOptions()
        self.trained: Any = None

    @property
    def architectures(self) -> tuple[str, ...]:
        return ("BertForSomethingElse", self.model_name)

    def read_config(self, source: Source, config: BertConfig) -> BertConfig:
        path = source.find_file("limit.json")
        limit = config.extra["limit"] if path is None else json.loads(path.read_text(encoding="utf-8"))
        return dataclasses.replace(config, extra={**config.extra, "limit": limit})

    def open_tokenizer(self, source: Source, config: BertConfig) -> BertTokenizer:
        return BertTokenizer.from_pretrained(source, do_lower_case=config.extra["limit"] < 100)

    def resolve_max_length(self, config: BertConfig, tokenizer: BertTokenizer, max_length: int | None) -> int:
        return config.extra["limit"] if max_length is None else max_length

    def get_main_metric(self, scores: Mapping[str, float]) -> str:
        return "macro_f1" if "macro_f1" in scores else "accuracy"

    def make_trainable(self, model: Any, features: Features) -> Any:
        trained = model.with_outputs()  # Another model with the same weights.
        trained.save_pretrained = None
        assert len(features) == len(ROWS["text"])
        self.trained = trained
        return trained

    def make_batches(
        self, features: Features, batch_size: int, *, seed: int, epochs: int, lengths: tuple[int, ...] = ()
    ) -> LengthBatches:
        return LengthBatches(features, 2 * batch_size, seed=seed, epochs=epochs, lengths=lengths)

    def describe_batches(self, batches: LengthBatches) -> str:
        return f"{len(batches)} batches, ratio {self.options.ratio}"


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    """The task and its options are in the tables."""
    task = Search()
    monkeypatch.setitem(TASKS, "search", task)
    monkeypatch.setitem(TASK_OPTIONS, "search", "search_options.SearchOptions")
    monkeypatch.setitem(
        sys.modules, "keras_bert_impl.tasks.search_options", SimpleNamespace(SearchOptions=SearchOptions)
    )
    return task


@pytest.fixture
def checkpoint(letters: BertTokenizer, tmp_path: Path) -> Path:
    """A random BERT that has a setting outside ``config.json``, and keys of other tasks and of nobody."""
    keras.utils.set_random_seed(4)
    sizes = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 37}
    extra = {"version_2_with_negative": True, "author": "Ada"}
    directory = tmp_path / "checkpoint"
    config = BertConfig(vocab_size=letters.vocab_size, max_position_embeddings=41, **sizes, extra=extra)
    BertModel(config).save_pretrained(directory)
    letters.save_pretrained(directory)
    (directory / "limit.json").write_text("13", encoding="utf-8")
    return directory


def test_a_run_calls_all_of_them(search: Search, checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    arguments: dict[str, Any] = {"task": "search", "train": ROWS, "valid": ROWS, "output": tmp_path / "run"}
    arguments |= {"settings": FineTuningSettings(epochs=2, batch_size=4, learning_rate=3e-3, max_length=13)}
    metrics = finetune(checkpoint, **arguments, options=SearchOptions(ratio=0.5), log=lines.append)
    assert "4 batches, ratio 0.5" in lines  # Of 8 rows each.
    assert len(metrics["training_loss"]["loss"]) == 4
    assert metrics["options"] == {"ratio": 0.5}
    best = max(metrics["validation"], key=lambda scores: scores["macro_f1"])
    assert metrics["valid"] == best
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "Another library can load this directory too." in card
    assert "transformers can load" not in card
    assert "best\nmacro f1 on the validation data" in card
    assert "| ratio | 0.5 |" in card

    config = BertConfig.from_pretrained(tmp_path / "run")
    assert (config.extra["limit"], config.extra["author"]) == (13, "Ada")
    assert "version_2_with_negative" not in config.extra
    predictor = Predictor(tmp_path / "run")
    assert predictor.task is search
    assert predictor.max_length == 13
    assert predictor.score(ROWS) == pytest.approx(metrics["valid"])

    # A complete run is the same run with the same options only.
    same = {**arguments, "resume": True, "log": lines.append}
    assert finetune(checkpoint, **same, options=SearchOptions(ratio=0.5)) == metrics
    with pytest.raises(InputError, match=r"different ratio \(options\): 0\.5 there, None here"):
        finetune(checkpoint, **same)


@pytest.mark.slow
def test_the_trained_model_may_be_another_than_the_saved_one(checkpoint: Path, tmp_path: Path) -> None:
    """Both have the same weights."""
    made: list[Search] = []

    class Recorded(Search):
        def __init__(self, options: SearchOptions | None = None) -> None:
            super().__init__(options)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "search", Recorded())
        settings = FineTuningSettings(epochs=1, batch_size=8, learning_rate=3e-3, max_length=13)
        finetune(checkpoint, task="search", train=ROWS, valid=ROWS, output=tmp_path / "run", settings=settings)
        (task,) = made
        saved = task.model_class.from_pretrained(tmp_path / "run").state_dict()
    for name, array in task.trained.state_dict().items():
        np.testing.assert_array_equal(saved[name], array, err_msg=name)


@pytest.mark.filterwarnings("ignore:.* has no modules.json.* mean pooling is used:UserWarning")
def test_a_checkpoint_is_opened_for_its_task(search: Search, checkpoint: Path) -> None:
    task, config, tokenizer = open_task(checkpoint, "search")
    assert task is search
    assert config.extra["limit"] == 13
    assert tokenizer.do_lower_case
    (checkpoint / "limit.json").write_text("130", encoding="utf-8")
    assert not open_task(open_source(checkpoint), search)[2].do_lower_case
    assert open_task(checkpoint)[0].name == "embedding"
    config_file = checkpoint / "config.json"
    values = json.loads(config_file.read_text(encoding="utf-8"))
    values |= {"architectures": ["BertForSomethingElse"], "problem_type": "search"}
    config_file.write_text(json.dumps(values), encoding="utf-8")
    assert open_task(checkpoint)[0] is search


def test_keys_of_other_tasks(search: Search) -> None:
    assert list_foreign_keys(TASKS["classification"]) >= {"limit", "version_2_with_negative"}
    assert "version_2_with_negative" not in list_foreign_keys(TASKS["question-answering"])
    assert "limit" not in list_foreign_keys(search)


def test_options_belong_to_their_task(search: Search) -> None:
    made = get_task("search", SearchOptions(kind="new"))
    assert made is not search
    assert made.options.kind == "new"
    assert get_task("search") is search
    assert search.options == SearchOptions()
    with pytest.raises(InputError, match=r"the options of the task search are 5; SearchOptions was expected"):
        get_task("search", 5)
    with pytest.raises(InputError, match=r"the options of the task masked-lm are .*; the task has no options"):
        get_task("masked-lm", SearchOptions())


@dataclasses.dataclass(frozen=True, kw_only=True)
class SortOptions(SearchOptions):
    """Options of another task, one more than those of the first.

    Args:
        depth: depth of something.
    """

    depth: int = 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--depth 3", "--depth is an option of the task sort; the task is search. Omit it."),
        ("--task tagging --ratio 2", "--ratio is an option of the tasks search and sort; the task is tagging. Omit"),
    ],
)
def test_options_of_another_task_are_refused(
    given: str, message: str, search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_second_task(monkeypatch)
    arguments = ["finetune", "x", "--train", "a", "--valid", "b", "--output", "c", "--task", "search", *given.split()]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_help_lists_an_option_of_two_tasks_once(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_second_task(monkeypatch)
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "options of the tasks search and sort:" in text
    assert "--ratio X ratio of something (default: 1)" in text
    assert "--strict, --no-strict whether it is strict (default: as in the file)" in text
    assert "options of the task sort: --depth N depth of something (default: 2)" in text


def test_the_command_passes_the_options(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        "keras_bert_impl.training.fine_tuning.finetune", lambda *_, **arguments: given.update(arguments)
    )
    arguments = ["finetune", "x", "--train", "a", "--valid", "b", "--output", "c"]
    assert main([*arguments, "--task", "search", "--kind", "new", "--no-strict"]) == 0
    assert given["options"] == SearchOptions(kind="new", strict=False)
    assert main([*arguments, "--task", "question-answering"]) == 0
    assert given["options"] is None


def add_second_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds a task ``sort``, which has the options of ``search`` and one more."""
    module = SimpleNamespace(SortOptions=SortOptions)
    monkeypatch.setitem(sys.modules, "keras_bert_impl.tasks.sort_options", module)
    monkeypatch.setitem(TASKS, "sort", Search())
    monkeypatch.setitem(TASK_OPTIONS, "sort", "sort_options.SortOptions")
