"""``fill_mask`` and ``next_sentence``, compared with transformers."""

import numpy as np
import pytest
import small
import transformers_models
from scipy.special import softmax
from tokenizers import BertWordPieceTokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import fill_mask, next_sentence


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]):
    directory = tmp_path_factory.mktemp("checkpoints") / "pretrained"
    return small.write_checkpoint(directory, film_texts[:1000], model="BertForPreTraining")


def test_fill_mask_is_that_of_transformers(pretrained) -> None:
    texts = ["a [MASK] film .", "the [MASK] of a [MASK] story is good"]
    tokenizer = BertWordPieceTokenizer(str(pretrained / "vocab.txt"))
    found = fill_mask(pretrained, texts, top_k=3)
    assert [len(masks) for masks in found] == [1, 2]
    for text, masks in zip(texts, found, strict=True):
        ids = np.array([tokenizer.encode(text).ids])
        theirs = transformers_models.compute_outputs(
            "BertForMaskedLM", pretrained, {"input_ids": ids}, allow_extra=True
        )
        scores = softmax(theirs["logits"][0], axis=-1)
        for position, mask in zip(np.flatnonzero(ids[0] == tokenizer.token_to_id("[MASK]")), masks, strict=True):
            best = np.argsort(-scores[position])[:3]
            assert mask["tokens"] == [tokenizer.id_to_token(id) for id in best.tolist()]
            np.testing.assert_allclose(mask["scores"], scores[position, best], rtol=1e-3)


def test_next_sentence_is_that_of_transformers(pretrained) -> None:
    firsts, seconds = ["a good film .", "it is bad"], ["the story is dull , and long", "i saw it"]
    tokenizer = BertWordPieceTokenizer(str(pretrained / "vocab.txt"))
    found = next_sentence(pretrained, firsts, seconds)
    for first, second, probability in zip(firsts, seconds, found, strict=True):
        pair = tokenizer.encode(first, second)
        arrays = {"input_ids": np.array([pair.ids]), "token_type_ids": np.array([pair.type_ids])}
        theirs = transformers_models.compute_outputs(
            "BertForNextSentencePrediction", pretrained, arrays, allow_extra=True
        )
        np.testing.assert_allclose(probability, softmax(theirs["logits"], axis=-1)[0, 0], rtol=1e-3)


def test_a_text_without_a_mask(pretrained) -> None:
    with pytest.raises(InputError, match=r"'a film' has no \[MASK\] in its first tokens"):
        fill_mask(pretrained, ["a [MASK]", "a film"])


def test_a_model_without_the_head(small_bert) -> None:
    with pytest.raises(InputError, match=r"lacks cls\.predictions.*: it was not trained as BertForMaskedLM"):
        fill_mask(small_bert, ["a [MASK]"])
