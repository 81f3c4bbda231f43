"""Inference on a GPU, on Keras' JAX backend, compared with transformers on torch.

    python benchmarks/gpu_infer.py                          # some 8 minutes on an H100, by estimate
    python benchmarks/gpu_infer.py --sizes tiny --rows 4    # on a CPU, to see that it runs

The bare BERT-base and large in bfloat16, rows of 128 and 512 tokens, full; at 512 tokens also a film snippet a row
(padded), and here several a row (packed). Here ``predict_on_batch``, whose attention is cuDNN's on GPUs; torch
compiled, with its fused attention. Both take arrays of NumPy and give one.
"""

from collections.abc import Callable
from typing import Any

from gpu_batches import ENVIRONMENT, H100, SIZES, batch, gpu, operations, options, torch_device
from interleave import Peer, Ratio, run
from report import quiet, table, write

CALLS = 10
ROWS = {128: 256, 512: 64}


def keras_bert(size: str, layout: str, rows: int, length: int) -> Callable[[], Any]:
    """The model of this package; returns the pooled vector of each row."""
    import keras

    from keras_bert_impl import BertConfig, BertModel

    model = BertModel(BertConfig(**SIZES[size]), dtype="bfloat16")
    inputs, *_ = batch(layout, rows=rows, length=length)
    del inputs["masked_lm_positions"]
    given = {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}
    pooled = keras.Model(given, model(given)["pooler_output"])
    return lambda: pooled.predict_on_batch(inputs).shape


def torch_model(size: str, layout: str, rows: int, length: int) -> Callable[[], Any]:
    """The model of transformers on torch, compiled."""
    import torch
    from transformers import BertConfig, BertModel

    device = torch_device()
    model = BertModel(BertConfig(**SIZES[size], attn_implementation="sdpa")).to(device, torch.bfloat16).eval()
    compiled = torch.compile(model)
    inputs, *_ = batch(layout, rows=rows, length=length)
    del inputs["masked_lm_positions"]

    @torch.inference_mode()
    def call() -> Any:
        given = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        return compiled(**given).pooler_output.float().cpu().numpy().shape

    return call


def main() -> None:
    arguments = options(__doc__, rounds=7)
    verdicts, rows, runs = [], [], []
    for size in arguments.sizes:
        for length in arguments.lengths:
            count = arguments.rows or ROWS[length]
            for layout in ["full"] if length < 512 else ["full", "padded", "packed"]:
                same = {"size": size, "layout": layout, "rows": count, "length": length}
                peers = [Peer("keras_bert_impl", keras_bert, same, CALLS, ENVIRONMENT)]
                if layout != "packed":
                    peers.append(Peer("transformers on torch", torch_model, same, CALLS))
                series = run(peers, rounds=arguments.rounds, warm_up=2)
                runs.append(series)
                *_, lengths = batch(layout, rows=count, length=length)
                for name, turns in series.items():
                    use = operations(size, lengths, 0) / turns.median / H100
                    tokens = f"{sum(lengths) / turns.median:,.0f}"
                    rows.append((size, str(length), layout, name, f"{turns.median * 1e3:.2f}", tokens, f"{use:.1%}"))
                if layout != "packed":
                    ours, theirs = series.values()
                    verdicts.append(f"- {size}, {length}, {layout}: {Ratio.of(ours, theirs)} × torch")
    header = ("size", "length", "rows", "peer", "ms a batch", "real tokens a second", "useful share of 989 TFLOP/s")
    write("Inference on a GPU", f"- GPU: {gpu()}", "\n".join(verdicts), quiet(*runs), table(header, rows))


if __name__ == "__main__":
    main()
