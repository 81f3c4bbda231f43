"""The time of ``model.predict`` for many batches, compared with a loop that calls the model in a ``tf.function``.

    python benchmarks/predict.py            # six minutes on two cores

BERT-base, batches of 8 rows of 128 tokens. Both take and return NumPy arrays.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from interleave import Peer, run
from report import Target, describe_load, make_comparison_table, write

ROWS, LENGTH = 8, 128


def make_model_and_inputs(layers: int, batches: int) -> tuple[Any, dict[str, np.ndarray]]:
    """The model, and the rows of all batches."""
    from keras_bert_impl import BertConfig, BertModel

    model = BertModel(BertConfig.preset("base", num_hidden_layers=layers))
    ids = np.random.default_rng(1).integers(1000, 30000, (batches * ROWS, LENGTH), dtype="int32")
    return model, {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": np.ones_like(ids)}


def make_predict(layers: int, batches: int) -> Callable[[], Any]:
    """One call of ``model.predict``."""
    model, inputs = make_model_and_inputs(layers, batches)
    return lambda: model.predict(inputs, batch_size=ROWS, verbose=0)["pooler_output"]


def make_bare_function(layers: int, batches: int) -> Callable[[], Any]:
    """A loop that calls the function with each batch."""
    import tensorflow as tf

    model, inputs = make_model_and_inputs(layers, batches)
    function = tf.function(lambda batch: model(batch, training=False))

    def call() -> Any:
        outputs = []
        for start in range(0, batches * ROWS, ROWS):
            batch = {name: tf.constant(array[start : start + ROWS]) for name, array in inputs.items()}
            outputs.append({name: tensor.numpy() for name, tensor in function(batch).items()})
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}["pooler_output"]

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=32)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()

    same = {"layers": arguments.layers, "batches": arguments.batches}
    series = run(
        [Peer("predict", make_predict, same), Peer("bare function", make_bare_function, same)],
        rounds=arguments.rounds,
        warm_up=0,
    )
    products = 12 * 768**2 + 2 * LENGTH * 768
    amount = arguments.batches * ROWS * LENGTH * arguments.layers * 2 * products / 1e9
    heading = f"{arguments.batches} batches of {ROWS} × {LENGTH} tokens, float32"
    write(
        f"predict of BERT with {arguments.layers} layers",
        Target("predict", ("bare function",), 0.95).format_verdict(series, heading),
        describe_load(series),
        f"## {heading}\n\n{make_comparison_table(series, ours='predict', gigaflop=amount)}",
    )


if __name__ == "__main__":
    main()
