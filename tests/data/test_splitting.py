"""Validation data split off training data."""

from collections import Counter

import numpy as np
import pytest

from keras_bert_impl.data import Columns, split_off
from keras_bert_impl.errors import InputError


def make_columns() -> Columns:
    """137 examples of three labels; some texts occur up to four times."""
    draw = np.random.default_rng(5)
    numbers = draw.integers(0, 110, 137)
    labels = draw.choice(["a", "b", "c"], 110, p=[0.6, 0.3, 0.1])[numbers].tolist()
    return {"text": [f"text {i}" for i in numbers], "label": labels, "location": [f"row {i}" for i in range(137)]}


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_both_sides_are_all_examples_and_share_no_text(fraction: float) -> None:
    columns = make_columns()
    train, valid = split_off(columns, fraction, seed=3, strata=columns["label"])
    rows = [int(location[4:]) for part in (train, valid) for location in part["location"]]
    assert sorted(rows) == list(range(137))
    for part in (train, valid):
        chosen = [int(location[4:]) for location in part["location"]]
        assert chosen == sorted(chosen)
        assert part["text"] == [columns["text"][i] for i in chosen]
        assert part["label"] == [columns["label"][i] for i in chosen]
    assert not set(train["text"]) & set(valid["text"])
    assert len(valid["text"]) == pytest.approx(137 * fraction, abs=3)
    totals, counts = Counter(columns["label"]), Counter(valid["label"])
    for label, total in totals.items():
        assert counts[label] == pytest.approx(total * fraction, abs=2), label


def test_strata_have_the_fraction_exactly_without_groups() -> None:
    labels = ["a"] * 50 + ["b"] * 30 + ["c"] * 20 + ["d"] * 7 + ["e"]
    columns = {"text": [str(i) for i in range(len(labels))], "label": labels}
    for seed in range(5):
        train, valid = split_off(columns, 0.1, seed=seed, strata=labels)
        counts = Counter(valid["label"])
        assert (counts["a"], counts["b"], counts["c"], counts["e"]) == (5, 3, 2, 0)
        assert counts["d"] in (0, 1)
        assert set(train["label"]) == set("abcde")


def test_a_class_of_one_example_stays_in_the_training_data() -> None:
    """And the examples that rare classes cannot give are not taken from one of the others."""
    labels = [f"rare {i}" for i in range(200)] + ["z"] * 20
    columns = {"text": [str(i) for i in range(220)], "label": labels}
    train, valid = split_off(columns, 0.1, seed=1, strata=labels)
    assert set(labels) == set(train["label"])
    assert valid["label"] == ["z"] * 2


def test_the_seed_decides() -> None:
    columns = make_columns()
    first, again, other = (split_off(columns, 0.2, seed=seed)[1] for seed in (1, 1, 2))
    assert first == again
    assert first["location"] != other["location"]
    reordered = dict(reversed(columns.items()))
    assert split_off(reordered, 0.2, seed=1)[1] == first


def test_groups_may_be_lists_and_may_be_missing() -> None:
    words = [["a", "b"], ["c"], ["a", "b"], ["d"], ["e"]]
    for seed in range(9):
        train, _ = split_off({"words": words}, 0.4, seed=seed, group_column="words")
        assert train["words"].count(["a", "b"]) in (0, 2)
    assert len(split_off({"label": list("abcde")}, 0.4, seed=1)[1]["label"]) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"] * 20}, "20 examples with 1 different values of 'text', too few to split off a fraction of 0.2"),
        ({"text": ["a", "b"]}, "2 examples with 2 different values"),
        ({"text": []}, r"train: the columns have \{'text': 0\} entries"),
    ],
)
def test_too_few_examples(columns: Columns, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_off(columns, 0.2, seed=1)
