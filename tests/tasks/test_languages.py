"""Tasks, views and shards of models whose tokenizers are not BERT's: MeCab's words, and SentencePiece."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from languages import JAPANESE, SPECIAL, make_japanese_vocabulary
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import PretrainingBatches, prepare
from keras_bert_impl.data.objective import Objective
from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.data.tag_schemes import find_entities
from keras_bert_impl.interpret import attend, compute_word_vectors
from keras_bert_impl.models import BertForSequenceClassification
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.words import encode_row
from keras_bert_impl.tokenization import BertJapaneseTokenizer, BertTokenizer, UnigramTokenizer

# For each tokenizer, a question and a context with characters that normalization changes, and the answer.
QUESTIONS = {
    "Japanese": ("何を見た？", "ＤＶＤで①本の映画を㍻の終わりにみた。ｶﾞｯｶﾘした！", "映画を㍻"),
    "Unigram": ("what film", "a  good film, a ﬁne ﬁlm and films", "ﬁne ﬁlm"),
}


def make_tokenizer(kind: str) -> BertTokenizer:
    if kind == "Japanese":
        vocabulary = make_japanese_vocabulary(JAPANESE, words=60)
        return BertJapaneseTokenizer(vocabulary, word_tokenizer_type="mecab")
    pieces = [*"▁goodfilmsewhatandneﬁ,", "▁film", "▁a", "▁the", "▁good", "ﬁlm", "▁ﬁ", "ne"]
    vocabulary = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    vocabulary += [(piece, -1.0 - 1 / len(piece)) for piece in dict.fromkeys(pieces)]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return UnigramTokenizer(backend.to_str())


def make_config(tokenizer: BertTokenizer, **changes: Any) -> BertConfig:
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17}
    return BertConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=61, **sizes, **changes)


@pytest.mark.parametrize("kind", QUESTIONS)
def test_answers_and_words_are_parts_of_the_original_text(kind: str) -> None:
    tokenizer = make_tokenizer(kind)
    question, context, answer = QUESTIONS[kind]
    task, start = TASKS["question-answering"], context.index(answer)
    columns = {
        "id": ["1"],
        "question": [question],
        "context": [context],
        "answers": [{"text": [answer], "answer_start": [start]}],
    }
    config = make_config(tokenizer)
    features = task.encode(columns, tokenizer, config, max_length=61)
    first, last = (int(features.labels[name][0]) for name in ("start_logits", "end_logits"))
    characters = features.alignment["characters"][0]
    found = context[characters[first, 0] : characters[last, 1]]
    assert first > 0
    assert found == answer
    logits = np.full((2, len(characters)), -9.0)
    logits[0, first] = logits[1, last] = 9.0
    (prediction,) = task.decode({"start_logits": logits[:1], "end_logits": logits[1:]}, features, columns, config)
    assert (prediction["answer"], prediction["start"]) == (answer, start)

    row = encode_row(tokenizer, config, question, context)
    for segment, text in enumerate((question, context)):
        words = [word for word in row.words if word.segment == segment and not word.is_special]
        assert [text[word.begin : word.end] for word in words] == [word.text for word in words]
        assert "".join("".join(word.text for word in words).split()) == "".join(text.split())
    assert row.find("映画" if kind == "Japanese" else "FILMS")
    assert [word.text for word in row.words if word.is_special] == (
        [*SPECIAL[2:4], "[SEP]"] if kind == "Japanese" else ["<s>", "</s>", "</s>", "</s>"]
    )


@pytest.mark.parametrize("kind", ["Japanese", pytest.param("Unigram", marks=pytest.mark.slow)])
def test_fit_save_and_look_inside(kind: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    tokenizer = make_tokenizer(kind)
    question, context, _ = QUESTIONS[kind]
    model = BertForSequenceClassification(make_config(tokenizer, id2label={0: "bad", 1: "good"}))
    model.tokenizer = tokenizer
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit([question, context] * 4, ["bad", "good"] * 4, batch_size=4, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    opened = BertForSequenceClassification.from_pretrained(tmp_path)
    assert type(opened.tokenizer) is type(tokenizer)
    expected = keras.ops.convert_to_numpy(model(tokenizer([question, context]))["logits"])
    predictions = Predictor(tmp_path).predict_texts([question, context])
    scores = [list(prediction["scores"].values()) for prediction in predictions]
    np.testing.assert_allclose(scores, np.exp(expected) / np.exp(expected).sum(1, keepdims=True), atol=1e-6)
    word = "映画" if kind == "Japanese" else "good"
    vectors = compute_word_vectors(model, tokenizer, [context], word)
    assert vectors.vectors.shape == (1, 3, 12)
    view = attend(model, tokenizer, question, context)
    assert view.attentions.shape == (2, 3, len(view.row), len(view.row))
    assert view.make_page().segments.count(1) == len(tokenizer.tokenize(context)) + (kind == "Japanese")


def test_tags_of_japanese_words(tmp_path: Path) -> None:
    tokenizer = make_tokenizer("Japanese")
    text = "東京タワーで映画を見た。"
    spans = {"text": text, "label": [[0, 5, "place"], [6, 8, "thing"]]}
    (tmp_path / "spans.jsonl").write_text(json.dumps(spans), encoding="utf-8")
    (example,) = TASKS["tagging"].read_examples(tmp_path / "spans.jsonl")
    entities = find_entities(example["label"])
    found = [text[example["spans"][first][0] : example["spans"][last - 1][1]] for _, first, last in entities]
    assert found == ["東京タワー", "映画"]
    assert tokenizer.split_words(text) == ["東京", "タワー", "で", "映画", "を", "見", "た", "。"]

    columns = {"words": [["ＤＶＤ", "で", "映画", "を", "見た"]], "label": [["B-x", "O", "B-x", "O", "O"]]}
    config = make_config(tokenizer, id2label={0: "O", 1: "B-x"})
    features = TASKS["tagging"].encode(columns, tokenizer, config, max_length=23)
    words = features.alignment["word"][0]
    assert words[words >= 0].tolist() == [0, 1, 2, 3, 4]
    assert features.labels["logits"][0][words >= 0].tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize("kind", QUESTIONS)
def test_shards_and_batches_for_pretraining(kind: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(kind)
    _, context, _ = QUESTIONS[kind]
    documents = [JAPANESE[i : i + 3] if kind == "Japanese" else [context] * 3 for i in range(4)]
    (tmp_path / "corpus.txt").write_text("\n\n".join("\n".join(lines) for lines in documents), encoding="utf-8")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    prepare([tmp_path / "corpus.txt"], tmp_path / "tokenizer", tmp_path / "shards", language="ja", workers=1)
    corpus = TokenCorpus(tmp_path / "shards")
    assert type(corpus.tokenizer) is type(tokenizer)
    assert len(corpus.sentence_starts) > 12
    objective = Objective(max_length=31, whole_words=True, packing=False)
    inputs, labels, weights = PretrainingBatches(corpus, batch_size=2, objective=objective, seed=1, steps=1)[0]
    row = inputs["input_ids"][0]
    assert row[0] == tokenizer.cls_token_id
    assert tokenizer.mask_token_id in inputs["input_ids"]
    masked = labels["prediction_logits"][weights["prediction_logits"] > 0]
    assert len(masked)
    assert not set(masked.tolist()) & set(tokenizer.special_token_ids)
