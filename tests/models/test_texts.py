"""Raw strings in ``fit``, ``evaluate`` and ``predict``, compared with ids that the tokenizer makes before."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas
import polars
import pytest
import tensorflow as tf

from keras_bert_impl import BertConfig, BertTokenizer, models
from keras_bert_impl.data import LengthBatches, read_table
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.texts import holds_strings
from keras_bert_impl.tasks import find_task

TOKENS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the a film book was is not good bad long dull ada rome in and . , ? ##s".split()
)
DRAW = np.random.default_rng(3)
TEXTS = [" ".join(DRAW.choice(TOKENS[5:-1], length)) for length in (3, 9, 1, 5, 2, 12, 4, 7, 6, 3, 11)]
PAIRS = TEXTS[::-1]
IDS = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1]
NAMES = np.array(["bad", "good"])[IDS].tolist()
WEIGHTS = np.linspace(0.2, 1.7, len(TEXTS)).astype("float32")
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
QUIET: dict[str, Any] = {"batch_size": 4, "verbose": 0}


def make_model(name: str = "BertForSequenceClassification", **options: Any) -> Any:
    """A small model without dropout, whose labels are bad and good; always with the same weights."""
    keras.utils.set_random_seed(2)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 37}
    config = BertConfig(
        vocab_size=len(TOKENS),
        max_position_embeddings=41,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
        **{"id2label": {0: "bad", 1: "good"}, **sizes, **options},
    )
    model = getattr(models, name)(config)
    model.tokenizer = BertTokenizer(TOKENS, model_max_length=41)
    return model


def compile_model(model: Any, loss: Any = CROSS_ENTROPY, rate: float = 0.2, **options: Any) -> Any:
    model.compile(keras.optimizers.SGD(rate), loss, run_eagerly=True, **options)
    return model


def compile_for_task(model: Any) -> Any:
    task = find_task(model.config, [type(model).__name__])
    arguments = {name: value for name, value in task.make_compile_arguments().items() if value}
    return compile_model(model, rate=0.003, **arguments)


@pytest.mark.parametrize("pairs", [pytest.param(False, marks=pytest.mark.slow), True])
def test_strings_train_like_ids(pairs: bool) -> None:
    """Without shuffling, batches and rows are the same; names are those of id2label."""
    texts, more = (TEXTS, PAIRS) if pairs else (TEXTS, None)
    outcomes = []
    for kind in ("ids", "strings"):
        model = compile_model(make_model(), weighted_metrics=["accuracy"], metrics=["accuracy"])
        x = model.tokenizer(texts, more) if kind == "ids" else (np.array(texts), more) if pairs else texts
        y = np.array(IDS) if kind == "ids" else NAMES
        options = {"sample_weight": WEIGHTS, "shuffle": False, **QUIET}
        history = model.fit(x, y, validation_split=0.3, **options).history
        held_out = model.evaluate(x, y, sample_weight=WEIGHTS, return_dict=True, **QUIET)
        outcomes.append((history, held_out, model.predict(x, **QUIET)["logits"]))
    (history, held_out, logits), (of_strings, held_out_strings, logits_of_strings) = outcomes
    assert set(history) == set(of_strings)
    for name, values in history.items():
        np.testing.assert_allclose(of_strings[name], values, atol=1e-5, err_msg=name)
    assert held_out_strings == pytest.approx(held_out, abs=1e-5)
    np.testing.assert_allclose(logits_of_strings, logits, atol=1e-5)


def test_kinds_of_strings() -> None:
    """Lists, tuples, arrays, series and tensors are the same; numbers are passed to Keras."""
    model = make_model()
    expected = model.predict(TEXTS, verbose=0)["logits"]
    array = np.array(TEXTS)
    kinds = [array, array.astype(object), tuple(TEXTS), pandas.Series(TEXTS), polars.Series(TEXTS), tf.constant(TEXTS)]
    for kind in [*kinds, {"text": array}, [text.encode() for text in TEXTS]]:
        assert holds_strings(kind)
        np.testing.assert_allclose(model.predict(kind, verbose=0)["logits"], expected, atol=1e-6)
    for other in (np.array([[2, 3]]), [[2, 3]], {"input_ids": [[2]]}, None, tf.constant([1.0]), pandas.Series([1]), []):
        assert not holds_strings(other)


def test_batches_have_rows_of_similar_length_and_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    class Widths(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            step = self.model.compute_loss
            seen.append([])

            def compute_loss(x: Any, *args: Any, **options: Any) -> Any:
                seen[-1].append(int(x["input_ids"].shape[1]))
                return step(x, *args, **options)

            monkeypatch.setattr(self.model, "compute_loss", compute_loss)

    for _ in range(2):
        model = compile_model(make_model())
        keras.utils.set_random_seed(5)
        model.fit(TEXTS, IDS, callbacks=[Widths()], epochs=2, **QUIET)
    lengths = sorted(len(text.split()) + 2 for text in TEXTS)
    assert seen[0] == seen[1]
    # The longest row of each batch of sorted rows.
    assert sorted(seen[0][:3]) == sorted(seen[0][3:]) == [lengths[3], lengths[7], lengths[10]]


def make_datasets() -> dict[str, Any]:
    """Datasets of the same examples, by the form of their elements."""
    labels = tf.constant(IDS)
    parts = {
        "tuple": (TEXTS, labels),
        "names": (TEXTS, NAMES),
        "columns": {"text": TEXTS, "label": labels},
        "weighted": (TEXTS, labels, tf.ones(len(TEXTS))),
    }
    return {name: tf.data.Dataset.from_tensor_slices(part).batch(4) for name, part in parts.items()}


def test_datasets_of_strings_train_like_lists() -> None:
    model = compile_model(make_model())
    losses = [model.evaluate(TEXTS, IDS, **QUIET)]
    losses += model.fit(TEXTS, IDS, shuffle=False, **QUIET).history["loss"]
    logits = model.predict(TEXTS, **QUIET)["logits"]
    for name, dataset in make_datasets().items():
        model = compile_model(make_model())
        of_dataset = [model.evaluate(dataset, verbose=0)]
        if name == "columns":
            history = model.fit(dataset, validation_data=dataset, verbose=0).history
            of_dataset += history["loss"]
            assert model.evaluate(dataset, verbose=0) == pytest.approx(history["val_loss"][0], abs=1e-6)
            texts = dataset.map(lambda *parts: parts[0])
            np.testing.assert_allclose(model.predict(texts, verbose=0)["logits"], logits, atol=1e-5)
        np.testing.assert_allclose(of_dataset, losses[: len(of_dataset)], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_dataset_of_pairs_and_one_that_repeats() -> None:
    dataset = tf.data.Dataset.from_tensor_slices(((TEXTS, PAIRS), IDS)).batch(4)
    expected = compile_model(make_model()).fit((TEXTS, PAIRS), IDS, shuffle=False, epochs=2, **QUIET).history["loss"]
    losses = compile_model(make_model()).fit(dataset.repeat(), epochs=2, steps_per_epoch=3, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, expected, atol=1e-5)


@pytest.mark.slow
def test_steps_per_epoch_and_validation_data() -> None:
    """More steps than the texts have batches pass over the texts again."""
    model = compile_model(make_model())
    history = model.fit(TEXTS, IDS, epochs=3, steps_per_epoch=5, validation_data=(PAIRS, NAMES), **QUIET)
    assert int(model.optimizer.iterations) == 15
    assert history.history["val_loss"][-1] == pytest.approx(model.evaluate(PAIRS, NAMES, **QUIET), abs=1e-6)
    ids = model.tokenizer(TEXTS)
    mixed = model.fit(ids, np.array(IDS), validation_data=(PAIRS, NAMES, np.ones(11)), **QUIET).history
    assert mixed["val_loss"][0] == pytest.approx(model.evaluate(PAIRS, IDS, **QUIET), abs=1e-6)


def test_class_weights_are_sample_weights() -> None:
    weights = np.where(np.array(IDS) == 1, 3.0, 1.0)
    losses = [
        compile_model(make_model()).fit(TEXTS, IDS, shuffle=False, **options, **QUIET).history["loss"]
        for options in (
            {"sample_weight": weights * WEIGHTS},
            {"class_weight": {"good": 3.0}, "sample_weight": WEIGHTS},
            {"class_weight": {0: 1.0, 1: 3.0}, "sample_weight": WEIGHTS},
        )
    ]
    assert losses[1] == losses[2] == pytest.approx(losses[0])


def test_long_texts_are_truncated_at_max_length() -> None:
    model = make_model()
    long = [*TEXTS[:3], "dull " * 50]
    with pytest.warns(UserWarning, match="1 of 4 texts are longer than 41 tokens and were truncated"):
        at_positions = model.predict(long, verbose=0)["logits"]
    np.testing.assert_allclose(at_positions, model.predict(model.tokenizer(long), verbose=0)["logits"], atol=1e-5)
    model.max_length = 7
    with pytest.warns(UserWarning, match="2 of 4 texts are longer than 7 tokens"):
        short = model.predict(long, verbose=0)["logits"]
    expected = model.predict(model.tokenizer(long, max_length=7), verbose=0)["logits"]
    np.testing.assert_allclose(short, expected, atol=1e-5)


WORDS = [text.split() for text in TEXTS]
CONTEXT = "ada was in rome . the film was long"
CHOICES = [["good", text, "a long book"] for text in TEXTS]
# Model, changes of the configuration, inputs, and labels in two forms.
TASKS: dict[str, tuple[str, dict[str, Any], Any, list[Any]]] = {
    "regression": ("BertForSequenceClassification", {"id2label": {0: "value"}}, TEXTS, [WEIGHTS, WEIGHTS[:, None]]),
    "multi-label-classification": (
        "BertForSequenceClassification",
        {"id2label": {0: "bad", 1: "good", 2: "long"}, "problem_type": "multi_label_classification"},
        TEXTS,
        [[[name] for name in NAMES[:-1]] + [[]], [[1 - i, i, 0] for i in IDS[:-1]] + [[0, 0, 0]]],
    ),
    "reranking": (
        "BertForSequenceClassification",
        {
            "id2label": {0: "LABEL_0"},
            "extra": {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
        },
        (TEXTS, PAIRS),
        [[0.5] * 11],
    ),
    "tagging": (
        "BertForTokenClassification",
        {},
        WORDS,
        [
            [[NAMES[len(w) % 2] for w in words] for words in WORDS],
            [[IDS[len(w) % 2] for w in words] for words in WORDS],
        ],
    ),
    "question-answering": (
        "BertForQuestionAnswering",
        {},
        (TEXTS, [CONTEXT] * 11),
        [
            [{"text": "rome", "answer_start": 11}] * 11,
            [{"text": ["rome"], "answer_start": [11]}] * 11,
        ],
    ),
    "masked-lm": ("BertForMaskedLM", {}, TEXTS, [None]),
    "next-sentence": (
        "BertForNextSentencePrediction",
        {},
        (TEXTS, PAIRS),
        [IDS, ["is_next", "not_next"] * 5 + ["is_next"]],
    ),
    "multiple-choice": ("BertForMultipleChoice", {}, (TEXTS, CHOICES), [[i % 3 for i in range(11)]]),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task(name: str) -> None:
    """The loss is that of the features which the task encodes; a step of training lowers it."""
    class_name, changes, inputs, labels = TASKS[name]
    model = compile_for_task(make_model(class_name, **changes))
    assert find_task(model.config, [class_name]).name == name
    losses = [model.evaluate(inputs, y, batch_size=16, verbose=0, return_dict=True)["loss"] for y in labels]
    if name != "next-sentence":  # Its labels differ.
        assert losses == pytest.approx([losses[0]] * len(labels), abs=1e-6)
    task = find_task(model.config, [class_name])
    columns = task.from_texts(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    plain = (
        TEXTS if labels[0] is None else [task.parse_label(y, columns, i, model.config) for i, y in enumerate(labels[0])]
    )
    features = task.encode({**columns, task.label_column: plain}, model.tokenizer, model.config, max_length=41)
    expected = model.test_on_batch(*LengthBatches(features, 16)[0], return_dict=True)["loss"]
    assert losses[0] == pytest.approx(expected, abs=1e-5)
    model.fit(inputs, labels[0], batch_size=16, verbose=0)
    assert model.evaluate(inputs, labels[0], batch_size=16, verbose=0, return_dict=True)["loss"] < losses[0]


@pytest.mark.parametrize("name", ["BertForTokenClassification", "BertForQuestionAnswering"])
def test_outputs_per_token_are_padded_and_in_order(name: str) -> None:
    model = make_model(name)
    inputs: Any = WORDS if "Token" in name else (TEXTS, PAIRS)
    outputs = model.predict(inputs, batch_size=4, verbose=0)
    for i in [i for i, text in enumerate(TEXTS) if len(text.split()) <= 10]:  # Longer questions are truncated.
        one = (
            model.tokenizer(WORDS[i], is_split_into_words=True)
            if "Token" in name
            else model.tokenizer(TEXTS[i], PAIRS[i])
        )
        one.pop("word_ids", None)
        for key, values in model(one).items():
            values = np.asarray(values)[0]
            np.testing.assert_allclose(outputs[key][i, : len(values)], values, atol=1e-5)


def test_hidden_states_of_several_choices_are_in_order() -> None:
    model = make_model("BertForMultipleChoice").with_outputs(output_hidden_states=True)
    model.tokenizer = BertTokenizer(TOKENS, model_max_length=41)
    outputs = model.predict((TEXTS, CHOICES), batch_size=4, verbose=0)
    states = model.predict(([TEXTS[4]], [CHOICES[4]]), verbose=0)["hidden_states"][-1]
    found = outputs["hidden_states"][-1][12:15, : states.shape[1]]
    # Padding differs, and its states have no meaning.
    np.testing.assert_allclose(found[:, 0], states[:, 0], atol=1e-5)


def test_masked_words_have_an_entry_for_each_mask() -> None:
    model = make_model("BertForMaskedLM")
    texts = ["the [MASK] was good .", "a [MASK] [MASK]", "no mask"]
    logits = model.predict(texts, verbose=0)["logits"]
    assert logits.shape == (3, 2, len(TOKENS))
    complete = np.asarray(model(model.tokenizer(texts[1:2]))["logits"])[0]
    np.testing.assert_allclose(logits[1], complete[2:4], atol=1e-5)


def test_columns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    lines = ["text\tlabel", *(f"{text}\t{name}" for text, name in zip(TEXTS, NAMES, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    losses = [
        compile_model(make_model()).fit(*data, shuffle=False, **QUIET).history["loss"]
        for data in ([read_table(path)], [TEXTS, IDS])
    ]
    assert losses[0] == pytest.approx(losses[1])
    path.write_text("\n".join(lines).replace("good", "fine") + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.tsv, line 3: the label is 'fine'; .* names are 'bad', 'good'"):
        compile_model(make_model()).fit(read_table(path))


ONE_BATCH = tf.data.Dataset.from_tensor_slices((TEXTS, IDS)).batch(4)
BAD: dict[str, tuple[str, list[Any], dict[str, Any], str]] = {
    "one string": ("fit", ["a text", [1]], {}, "are one string, 'a text'; a list of strings was expected"),
    "one label": ("fit", [TEXTS, "good"], {}, "labels are one string, 'good'"),
    "fewer labels": ("fit", [TEXTS, IDS[:5]], {}, r"\{'text': 11, 'label': 5\} entries; the same number"),
    "no labels": ("evaluate", [TEXTS], {}, "there are no labels; classification needs one for each text"),
    "unknown name": (
        "fit",
        [TEXTS, ["good"] * 10 + ["fine"]],
        {},
        "example 11: the label is 'fine'; an id from 0 to 1",
    ),
    "unknown id": ("evaluate", [TEXTS, [2] * 11], {}, "example 1: the label is 2; an id from 0 to 1 or a name"),
    "three parts": ("fit", [(TEXTS, PAIRS, PAIRS), IDS], {}, "the tuple has 3 parts; for classification 'text' and"),
    "other columns": ("predict", [{"sentence": TEXTS}], {}, "has the entries 'sentence'; for classification 'text'"),
    "no texts": ("predict", [np.array([], "U1")], {}, "the same number above 0 was expected"),
    "unequal pairs": ("predict", [(TEXTS, PAIRS[:3])], {}, "'text': 11, 'text_pair': 3"),
    "not a text": ("predict", [["a", None]], {}, r"example 2: text is missing \(None\)"),
    "first text missing": ("fit", [[None, *TEXTS[1:]], IDS], {}, r"example 1: text is missing \(None\)"),
    "missing in a column": (
        "predict",
        [pandas.Series([None, *TEXTS[1:]])],
        {},
        r"example 1: text is missing \((None|nan)\)",
    ),
    "nothing": ("fit", [[], []], {}, "the data are empty; texts or ids were expected"),
    "nothing to predict": ("predict", [[]], {}, "the data are empty"),
    "weights": ("fit", [TEXTS, IDS], {"sample_weight": [1.0]}, r"sample_weight has the shape \(1,\); one number"),
    "class weights": ("fit", [TEXTS, IDS], {"class_weight": {"fine": 2.0}}, "class_weight has a weight for 'fine'"),
    "batch size": ("fit", [TEXTS, IDS], {"batch_size": 0}, "batch_size is 0; an integer above 0"),
    "split": ("fit", [TEXTS, IDS], {"validation_split": 0.99}, "leaves examples on both sides"),
    "short dataset": ("fit", [ONE_BATCH], {"steps_per_epoch": 9}, r"has 3 batches, but .* 9 steps.*dataset\.repeat"),
    "not batched": ("fit", [ONE_BATCH.unbatch()], {}, "batch 1 of the dataset is one example; .*dataset.batch"),
    "empty dataset": ("fit", [ONE_BATCH.take(0)], {}, "the dataset is empty"),
    "labels twice": ("fit", [ONE_BATCH, IDS], {}, "fit got a dataset and y; the elements of a dataset contain"),
    "label twice": ("fit", [{"text": TEXTS, "label": IDS}, IDS], {}, "labels in the dictionary"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    method, arguments, options, message = BAD[name]
    model = compile_model(make_model())
    with pytest.raises(InputError, match=message):
        getattr(model, method)(*arguments, **{"verbose": 0, **options})


def test_a_dataset_of_unknown_length_that_ends_early_is_named() -> None:
    batches = tf.data.Dataset.from_generator(lambda: iter(ONE_BATCH), output_signature=ONE_BATCH.element_spec)
    with pytest.raises(InputError, match=r"has 3 batches, but the method asks for 9 steps"):
        compile_model(make_model()).fit(batches, steps_per_epoch=9, verbose=0)


def test_tables_and_columns_of_other_libraries() -> None:
    datasets = pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"text": TEXTS, "label": NAMES}
    frame, data_set = pandas.DataFrame(columns), datasets.Dataset.from_dict(columns)
    model = make_model()
    expected = model.predict(TEXTS, **QUIET)["logits"]
    for x in (
        frame[["text"]],
        polars.DataFrame({"text": TEXTS}),
        data_set.remove_columns("label"),
        data_set["text"],
        pyarrow.array(TEXTS),
    ):
        np.testing.assert_array_equal(model.predict(x, **QUIET)["logits"], expected, err_msg=type(x).__name__)
    loss = compile_model(model).evaluate(TEXTS, IDS, **QUIET)
    for labeled in (frame, polars.DataFrame(columns), data_set):
        assert compile_model(model).evaluate(labeled, **QUIET) == pytest.approx(loss), type(labeled).__name__
    assert compile_model(model).evaluate(data_set["text"], data_set["label"], **QUIET) == pytest.approx(loss)


def test_answers_in_a_dataset() -> None:
    _, _, (questions, contexts), [answers, _] = TASKS["question-answering"]
    model = compile_for_task(make_model("BertForQuestionAnswering"))
    expected = model.evaluate((questions, contexts), answers, verbose=0, return_dict=True)["loss"]
    parts = {"text": ["rome"] * 11, "answer_start": [11] * 11}
    for element in (
        ((questions, contexts), parts),
        {"question": questions, "context": contexts, "answers": parts},
    ):
        dataset = tf.data.Dataset.from_tensor_slices(element).batch(11)
        assert model.evaluate(dataset, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, abs=1e-6)


def test_masked_words_with_a_list_of_texts_for_validation() -> None:
    model = compile_for_task(make_model("BertForMaskedLM"))
    history = model.fit(TEXTS, validation_data=PAIRS, **QUIET).history
    assert np.isfinite(history["val_loss"]).all()


def test_a_bad_label_inside_a_dataset_is_named() -> None:
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, [*IDS[:-1], 7])).batch(4)
    with pytest.raises(InputError, match="batch 3 of the dataset, example 3: the label is 7"):
        compile_model(make_model()).fit(dataset, verbose=0)


@pytest.mark.slow
def test_a_dataset_of_unknown_size_that_ends_early() -> None:
    model = compile_model(make_model())
    dataset = tf.data.Dataset.from_generator(lambda: ONE_BATCH, output_signature=ONE_BATCH.element_spec)
    with pytest.warns(UserWarning, match="Your input ran out of data"):
        model.fit(dataset, steps_per_epoch=9, verbose=0)
    assert int(model.optimizer.iterations) == 3


def test_generators() -> None:
    """Those of ids lose nothing; those of strings are refused."""
    model = compile_model(make_model())
    ids = model.tokenizer(TEXTS)
    batches = ((ids, np.array(IDS)) for _ in range(2))
    model.fit(batches, shuffle=False, steps_per_epoch=2, verbose=0)
    assert int(model.optimizer.iterations) == 2
    with pytest.raises(InputError, match=r"a generator of strings; a list, an array or a tf.data.Dataset was expected"):
        model.fit(part for part in [(TEXTS, IDS)])
    with pytest.raises(
        InputError, match=r"inputs are strings; a call of the model takes ids.*model\.tokenizer\(texts\)"
    ):
        model(TEXTS)


def test_models_without_tokenizer_or_task() -> None:
    model = compile_model(make_model())
    model.tokenizer = None
    with pytest.raises(InputError, match=r"fit got strings, but this model has no tokenizer\. Assign one to"):
        model.fit(TEXTS, IDS)
    with pytest.raises(InputError, match=r"predict of BertModel takes no strings.*model\.tokenizer\(texts\)"):
        make_model("BertModel").predict(TEXTS)
    with pytest.raises(InputError, match=r"predict takes no strings for embedding: 'model\.encode\(texts\)'"):
        make_model("BertForSentenceEmbedding").predict(TEXTS)
    with pytest.raises(InputError, match="finetune is not available for pretraining: 'keras-bert pretrain'"):
        compile_model(make_model("BertForPreTraining")).fit(TEXTS)


def test_a_checkpoint_without_tokenizer(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    model = models.BertForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor vocab\.txt.* Assign one to model\.tokenizer"):
        model.predict(TEXTS)


def test_bad_labels_of_other_tasks() -> None:
    tagger = compile_for_task(make_model("BertForTokenClassification"))
    with pytest.raises(InputError, match="example 2 has 2 words and 1 tags"):
        tagger.fit([["ada", "was"], ["rome", "is"]], [[0, 1], [1]])
    with pytest.raises(InputError, match="example 1, word 2: the label is 'fine'"):
        tagger.fit([["ada", "was"]], [["good", "fine"]])
    reader = compile_for_task(make_model("BertForQuestionAnswering"))
    with pytest.raises(InputError, match="example 1: the context has 'ada ' at the character 0, not the answer 'rome'"):
        reader.fit((["where ?"], [CONTEXT]), [{"text": "rome", "answer_start": 0}])
    with pytest.raises(InputError, match="example 1: the answer is 'rome'; a dictionary with 'text' and"):
        reader.fit((["where ?"], [CONTEXT]), ["rome"])
    with pytest.raises(InputError, match="text 2 has more than 41 tokens, and becomes several rows"):
        reader.predict((["where ?", "who ?"], [CONTEXT, "long " * 60]))
    masker = compile_for_task(make_model("BertForMaskedLM"))
    with pytest.raises(InputError, match="there are labels, but masked-lm masks tokens of the texts itself"):
        masker.fit(TEXTS, IDS)


OTHER_BACKEND = """
import json, sys
import keras
from keras_bert_impl import BertForSequenceClassification

directory, texts, pairs, names, ids = json.loads(sys.argv[1])
model = BertForSequenceClassification.from_pretrained(directory)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.2), loss, weighted_metrics=["accuracy"])
quiet = {"batch_size": 4, "verbose": 0}
found = model.fit(texts, names, shuffle=False, epochs=2, validation_data=(pairs, ids), **quiet).history
found["evaluation"] = model.evaluate(pairs, names, **quiet)
found["logits"] = model.predict((texts, pairs), **quiet)["logits"].tolist()
if keras.backend.backend() != "torch":  # torch may crash in one process with TensorFlow.
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices({"text": texts, "label": names}).batch(4)
    found["stream"] = model.fit(dataset, verbose=0).history["loss"]
found["epochs"] = len(model.fit(texts, ids, epochs=2, **quiet).history["loss"])
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_compute_the_same(backend: str, tmp_path: Path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    arguments = json.dumps([str(tmp_path), TEXTS, PAIRS, NAMES, IDS])
    results = []
    for name in ("tensorflow", backend):
        command = [sys.executable, "-c", OTHER_BACKEND, arguments]
        done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": name}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout.splitlines()[-1]))
    expected, found = results
    for key, values in found.items():
        np.testing.assert_allclose(values, expected[key], atol=1e-4, err_msg=key)
