"""Training of vocabularies."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import new_directory
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# Where BERT's own vocabularies have them. The places between are [unused0] and so on, for tokens of one's own.
_SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_FIRST = 104
# Characters of words that get tokens, alone and inside of words; rarer ones make a word unknown. The published
# vocabularies have about as many. Characters that are words by themselves, as Chinese ones, are not among them.
_LETTERS = 1000
# Longer words are unknown to every tokenizer, and take the library's time: they are left out. Not so Chinese text.
_LONG_WORD = re.compile(r"[^\W\u3400-\u9fff\uf900-\ufaff]{101,}")


def train_vocabulary(
    texts: Iterable[str], output: str | Path, *, size: int, do_lower_case: bool = True, min_frequency: int = 2
) -> BertTokenizer:
    """Makes a WordPiece vocabulary of texts, and writes ``vocab.txt``, ``tokenizer.json`` and its settings.

    ``[PAD]`` has the id 0, ``[UNK]``, ``[CLS]``, ``[SEP]`` and ``[MASK]`` have 100 to 103, as in the published
    vocabularies; the ids between are ``[unused0]`` to ``[unused98]``.

    Args:
        texts: the texts, which are gone through twice: a list, say, no generator.
        output: the directory to write; must not exist or be empty.
        size: how many tokens the vocabulary has, at most.
        do_lower_case: whether text is lower-cased and loses its accents.
        min_frequency: how often two pieces stand side by side, at least, to become one.

    Raises:
        InputError: the texts have no words, or can be gone through only once.

    >>> train_vocabulary(["Good films are rare."] * 9, "vocabulary", size=130).convert_tokens_to_ids("[MASK]")
    103
    """
    if iter(texts) is texts:
        raise InputError("The texts can be gone through only once, as a generator; a list or the like was expected.")
    if size <= _FIRST:
        raise InputError(f"size is {size}; more than {_FIRST} was expected, for so many ids are special or unused.")
    with new_directory(Path(output)) as directory:
        learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
        learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        letters = _letters(texts, learner, most=(size - _FIRST) // 2)
        if not letters:
            raise InputError("The texts have no words to make a vocabulary of.")
        trainer = trainers.WordPieceTrainer(
            vocab_size=size - _FIRST,
            min_frequency=min_frequency,
            initial_alphabet=letters,
            limit_alphabet=len(letters),
            # Given in this order, for the library's own differs from run to run, and with it which of two pieces that
            # are as frequent is taken.
            special_tokens=[*letters, *(f"##{letter}" for letter in letters if _goes_on_words(letter, learner))],
            continuing_subword_prefix="##",
            show_progress=False,
        )
        learner.train_from_iterator(_batches(texts), trainer)
        learned = learner.get_vocab()
        tokens = [f"[unused{number - 1}]" for number in range(_FIRST)]
        for token, place in _SPECIAL.items():
            tokens[place] = token
        tokens += sorted(learned, key=learned.__getitem__)
        tokenizer = BertTokenizer(tokens, do_lower_case=do_lower_case)
        tokenizer.save_pretrained(directory)
    return tokenizer


def _letters(texts: Iterable[str], learner: Tokenizer, *, most: int) -> list[str]:
    """The most frequent characters of the texts once they are normalized, ascending."""
    raw: Counter[str] = Counter()
    for batch in _batches(texts):
        raw.update("".join(batch))
    counts: Counter[str] = Counter()
    for character, count in raw.items():
        for letter in learner.normalizer.normalize_str(character):
            counts[letter] += 0 if letter.isspace() else count
    frequent = sorted((letter for letter in counts if counts[letter]), key=lambda letter: (-counts[letter], letter))
    inside = [letter for letter in frequent if _goes_on_words(letter, learner)]
    return sorted([letter for letter in frequent[:most] if letter not in set(inside[_LETTERS:])])


def _goes_on_words(letter: str, learner: Tokenizer) -> bool:
    """Whether a character can stand inside of a word."""
    return len(learner.pre_tokenizer.pre_tokenize_str(learner.normalizer.normalize_str(f"a{letter}a"))) == 1


def _batches(texts: Iterable[str], size: int = 1 << 18) -> Iterator[list[str]]:
    """Texts, many characters at a time."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(_LONG_WORD.sub(" ", text))
        characters += len(text)
        if characters >= size:
            yield batch
            batch, characters = [], 0
    yield batch
