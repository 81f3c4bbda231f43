"""Exact match and F1: expected values follow from the rules of the published evaluate-v2.0.py, by hand."""

import pytest

from keras_bert_impl.tasks.squad_metrics import compute_exact_match, compute_f1, normalize


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  U.S. Army!", "us army"),
        ("a An THE", ""),
        ("theory of an atom", "theory of atom"),
        ("they're", "theyre"),
        ("the-end", "theend"),
        ("tab\tand\nline", "tab and line"),
        ("“quoted”", "“quoted”"),
        ("\u00c9t\u00e9", "\u00e9t\u00e9"),
    ],
)
def test_normalization(answer: str, expected: str) -> None:
    assert normalize(answer) == expected


@pytest.mark.parametrize(
    ("answer", "references", "exact", "overlap"),
    [
        ("The Denver Broncos", ["Denver Broncos"], 1, 1),
        # Two of three words are right, and two of two were expected.
        ("Denver Broncos team", ["Denver Broncos"], 0, 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        # The best reference counts, for each metric separately.
        ("broncos", ["Denver Broncos", "Broncos"], 1, 1),
        # A word counts as often as it occurs in both.
        ("new new york", ["new york york"], 0, 2 / 3),
        ("Carolina", ["Denver Broncos"], 0, 0),
        ("", [], 1, 1),
        ("Denver", [], 0, 0),
        ("", ["Denver"], 0, 0),
        # References of which nothing is left do not count.
        ("Denver", ["the", "Denver"], 1, 1),
        ("an", ["the"], 1, 1),
    ],
)
def test_metrics(answer: str, references: list[str], exact: float, overlap: float) -> None:
    assert compute_exact_match(answer, references) == exact
    assert compute_f1(answer, references) == pytest.approx(overlap)
