"""Windows over long texts: rows against the Rust library, gradients of pooled logits against torch, bad settings."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tokenizers import Tokenizer
from torch_process import run_in_torch_process

from keras_bert_impl import BertForSequenceClassification
from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BatchSplitter
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret import attend, attribute
from keras_bert_impl.models.pooled_windows import PooledWindows
from keras_bert_impl.tasks import TASKS, get_options_class, get_task, list_foreign_keys
from keras_bert_impl.tasks.options import WINDOW_POOLINGS, ClassificationOptions
from keras_bert_impl.tasks.windows import WINDOWS_KEY, TextWindows, cut_windows, get_windows, pool_windows
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import accumulate

TEXTS = ["a b c d e f g h i j k l m n o p q r s", "x", "", "a b c d e f g h i", "a b c d e f g h i j", "abc " * 20]
PAIRS = ["k l", "a b c d e f g h i j k l m n o p", "", "x " * 40, "y z", "abc " * 9]
WINDOWS = TextWindows(length=11, stride=3, pooling="mean", max_windows=4)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 29,
    "initializer_range": 0.3,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def make_config(tokenizer: BertTokenizer, task: str = "classification", **options: Any) -> BertConfig:
    """The configuration that training with options writes."""
    options = {"stride": 3, **options}
    spec = get_task(task, get_options_class(task)(**options))
    labels = ["no", "yes", "maybe"] if task == "classification" else ["value"]
    extra = spec.make_config_extra({}, max_length=11)
    return BertConfig(vocab_size=tokenizer.vocab_size, **SIZES, **spec.make_config_changes(labels), extra=extra)


def cut_with_rust(tokenizer: BertTokenizer, texts: list[Any], strategy: str) -> list[list[Any]]:
    """The windows of each text or pair by the Rust library."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.enable_truncation(11, stride=3, strategy=strategy)
    return [[encoding, *encoding.overflowing] for encoding in backend.encode_batch(texts)]


def test_windows_of_texts(letters: BertTokenizer) -> None:
    rows, example, truncated = cut_windows(letters, TEXTS, None, WINDOWS, max_length=11)
    expected = cut_with_rust(letters, TEXTS, "longest_first")
    assert [len(windows) for windows in expected] == [3, 1, 1, 1, 2, 10]
    assert np.bincount(example).tolist() == [3, 1, 1, 1, 2, 4]
    assert truncated == 1
    flat = [window for windows in expected for window in windows[:4]]
    assert [row.tolist() for row in rows["input_ids"]] == [window.ids for window in flat]
    assert [row.tolist() for row in rows["token_type_ids"]] == [window.type_ids for window in flat]


def test_windows_of_pairs_are_over_the_second_text(letters: BertTokenizer) -> None:
    rows, example, truncated = cut_windows(letters, TEXTS, PAIRS, WINDOWS, max_length=11)
    # The first text has at most 4 of the 8 tokens of a row.
    firsts = ["a b c d", "x", "", "a b c d", "a b c d", "abc a"]
    expected = cut_with_rust(letters, list(zip(firsts, PAIRS, strict=True)), "only_second")
    flat = [window for windows in expected for window in windows[:4]]
    assert [row.tolist() for row in rows["input_ids"]] == [window.ids for window in flat]
    assert [row.tolist() for row in rows["token_type_ids"]] == [window.type_ids for window in flat]
    assert example.tolist() == [i for i, windows in enumerate(expected) for _ in windows[:4]]
    assert truncated == 4  # Four first texts; two of their second texts need more than 4 windows, too.


def test_the_first_window_alone(letters: BertTokenizer) -> None:
    windows = dataclasses.replace(WINDOWS, pooling="first")
    rows, example, truncated = cut_windows(letters, TEXTS, None, windows, max_length=11)
    assert example.tolist() == list(range(len(TEXTS)))
    assert [row.tolist() for row in rows["input_ids"]] == [
        row.tolist() for row in letters.encode_ragged(TEXTS, max_length=11)["input_ids"]
    ]
    assert truncated == 3


def test_pooling_in_float64() -> None:
    example = np.array([0, 0, 0, 1, 2, 2])
    logits = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
    parts = [logits[:3], logits[3:4], logits[4:]]
    expected = {
        "mean": [part.mean(axis=0, dtype=np.float64) for part in parts],
        "max": [part.max(axis=0) for part in parts],
        "first": [part[0] for part in parts],
    }
    assert list(expected) == list(WINDOW_POOLINGS)
    for pooling, values in expected.items():
        np.testing.assert_allclose(pool_windows(logits, example, pooling), values, rtol=1e-6)


@run_in_torch_process
def compute_torch_gradients(
    directory: Path, documents: list[list[list[int]]], labels: list[int], pooling: str
) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of pooled logits and its gradients; each window runs alone, without padding."""
    import torch
    import torch_models

    model = torch_models.load("BertForSequenceClassification", directory)
    pooled = []
    for windows in documents:
        logits = torch.cat([model(torch.tensor([ids])).logits for ids in windows])
        pooled.append({"mean": logits.mean(0), "max": logits.amax(0), "first": logits[0]}[pooling])
    loss = torch.nn.functional.cross_entropy(torch.stack(pooled), torch.tensor(labels))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return loss.item(), {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None}


@pytest.mark.parametrize("pooling", WINDOW_POOLINGS)
def test_gradients_are_those_of_torch(letters: BertTokenizer, tmp_path: Path, pooling: str) -> None:
    """Also of a batch in parts. The loss of a text does not depend on its number of windows."""
    task = get_task("classification", ClassificationOptions(stride=3, window_pooling=pooling, max_windows=4))
    config = make_config(letters, window_pooling=pooling, max_windows=4)
    columns: Columns = {"text": TEXTS[:-1], "label": ["no", "yes", "maybe", "yes", "no"]}
    features = task.encode(columns, letters, config, max_length=11)
    keras.utils.set_random_seed(2)
    model = BertForSequenceClassification(config)
    model.save_pretrained(tmp_path)
    documents = [
        [features.inputs["input_ids"][row].tolist() for row in np.flatnonzero(features.example == text)]
        for text in range(5)
    ]
    loss, gradients = compute_torch_gradients(tmp_path, documents, [0, 1, 2, 1, 0], pooling)
    before = model.state_dict()
    for parts in (1, 2):
        model.load_pretrained(tmp_path)
        trainable = task.make_trainable(model, features)
        arguments = task.make_compile_arguments(features)
        if parts > 1:
            arguments["loss"]["logits"].reduction = "sum"
        trainable.compile(keras.optimizers.SGD(1.0), **arguments, jit_compile=False)
        batches = task.make_batches(features, 6, seed=1, epochs=1)
        if parts > 1:
            accumulate(trainable, parts)
            batches = BatchSplitter(batches, 1, accumulate=parts)
        found = trainable.train_on_batch(*batches[0])
        assert float(np.ravel(found)[0]) == pytest.approx(loss, rel=1e-5)
        after = trainable.state_dict()
        assert gradients.keys() <= after.keys()
        for name, gradient in gradients.items():
            np.testing.assert_allclose(before[name] - after[name], gradient, rtol=1e-4, atol=5e-6, err_msg=name)


def test_padding_of_windows_does_not_count(letters: BertTokenizer) -> None:
    model = BertForSequenceClassification(make_config(letters))
    draw = np.random.default_rng(4)
    mask = np.ones((3, 4, 7), np.int32)
    mask[0, 1:] = 0
    mask[1, 3:] = 0
    mask[:, :, 5:] = 0
    inputs = {"input_ids": draw.integers(5, 80, mask.shape).astype(np.int32), "attention_mask": mask}
    changed = {**inputs, "input_ids": np.where(mask, inputs["input_ids"], 0)}
    for pooling in WINDOW_POOLINGS:
        pooled = PooledWindows(model, pooling)
        logits = keras.ops.convert_to_numpy(pooled(inputs)["logits"])
        np.testing.assert_allclose(logits, keras.ops.convert_to_numpy(pooled(changed)["logits"]), atol=1e-6)
        for text, count in enumerate((1, 3, 4)):
            rows = {name: values[text, :count] for name, values in inputs.items()}
            windows = keras.ops.convert_to_numpy(model(rows)["logits"])
            expected = pool_windows(windows, np.zeros(count, np.int32), pooling)[0]
            np.testing.assert_allclose(logits[text], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["classification", "regression", "reranking"])
def test_predictions_pool_the_logits_of_windows(name: str, letters: BertTokenizer) -> None:
    config = make_config(letters, name, window_pooling="max", max_windows=5)
    task = TASKS[name]
    assert task.fits(config)
    columns = task.from_texts(TEXTS, PAIRS if task.needs_pair else None)
    features = task.encode(columns, letters, config, max_length=11)
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(letters.vocab_size, config.num_labels)).astype(np.float32)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # A model whose logits are those of the last token before [SEP].
        last = inputs["attention_mask"].sum(axis=1) - 2
        return {"logits": logits[inputs["input_ids"][np.arange(len(last)), last]]}

    found = task.predict(run, features, columns, config=config, max_tokens=50)
    lasts = [
        [row[-2] for row in map(features.inputs["input_ids"].__getitem__, np.flatnonzero(features.example == i))]
        for i in range(len(TEXTS))
    ]
    pooled = np.stack([logits[ids].max(axis=0) for ids in lasts])
    assert found == task.decode({"logits": pooled}, features, columns, config)
    assert len(found) == len(TEXTS)
    assert task.describe_truncation(features.truncated, 6, config=config, max_length=11) == (
        f"{features.truncated} of 6 texts are longer than 5 windows of 11 tokens and were truncated"
    )


def test_settings_are_kept_with_the_model(letters: BertTokenizer) -> None:
    config = make_config(letters, stride=2, window_pooling="max", max_windows=7)
    assert config.extra[WINDOWS_KEY] == {"length": 11, "stride": 2, "pooling": "max", "max_windows": 7}
    assert get_windows(BertConfig.from_dict(config.to_dict())) == get_windows(config)
    task = TASKS["classification"]
    assert task.resolve_max_length(config, letters, None) == 11
    assert task.resolve_max_length(config, letters, 9) == 9
    limited = get_windows(task.limit_length(config, 9))
    assert limited is not None
    assert (limited.length, limited.stride) == (9, 2)
    # Training without windows, or another task, removes the settings.
    assert task.make_config_extra({}, max_length=23) == {WINDOWS_KEY: None}
    assert TASKS["regression"].make_config_extra({}, max_length=23) == {WINDOWS_KEY: None}
    assert WINDOWS_KEY in list_foreign_keys(TASKS["tagging"])
    assert WINDOWS_KEY not in list_foreign_keys(TASKS["reranking"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stride": 9},
            "stride is 9, but a window of 11 tokens has space for 9 tokens of a text; a smaller stride was",
        ),
        ({"stride": -1}, "stride is -1; a number of tokens, 0 or more, was expected"),
        ({"window_pooling": "median"}, "window_pooling is 'median'; mean, max or first was expected"),
        ({"max_windows": 0}, "max_windows is 0; 1 or more was expected"),
        ({"stride": None, "window_pooling": "max"}, "window_pooling was given, but no stride"),
        ({"stride": None, "max_windows": 3}, "max_windows was given, but no stride"),
    ],
)
def test_options_that_cannot_be_used(letters: BertTokenizer, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TASKS["classification"].encode({"text": ["a"]}, letters, make_config(letters, **change), max_length=11)


def test_a_stride_for_pairs(letters: BertTokenizer) -> None:
    config = make_config(letters, stride=4)
    columns = {"text": ["a"], "text_pair": ["b"]}
    with pytest.raises(InputError, match="space for 4 tokens of the second text, next to a long first text; a smaller"):
        TASKS["classification"].encode(columns, letters, config, max_length=11)
    TASKS["classification"].encode(columns, letters, config, max_length=12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("64", "config.json: text_windows is '64'; an object with length, stride, pooling, max_windows was expected"),
        ({"stride": 64}, "an object with length, stride"),
        (
            {"length": 11, "stride": "2", "pooling": "max", "max_windows": 7},
            "text_windows: stride is '2'; an integer from 0",
        ),
        ({"length": 11, "stride": 2, "pooling": "sum", "max_windows": 7}, "pooling is 'sum'; mean, max or first was"),
        (
            {"length": 513, "stride": 2, "pooling": "max", "max_windows": 7},
            "length is 513; at most 512, the positions of the model, was expected",
        ),
    ],
)
def test_configurations_that_cannot_be_used(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_windows(BertConfig(extra={WINDOWS_KEY: values}))


def test_views_show_one_window(letters: BertTokenizer) -> None:
    keras.utils.set_random_seed(2)
    config = make_config(letters)
    model = BertForSequenceClassification(config)
    plain = BertForSequenceClassification(dataclasses.replace(config, extra={}), parts=model._share_parts())
    text = "a b c d e f g h i"
    assert attend(model, letters, text).prediction == attend(plain, letters, text).prediction
    expected = attribute(plain, letters, text).targets[0].scores
    np.testing.assert_allclose(attribute(model, letters, text).targets[0].scores, expected, atol=1e-6)
    for view in (attend, attribute):
        with pytest.raises(
            InputError, match=r"has 12 tokens, special .* reads windows of 11 tokens, and a view shows one"
        ):
            view(model, letters, text + " j")
