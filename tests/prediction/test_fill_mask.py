"""``fill_mask`` and ``next_sentence``, against transformers."""

import numpy as np
import pytest
import small
import torch
import transformers
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
    model = transformers.BertForMaskedLM.from_pretrained(pretrained).eval()
    found = fill_mask(pretrained, texts, top_k=3)
    assert [len(masks) for masks in found] == [1, 2]
    for text, masks in zip(texts, found, strict=True):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            scores = model(input_ids=ids).logits[0].softmax(-1)
        for place, mask in zip((ids[0] == tokenizer.token_to_id("[MASK]")).nonzero(), masks, strict=True):
            best = scores[place[0]].topk(3)
            assert mask["tokens"] == [tokenizer.id_to_token(id) for id in best.indices.tolist()]
            np.testing.assert_allclose(mask["scores"], best.values, rtol=1e-3)


def test_next_sentence_is_that_of_transformers(pretrained) -> None:
    firsts, seconds = ["a good film .", "it is bad"], ["the story is dull , and long", "i saw it"]
    tokenizer = BertWordPieceTokenizer(str(pretrained / "vocab.txt"))
    model = transformers.BertForNextSentencePrediction.from_pretrained(pretrained).eval()
    found = next_sentence(pretrained, firsts, seconds)
    for first, second, probability in zip(firsts, seconds, found, strict=True):
        pair = tokenizer.encode(first, second)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([pair.ids]), token_type_ids=torch.tensor([pair.type_ids])).logits
        np.testing.assert_allclose(probability, logits.softmax(-1)[0, 0], rtol=1e-3)


def test_a_text_without_a_mask(pretrained) -> None:
    with pytest.raises(InputError, match=r"'a film' has no \[MASK\] in its first tokens"):
        fill_mask(pretrained, ["a [MASK]", "a film"])


def test_a_model_without_the_head(small_bert) -> None:
    with pytest.raises(InputError, match=r"lacks cls\.predictions.*: it was not trained as BertForMaskedLM"):
        fill_mask(small_bert, ["a [MASK]"])
