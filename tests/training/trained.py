"""A process that trains a small BERT under a strategy and prints what came of it, for the tests of strategies.

python tests/training/trained.py '{"strategy": "mirrored", "devices": 2}'
"""

import json
import sys

import keras
import numpy as np

from keras_bert_impl import BertConfig, BertForPreTraining
from keras_bert_impl.data import LengthBatches, summing
from keras_bert_impl.data.features import Features, Ragged
from keras_bert_impl.tasks.pretraining import pretraining_compile
from keras_bert_impl.training import PRECISIONS
from keras_bert_impl.training.accumulation import accumulate
from keras_bert_impl.training.distribution import distributed
from keras_bert_impl.training.optimizers import OPTIMIZERS

WORDS, PREDICTIONS = 99, 3


def examples(rows: int) -> Features:
    """Rows of 5 to 23 tokens, of which the second to fourth are asked, some with no weight."""
    draw = np.random.default_rng(7)
    texts = [draw.integers(5, WORDS, draw.integers(5, 24)) for _ in range(rows)]
    asked = np.tile(np.arange(1, 1 + PREDICTIONS, dtype=np.int32), (rows, 1))
    inputs = {"input_ids": Ragged.from_rows(texts, dtype=np.int32), "masked_lm_positions": asked}
    labels = {
        "prediction_logits": np.stack([text[1 : 1 + PREDICTIONS] for text in texts]).astype(np.int32),
        "seq_relationship_logits": np.array([text[0] % 2 for text in texts], np.int32),
    }
    weights = {
        "prediction_logits": (draw.random((rows, PREDICTIONS)) < 0.6).astype(np.float32),
        "seq_relationship_logits": np.ones(rows, np.float32),
    }
    return Features(inputs, labels, weights, np.arange(rows))


def main(
    *,
    strategy: str | None = None,
    devices: int | None = None,
    parts: int = 1,
    steps: int = 50,
    rows: int = 138,
    batch_size: int = 12,
    dropout: float = 0.0,
    optimizer: str = "adamw",
    precision: str = "float32",
    remat: bool = False,
) -> None:
    with distributed(strategy, devices=devices) as where:
        keras.utils.set_random_seed(3)
        batches = LengthBatches(examples(rows), batch_size, seed=5, epochs=-(-steps * batch_size // rows))
        with where.scope():
            config = BertConfig(
                vocab_size=WORDS,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=37,
                max_position_embeddings=61,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
            model = BertForPreTraining(config, dtype=PRECISIONS[precision])
            chosen = OPTIMIZERS[optimizer](learning_rate=3e-3, steps=steps, clip_norm=0.5)
            arguments = pretraining_compile()
            is_shared = where.replicas * parts > 1
            model.compile(chosen, **(summing(arguments) if is_shared else arguments))
        accumulate(model, parts)
        model.gradient_checkpointing_enable(remat)
        # An epoch for each step: the figures are those of one step.
        feed = where.feed(where.share(batches, accumulate=parts))
        history = model.fit(feed, steps_per_epoch=1, epochs=steps, verbose=0, shuffle=False).history
        ids = np.random.default_rng(1).integers(5, WORDS, (3, 11)).astype(np.int32)
        asked = np.tile(np.arange(2, dtype=np.int32), (3, 1))
        outputs = where.predict_on_batch(model)({"input_ids": ids, "masked_lm_positions": asked})
        print(
            json.dumps(
                {
                    "process": where.process,
                    "replicas": where.replicas,
                    "losses": np.ravel(history["loss"]).tolist(),
                    "metrics": {name: float(np.ravel(value[-1])[0]) for name, value in history.items()},
                    "outputs": {name: np.asarray(values).tolist() for name, values in outputs.items()},
                    "iterations": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
                }
            )
        )


if __name__ == "__main__":
    main(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"))
