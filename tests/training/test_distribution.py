"""Training on several devices and processes, with accumulation and rematerialization, compared with one device.

TensorFlow and JAX start once in a process, with one strategy: each case runs in a process of its own.
"""

import json
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_process import assert_same, collect_results, find_free_ports, make_config, start_training, start_workers

from keras_bert_impl import BertForSequenceClassification, BertModel
from keras_bert_impl.errors import InputError
from keras_bert_impl.training import Distribution, LossScaleOptimizer, accumulate, adamw, start_strategy
from keras_bert_impl.training.distribution import _STRATEGIES
from keras_bert_impl.training.distribution.tensorflow import TensorFlowBackend

JAX = {"KERAS_BACKEND": "jax"}
# Cases that run one after another in a process: a strategy is the first, the others run on one device.
CASES = [
    {"strategy": "mirrored", "devices": 3, "parts": 2},
    {},
]
# Each takes some ten seconds to compile.
SLOW_CASES = [
    {},
    {"parts": 3},
    {"dropout": 0.3},
    {"dropout": 0.3, "remat": True},
    {"precision": "bfloat16", "remat": True, "parts": 3},
    {"precision": "float16"},
]
ON_JAX = [{"strategy": "data-parallel", "devices": 3, "parts": 2, "remat": True}, {}]


def train_cases(cases: list[dict[str, Any]]) -> dict[str, Any]:
    [outcomes] = collect_results([start_training(*cases)])
    return {json.dumps(settings): one for settings, one in zip(cases, outcomes, strict=True)}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    return train_cases(CASES)


@pytest.fixture(scope="module")
def slow_outcomes() -> dict[str, Any]:
    return train_cases(SLOW_CASES)


def get_outcome(outcomes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return outcomes[json.dumps(settings)]


def test_mirrored_replicas_train_like_one_device(outcomes: dict[str, Any]) -> None:
    mirrored = get_outcome(outcomes, strategy="mirrored", devices=3, parts=2)
    assert mirrored["replicas"] == 3
    assert_same(mirrored, get_outcome(outcomes))
    assert get_outcome(outcomes)["losses"][-1] < 0.8 * get_outcome(outcomes)["losses"][0]


@pytest.mark.slow
def test_accumulated_parts_train_like_one_batch(slow_outcomes: dict[str, Any]) -> None:
    assert_same(get_outcome(slow_outcomes, parts=3), get_outcome(slow_outcomes))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"optimizer": "lamb"}, {"optimizer": "adafactor"}, {"optimizer": "lion"}, {"precision": "float16"}]
)
def test_other_optimizers_and_loss_scaling_on_replicas(settings: dict[str, str]) -> None:
    mirrored = {"strategy": "mirrored", "devices": 2, "parts": 3, **settings}
    [[many, one]] = collect_results([start_training(mirrored, settings)])
    assert_same(many, one, within=1e-5 if "optimizer" in settings else 0.01)


@pytest.mark.slow
def test_rematerialized_blocks_have_the_same_dropout(slow_outcomes: dict[str, Any]) -> None:
    assert get_outcome(slow_outcomes, dropout=0.3)["losses"][0] != pytest.approx(
        get_outcome(slow_outcomes)["losses"][0], rel=1e-3
    )
    assert_same(get_outcome(slow_outcomes, dropout=0.3, remat=True), get_outcome(slow_outcomes, dropout=0.3))


@pytest.mark.slow
def test_precisions(slow_outcomes: dict[str, Any]) -> None:
    assert_same(
        get_outcome(slow_outcomes, precision="bfloat16", remat=True, parts=3), get_outcome(slow_outcomes), within=0.03
    )
    assert_same(get_outcome(slow_outcomes, precision="float16"), get_outcome(slow_outcomes), within=0.01)


@pytest.mark.slow
def test_two_workers_train_like_one_device(outcomes: dict[str, Any]) -> None:
    [first], [second] = collect_results(start_workers(2, {"strategy": "multiworker"}))
    assert (first["process"], second["process"], first["replicas"]) == (0, 1, 2)
    assert_same(first, get_outcome(outcomes))
    assert second["losses"] == first["losses"]
    assert second["outputs"] == first["outputs"]


@pytest.mark.slow
def test_three_workers_with_accumulation_train_like_one_device(outcomes: dict[str, Any]) -> None:
    for [one] in collect_results(start_workers(3, {"strategy": "multiworker", "parts": 2})):
        assert_same(one, get_outcome(outcomes))


@pytest.mark.slow
def test_rematerialized_blocks_on_replicas_have_the_same_dropout() -> None:
    common = {"strategy": "mirrored", "devices": 2, "parts": 3, "dropout": 0.3}
    [[stored], [recomputed]] = collect_results([start_training(common), start_training({**common, "remat": True})])
    assert_same(recomputed, stored)


# In the first step the gradients of the second replica overflow, in the second step none do.
OVERFLOWING = """
import tensorflow as tf
from keras_bert_impl.training import LossScaleOptimizer, adamw, start_strategy
with start_strategy("mirrored", devices=2) as distribution:
    with distribution.scope():
        import keras
        weight = keras.Variable([1.0, 2.0])
        optimizer = LossScaleOptimizer(adamw(learning_rate=0.1, steps=10, warmup=0.0), initial_scale=8.0)
        optimizer.build([weight])
    @tf.function
    def step(value):
        def run_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([tf.where(number == 1, value, 1.0) * tf.ones(2)], [weight])
        distribution.strategy.run(run_replica)
    for value in (float("inf"), 1.0):
        step(tf.constant(value))
        local = distribution.strategy.experimental_local_results
        print([local(one.value)[0].numpy().tolist() for one in (weight, optimizer.dynamic_scale, optimizer.iterations)])
"""


@pytest.mark.slow
def test_an_overflow_on_one_replica_skips_the_step() -> None:
    ran = subprocess.run([sys.executable, "-c", OVERFLOWING], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    skipped, done = (json.loads(line) for line in ran.stdout.splitlines())
    assert skipped == [[1.0, 2.0], 4.0, 0]
    assert done[0][0] < 1
    assert done[1:] == [4.0, 1]


@pytest.mark.slow
def test_keras_still_fails_on_workers() -> None:
    """If this test fails, Keras no longer needs `keras_bert_impl.models.multi_worker`: remove it."""
    processes = start_workers(2, {"strategy": "multiworker", "plain": True, "steps": 2})
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode != 0
        assert "Error" in errors


@pytest.mark.slow
def test_jax_without_tensorflow() -> None:
    [[parallel, one]] = collect_results([start_training(*ON_JAX, **JAX)])
    assert parallel["replicas"] == 3
    assert_same(parallel, one)


@pytest.mark.slow
def test_rematerialized_blocks_on_jax_have_the_same_dropout() -> None:
    [[stored, recomputed]] = collect_results([start_training({"dropout": 0.3}, {"dropout": 0.3, "remat": True}, **JAX)])
    assert_same(recomputed, stored)


@pytest.mark.slow
def test_two_processes_of_jax_train_like_one() -> None:
    [port] = find_free_ports(1)
    common = {**JAX, "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    settings = {"strategy": "data_parallel", "parts": 2}
    processes = [start_training(settings, **common, KERAS_DISTRIBUTION_PROCESS_ID=str(number)) for number in range(2)]
    [first], [second] = collect_results(processes)
    [[one]] = collect_results([start_training({}, **JAX)])
    assert (first["process"], second["process"], first["replicas"]) == (0, 1, 2)
    assert_same(first, one)
    assert_same(second, one)


CONFIG = make_config()


@pytest.mark.slow
def test_accumulation_with_plain_fit() -> None:
    """Mean losses of parts of the same size: their mean is that of the batch."""
    outcomes = []
    for parts in (1, 4):
        keras.utils.set_random_seed(2)
        model = BertForSequenceClassification(CONFIG)
        model.compile(adamw(learning_rate=1e-3, steps=6), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        accumulate(model, parts)
        draw = np.random.default_rng(1)
        ids, labels = draw.integers(1, 99, (24, 7)), draw.integers(0, 2, 24)
        history = model.fit(ids, {"logits": labels}, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        outcomes.append((history["loss"], model.predict(ids, verbose=0)["logits"]))
    np.testing.assert_allclose(outcomes[0][0], outcomes[1][0], rtol=1e-6)
    np.testing.assert_allclose(outcomes[0][1], outcomes[1][1], atol=1e-5)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("parts", [1, 4])
def test_weights_without_a_gradient_do_not_change(parts: int) -> None:
    """Those of the pooler, if only the hidden states are trained: they have no weight decay either."""
    model = BertModel(CONFIG)
    model.compile(adamw(learning_rate=1e-3, steps=6, warmup=0.0), {"last_hidden_state": "mse", "pooler_output": None})
    accumulate(model, parts)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    ids = np.random.default_rng(1).integers(1, 99, (8, 7))
    model.fit(ids, {"last_hidden_state": np.ones((8, 7, 32), "float32")}, batch_size=8, verbose=0)
    unchanged = {name for name, array in model.state_dict().items() if np.array_equal(array, before[name])}
    assert {"pooler.dense.weight", "pooler.dense.bias"} <= unchanged
    assert "encoder.layer.0.output.dense.weight" not in unchanged


def test_float16_scales_the_loss_in_plain_compile() -> None:
    for dtype, is_scaled in (("mixed_float16", True), ("mixed_bfloat16", False), ("float32", False)):
        model = BertForSequenceClassification(CONFIG, dtype=dtype)
        model.compile("adam", "mse")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == is_scaled


def test_an_overflow_in_one_of_several_slices_of_a_row_is_found() -> None:
    optimizer = LossScaleOptimizer(adamw(learning_rate=0.1, steps=10))
    for value, is_finite in ((float("inf"), False), (float("nan"), False), (2.0, True)):
        values, rows = tf.constant([[value], [1.0]]), tf.constant([3, 3])
        assert bool(optimizer.check_finite([tf.IndexedSlices(values, rows, tf.constant([5, 1]))])) == is_finite


@pytest.mark.parametrize(("mine", "other"), [(0, 0), (0, 7), (7, 0), (12_000, 12_000), (12_000, 12_001)])
def test_whether_a_number_is_the_same_in_all_processes(mine: int, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def reduce_any(self: Any, distribution: Distribution, flags: tuple[bool, ...]) -> tuple[bool, ...]:
        assert len(flags) == 2 * 64
        bits = [bool(other & 1 << place) for place in range(64)]
        return tuple(map(max, flags, [*bits, *(not bit for bit in bits)]))

    monkeypatch.setattr(TensorFlowBackend, "reduce_any", reduce_any)
    assert Distribution(replicas=2, processes=2).is_same_in_all_processes(mine) == (mine == other)


def test_the_strategies_of_each_backend_are_in_the_table() -> None:
    pytest.importorskip("jax")
    from keras_bert_impl.training.distribution.jax import JaxBackend

    strategies = [(name, "tensorflow") for name in TensorFlowBackend.strategies]
    assert list(_STRATEGIES.items()) == [*strategies, *((name, "jax") for name in JaxBackend.strategies)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "parameter_server"}, "Keras 3 does not support parameter servers"),
        ({"strategy": "parameter-server"}, "Use multiworker"),
        (
            {"strategy": "data-parallel"},
            "needs the backend jax, but Keras runs on tensorflow",
        ),
        (
            {"strategy": "mirored"},
            "'mirored' is not a strategy; the strategies are mirrored, multiworker, data_parallel",
        ),
        ({"devices": 2}, "devices was given without a strategy"),
        ({"strategy": "mirrored", "devices": 0}, "devices is 0"),
        ({"strategy": "multiworker", "devices": 2}, "devices was given for multiworker"),
        ({"strategy": "multiworker"}, "needs the environment variable TF_CONFIG"),
    ],
)
def test_invalid_strategies(arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match=message), start_strategy(**arguments):
        pass


TASK = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{cluster", "TF_CONFIG is '{cluster'; something like this was expected:\n{\"cluster\""),
        ('["worker"]', "something like this was expected"),
        (json.dumps({"cluster": {"worker": ["a:1"]}}), "something like this was expected"),
        (json.dumps({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": TASK}), "names parameter servers"),
        (
            json.dumps({"cluster": {"worker": ["a:1"]}, "task": {**TASK, "index": 1}}),
            "says that this is worker 1, which",
        ),
        (json.dumps({"cluster": {"worker": ["a:1"]}, "task": {**TASK, "type": "ps"}}), "this is ps 0"),
        (json.dumps({"cluster": {"worker": ["a:1", "b"]}, "task": TASK}), "the worker 'b'; HOST:PORT was expected"),
        (json.dumps({"cluster": {"worker": ["a:1", "b:99999"]}, "task": TASK}), "the worker 'b:99999'; HOST:PORT"),
        (json.dumps({"cluster": {"worker": ["a:1", ":22"]}, "task": TASK}), "the worker ':22'; HOST:PORT"),
        (json.dumps({"cluster": {"worker": ["a:1", 22]}, "task": TASK}), "the worker 22; HOST:PORT"),
        (json.dumps({"cluster": {"worker": ["a:1", "a:1"]}, "task": TASK}), "names a worker twice: a:1, a:1"),
        (json.dumps({"cluster": {"worker": ["a:1"]}, "task": {**TASK, "index": "0"}}), "names one worker, this one"),
        (json.dumps({"cluster": {"worker": ["a:1"]}, "task": {**TASK, "index": "x"}}), "something like this was"),
    ],
)
def test_invalid_configurations_of_workers(config: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError) as raised, start_strategy("multiworker"):
        pass
    assert message in str(raised.value)
