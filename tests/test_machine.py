"""What the operating system lets a process use."""

from pathlib import Path

import pytest

from keras_bert_impl import machine


def test_free_memory_is_that_of_the_machine_or_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CONTAINER", tmp_path)
    assert machine.count_free_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal:       24683656 kB\nMemAvailable:   2000 kB\nHugePages_Total:   0\n")
    assert machine.count_free_memory() == 2000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.count_free_memory() == 2000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 300000\n")
    assert machine.count_free_memory() == 400_000
    (tmp_path / "memory.current").write_text("1300001\n")
    assert machine.count_free_memory() == 0


def test_free_memory_of_this_machine() -> None:
    free = machine.count_free_memory()
    assert free is None or free > 1 << 20
