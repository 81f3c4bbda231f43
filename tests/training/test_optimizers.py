"""The optimizers compared with torch and a float64 reference, the schedule compared with transformers."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.models import BertForSequenceClassification
from keras_bert_impl.training import (
    Adafactor,
    FineTuningSettings,
    Lamb,
    Lion,
    LossScaleOptimizer,
    WarmupPolynomialDecay,
    adafactor,
    adamw,
    lamb,
    lion,
)
from keras_bert_impl.training.optimizers import OPTIMIZERS, make_optimizer
from keras_bert_impl.training.schedules import SCHEDULES, make_schedule

STEPS = 13

# Variables as BERT names them, with sizes pairwise distinct.
SHAPES = {"embeddings": (19, 7), "kernel": (7, 5), "bias": (5,), "gamma": (11,), "beta": (3,)}
DECAYED = ("embeddings", "kernel")


@run_in_torch_process
def compute_learning_rates(schedule: str, warmup_steps: int, steps: int, **options: float) -> list[float]:
    """The rates of a schedule of transformers, before each step and after the last one."""
    import torch
    import transformers

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    theirs = getattr(transformers, schedule)(optimizer, warmup_steps, steps, **options)
    rates = [theirs.get_last_lr()[0]]
    for _ in range(steps):
        optimizer.step()
        theirs.step()
        rates.append(theirs.get_last_lr()[0])
    return rates


@pytest.mark.parametrize("warmup_steps", [0, 1, 4, STEPS])
def test_schedule_equals_that_of_transformers(warmup_steps: int) -> None:
    theirs = compute_learning_rates("get_linear_schedule_with_warmup", warmup_steps, STEPS)
    ours = WarmupPolynomialDecay(3e-4, steps=STEPS, warmup_steps=warmup_steps)
    np.testing.assert_allclose([float(ours(step)) for step in range(STEPS + 1)], theirs, rtol=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial_decay_equals_that_of_transformers(power: float) -> None:
    theirs = compute_learning_rates("get_polynomial_decay_schedule_with_warmup", 4, STEPS, lr_end=0.0, power=power)
    ours = WarmupPolynomialDecay(3e-4, steps=STEPS, warmup_steps=4, power=power)
    np.testing.assert_allclose([float(ours(step)) for step in range(STEPS + 1)], theirs, rtol=1e-6)


@run_in_torch_process
def compute_rates_of_schedulers(names: list[str], warmup_steps: int, steps: int) -> list[list[float]]:
    """The rates of schedules of transformers by their names, before each step and after the last one."""
    import torch
    import transformers

    rates = []
    for name in names:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
        theirs = transformers.get_scheduler(name, optimizer, num_warmup_steps=warmup_steps, num_training_steps=steps)
        rates.append([theirs.get_last_lr()[0]])
        for _ in range(steps):
            optimizer.step()
            theirs.step()
            rates[-1].append(theirs.get_last_lr()[0])
    return rates


@pytest.mark.parametrize("warmup_steps", [0, 1, 4])
def test_schedules_equal_those_of_transformers(warmup_steps: int) -> None:
    names = ["linear", "cosine", "inverse_sqrt", "constant_with_warmup"]
    theirs = compute_rates_of_schedulers(names, warmup_steps, STEPS)
    for (name, schedule), rates in zip(SCHEDULES.items(), theirs, strict=True):
        ours = schedule(3e-4, steps=STEPS, warmup_steps=warmup_steps)
        values = [float(ours(step)) for step in range(STEPS + 1)]
        np.testing.assert_allclose(values, rates, rtol=1e-6, atol=1e-12, err_msg=name)


def test_schedule_ends_at_zero_and_stays_there() -> None:
    schedule = WarmupPolynomialDecay(1.0, steps=10, warmup_steps=2)
    assert [float(schedule(step)) for step in (10, 11, 1000)] == [0, 0, 0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_can_be_saved(name: str) -> None:
    schedule = make_schedule(0.3, steps=10, warmup=0.2, schedule=name, power=2.0)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(loaded) is type(schedule)
    assert [float(loaded(step)) for step in range(12)] == [float(schedule(step)) for step in range(12)]


@run_in_torch_process
def train_with_torch(
    start: dict[str, np.ndarray],
    gradients: list[dict[str, np.ndarray]],
    *,
    decays: dict[str, float],
    warmup_steps: int,
    factors: dict[str, float],
    optimizer: str = "AdamW",
    **options: Any,
) -> dict[str, np.ndarray]:
    """Parameters after steps of an optimizer with clipping by norm, a linear schedule and factors of the rate."""
    import torch
    import transformers

    parameters = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    groups = [
        {"params": [value], "weight_decay": decays.get(name, 0.0), "lr": 1e-2 * factors.get(name, 1.0)}
        for name, value in parameters.items()
    ]
    optimizer = getattr(torch.optim, optimizer)(groups, lr=1e-2, **options)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup_steps, len(gradients))
    for step in gradients:
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(step[name])
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.5)
        optimizer.step()
        schedule.step()
    return {name: parameter.detach().numpy() for name, parameter in parameters.items()}


# The class in torch, its options that differ, and the weight decay. In torch, Adafactor's rate is relative to the size
# of the weights before their decay, in Keras after it.
TORCH = {adamw: ("AdamW", {"eps": 1e-8}, 0.1), adafactor: ("Adafactor", {"eps": (1e-30, 1e-3)}, 0.0)}


@pytest.mark.parametrize("factors", [{}, {"embeddings": 0.25, "kernel": 0.5, "gamma": 0.5}], ids=["one rate", "layers"])
@pytest.mark.parametrize("make", TORCH)
def test_steps_equal_those_of_torch(make: Callable[..., Any], factors: dict[str, float]) -> None:
    """Large gradients: all steps but the last two are clipped, by the norm of all gradients together."""
    generator = np.random.default_rng(5)
    start = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    sizes = [9.0] * (STEPS - 2) + [1e-2] * 2
    gradients = [{name: size * generator.normal(size=shape) for name, shape in SHAPES.items()} for size in sizes]

    variables = [keras.Variable(value, name=name, dtype="float32") for name, value in start.items()]
    name, options, decay = TORCH[make]
    ours = make(learning_rate=1e-2, steps=STEPS, warmup=0.3, weight_decay=decay, clip_norm=1.5)
    ours.rate_factors = {id(variable): factors.get(variable.name, 1.0) for variable in variables}
    theirs = train_with_torch(
        start,
        gradients,
        decays=dict.fromkeys(DECAYED, decay),
        warmup_steps=round(0.3 * STEPS),
        factors=factors,
        optimizer=name,
        **options,
    )

    for step in gradients:
        ours.apply([keras.ops.convert_to_tensor(step[name], "float32") for name in SHAPES], variables)

    for variable, (name, expected) in zip(variables, theirs.items(), strict=True):
        assert np.abs(expected - start[name]).max() > 1e-2 * factors.get(name, 1.0)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=2e-5, atol=2e-6, err_msg=name)


@run_in_torch_process
def compute_clipped_gradient(words: np.ndarray, kernel: np.ndarray, bias: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The gradient of the words' embeddings, after all gradients were clipped to a norm of 1."""
    import torch

    parameters = [torch.nn.Parameter(torch.tensor(array)) for array in (words, kernel, bias)]
    (parameters[0][torch.tensor(ids)] @ parameters[1] + parameters[2] - 10).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    return parameters[0].grad.numpy()


def test_clipping_uses_the_gradient_of_repeated_words() -> None:
    """A word occurs several times in a batch: on TensorFlow its sparse gradient has as many rows."""
    words, dense = keras.layers.Embedding(5, 2, embeddings_initializer="ones"), keras.layers.Dense(1)
    model = keras.Sequential([words, dense])
    ids = np.full((7, 3), 4)
    model.build((None, 3))
    start = [words.embeddings, dense.kernel, dense.bias]
    expected = compute_clipped_gradient(*map(keras.ops.convert_to_numpy, start), ids)

    optimizer = adamw(learning_rate=1.0, steps=10, clip_norm=1.0)
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    model.train_on_batch(ids, np.full((7, 3, 1), 10.0))

    momentum = next(variable for variable in optimizer.variables if "embeddings_momentum" in variable.path)
    # Adam's first moment after one step is a tenth of the clipped gradient.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(momentum), expected / 10, rtol=1e-5)


@run_in_torch_process
def list_decayed_parameters(**sizes: int) -> set[str]:
    """The weights of a classifier that transformers' trainer decays."""
    import torch
    import transformers

    model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))
    names = ["bias", "layernorm", "rmsnorm"]
    return set(transformers.trainer_pt_utils.get_parameter_names(model, [torch.nn.LayerNorm], names))


@pytest.mark.parametrize("make", [adamw, adafactor, lion])
def test_decay_changes_the_weights_that_transformers_decays(make: Callable[..., Any]) -> None:
    """With gradients of zero only weight decay changes a weight."""
    config = BertConfig.preset("tiny", vocab_size=99, max_position_embeddings=17, hidden_dropout_prob=0.0)
    model = BertForSequenceClassification(config)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones_like(variable))
    optimizer = make(learning_rate=1.0, steps=2, warmup=0.0, weight_decay=0.25)
    optimizer.apply(
        [keras.ops.zeros_like(variable) for variable in model.trainable_variables], model.trainable_variables
    )
    decayed = {name for name, array in model.state_dict().items() if (array == 0.75).all()}
    assert {
        name for name, array in model.state_dict().items() if (array == 1).all()
    } == model.state_dict().keys() - decayed

    sizes = {"vocab_size": 99, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    assert decayed == list_decayed_parameters(**sizes)


DISTRIBUTED = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_bert_impl.training import adamw

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
generator = np.random.default_rng(0)
words, labels = generator.integers(0, 11, (40, 3)), generator.normal(size=(40, 7))


def train(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        layers = [keras.layers.Embedding(11, 5), keras.layers.Flatten(), keras.layers.Dense(7)]
        model = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])
        start = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
        model.compile(optimizer=adamw(learning_rate=1e-2, steps=20), loss="mse")
        model.fit(words, labels, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return [(keras.ops.convert_to_numpy(w), w0) for w, w0 in zip(model.weights, start)]


one, two = train(tf.distribute.get_strategy()), train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
print(json.dumps([[float(abs(a - b).max()), float(abs(a - a0).max())] for (a, a0), (b, _) in zip(one, two)]))
"""


@pytest.mark.slow
def test_two_devices_train_like_one() -> None:
    done = subprocess.run([sys.executable, "-c", DISTRIBUTED], capture_output=True, text=True, check=True)
    for difference, change in json.loads(done.stdout.splitlines()[-1]):
        assert change > 1e-2
        assert difference < 1e-6


FACTORS = {"embeddings": 0.25, "bias": 0.5}


def train_lamb_in_float64(start: dict, gradients: list[dict], *, rate, decay: float, clip_norm: float) -> dict:
    """Algorithm 2 of You et al., after clipping by the norm of all gradients, with `FACTORS` of the rate."""
    weights = {name: value.copy() for name, value in start.items()}
    m, v = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    for t, gradient in enumerate(gradients, 1):
        norm = np.sqrt(sum((value**2).sum() for value in gradient.values()))
        for name in SHAPES:
            g = gradient[name] * min(1, clip_norm / norm)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            update = m[name] / (1 - 0.9**t) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-6)
            trust = 1.0
            if name in DECAYED:
                update = update + decay * weights[name]
                trust = np.linalg.norm(weights[name]) / np.linalg.norm(update)
            weights[name] = weights[name] - FACTORS.get(name, 1.0) * rate(t - 1) * trust * update
    return weights


def test_lamb_equals_the_published_algorithm() -> None:
    draw = np.random.default_rng(7)
    start = {name: draw.normal(size=shape) for name, shape in SHAPES.items()}
    gradients = [{name: 3 * draw.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]
    variables = [keras.Variable(value, name=name, dtype="float32") for name, value in start.items()]
    ours = lamb(learning_rate=0.1, steps=STEPS, warmup=0.3, weight_decay=0.1, clip_norm=1.5, power=0.5)
    ours.rate_factors = {id(variable): FACTORS.get(variable.name, 1.0) for variable in variables}
    for gradient in gradients:
        ours.apply([keras.ops.convert_to_tensor(gradient[name], "float32") for name in SHAPES], variables)
    expected = train_lamb_in_float64(
        start, gradients, rate=lambda step: float(ours._learning_rate(step)), decay=0.1, clip_norm=1.5
    )
    for variable, (name, value) in zip(variables, expected.items(), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value, rtol=2e-4, atol=2e-5, err_msg=name)


def train_lion_in_float64(start: dict, gradients: list[dict], *, rate, decay: float, clip_norm: float) -> dict:
    """Algorithm 2 of Chen et al., after clipping by the norm of all gradients."""
    weights = {name: value.copy() for name, value in start.items()}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for t, gradient in enumerate(gradients):
        norm = np.sqrt(sum((value**2).sum() for value in gradient.values()))
        for name in SHAPES:
            g = gradient[name] * min(1, clip_norm / norm)
            update = np.sign(0.9 * m[name] + 0.1 * g) + (decay * weights[name] if name in DECAYED else 0)
            weights[name] = weights[name] - rate(t) * update
            m[name] = 0.99 * m[name] + 0.01 * g
    return weights


def test_lion_equals_the_published_algorithm() -> None:
    draw = np.random.default_rng(7)
    start = {name: draw.normal(size=shape) for name, shape in SHAPES.items()}
    gradients = [{name: 3 * draw.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]
    variables = [keras.Variable(value, name=name, dtype="float32") for name, value in start.items()]
    ours = lion(learning_rate=0.1, steps=STEPS, warmup=0.3, weight_decay=0.1, clip_norm=1.5, schedule="cosine")
    for gradient in gradients:
        ours.apply([keras.ops.convert_to_tensor(gradient[name], "float32") for name in SHAPES], variables)
    expected = train_lion_in_float64(
        start, gradients, rate=lambda step: float(ours._learning_rate(step)), decay=0.1, clip_norm=1.5
    )
    for variable, (name, value) in zip(variables, expected.items(), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("make", [lamb, adafactor, lion])
def test_words_that_are_not_in_the_batch_are_updated(make: Callable[..., Any]) -> None:
    """Their gradient is zero, but weight decay and moments apply: as with a dense gradient of the same words."""
    embeddings = np.random.default_rng(3).normal(size=(7, 5))
    ids, labels = np.array([[2, 4, 4]]), np.ones((1, 3, 5))
    trained = []
    for inputs in (ids, np.eye(7)[ids]):
        layer = keras.layers.Dense(5, use_bias=False) if inputs.ndim == 3 else keras.layers.Embedding(7, 5)
        model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
        layer.set_weights([embeddings])
        model.compile(make(learning_rate=0.1, steps=None, weight_decay=0.1), loss="mse", jit_compile=False)
        for _ in range(3):
            model.train_on_batch(inputs, labels)
        trained.append(layer.get_weights()[0])
    np.testing.assert_allclose(trained[0], trained[1], rtol=1e-4, atol=1e-5)
    assert (np.abs(trained[0] - embeddings).max(axis=1) > 1e-3).all()


def test_lamb_changes_weights_that_are_zero() -> None:
    """Their norm cannot scale the update."""
    variable = keras.Variable(np.zeros((3, 5)), name="kernel", dtype="float32")
    optimizer = lamb(learning_rate=0.5, steps=None, weight_decay=0.1)
    optimizer.apply([keras.ops.ones((3, 5))], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), -0.5, rtol=1e-4)


def test_lamb_can_be_saved() -> None:
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Lamb(0.3, beta_1=0.8)))
    assert isinstance(loaded, Lamb)
    assert (loaded.beta_1, loaded.beta_2, loaded.epsilon, loaded.weight_decay) == (0.8, 0.999, 1e-6, 0.01)


@pytest.mark.parametrize("optimizer", [Lion(0.3, beta_1=0.8), Adafactor(0.3, beta_2_decay=-0.7)])
def test_other_optimizers_can_be_saved(optimizer: Any) -> None:
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(loaded) is type(optimizer)
    assert loaded.get_config() == optimizer.get_config()


def test_adamw_with_loss_scaling_can_be_saved() -> None:
    optimizer = LossScaleOptimizer(adamw(learning_rate=0.3, steps=10, clip_norm=0.5), initial_scale=64.0)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(loaded) is LossScaleOptimizer
    assert type(loaded.inner_optimizer) is type(optimizer.inner_optimizer)
    assert (loaded.initial_scale, loaded.inner_optimizer.global_clipnorm) == (64.0, 0.5)


def test_settings_select_the_optimizer() -> None:
    settings = FineTuningSettings(
        optimizer="lamb", learning_rate=0.5, warmup=0.2, power=2.0, weight_decay=0.3, clip_norm=0.7
    )
    optimizer = make_optimizer(settings, steps=10)
    assert isinstance(optimizer, Lamb)
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.3, 0.7)
    rates = [float(optimizer._learning_rate(step)) for step in (1, 2, 6)]
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.5 * 0.5**2], rtol=1e-6)
    for name in OPTIMIZERS:
        settings = FineTuningSettings(optimizer=name, learning_rate=0.5, warmup=0.2, schedule="constant")
        optimizer = make_optimizer(settings, steps=10)
        assert type(optimizer).__name__.lower() == name
        assert [float(optimizer._learning_rate(step)) for step in (1, 2, 9)] == [0.25, 0.5, 0.5]
    assert float(make_optimizer(FineTuningSettings(), steps=None).learning_rate) == pytest.approx(5e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "rate"), [(adamw, 1e-2), (lamb, 5e-2), (adafactor, 5e-2), (lion, 3e-3)])
def test_pretraining_learns(make, rate) -> None:
    """A few steps of a small BERT on one batch, with the sparse gradient of the tied embedding."""
    from keras_bert_impl.models import BertForPreTraining
    from keras_bert_impl.tasks import TASKS

    keras.utils.set_random_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    model = BertForPreTraining(BertConfig(vocab_size=101, max_position_embeddings=41, **sizes))
    model.compile(make(learning_rate=rate, steps=None), **TASKS["pretraining"].make_compile_arguments())
    draw = np.random.default_rng(1)
    inputs = {
        "input_ids": draw.integers(5, 101, (7, 19)).astype("int32"),
        "masked_lm_positions": draw.integers(0, 19, (7, 3)).astype("int32"),
    }
    labels = {
        "prediction_logits": draw.integers(5, 101, (7, 3)).astype("int32"),
        "seq_relationship_logits": draw.integers(0, 2, 7).astype("int32"),
    }
    losses = [model.train_on_batch(inputs, labels, return_dict=True)["loss"] for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]
