"""What the operating system lets a process use."""

import os
import sys
from pathlib import Path

import pytest

from keras_bert_impl import machine
from keras_bert_impl.errors import InputError


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not say it")
def test_free_memory_of_this_machine() -> None:
    free = machine.count_free_memory()
    assert free is not None
    assert 1 << 20 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_for_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "count_free_memory", lambda: 16_000_000_000)
    machine.check_memory_for_vectors(5_000_000, 384)
    message = r"the vectors of 20,000,000 texts need 61\.4 GB of memory, and 16\.0 GB are free\. Use a part"
    with pytest.raises(InputError, match=message):
        machine.check_memory_for_vectors(20_000_000, 384)
    monkeypatch.setattr(machine, "count_free_memory", lambda: None)  # A system that does not say.
    machine.check_memory_for_vectors(20_000_000, 384)
