"""Error messages when reading, atomic writes, and directories that only one process writes at a time."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import atomic_write, create_directory, read_json, read_text, to_json, write_text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\xffc", r"x\.json is not UTF-8: byte 3, in line 2, is 0xff\. Save the file as UTF-8\."),
        (b'{\n"a": }', r"x\.json is not JSON: line 2, column 6: Expecting value"),
        (b"", r"x\.json is not JSON: line 1, column 1"),
        (b"[1]", r"x\.json contains a JSON list; an object in braces was expected"),
        (b'{"a":' * 100_000, r"x\.json is not usable JSON: it is nested too deeply"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "x.json")


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent cannot be read: No such file or directory\."):
        read_text(tmp_path / "absent")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory\."):
        read_text(tmp_path)


def test_text_and_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    write_text(path, to_json({"ü😀": [1, None], "a": 1.5}))
    assert path.read_bytes() == '{\n  "ü😀": [\n    1,\n    null\n  ],\n  "a": 1.5\n}\n'.encode()
    assert list(read_json(path)) == ["ü😀", "a"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})


def test_atomic_write_replaces_a_file_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "x") as temporary:
        temporary.write_text("private")
        temporary.chmod(0o600)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_a_directory_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with create_directory(target) as temporary:
        (temporary / "file").write_text("content")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert [path.name for path in target.parent.iterdir()] == ["b"]
    assert (target / "file").read_text() == "content"


def test_an_empty_directory_is_replaced_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with create_directory(tmp_path / "link") as temporary:
        (temporary / "file").touch()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").is_file()


@pytest.mark.parametrize(
    "error", [RuntimeError("stop"), KeyboardInterrupt(), OSError(errno.EACCES, "Permission denied")]
)
def test_a_failure_leaves_nothing_of_a_directory(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with create_directory(tmp_path / "a" / "b" / "c") as temporary:
            write_text(temporary / "deep" / "file", "content")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert not list(tmp_path.iterdir())


def test_a_parent_with_other_content_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with create_directory(tmp_path / "runs" / "mine"):
            (tmp_path / "runs" / "others").mkdir()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["others"]


def test_a_full_disk_names_the_directory(tmp_path: Path) -> None:
    message = r"out cannot be written: No space left on device\. Free some space there, or name another directory\."
    with pytest.raises(OSError, match=message), create_directory(tmp_path / "out"):
        Path("/dev/full").write_text("content")
    assert not list(tmp_path.iterdir())


def test_directories_with_other_content_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    wrong = {
        tmp_path / "full": "full exists and is not empty",
        tmp_path / "file": "file exists and is not a directory",
        tmp_path / "dangling": "dangling exists and is not a directory",
        tmp_path / "file" / "new": "file/new cannot be created: Not a directory",
        Path("/proc"): "/proc exists and is not empty",
        Path("/proc/new"): "/proc/new cannot be created",
    }
    before = sorted(os.walk(tmp_path))
    for directory, message in wrong.items():
        with pytest.raises(InputError, match=message), create_directory(directory):
            pytest.fail("the block must not run")
    assert sorted(os.walk(tmp_path)) == before


def test_a_directory_that_another_process_filled_stays(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not empty"), create_directory(tmp_path / "out"):
        write_text(tmp_path / "out" / "kept", "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "kept").read_text() == "kept"


def start_writer(directory: Path, *, then: str) -> subprocess.Popen[str]:
    """Starts a process that is writing ``directory``, has written a file in it, and then runs the code ``then``."""
    code = (
        "import os, signal, sys; from pathlib import Path; from keras_bert_impl.files import create_directory\n"
        f"with create_directory(Path({str(directory)!r}), keep=lambda directory: True) as work:\n"
        "    (work / 'file').write_text('content'); print('ready', flush=True)\n"
        f"    {then}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_one_process_at_a_time_writes_a_directory_that_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    process = start_writer(target, then="sys.stdin.read()")
    with (
        pytest.raises(InputError, match=r"another process is making .*out"),
        create_directory(target, keep=Path.exists),
    ):
        pytest.fail("the block must not run")
    process.communicate()
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "out", then="os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with create_directory(tmp_path / "out", keep=Path.exists) as directory:
        assert (directory / "file").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with create_directory(tmp_path / "out", keep=Path.exists) as directory:
        (directory / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
