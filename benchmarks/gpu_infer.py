"""Inference on a GPU, on Keras' JAX backend, compared with transformers on torch.

    python benchmarks/gpu_infer.py                          # about 8 minutes on an H100, estimated
    python benchmarks/gpu_infer.py --sizes tiny --rows 4    # on a CPU, to check that it works

``BertModel`` of sizes base and large in bfloat16, on full rows of 128 and 512 tokens; at 512 tokens also on rows with
one film snippet (padded), and in this package with several (packed). This package runs ``predict_on_batch``, which uses
cuDNN's attention on GPUs; torch is compiled and uses its fused attention. Both take and return NumPy arrays.
"""

from collections.abc import Callable
from typing import Any

from gpu_batches import (
    ENVIRONMENT,
    H100,
    SIZES,
    count_operations,
    find_gpu,
    find_torch_device,
    make_batch,
    parse_options,
)
from interleave import Peer, Ratio, run
from report import describe_load, make_table, write

CALLS = 10
ROWS = {128: 256, 512: 64}


def make_keras_bert(size: str, layout: str, rows: int, length: int) -> Callable[[], Any]:
    """The model of this package; returns the pooled vector of each row."""
    import keras

    from keras_bert_impl import BertConfig, BertModel

    model = BertModel(BertConfig(**SIZES[size]), dtype="bfloat16")
    inputs, *_ = make_batch(layout, rows=rows, length=length)
    del inputs["masked_lm_positions"]
    symbolic = {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}
    pooled = keras.Model(symbolic, model(symbolic)["pooler_output"])
    return lambda: pooled.predict_on_batch(inputs).shape


def make_torch_model(size: str, layout: str, rows: int, length: int) -> Callable[[], Any]:
    """The model of transformers on torch, compiled."""
    import torch
    from transformers import BertConfig, BertModel

    device = find_torch_device()
    model = BertModel(BertConfig(**SIZES[size], attn_implementation="sdpa")).to(device, torch.bfloat16).eval()
    compiled = torch.compile(model)
    inputs, *_ = make_batch(layout, rows=rows, length=length)
    del inputs["masked_lm_positions"]

    @torch.inference_mode()
    def call() -> Any:
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        return compiled(**tensors).pooler_output.float().cpu().numpy().shape

    return call


def main() -> None:
    arguments = parse_options(__doc__, rounds=7)
    verdicts, rows, runs = [], [], []
    for size in arguments.sizes:
        for length in arguments.lengths:
            count = arguments.rows or ROWS[length]
            for layout in ["full"] if length < 512 else ["full", "padded", "packed"]:
                same = {"size": size, "layout": layout, "rows": count, "length": length}
                peers = [Peer("keras_bert_impl", make_keras_bert, same, CALLS, ENVIRONMENT)]
                if layout != "packed":
                    peers.append(Peer("transformers on torch", make_torch_model, same, CALLS))
                series = run(peers, rounds=arguments.rounds, warm_up=2)
                runs.append(series)
                *_, lengths = make_batch(layout, rows=count, length=length)
                for name, turns in series.items():
                    use = count_operations(size, lengths, 0) / turns.median / H100
                    tokens = f"{sum(lengths) / turns.median:,.0f}"
                    rows.append((size, str(length), layout, name, f"{turns.median * 1e3:.2f}", tokens, f"{use:.1%}"))
                if layout != "packed":
                    ours, theirs = series.values()
                    verdicts.append(f"- {size}, {length}, {layout}: {Ratio.compute(ours, theirs)} × torch")
    header = ("size", "length", "rows", "peer", "ms a batch", "real tokens a second", "useful fraction of 989 TFLOP/s")
    write(
        "Inference on a GPU",
        f"- GPU: {find_gpu()}",
        "\n".join(verdicts),
        describe_load(*runs),
        make_table(header, rows),
    )


if __name__ == "__main__":
    main()
