"""Question answering, compared with plain versions of the published scripts' rules, on real questions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Encoding, Tokenizer
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Features, Ragged, read_squad
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.question_answering import may_have_no_answer
from keras_bert_impl.tasks.squad_metrics import normalize
from keras_bert_impl.tokenization import BertTokenizer

TASK = TASKS["question-answering"]
ALWAYS = {"text": ["x"], "answer_start": [0]}
NEVER = {"text": [], "answer_start": []}


@pytest.fixture(scope="module")
def xquad(shared_data: Path) -> Columns:
    return read_squad(shared_data / "xquad_en" / "xquad.en.json")


@pytest.fixture
def config() -> BertConfig:
    return BertConfig.preset(
        "tiny", vocab_size=30522, **TASK.make_config_changes(TASK.find_labels({"answers": [ALWAYS]}))
    )


@pytest.fixture
def config_v2() -> BertConfig:
    columns = {"answers": [ALWAYS, NEVER]}
    changes = {
        **TASK.make_config_changes(TASK.find_labels(columns)),
        "extra": TASK.make_config_extra(columns, max_length=23),
    }
    return BertConfig.preset("tiny", vocab_size=30522, **changes)


def encode_windows(minilm: Path, columns: Columns, *, max_length: int, stride: int) -> list[list[Encoding]]:
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, stride=stride, strategy="only_second")
    pairs = list(zip(columns["question"], columns["context"], strict=True))
    return [[encoding, *encoding.overflowing] for encoding in tokenizer.encode_batch(pairs)]


def find_labels_like_run_qa(encoding: Encoding, start: int, end: int) -> tuple[int, int]:
    """The rule of transformers' examples/pytorch/question-answering/run_qa.py."""
    first = encoding.sequence_ids.index(1)
    last = len(encoding.ids) - 2
    if encoding.offsets[first][0] > start or encoding.offsets[last][1] < end:
        return 0, 0
    while first < len(encoding.ids) - 1 and encoding.offsets[first][0] <= start:
        first += 1
    while encoding.offsets[last][1] >= end:
        last -= 1
    return first - 1, last + 1


@pytest.mark.parametrize("max_length", [160, 384])
def test_rows_and_labels_are_those_of_run_qa(
    minilm: Path, minilm_tokenizer: BertTokenizer, xquad: Columns, config: BertConfig, max_length: int
) -> None:
    # run_qa does not truncate questions: leave out the few that this package truncates.
    short = [i for i, text in enumerate(xquad["question"]) if len(minilm_tokenizer.tokenize(text)) <= max_length // 4]
    columns = {name: [values[i] for i in short] for name, values in xquad.items()}
    assert len(short) > 1180
    features = TASK.encode(columns, minilm_tokenizer, config, max_length=max_length)
    row = 0
    for example, encodings in enumerate(encode_windows(minilm, columns, max_length=max_length, stride=max_length // 3)):
        answers = columns["answers"][example]
        start = answers["answer_start"][0]
        for encoding in encodings:
            assert features.example[row] == example
            assert features.inputs["input_ids"][row].tolist() == encoding.ids
            assert features.inputs["token_type_ids"][row].tolist() == encoding.type_ids
            expected = find_labels_like_run_qa(encoding, start, start + len(answers["text"][0]))
            assert (features.labels["start_logits"][row], features.labels["end_logits"][row]) == expected
            row += 1
    assert row == len(features)


def make_confident_outputs(features: Features, *, height: float = 20.0) -> dict[str, Ragged]:
    """Logits that are highest at the labels, and higher in rows that contain the answer than in others."""
    offsets = features.inputs["input_ids"].offsets
    outputs = {}
    for name, labels in features.labels.items():
        flat = np.random.default_rng(1).normal(size=offsets[-1]).astype(np.float32)
        flat[offsets[:-1] + labels] = np.where(labels > 0, height, height / 2)
        outputs[name] = Ragged(flat, offsets)
    return outputs


def test_right_logits_give_the_answers_back(
    minilm_tokenizer: BertTokenizer, xquad: Columns, config: BertConfig
) -> None:
    features = TASK.encode(xquad, minilm_tokenizer, config, max_length=160)
    predictions = TASK.decode(make_confident_outputs(features), features, xquad, config)
    assert [prediction["id"] for prediction in predictions] == xquad["id"]
    for prediction, context, answers in zip(predictions, xquad["context"], xquad["answers"], strict=True):
        assert context[prediction["start"] : prediction["end"]] == prediction["answer"]
        # Tokens may be longer than the answer, as in "1970s" for "1970".
        assert normalize(answers["text"][0]) in normalize(prediction["answer"])
    metrics = TASK.score(predictions, xquad)
    assert metrics["exact_match"] > 0.97
    assert metrics["f1"] > 0.98


def find_best_span(start: np.ndarray, end: np.ndarray, characters: np.ndarray) -> tuple[int, int]:
    inside = np.flatnonzero(characters[:, 0] >= 0)
    sums = {(i, j): start[i] + end[j] for i in inside for j in inside if i <= j < i + 30}
    i, j = max(sums, key=sums.__getitem__)
    return int(characters[i, 0]), int(characters[j, 1])


def test_the_best_allowed_span_of_all_windows_is_chosen(letters: BertTokenizer, config: BertConfig) -> None:
    generator = np.random.default_rng(5)
    context = " ".join(generator.choice(list("abcdefgh"), 71))
    columns = TASK.from_texts(["a?"] * 6, [context] * 6)
    features = TASK.encode(columns, letters, config, max_length=48)
    offsets = features.inputs["input_ids"].offsets
    assert len(features) == 18
    outputs = {name: Ragged(generator.normal(size=offsets[-1]) * 3, offsets) for name in ("start_logits", "end_logits")}
    predictions = TASK.decode(outputs, features, columns, config)
    characters = features.alignment["characters"]
    for example, prediction in enumerate(predictions):
        best = []
        for row in np.flatnonzero(features.example == example):
            start, end = outputs["start_logits"][row], outputs["end_logits"][row]
            span = find_best_span(start, end, characters[row])
            first = characters[row][:, 0].tolist().index(span[0])
            last = characters[row][:, 1].tolist().index(span[1])
            best.append((start[first] + end[last], span))
        assert (prediction["start"], prediction["end"]) == max(best)[1]
        assert 0 < prediction["score"] <= 1


def predict_one_row(letters: BertTokenizer, config: BertConfig, start: list[float], end: list[float]) -> dict[str, Any]:
    """The prediction for the tokens [CLS] a ? [SEP] b c d [SEP]."""
    columns = TASK.from_texts(["a?"], ["b c d"])
    features = TASK.encode(columns, letters, config, max_length=24)
    offsets = features.inputs["input_ids"].offsets
    outputs = {"start_logits": Ragged(np.array(start), offsets), "end_logits": Ragged(np.array(end), offsets)}
    (prediction,) = TASK.decode(outputs, features, columns, config)
    json.dumps(prediction)
    return prediction


def test_scores_are_probabilities_among_the_candidates(letters: BertTokenizer, config: BertConfig) -> None:
    prediction = predict_one_row(letters, config, [9, 9, 9, 9, 1, 2, 0, 9], [9, 9, 9, 9, 5, 0, 1, 9])
    # Allowed: b 6, "b c" 1, "b c d" 2, c 2, "c d" 3, d 1; the question, [CLS] and [SEP] are not.
    expected = np.exp(6) / np.exp([6, 1, 2, 2, 3, 1]).sum()
    assert (prediction["answer"], prediction["start"], prediction["end"]) == ("b", 0, 1)
    assert prediction["score"] == pytest.approx(expected)


def test_no_answer_only_if_trained_for_it(letters: BertTokenizer, config: BertConfig, config_v2: BertConfig) -> None:
    start, end = [4, 0, 0, 0, 1, 2, 0, 0], [4, 0, 0, 0, 0, 3, 1, 0]
    assert predict_one_row(letters, config, start, end)["answer"] == "c"
    prediction = predict_one_row(letters, config_v2, start, end)
    assert (prediction["answer"], prediction["start"], prediction["end"]) == ("", None, None)
    assert predict_one_row(letters, config_v2, [2, *start[1:]], [2, *end[1:]])["answer"] == "c"


def test_no_answer_is_a_key_of_the_configuration(config: BertConfig, config_v2: BertConfig) -> None:
    """Named after the option of transformers' run_qa.py; public checkpoints lack it, and an option sets it."""
    assert config_v2.extra == {"version_2_with_negative": True}
    assert TASK.make_config_extra({"answers": [ALWAYS]}, max_length=23) == {"version_2_with_negative": False}
    assert not may_have_no_answer(config)
    assert may_have_no_answer(TASK.allow_no_answer(config, True))
    assert not may_have_no_answer(TASK.allow_no_answer(config_v2, False))
    with pytest.raises(InputError, match="the model is for tagging; 'no answer' is an option of question"):
        TASKS["tagging"].allow_no_answer(config, True)


def test_empty_contexts_have_no_answer(letters: BertTokenizer, config: BertConfig) -> None:
    columns = TASK.from_texts(["a?"], [""])
    features = TASK.encode(columns, letters, config, max_length=24)
    offsets = features.inputs["input_ids"].offsets
    outputs = {name: Ragged(np.zeros(offsets[-1]), offsets) for name in ("start_logits", "end_logits")}
    assert TASK.decode(outputs, features, columns, config) == [
        {"id": "0", "answer": "", "start": None, "end": None, "score": 0.0}
    ]


def test_long_questions_are_truncated(letters: BertTokenizer, config: BertConfig) -> None:
    columns = TASK.from_texts(["ab " * 200, "c"], ["d e"] * 2)
    features = TASK.encode(columns, letters, config, max_length=64)
    in_question = [int((features.inputs["token_type_ids"][row] == 0).sum()) - 2 for row in (0, 1)]
    assert in_question == [16, 1]
    assert features.lengths.tolist() == [21, 6]


def test_questions_without_answer_point_at_the_first_token(letters: BertTokenizer, config: BertConfig) -> None:
    columns = {
        **TASK.from_texts(["a?", "b?"], ["c d", "c d"]),
        "answers": [{"text": ["d"], "answer_start": [2]}, NEVER],
    }
    features = TASK.encode(columns, letters, config, max_length=24)
    assert features.labels["start_logits"].tolist() == features.labels["end_logits"].tolist() == [5, 0]


@run_in_torch_process
def compute_torch_cross_entropy(logits: np.ndarray, classes: np.ndarray) -> float:
    import torch

    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(classes).long()).item()


def test_the_loss_is_the_mean_of_both_cross_entropies() -> None:
    generator = np.random.default_rng(3)
    arguments = TASK.make_compile_arguments()
    total, expected = 0.0, 0.0
    for name in ("start_logits", "end_logits"):
        logits = generator.normal(size=(5, 11)).astype(np.float32) * 4
        labels = generator.integers(0, 11, 5).astype(np.int32)
        total += arguments["loss_weights"][name] * float(arguments["loss"][name](labels, logits))
        expected += compute_torch_cross_entropy(logits, labels) / 2
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_metrics_are_means_over_questions() -> None:
    columns = {"answers": [{"text": ["Denver Broncos"]}, {"text": ["x", "y"]}, NEVER]}
    predictions = [{"answer": "the Broncos"}, {"answer": "y"}, {"answer": "z"}]
    assert TASK.score(predictions, columns) == pytest.approx({"exact_match": 1 / 3, "f1": (2 / 3 + 1) / 3})


def test_questions_need_contexts() -> None:
    with pytest.raises(InputError, match="a question needs a context"):
        TASK.from_texts(["a?"])
