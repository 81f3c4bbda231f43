"""The workers of TensorFlow's multi-worker training: reading ``TF_CONFIG``, waiting until all can be reached."""

import json
import socket
import time
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.training.distribution import REFUSED_STRATEGIES

# How long workers wait for each other at the start.
WAIT_SECONDS = 300.0
_EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


def read_tf_config(text: str) -> tuple[list[str], int]:
    """Parses a ``TF_CONFIG``.

    Args:
        text: the value of the environment variable, JSON.

    Returns:
        the addresses of all workers, the chief first, and the index of this process among them.

    Raises:
        InputError: it is empty or malformed, names parameter servers, or does not contain this process.

    >>> addresses = ["10.0.0.1:2222", "10.0.0.2:2222"]
    >>> read_tf_config(json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 1}}))
    (['10.0.0.1:2222', '10.0.0.2:2222'], 1)
    """
    if not text:
        raise InputError(f"multiworker needs the environment variable TF_CONFIG, such as\n{_EXAMPLE}")
    try:
        values = json.loads(text)
        cluster, task = values["cluster"], values["task"]
        kinds, kind, index = sorted(cluster), task["type"], int(task["index"])
        workers = [*cluster.get("chief", []), *cluster.get("worker", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"TF_CONFIG is {text!r:.200}; something like this was expected:\n{_EXAMPLE}") from error
    if "ps" in kinds:
        raise InputError(f"TF_CONFIG names parameter servers (ps). {REFUSED_STRATEGIES['parameter_server']}")
    if kind not in ("chief", "worker") or kind not in kinds or not 0 <= index < len(cluster[kind]):
        raise InputError(
            f"TF_CONFIG says that this is {kind} {index}, which its cluster does not contain ({len(workers)} "
            "workers). Correct the index."
        )
    malformed = [address for address in workers if not _is_address(address)]
    if malformed:
        raise InputError(f"TF_CONFIG names the worker {malformed[0]!r}; HOST:PORT was expected.")
    if len(set(workers)) < len(workers):
        raise InputError(f"TF_CONFIG names a worker twice: {', '.join(workers)}. Each needs its own address.")
    if len(workers) == 1:
        raise InputError("TF_CONFIG names one worker, this one. Omit the strategy, or use mirrored.")
    return workers, index + (len(cluster.get("chief", [])) if kind == "worker" else 0)


def _is_address(value: Any) -> bool:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 1 << 16


def wait_for_workers(workers: list[str], index: int) -> None:
    """Waits until all workers can be reached; TensorFlow would wait forever.

    While it waits, this worker listens at its own address; later TensorFlow listens there.

    Args:
        workers: their addresses.
        index: the index of this process.

    Raises:
        InputError: a worker cannot be reached in time, or the own address is in use.
    """
    port = workers[index].rpartition(":")[2]
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        server = socket.create_server(("", int(port)))
    except OSError as error:
        raise InputError(
            f"worker {index} cannot listen at {workers[index]}, its address in TF_CONFIG: {error.strerror}. Choose a "
            "free port."
        ) from error
    with server:
        for number, address in enumerate(workers):
            if number != index:
                _wait_for(number, address, deadline)


def _wait_for(number: int, address: str, deadline: float) -> None:
    host, _, port = address.rpartition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f"worker {number} cannot be reached at {address}, its address in TF_CONFIG ({error}); waited "
                    f"{WAIT_SECONDS:.0f} seconds. Start all workers, and check the addresses."
                ) from error
            time.sleep(0.2)
