"""Pairs of segments: their documents, their lengths, and how often the second follows the first."""

from pathlib import Path

import numpy as np
import pytest
from corpora import make_corpus

from keras_bert_impl.data.pairs import Pairs, PairSampler
from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.errors import InputError

TOKENS = 61


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    return make_corpus(tmp_path_factory.mktemp("made"), documents=41, sentences=(3, 30), tokens=(2, 23))


@pytest.fixture(scope="module")
def documents(corpus: TokenCorpus) -> np.ndarray:
    """The numbers of all documents except every seventh."""
    return np.flatnonzero(np.arange(corpus.documents) % 7)


@pytest.fixture(scope="module")
def pairs(corpus: TokenCorpus, documents: np.ndarray) -> Pairs:
    sampler = PairSampler(corpus, documents, tokens=TOKENS)
    draws = [sampler.draw(np.random.default_rng(seed), np.arange(len(sampler)), short=0.1) for seed in range(60)]
    return Pairs(*(np.concatenate([getattr(d, part) for d in draws], axis=-1) for part in ("start", "length", "label")))


def find_documents(corpus: TokenCorpus, token: np.ndarray) -> np.ndarray:
    starts = corpus.sentence_starts[corpus.document_starts]
    return np.searchsorted(starts, token, side="right") - 1


def test_each_segment_is_in_one_document(corpus: TokenCorpus, documents: np.ndarray, pairs: Pairs) -> None:
    assert (pairs.length >= 1).all()
    first = find_documents(corpus, pairs.start)
    last = find_documents(corpus, pairs.start + pairs.length - 1)
    np.testing.assert_array_equal(first, last)
    assert set(first.ravel().tolist()) <= set(documents.tolist())
    # Consecutive segments are in the same document, others in different ones.
    np.testing.assert_array_equal(first[0] == first[1], pairs.label == 0)


def test_a_following_segment_begins_with_a_sentence_after_the_first(corpus: TokenCorpus, pairs: Pairs) -> None:
    """Without truncation the second begins where the first ends; truncated tokens are between them."""
    real = pairs.label == 0
    gap = pairs.start[1, real] - (pairs.start[0, real] + pairs.length[0, real])
    assert (gap >= 0).all()
    assert (gap == 0).mean() > 0.2
    touching = pairs.start[1, real][gap == 0]
    assert np.isin(touching, corpus.sentence_starts).all()
    # The gap is at most what was truncated of the sentences that exceeded the length.
    assert gap.max() < 2 * 23


def test_nine_tenths_of_the_pairs_have_the_full_length(pairs: Pairs) -> None:
    total = pairs.length.sum(axis=0)
    assert total.max() == TOKENS
    assert total.min() >= 2
    full = (total == TOKENS).mean()
    assert 0.6 < full < 0.91  # The ends of documents are shorter too.


def test_half_of_the_pairs_are_consecutive(pairs: Pairs) -> None:
    """Chunks of a single sentence are rare in this corpus."""
    fraction = pairs.label.mean()
    assert abs(fraction - 0.5) < 4 * 0.5 / np.sqrt(len(pairs)) + 0.05
    assert 0.48 < fraction < 0.56


def test_short_lengths_are_uniform(corpus: TokenCorpus, documents: np.ndarray) -> None:
    sampler = PairSampler(corpus, documents, tokens=TOKENS)
    draws = [sampler.draw(np.random.default_rng(s), np.arange(len(sampler)), short=1.0) for s in range(40)]
    total = np.concatenate([draw.length.sum(axis=0) for draw in draws])
    # Uniform from 2 on, except that the ends of documents make some long pairs shorter.
    counts = np.histogram(total, bins=[2, 12, 22, 32, 42])[0] / len(total)
    np.testing.assert_allclose(counts, 10 / (TOKENS - 1), rtol=0.25)


def test_every_chunk_begins_where_the_previous_one_ends(corpus: TokenCorpus) -> None:
    sampler = PairSampler(corpus, np.arange(corpus.documents), tokens=TOKENS)
    first, stop = sampler._first, sampler._stop
    np.testing.assert_array_equal(np.r_[stop[:-1], len(corpus.sentence_starts) - 1], np.r_[first[1:], stop[-1]])
    lengths = corpus.sentence_starts[stop] - corpus.sentence_starts[first]
    is_end = np.isin(stop, corpus.document_starts)
    assert (lengths[~is_end] >= TOKENS).all()


def test_truncation_shortens_the_longer_segment(corpus: TokenCorpus) -> None:
    """The rule of the published code, applied token by token."""
    draw = np.random.default_rng(3)
    length = draw.integers(1, 90, (2, 500))
    limits = draw.integers(2, 120, 500)
    pairs = Pairs(np.full((2, 500), 1000), length, np.zeros(500, int)).truncate(draw, limits)
    for (a, b), limit, lengths in zip(length.T.tolist(), limits.tolist(), pairs.length.T.tolist(), strict=True):
        while a + b > limit:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        assert lengths == [a, b]
    removed = length - pairs.length
    front = pairs.start - 1000
    assert ((front >= 0) & (front <= removed)).all()
    assert abs((front[removed > 0] / removed[removed > 0]).mean() - 0.5) < 0.05


def test_a_document_of_one_sentence_is_followed_by_another_document(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, documents=5, sentences=(1, 2), tokens=(3, 9))
    sampler = PairSampler(corpus, np.arange(corpus.documents), tokens=TOKENS)
    pairs = sampler.draw(np.random.default_rng(1), np.arange(len(sampler)), short=0.0)
    assert (pairs.label == 1).all()
    assert (find_documents(corpus, pairs.start[0]) != find_documents(corpus, pairs.start[1])).all()


def test_one_document_is_not_enough(corpus: TokenCorpus) -> None:
    with pytest.raises(InputError, match=r"needs at least two documents; there is 1\. An empty line ends a document"):
        PairSampler(corpus, np.array([3]), tokens=TOKENS)
