"""States on disk: what is written is read again, and any damage is detected."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_bert_impl.training.states import (
    State,
    compute_checksum,
    has_states,
    read_newest_state,
    remove_states,
    write_state,
)


def make_state(step: int) -> State:
    draw = np.random.default_rng(step)
    arrays = {
        "model/00000": draw.normal(size=(3, 5)).astype(np.float32),
        "model/00001": draw.integers(0, 9, 2, dtype=np.uint32),
        "optimizer/00000": np.array(step, np.int64),
        "optimizer/00001": np.empty((0, 7), np.float32),
    }
    return State(step, arrays, f'{{"seen": {step}, "name": "Zoë"}}')


def is_same_state(one: State | None, other: State) -> bool:
    assert one is not None
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name])
    return (one.step, one.notes) == (other.step, other.notes)


def test_written_states_are_read_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    directory = tmp_path / "states"
    assert read_newest_state(directory) is None
    assert not has_states(directory)
    for step in (5, 9, 10, 1_000_000):
        path = write_state(directory, make_state(step), keep=2)
        assert is_same_state(read_newest_state(directory), make_state(step))
    assert path.name == "step-000001000000.safetensors"
    assert sorted(directory.iterdir()) == [directory / "step-000000000010.safetensors", path]
    # Other programs can read it too.
    np.testing.assert_array_equal(load_file(path)["model/00000"], make_state(1_000_000).arrays["model/00000"])


def test_damaged_states_are_reported_and_skipped(tmp_path: Path) -> None:
    """Each byte of a file is changed, one at a time, and the file is truncated at many lengths."""
    write_state(tmp_path, make_state(1), keep=2)
    path = write_state(tmp_path, make_state(2), keep=2)
    content = path.read_bytes()
    damaged = [bytes([*content[:k], content[k] ^ 4, *content[k + 1 :]]) for k in range(len(content))]
    damaged += [content[:k] for k in range(0, len(content), 7)]
    for damaged_content in damaged:
        path.write_bytes(damaged_content)
        with pytest.warns(UserWarning, match=r"step-000000000002\.safetensors is damaged and is skipped"):
            assert is_same_state(read_newest_state(tmp_path), make_state(1))


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5, 9])
def test_the_number_of_kept_states(tmp_path: Path, keep: int) -> None:
    for step in range(1, 8):
        write_state(tmp_path, make_state(step), keep=keep)
        steps = sorted(int(path.stem.removeprefix("step-")) for path in tmp_path.iterdir())
        assert steps == list(range(max(1, step + 1 - keep), step + 1))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_new_state_replaces_newer_damaged_ones(tmp_path: Path, keep: int) -> None:
    """Training continues from a state before them; they do not count as kept states."""
    for step in (100, 4000, 5000):
        write_state(tmp_path, make_state(step), keep=9)
    for step in (4000, 5000):
        (tmp_path / f"step-{step:012}.safetensors").write_bytes(b"broken")
    write_state(tmp_path, make_state(200), keep=keep)
    assert len(list(tmp_path.iterdir())) == min(keep, 2)
    assert is_same_state(read_newest_state(tmp_path), make_state(200))


def test_a_full_disk(tmp_path: Path) -> None:
    code = f"""
import resource, signal
from pathlib import Path
import numpy as np
from keras_bert_impl.training.states import State, write_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))
try:
    write_state(Path({str(tmp_path)!r}), State(1, {{"a": np.zeros(9999)}}, ""), keep=1)
except OSError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "step-000000000001.safetensors cannot be written" in output
    assert not list(tmp_path.iterdir())


def test_only_states_are_removed(tmp_path: Path) -> None:
    write_state(tmp_path / "states", make_state(1), keep=1)
    (tmp_path / "states" / ".step-000000000002.safetensors.0a1b2c3d.partial").touch()
    (tmp_path / "states" / "notes.txt").touch()
    remove_states(tmp_path / "states")
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["notes.txt"]
    (tmp_path / "states" / "notes.txt").unlink()
    remove_states(tmp_path / "states")
    assert not (tmp_path / "states").exists()
    remove_states(tmp_path / "states")


def test_a_file_of_another_program_is_skipped(tmp_path: Path) -> None:
    save_file({"weights": np.zeros(3)}, tmp_path / "step-000000000003.safetensors")
    with pytest.warns(UserWarning, match="is damaged"):
        assert read_newest_state(tmp_path) is None


@pytest.mark.parametrize(
    "other",
    [{"a": np.zeros((2, 3))}, {"a": np.zeros((3, 2), np.float32)}, {"b": np.zeros((3, 2))}, {"a": np.ones((3, 2))}],
)
def test_checksums_depend_on_names_shapes_dtypes_and_values(other: dict[str, np.ndarray]) -> None:
    one = {"a": np.zeros((3, 2))}
    assert compute_checksum(one) == compute_checksum({"a": np.zeros((2, 3)).T})
    assert len({compute_checksum(one), compute_checksum(other), compute_checksum(one, "text")}) == 3
