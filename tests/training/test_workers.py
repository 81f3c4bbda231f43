"""Workers that train together on the command line, also when one of them is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import make_corpus
from safetensors.numpy import load_file
from training_process import find_free_ports

from keras_bert_impl.errors import InputError
from keras_bert_impl.training import start_strategy
from keras_bert_impl.training.distribution import workers

COMMAND = [sys.executable, "-c", "from keras_bert_impl.cli.main import run_command; run_command()"]
STEPS = 30
PRETRAIN = [
    *("pretrain", "shards", "--steps", str(STEPS), "--batch-size", "8", "--max-length", "37", "--held-out", "0.2"),
    *("--report-every", "10", "--save-steps", "1", "--resume"),
]
# Seconds within which the remaining workers end.
MAX_SECONDS = 120


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    make_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    return tmp_path


def start(place: Path, output: str, engine: str) -> "list[subprocess.Popen[str]]":
    """Starts the two workers of a training run."""
    addresses = [f"127.0.0.1:{port}" for port in find_free_ports(2)]
    strategy = {"tensorflow": "multiworker", "jax": "data-parallel"}[engine]
    started = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        variables = {
            "tensorflow": {"TF_CONFIG": json.dumps(config)},
            "jax": {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
            },
        }[engine]
        environment = {**os.environ, **variables, "KERAS_BACKEND": engine, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [*COMMAND, *PRETRAIN, "--strategy", strategy, "--output", output]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, cwd=place, env=environment, **pipes))
    return started


def wait_for_end(processes: "list[subprocess.Popen[str]]") -> list[str]:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def wait_for_states(place: Path, output: str, step: int) -> None:
    """Waits until the state of this step or a later one was saved."""
    states = place / f".{output}.partial" / "states"
    for _ in range(1200):
        if any(int(path.stem.split("-")[1]) >= step for path in states.glob("step-*.safetensors")):
            return
        time.sleep(0.1)
    raise AssertionError(f"no state in {states}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker(place: Path, victim: int, engine: str) -> None:
    """The other ends in time with a message; started again, both produce the weights of an uninterrupted run."""
    outputs = wait_for_end(start(place, "complete", engine))
    assert "written to complete" in outputs[0]
    assert "results were written by worker 0" in outputs[1]

    processes = start(place, "killed", engine)
    wait_for_states(place, "killed", 5)
    processes[victim].send_signal(signal.SIGKILL)
    start_time = time.monotonic()
    output, _ = processes[1 - victim].communicate(timeout=MAX_SECONDS)
    assert time.monotonic() - start_time < MAX_SECONDS
    if engine == "jax" and victim == 0 and processes[1].returncode == -signal.SIGABRT:
        # If JAX loses the first process, it may end the others before they can print a message.
        assert "another task died" in output
    else:
        assert processes[1 - victim].returncode == 2, output
        assert "another worker was lost" in output
        assert "--resume" in output
    processes[victim].communicate()
    assert not (place / "killed").exists()

    wait_for_end(start(place, "killed", engine))
    weights, resumed = (load_file(place / name / "model.safetensors") for name in ("complete", "killed"))
    for name, array in weights.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
@pytest.mark.parametrize("signaled", [0, 1])
def test_a_signal_to_one_worker_ends_all(place: Path, signaled: int, engine: str) -> None:
    processes = start(place, "stopped", engine)
    wait_for_states(place, "stopped", 5)
    processes[signaled].send_signal(signal.SIGTERM)
    for process in processes:
        output, _ = process.communicate(timeout=MAX_SECONDS)
        assert process.returncode == 128 + signal.SIGTERM, output
        assert "was saved; --resume continues from it" in output
    wait_for_end(start(place, "stopped", engine))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_worker(missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.5)
    addresses = [f"127.0.0.1:{port}" for port in find_free_ports(2)]
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 1 - missing}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    message = f"worker {missing} cannot be reached at {addresses[missing]}, its address in TF_CONFIG"
    with pytest.raises(InputError, match=message), start_strategy("multiworker"):
        pass


def test_an_address_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = [f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:9"]
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        with pytest.raises(InputError, match="worker 0 cannot listen at"), start_strategy("multiworker"):
            pass
