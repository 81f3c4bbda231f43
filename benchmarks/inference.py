"""Inference of BERT-base on CPU, 8 rows of 128 tokens, compared with KerasHub, torch, ONNX Runtime and OpenVINO.

    python benchmarks/inference.py          # ten minutes on two cores; needs 16 GB of memory

transformers writes one checkpoint with random weights, and every peer loads it. The outputs are compared with torch in
float32. All take ids, segments and mask. The shape is always the same, which is best for compiled peers. Of this
package, what ``encode``, ``Predictor`` and the commands call is measured; exports are the same graph (``serving.py``).
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from interleave import Peer, Series, run
from report import Target, describe_load, make_comparison_table, make_table, write

SHAPE = (8, 128)


def make_inputs() -> dict[str, np.ndarray]:
    """The batch that every peer runs."""
    ids = np.random.default_rng(1).integers(1000, 30000, SHAPE)
    return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": np.ones_like(ids)}


def write_checkpoint(directory: Path, layers: int) -> None:
    """Writes the checkpoint, and its export to ONNX by torch."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    model = BertModel(BertConfig(num_hidden_layers=layers)).eval()
    model.save_pretrained(directory)
    tensors = {name: torch.from_numpy(array) for name, array in make_inputs().items()}
    torch.onnx.export(
        model, (), directory / "model.onnx", kwargs=tensors, input_names=list(tensors), dynamo=True, optimize=True
    )


def make_keras_bert(directory: Path, dtype: str) -> Callable[[], Any]:
    """``BertModel`` of this package, compiled as for predictions."""
    from keras_bert_impl import BertModel
    from keras_bert_impl.ops.compiled import compile_inference

    function = compile_inference(BertModel.from_pretrained(directory, dtype=dtype))
    inputs = {name: array.astype("int32") for name, array in make_inputs().items()}
    return lambda: function(inputs)["last_hidden_state"]


def make_keras_hub(directory: Path, dtype: str) -> Callable[[], Any]:
    """KerasHub's backbone in a ``tf.function``."""
    import keras_hub
    import tensorflow as tf

    model = keras_hub.models.BertBackbone.from_preset(str(directory), dtype=dtype)
    names = {"input_ids": "token_ids", "token_type_ids": "segment_ids", "attention_mask": "padding_mask"}
    tensors = {names[name]: tf.constant(array, "int32") for name, array in make_inputs().items()}
    function = tf.function(lambda batch: model(batch, training=False)["sequence_output"])
    return lambda: function(tensors).numpy()


def make_torch_model(directory: Path, dtype: str, autocast: bool = False, compiled: bool = False) -> Callable[[], Any]:
    """BERT of transformers on torch, with its fused attention; compiled: by ``torch.compile``."""
    import torch
    from transformers import BertModel

    model = BertModel.from_pretrained(directory, dtype=dtype, attn_implementation="sdpa").eval()
    tensors = {name: torch.from_numpy(array) for name, array in make_inputs().items()}
    run = torch.compile(model) if compiled else model

    @torch.no_grad()
    def call() -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return run(**tensors).last_hidden_state.float().numpy()

    return call


def make_onnx_runtime(directory: Path) -> Callable[[], Any]:
    """ONNX Runtime on the exported model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda: session.run(None, make_inputs())[0]


def make_openvino(directory: Path, precision: str) -> Callable[[], Any]:
    """OpenVINO on the exported model."""
    import openvino as ov

    model = ov.Core().compile_model(directory / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda: model(make_inputs())[0]


def make_peers(directory: Path, calls: int) -> dict[str, list[Peer]]:
    """The peers of each precision."""

    def make_peer(name: str, make: Callable[..., Callable[[], Any]], **arguments: Any) -> Peer:
        # Inductor treats the weights as constants, which makes it faster.
        environment = {"TORCHINDUCTOR_FREEZING": "1"} if arguments.get("compiled") else {}
        return Peer(name, make, {"directory": directory, **arguments}, calls, environment)

    return {
        "float32": [
            make_peer("keras_bert_impl", make_keras_bert, dtype="float32"),
            make_peer("KerasHub", make_keras_hub, dtype="float32"),
            make_peer("torch", make_torch_model, dtype="float32"),
            make_peer("torch, compiled", make_torch_model, dtype="float32", compiled=True),
            make_peer("ONNX Runtime", make_onnx_runtime),
            make_peer("OpenVINO", make_openvino, precision="f32"),
        ],
        "bfloat16": [
            make_peer("keras_bert_impl", make_keras_bert, dtype="bfloat16"),
            make_peer("keras_bert_impl, mixed", make_keras_bert, dtype="mixed_bfloat16"),
            make_peer("KerasHub", make_keras_hub, dtype="bfloat16"),
            make_peer("KerasHub, mixed", make_keras_hub, dtype="mixed_bfloat16"),
            make_peer("torch", make_torch_model, dtype="bfloat16"),
            make_peer("torch, compiled", make_torch_model, dtype="bfloat16", compiled=True),
            make_peer("torch, autocast", make_torch_model, dtype="float32", autocast=True),
            make_peer("OpenVINO", make_openvino, precision="bf16"),
        ],
    }


TARGETS = {
    "float32": [
        Target("keras_bert_impl", ("KerasHub",), 1.18),
        Target("keras_bert_impl", ("torch", "torch, compiled", "ONNX Runtime", "OpenVINO"), 1.08),
    ],
    "bfloat16": [
        Target("keras_bert_impl", ("KerasHub",), 1.10),
        Target("keras_bert_impl, mixed", ("KerasHub, mixed",), 1.10),
        Target("keras_bert_impl", ("torch", "torch, compiled", "OpenVINO"), 1.0),
    ],
}


def count_gigaflop(layers: int) -> float:
    """FLOPs of the matrix products of one call, in 1e9."""
    (rows, length), hidden = SHAPE, 768
    return rows * length * layers * 2 * (12 * hidden**2 + 2 * length * hidden) / 1e9


def make_differences_table(runs: dict[str, dict[str, Series]]) -> str:
    """A table of the differences between each peer's hidden states and those of torch in float32."""
    reference = runs["float32"]["torch"].first
    rows = []
    for precision, series in runs.items():
        for name, turns in series.items():
            apart = np.abs(np.asarray(turns.first, "float32") - reference)
            rows.append((f"{name}, {precision}", f"{apart.max():.1e}", f"{np.sqrt((apart**2).mean()):.1e}"))
    return make_table(("peer", "largest difference", "root mean square"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2, help="calls in one turn")
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        export = multiprocessing.get_context("spawn").Process(
            target=write_checkpoint, args=(directory, arguments.layers)
        )
        export.start()
        export.join()
        runs = {
            precision: run(group, rounds=arguments.rounds)
            for precision, group in make_peers(directory, arguments.calls).items()
        }
    amount = count_gigaflop(arguments.layers)
    sections = [
        f"## {precision}\n\n{make_comparison_table(series, ours='keras_bert_impl', gigaflop=amount)}"
        for precision, series in runs.items()
    ]
    verdicts = [
        target.format_verdict(runs[precision], precision)
        for precision, targets in TARGETS.items()
        for target in targets
    ]
    write(
        f"Inference of BERT with {arguments.layers} layers, {SHAPE[0]} × {SHAPE[1]} tokens",
        "\n".join(verdicts),
        describe_load(*runs.values()),
        *sections,
        f"## Hidden states compared with torch in float32\n\n{make_differences_table(runs)}",
    )


if __name__ == "__main__":
    main()
