"""A process that trains a small BERT on one device or several, and prints the results, for tests of strategies.

    python tests/training_process.py '[{"strategy": "mirrored", "devices": 2}, {"parts": 3}]'

Only the first settings may contain a strategy: TensorFlow may abort if a process starts a second one.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.data.batches import Features, Ragged
from keras_bert_impl.data.column_batches import ColumnBatches, ColumnFeatures

WORDS, PREDICTIONS = 99, 3


def make_config(dropout: float = 0.0) -> Any:
    """The configuration of the model that is trained."""
    from keras_bert_impl import BertConfig

    return BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=61,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def make_examples(rows: int) -> Features:
    """Returns rows of 5 to 23 tokens; the second to fourth are predicted, some of them with weight 0."""
    draw = np.random.default_rng(7)
    texts = [draw.integers(5, WORDS, draw.integers(5, 24)) for _ in range(rows)]
    positions = np.tile(np.arange(1, 1 + PREDICTIONS, dtype=np.int32), (rows, 1))
    inputs = {"input_ids": Ragged.from_rows(texts, dtype=np.int32), "masked_lm_positions": positions}
    labels = {
        "prediction_logits": np.stack([text[1 : 1 + PREDICTIONS] for text in texts]).astype(np.int32),
        "seq_relationship_logits": np.array([text[0] % 2 for text in texts], np.int32),
    }
    weights = {
        "prediction_logits": (draw.random((rows, PREDICTIONS)) < 0.6).astype(np.float32),
        "seq_relationship_logits": np.ones(rows, np.float32),
    }
    return Features(inputs, labels, weights, np.arange(rows))


def make_pairs(rows: int) -> ColumnFeatures:
    """Pairs of texts, the second of them longer and with the beginning of the first, and scores."""
    draw = np.random.default_rng(7)
    firsts = [draw.integers(5, WORDS, draw.integers(5, 12)) for _ in range(rows)]
    seconds = [np.concatenate([first[:3], draw.integers(5, WORDS, draw.integers(5, 20))]) for first in firsts]
    ids = Ragged.from_rows([*firsts, *seconds], dtype=np.int32)
    inputs = {"input_ids": ids, "attention_mask": Ragged(np.ones_like(ids.flat), ids.offsets)}
    labels = {"sentence_embedding": draw.integers(0, 6, rows).astype(np.float32) / 5}
    return ColumnFeatures(inputs, labels, {}, np.arange(rows), columns=np.arange(2 * rows).reshape(2, rows).T)


def make_contrastive_loss(name: str) -> Any:
    """Returns a loss over the vectors of pairs."""
    from keras_bert_impl.tasks import contrastive

    if name == "Matryoshka":
        return contrastive.MatryoshkaLoss(contrastive.MultipleNegativesRankingLoss(symmetric=True), (32, 11))
    return getattr(contrastive, name)()


def train(
    *,
    strategy: str | None = None,
    devices: int | None = None,
    parts: int = 1,
    steps: int = 50,
    batch_size: int = 12,
    dropout: float = 0.0,
    precision: str = "float32",
    optimizer: str = "adamw",
    remat: bool = False,
    plain: bool = False,
    loss: str | None = None,
    tuning: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains a model; returns the loss of each step, the last metrics, the outputs and facts about the distribution.

    With ``loss`` the model is one of sentence embeddings, trained on pairs with the loss of that name. ``tuning`` are
    settings of fine-tuning: layers that are frozen, layer-wise learning rates, LoRA.
    """
    import keras

    from keras_bert_impl import BertForPreTraining, BertForSentenceEmbedding
    from keras_bert_impl.data import LengthBatches
    from keras_bert_impl.models.multi_worker import MultiWorkerMixin
    from keras_bert_impl.models.sentence_columns import SentenceColumns
    from keras_bert_impl.ops.compiled import compile_inference
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PRECISIONS, FineTuningSettings, PretrainingSettings, start_strategy
    from keras_bert_impl.training.optimizers import OPTIMIZERS
    from keras_bert_impl.training.trainable import choose_trainable, compute_rate_factors

    if plain:  # Restores Keras' own methods, without the fixes for several workers.
        for name in ("train_step", "test_step", "_maybe_symbolic_build"):
            delattr(MultiWorkerMixin, name)
    rows = 138  # The last batch of an epoch is half full.
    with start_strategy(strategy, devices=devices) as distribution:
        keras.utils.set_random_seed(3)
        # JAX compiles again for each length; TensorFlow traces again for the lengths of pairs.
        lengths = (24,) if loss or keras.backend.backend() == "jax" else ()
        epochs = -(-steps * batch_size // rows)
        order: dict[str, Any] = {"seed": 5, "epochs": epochs, "lengths": lengths}
        batches = (
            ColumnBatches(make_pairs(rows), batch_size, **order, unique=True)
            if loss
            else LengthBatches(make_examples(rows), batch_size, **order)
        )
        with distribution.scope():
            config = make_config(dropout)
            model: Any
            if loss:
                model = SentenceColumns(BertForSentenceEmbedding(config, dtype=PRECISIONS[precision]), 2)
                losses = {"loss": {"sentence_embedding": make_contrastive_loss(loss)}}
            else:
                model = BertForPreTraining(config, dtype=PRECISIONS[precision])
                losses = TASKS["pretraining"].make_compile_arguments()
            settings = PretrainingSettings(precision=precision, accumulate=parts, remat=remat)
            model_optimizer = OPTIMIZERS[optimizer](learning_rate=3e-3, steps=steps, clip_norm=0.5)
            if tuning:
                choose_trainable(model, FineTuningSettings(**tuning))
                model_optimizer.rate_factors = compute_rate_factors(model, FineTuningSettings(**tuning).layer_decay)
            distribution.compile(model, model_optimizer, losses, settings=settings)
        # An epoch has one step, so that its loss is that of the step.
        feed = distribution.feed(distribution.split(batches, accumulate=parts))
        # The loss of a step of contrastive training shows the weights; validation and prediction are not different.
        validation = {} if loss else distribution.make_validation_arguments(batches)
        history = model.fit(feed, steps_per_epoch=1, epochs=steps - 1, verbose=0, shuffle=False).history
        last = model.fit(feed, steps_per_epoch=1, verbose=0, shuffle=False, **validation).history
        ids = np.random.default_rng(1).integers(5, WORDS, (3, 11)).astype(np.int32)
        inputs = {"input_ids": ids, "masked_lm_positions": np.tile(np.arange(2, dtype=np.int32), (3, 1))}
        outputs = {} if loss else compile_inference(model)(inputs)
        return {
            "losses": np.ravel([*history["loss"], *last["loss"]]).tolist(),
            "metrics": {name: float(np.ravel(values[-1])[0]) for name, values in last.items()},
            "outputs": {name: np.asarray(values).tolist() for name, values in outputs.items()},
            "iterations": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
            "replicas": distribution.replicas,
            "process": distribution.process,
        }


def start_training(*settings: dict[str, Any], **environment: str) -> "subprocess.Popen[str]":
    """Starts a process that trains once with each of the settings, one after the other."""
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def find_free_ports(count: int) -> list[int]:
    """Returns ports of this machine that are free."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def collect_results(
    processes: "Sequence[subprocess.Popen[str]]", *, seconds: float = 300
) -> list[list[dict[str, Any]]]:
    """Waits for the processes; returns the results that each printed."""
    outputs = [process.communicate(timeout=seconds) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-4000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def start_workers(count: int, *settings: dict[str, Any]) -> list[Any]:
    """Processes that train together, according to TF_CONFIG."""
    addresses = [f"127.0.0.1:{port}" for port in find_free_ports(count)]
    configs = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(count)]
    return [start_training(*settings, TF_CONFIG=json.dumps(config)) for config in configs]


def assert_same(result: dict[str, Any], expected: dict[str, Any], *, within: float = 1e-5) -> None:
    """Compares the losses of all steps, the metrics of held-out data, and the outputs of the trained models."""
    assert result["iterations"] == expected["iterations"] == len(expected["losses"])
    np.testing.assert_allclose(result["losses"], expected["losses"], rtol=within, atol=within / 10)
    # Losses are sums under a strategy.
    names = [name for name in expected["metrics"] if name[:4] == "val_" and not name.endswith("loss")]
    for name in names:
        np.testing.assert_allclose(
            result["metrics"][name], expected["metrics"][name], rtol=max(1e-4, within), err_msg=name
        )
    for name, values in expected["outputs"].items():
        np.testing.assert_allclose(result["outputs"][name], values, atol=10 * within, err_msg=name)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    if os.environ.get("KERAS_BACKEND") == "jax":
        sys.modules["tensorflow"] = None  # Makes every import of TensorFlow fail.
    print(json.dumps([train(**settings) for settings in json.loads(sys.argv[1])]))
