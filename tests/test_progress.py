"""The progress bar, without waiting for seconds."""

import io

import pytest

from keras_bert_impl import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the bar reads; a test changes them."""
    seconds = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes standard error a terminal. (In a fixture, pytest would replace it again before the test starts.)"""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


def test_a_line_per_second_and_one_at_the_end(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = progress.ProgressBar("texts", 2000)
    for _ in range(10):
        bar.add(100)
        clock[0] += 0.25
    bar.add(1000)
    bar.end()
    lines = [line.rstrip() for line in terminal.getvalue().split("\r")]
    assert lines == [
        "",
        "█████░░░░░░░░░░░░░░░ 500 texts, 500 per second, 3 s left",
        "█████████░░░░░░░░░░░ 900 texts, 450 per second, 2 s left",
        "████████████████████ 2,000 texts, 800 per second, 0 s left",
    ]
    assert terminal.getvalue().endswith("\n")


def test_without_a_total_only_the_rate_is_shown(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = progress.ProgressBar("texts")
    clock[0] += 2
    bar.add(10)
    assert terminal.getvalue().rstrip() == "\r10 texts, 5 per second"


def test_the_fraction_may_be_known_without_a_total(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    bar = progress.ProgressBar("documents")
    for count, fraction in [(30, 0.25), (50, 0.75), (50, None)]:
        clock[0] += 3
        bar.update(count, fraction)
    assert [line.rstrip() for line in terminal.getvalue().split("\r")] == [
        "",
        "█████░░░░░░░░░░░░░░░ 30 documents, 10 per second, 9 s left",
        "███████████████░░░░░ 50 documents, 8 per second, 2 s left",
        "50 documents, 6 per second",
    ]


def test_short_jobs_show_nothing_unless_asked(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    for is_shown in (None, False, True):
        bar = progress.ProgressBar("texts", 10, is_shown=is_shown)
        clock[0] += 0.5
        bar.add(10)
        bar.end()
        assert bool(terminal.getvalue()) == bool(is_shown)


def test_a_pipe_gets_nothing(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    bar = progress.ProgressBar("texts", 10)
    clock[0] += 5
    bar.add(10)
    bar.end()
    assert pipe.getvalue() == ""
