"""Requests to exports: compared with torch and ONNX Runtime, from text and from ids, by format and precision.

    python benchmarks/serving.py CHECKPOINT      # CHECKPOINT: MiniLM; 20 minutes on two cores

- From one sentence to its normalized mean vector: SavedModels in float32 and int8, transformers on torch with its fast
  tokenizer, and the Rust tokenizer with ONNX Runtime, on the file that torch exports, also quantized. Each with one
  thread and with two.
- The time of the exported tokenizer and of the model alone.
- ONNX and OpenVINO exports of this package, compared with those of torch.
- A BERT-base with random weights, 8 × 128 tokens: SavedModels in float32, bfloat16 and int8, and their sizes; OpenVINO
  in float32 and bfloat16, ONNX Runtime in float32 and with dynamic quantization.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from in_graph_speed import SENTENCE, make_in_graph
from interleave import Peer, Ratio, Series, run
from report import Target, describe_load, make_table, write

_SHAPES = {"one sentence": (1, 16), "a batch": (8, 128)}


def make_ids(shape: tuple[int, int], dtype: str) -> dict[str, np.ndarray]:
    """The inputs of a model, without padding."""
    rows = np.random.default_rng(1).integers(1000, 30000, shape).astype(dtype)
    return {"input_ids": rows, "token_type_ids": np.zeros_like(rows), "attention_mask": np.ones_like(rows)}


def set_frozen_weights(frozen: bool) -> None:
    """Sets what docs/guides/serving.md recommends for servers; TensorFlow reads it when it is imported."""
    os.environ["TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"] = str(int(frozen))


def set_tensorflow_threads(intra: int, inter: int) -> None:
    """Sets the threads of an operation, and the number of operations at the same time, before the first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


def list_threads() -> dict[int, str]:
    """One thread, and one for each core, with their names in reports."""
    return {threads: "1 thread" if threads == 1 else f"{threads} threads" for threads in (1, os.cpu_count() or 1)}


def make_saved_model(export: Path, settings: bool = True, threads: int | None = None) -> Callable[[], Any]:
    """A request with one sentence to a SavedModel; None: as many threads as TensorFlow chooses."""
    set_frozen_weights(settings)
    import tensorflow as tf

    if threads:
        set_tensorflow_threads(threads, threads)
    loaded = tf.saved_model.load(str(export))
    texts = tf.constant([SENTENCE])
    return lambda: loaded.signatures["embed"](text=texts)["sentence_embedding"].numpy()


def make_bare_model(checkpoint: Path) -> Callable[[], Any]:
    """The Keras model alone, in a ``tf.function``."""
    set_frozen_weights(True)
    import tensorflow as tf

    from keras_bert_impl import BertModel, BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(checkpoint)
    model = BertModel.from_pretrained(checkpoint)
    inputs = {name: tf.constant(value) for name, value in tokenizer([SENTENCE]).items()}
    spec = {name: tf.TensorSpec([None, None], tf.int32) for name in inputs}
    function = tf.function(lambda batch: model(batch, training=False), input_signature=[spec])
    return lambda: function(inputs)["last_hidden_state"].numpy()


def make_torch_pipeline(checkpoint: Path, threads: int) -> Callable[[], Any]:
    """The same sentence through transformers on torch."""
    import torch
    from transformers import AutoTokenizer, BertModel

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = BertModel.from_pretrained(checkpoint, attn_implementation="sdpa").eval()

    @torch.inference_mode()
    def call() -> Any:
        inputs = tokenizer([SENTENCE], return_tensors="pt")
        mean = model(**inputs).last_hidden_state.mean(1)
        return torch.nn.functional.normalize(mean).numpy()

    return call


def make_onnx_session(checkpoint: Path, file: Path, *, threads: int) -> Callable[[str], Any]:
    """The normalized mean vector of a text, by the Rust tokenizer and ONNX Runtime."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def call(text: str) -> Any:
        row = tokenizer.encode(text)
        inputs = {"input_ids": row.ids, "token_type_ids": row.type_ids, "attention_mask": row.attention_mask}
        states = session.run(None, {name: np.array([values], np.int64) for name, values in inputs.items()})[0]
        mean = states.mean(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    return call


def make_onnx_pipeline(checkpoint: Path, file: Path, threads: int) -> Callable[[], Any]:
    """The same sentence through the Rust tokenizer and ONNX Runtime."""
    compute = make_onnx_session(checkpoint, file, threads=threads)
    return lambda: compute(SENTENCE)


def make_onnx_runtime(file: Path, shape: tuple[int, int], dtype: str) -> Callable[[], Any]:
    """A model's hidden states in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    inputs = make_ids(shape, dtype)
    return lambda: session.run(None, inputs)[0]


def make_openvino(file: Path, shape: tuple[int, int], dtype: str, precision: str = "f32") -> Callable[[], Any]:
    """A model's hidden states in OpenVINO."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(file, "CPU", settings)
    inputs = make_ids(shape, dtype)
    return lambda: compiled(inputs)[0]


def make_ids_signature(export: Path) -> Callable[[], Any]:
    """A request with 8 × 128 tokens to a SavedModel."""
    set_frozen_weights(True)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(export))
    inputs = {name: tf.constant(value) for name, value in make_ids(_SHAPES["a batch"], "int32").items()}
    return lambda: loaded.signatures["ids"](**inputs)["last_hidden_state"].numpy()


def export_from_torch(checkpoint: Path, file: Path) -> None:
    """Exports transformers' model to ONNX; it returns hidden states, for any batch size and length."""
    import torch
    from transformers import BertModel

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel.from_pretrained(checkpoint, attn_implementation="sdpa").eval()

        def forward(self, input_ids: Any, token_type_ids: Any, attention_mask: Any) -> Any:
            return self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state

    inputs = {name: torch.from_numpy(value) for name, value in make_ids((3, 29), "int64").items()}
    axes = {name: {0: "batch", 1: "length"} for name in inputs}
    names = {"input_names": list(inputs), "output_names": ["last_hidden_state"]}
    torch.onnx.export(States(), tuple(inputs.values()), file, **names, dynamic_axes=axes, dynamo=False)


def quantize_onnx(file: Path, target: Path) -> Path:
    """Writes the file with dynamic quantization: int8 weights per channel, activations quantized on the fly."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(file, target, per_channel=True, weight_type=QuantType.QInt8)
    return target


def export(source: Path, target: Path, *options: str) -> Path:
    """Runs ``keras-bert export``."""
    command = [sys.executable, "-m", "keras_bert_impl.cli.main", "export", source, target, *options]
    subprocess.run(list(map(str, command)), check=True)
    return target


def write_base(directory: Path, vocabulary: Path) -> Path:
    """Writes a BERT-base with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    BertModel(BertConfig()).save_pretrained(directory)
    shutil.copy(vocabulary, directory)
    return directory


def measure_megabytes(directory: Path) -> float:
    """The size of all files in a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


def make_rows(kind: str, ours: str, series: dict[str, Series]) -> list[tuple[str, str, str]]:
    """The rows of one comparison in the report's table."""
    ratio = {name: "" if name == ours else str(Ratio.compute(series[ours], turns)) for name, turns in series.items()}
    return [(f"{kind}: {name}", f"{turns.median * 1e3:.2f}", ratio[name]) for name, turns in series.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    checkpoint, rounds = arguments.checkpoint.resolve(), arguments.rounds

    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        text = export(checkpoint, directory / "minilm" / "1")
        files = {
            "ONNX Runtime": export(checkpoint, directory / "onnx", "--format", "onnx") / "model.onnx",
            "OpenVINO": export(checkpoint, directory / "openvino", "--format", "openvino") / "model.xml",
        }
        torch_file = directory / "torch.onnx"
        export_from_torch(checkpoint, torch_file)
        integers = export(checkpoint, directory / "minilm" / "2", "--precision", "int8")
        torch_integers = quantize_onnx(torch_file, directory / "torch-int8.onnx")
        large = write_base(directory / "base", checkpoint / "vocab.txt")
        exports = {
            precision: export(large, directory / "large" / str(number), "--precision", precision)
            for number, precision in enumerate(("float32", "bfloat16", "int8", "int8-bfloat16"))
        }

        files["OpenVINO, base"] = export(large, directory / "openvino-base", "--format", "openvino") / "model.xml"
        files["ONNX Runtime, base"] = directory / "base.onnx"
        export_from_torch(large, files["ONNX Runtime, base"])
        files["ONNX Runtime, base, int8"] = quantize_onnx(files["ONNX Runtime, base"], directory / "base-int8.onnx")

        lines, verdicts, runs = [], [], []
        peers = [
            Peer(
                "SavedModel, default settings of TensorFlow", make_saved_model, {"export": text, "settings": False}, 30
            ),
            Peer("bare Keras model, ids", make_bare_model, {"checkpoint": checkpoint}, 30),
            Peer("tokenizer in the graph", make_in_graph, {"checkpoint": checkpoint, "batch": "sentence"}, 30),
        ]
        own: dict[str, list[str]] = {"float32": [], "int8": []}
        torch_peers, onnx_peers, onnx_integers = [], [], []
        for threads, number in list_threads().items():
            for precision, path in (("float32", text), ("int8", integers)):
                own[precision].append(f"SavedModel, {precision}, {number}")
                peers.append(Peer(own[precision][-1], make_saved_model, {"export": path, "threads": threads}, 30))
            torch_peers.append(f"transformers on torch, {number}")
            peers.append(Peer(torch_peers[-1], make_torch_pipeline, {"checkpoint": checkpoint, "threads": threads}, 30))
            for names, name, file in (
                (onnx_peers, "ONNX Runtime", torch_file),
                (onnx_integers, "ONNX Runtime, int8", torch_integers),
            ):
                names.append(f"{name}, {number}")
                values = {"checkpoint": checkpoint, "file": file, "threads": threads}
                peers.append(Peer(names[-1], make_onnx_pipeline, values, 30))
        series = run(peers, rounds=rounds)
        runs.append(series)
        ours, ours_int8 = (min(names, key=lambda name: series[name].median) for names in own.values())
        apart = np.abs(series[ours].first - series[torch_peers[0]].first).max()
        lines += make_rows("one sentence", ours, series)
        for target in (
            Target(ours, tuple(torch_peers), 1 / 0.9),
            Target(ours, tuple(onnx_peers), 0.7),
            Target(ours_int8, tuple(onnx_peers), 1.1),
            Target(ours_int8, tuple(onnx_integers), 1.1),
        ):
            verdicts.append(target.format_verdict(series, "one sentence"))
        together = series["bare Keras model, ids"].median * 1.05 + series["tokenizer in the graph"].median
        verdicts.append(
            f"- one sentence: {series[ours].median * 1e3:.2f} ms, at most 1.05 × the model alone and the tokenizer, "
            f"{together * 1e3:.2f} ms – {'reached' if series[ours].median <= together else '**missed**'}"
        )
        for runtime, make in (("ONNX Runtime", make_onnx_runtime), ("OpenVINO", make_openvino)):
            for shape in _SHAPES.values():
                calls = 60 if shape[0] == 1 else 3
                series = run(
                    [
                        Peer("this package", make, {"file": files[runtime], "shape": shape, "dtype": "int32"}, calls),
                        Peer("torch", make, {"file": torch_file, "shape": shape, "dtype": "int64"}, calls),
                    ],
                    rounds=rounds,
                )
                runs.append(series)
                what = f"{runtime}, {shape[0]} × {shape[1]}, exported by"
                lines += make_rows(what, "this package", series)
                verdicts.append(Target("this package", ("torch",), 0.95).format_verdict(series, what))
        batch = {"shape": _SHAPES["a batch"], "dtype": "int64"}
        openvino = {"file": files["OpenVINO, base"], "shape": _SHAPES["a batch"], "dtype": "int32"}
        series = run(
            [
                *(Peer(precision, make_ids_signature, {"export": path}, 2) for precision, path in exports.items()),
                Peer("OpenVINO", make_openvino, openvino, 2),
                Peer("OpenVINO, bfloat16", make_openvino, {**openvino, "precision": "bf16"}, 2),
                Peer("ONNX Runtime", make_onnx_runtime, {"file": files["ONNX Runtime, base"], **batch}, 2),
                Peer("ONNX Runtime, int8", make_onnx_runtime, {"file": files["ONNX Runtime, base, int8"], **batch}, 2),
            ],
            rounds=rounds,
        )
        runs.append(series)
        lines += make_rows("BERT-base, 8 × 128", "float32", series)
        for target in (
            Target("bfloat16", ("float32",), 1.5),
            Target("float32", ("OpenVINO", "ONNX Runtime"), 1.08),
            Target("bfloat16", ("OpenVINO, bfloat16",), 1.0),
            *(
                Target(precision, (peer,), min_ratio)
                for precision in ("int8", "int8-bfloat16")
                for peer, min_ratio in (("float32", 2.7), ("OpenVINO, bfloat16", 1.3), ("ONNX Runtime, int8", 1.0))
            ),
        ):
            verdicts.append(target.format_verdict(series, "BERT-base, 8 × 128"))
        sizes = {precision: measure_megabytes(path) for precision, path in exports.items()}
    fraction = sizes["int8"] / sizes["float32"]
    verdicts.append(
        f"- BERT-base: int8 takes {sizes['int8']:.0f} MB, float32 {sizes['float32']:.0f}, bfloat16 "
        f"{sizes['bfloat16']:.0f}; int8 divided by float32: {fraction:.3f}, at most 0.3 – "
        f"{'reached' if fraction <= 0.3 else '**missed**'}"
    )
    shown = make_table(("request and peer", "ms, median", "times as fast: the row without a ratio"), lines)
    exact = f"The vectors of the SavedModel and of torch differ by at most {apart:.1e}."
    write("Requests to exports", "\n".join(verdicts), describe_load(*runs), shown, exact)


if __name__ == "__main__":
    main()
