"""The model that ships with the package: found by its name, offline, and as good as its card says."""

import re
import socket
from pathlib import Path

import numpy as np
import pytest

from keras_bert_impl import BertForPreTraining, BertModel, BertTokenizer
from keras_bert_impl.data import TokenCorpus, prepare
from keras_bert_impl.data.pretraining import Objective
from keras_bert_impl.prediction import fill_mask, next_sentence
from keras_bert_impl.sources import BUNDLED
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.pretraining import summarize_logs

NAME = "bert-tiny-novels"
CARD = (BUNDLED / NAME / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(not CARD, reason="the model is not trained yet")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in (BUNDLED / NAME).iterdir()) < 10e6


def test_every_model_takes_its_name() -> None:
    model = BertForPreTraining.from_pretrained(NAME)
    assert not model.load_report.list_names("newly initialized")
    tokenizer = BertTokenizer.from_pretrained(NAME)
    states = BertModel.from_pretrained(NAME)(tokenizer(["The sea."]))["last_hidden_state"]
    assert states.shape[-1] == model.config.hidden_size == 128
    assert len(tokenizer) == model.config.vocab_size == 8000


def test_it_fills_masks_with_fitting_words() -> None:
    """A fitting word is among the first five of the 8,000 tokens."""
    cases = {
        "The [MASK] of the house was open.": {"door", "window", "rest", "end", "front", "part", "lady"},
        "He shook his [MASK] and said nothing.": {"head", "hand", "hands"},
        "She was as happy [MASK] ever.": {"as", "than"},
    }
    for (text, words), masks in zip(cases.items(), fill_mask(NAME, list(cases), top_k=5), strict=True):
        assert words & set(masks[0]["tokens"]), (text, masks[0]["tokens"])


def test_it_predicts_the_next_sentence() -> None:
    first = "“And what did the doctor say to your mother?” asked Mr. Brown."
    follows, other = next_sentence(
        NAME,
        [first, first],
        ["“He said that she must not leave her room,” answered the girl.", "The fleet lay at anchor in the bay."],
    )
    assert follows > other


def read_metric(name: str) -> float:
    return float(re.search(rf"^\| {name} \| ([\d.]+) \|$", CARD, flags=re.MULTILINE)[1])


def test_the_card_says_what_a_reader_needs() -> None:
    for part in (
        "ELTeC",
        "CC BY 4.0",
        "keras-bert pretrain",
        "keras-bert prepare",
        "default_rng(",
        "minutes",
        "Apache-2.0",
    ):
        assert part in CARD, part
    assert 0.25 < read_metric("masked tokens: accuracy") < 0.6
    assert 0.6 < read_metric("next sentence: accuracy") < 1


@pytest.mark.slow
def test_it_is_as_good_as_its_card_says(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus is prepared again with its tokenizer; the documents that the card names were held out."""
    from keras_bert_impl.data import make_evaluation_data
    from keras_bert_impl.training.pretraining import make_held_out_batches

    prepare([shared_data / "eltec_eng"], NAME, tmp_path / "shards")
    corpus = TokenCorpus(tmp_path / "shards")
    seed = int(re.search(r"default_rng\((\d+)\)\.permutation\((\d+)\)", CARD)[1])
    _, held_out = corpus.split_documents(0.05, seed=seed)
    batches = make_held_out_batches(corpus, held_out, batch_size=32, objective=Objective(packing=True), seed=seed)
    model = BertForPreTraining.from_pretrained(NAME)
    model.compile(**TASKS["pretraining"].make_compile_arguments())
    metrics = summarize_logs(model.evaluate(make_evaluation_data(batches), verbose=0, return_dict=True))
    np.testing.assert_allclose(metrics["masked_accuracy"], read_metric("masked tokens: accuracy"), atol=3e-3)
    np.testing.assert_allclose(metrics["perplexity"], read_metric("masked tokens: perplexity"), rtol=1e-2)
    np.testing.assert_allclose(metrics["next_sentence_accuracy"], read_metric("next sentence: accuracy"), atol=1e-2)
