"""Requests a second of a gRPC server with 1, 2, 4 and 8 clients, which send single sentences: SavedModel, ONNX Runtime.

    python benchmarks/clients.py CHECKPOINT      # MiniLM; 20 minutes on two cores

Each server is a process with a real gRPC server and one model: text in, the vector of the sentence out. The clients
are threads of another process; each sends the next sentence when it has the answer. Both servers have the same Python
code around the model; ONNX Runtime gets its ids from the Rust tokenizer. Each is measured with one thread for each
request (TensorFlow's intra-op threads), and with all cores for each request; the SavedModel also with TensorFlow's
batching of requests that wait. TensorFlow's inter-op threads are as many as cores.

Target: with 8 clients, the best SavedModel of a precision answers at least 0.8 times as many requests a second as the
best of ONNX Runtime in this precision.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from interleave import Peer, run
from report import Target, describe_load, make_table, write
from serving import (
    export,
    export_from_torch,
    list_threads,
    make_onnx_session,
    quantize_onnx,
    set_frozen_weights,
    set_tensorflow_threads,
)

CLIENTS = (1, 2, 4, 8)
REQUESTS = 240
METHOD = "/embedder/Embed"
# The batching of the server: at most so many sentences, and so many microseconds that the first of them waits.
MAX_BATCH, WAIT = 8, 500


def make_saved_model(directory: Path, threads: int, batching: bool) -> Callable[[bytes], Any]:
    """The vector of a sentence, by a SavedModel."""
    set_frozen_weights(True)
    import tensorflow as tf

    cores = os.cpu_count() or 1
    set_tensorflow_threads(threads, cores)
    loaded = tf.saved_model.load(str(directory))

    def compute(text: Any) -> Any:
        # Uses `loaded`, because the signature alone does not keep a reference to the variables.
        return loaded.signatures["embed"](text=text)["sentence_embedding"]

    if batching:
        compute = tf.nondifferentiable_batch_function(cores, MAX_BATCH, WAIT, autograph=False)(compute)
    function = tf.function(compute, [tf.TensorSpec([None], tf.string)], autograph=False)
    return lambda text: function(tf.constant([text])).numpy()


def make_onnx_runtime(checkpoint: Path, file: Path, threads: int) -> Callable[[bytes], Any]:
    """The vector of a sentence, by the Rust tokenizer and ONNX Runtime."""
    call = make_onnx_session(checkpoint, file, threads=threads)
    return lambda text: call(text.decode())


def serve(pipe: Any, make: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Starts a server in this process, sends its port, and runs until the pipe is closed."""
    import grpc

    embed = make(**arguments)
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: embed(request).tobytes())
    service, method = METHOD.strip("/").split("/")
    server = grpc.server(ThreadPoolExecutor(max(CLIENTS)))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    pipe.send(server.add_insecure_port("localhost:0"))
    server.start()
    with contextlib.suppress(EOFError):
        pipe.recv()
    server.stop(None)


def make_clients(
    make: Callable[..., Any], arguments: dict[str, Any], texts: list[str], clients: int
) -> Callable[[], Any]:
    """Starts a server in a process; the function sends it ``REQUESTS`` sentences, and returns the first vector."""
    import grpc

    near, far = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(far, make, arguments), daemon=True)
    process.start()
    port = near.recv()
    requests = [text.encode() for text in itertools.islice(itertools.cycle(texts), REQUESTS)]
    calls = []
    for _ in range(clients):
        channel = grpc.insecure_channel(f"localhost:{port}", [("grpc.use_local_subchannel_pool", 1)])
        calls.append(channel.unary_unary(METHOD))
    pool = ThreadPoolExecutor(clients)

    def send(number: int) -> bytes:
        answers = [calls[number](text) for text in requests[number::clients]]
        return answers[0]

    def call() -> Any:
        assert not near.closed  # The server runs until the pipe is closed.
        first, *_ = pool.map(send, range(clients))
        return np.frombuffer(first, np.float32)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    arguments = parser.parse_args()
    checkpoint = arguments.checkpoint.resolve()

    from keras_bert_impl.data import read_table
    from keras_bert_impl.files import SNIPPETS

    texts = read_table(SNIPPETS / "test.tsv")["text"][:REQUESTS]
    verdicts, runs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        models = {
            precision: export(checkpoint, directory / "embedder" / str(number), "--precision", precision)
            for number, precision in enumerate(("float32", "int8"), 1)
        }
        files = {"float32": directory / "torch.onnx"}
        export_from_torch(checkpoint, files["float32"])
        files["int8"] = quantize_onnx(files["float32"], directory / "torch-int8.onnx")
        servers: dict[str, tuple[Any, dict[str, Any]]] = {}
        for precision, path in models.items():
            for threads, number in list_threads().items():
                for batching in (False, True):
                    name = f"SavedModel, {precision}, {number}" + (", batching" if batching else "")
                    servers[name] = (make_saved_model, {"directory": path, "threads": threads, "batching": batching})
                values = {"checkpoint": checkpoint, "file": files[precision], "threads": threads}
                servers[f"ONNX Runtime, {precision}, {number}"] = (make_onnx_runtime, values)
        ours, theirs = (
            {
                precision: tuple(name for name in servers if name.startswith(f"{side}, {precision}"))
                for precision in models
            }
            for side in ("SavedModel", "ONNX Runtime")
        )
        measured: dict[str, list[str]] = {name: [] for name in servers}
        for clients in arguments.clients:
            peers = [
                Peer(name, make_clients, {"make": make, "arguments": values, "texts": texts, "clients": clients})
                for name, (make, values) in servers.items()
            ]
            series = run(peers, rounds=arguments.rounds)
            runs.append(series)
            for name, turns in series.items():
                measured[name].append(f"{REQUESTS / turns.median:.0f}")
            if clients == max(arguments.clients):
                for precision in models:
                    best = min(ours[precision], key=lambda name: series[name].median)
                    target = Target(best, theirs[precision], 0.8)
                    verdicts.append(target.format_verdict(series, f"{clients} clients"))
                pair = [series[side["float32"][0]].first for side in (ours, theirs)]
                difference = np.abs(pair[0] - pair[1]).max()
        rows = [(name, *values) for name, values in measured.items()]
    write(
        "Requests a second of a gRPC server",
        "\n".join(verdicts),
        describe_load(*runs),
        make_table(("server", *(f"clients: {clients}" for clients in arguments.clients)), rows),
        f"Requests a second, with {len(texts)} film snippets, one in each request. The vectors of the SavedModel and "
        f"of ONNX Runtime differ by at most {difference:.1e}. Batching: at most {MAX_BATCH} sentences, which "
        f"wait for at most {WAIT} microseconds.",
    )


if __name__ == "__main__":
    main()
