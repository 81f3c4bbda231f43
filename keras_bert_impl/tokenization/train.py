"""Trains WordPiece vocabularies."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import create_directory
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# The ids in BERT's own vocabularies. The ids between them are [unused0] and so on, for users' own tokens.
_SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_FIRST = 104
# The maximum number of letters that get tokens, at the start of words and inside; rarer letters make a word unknown.
# The published vocabularies have about as many. Characters that are words by themselves (Chinese ones) do not count.
_MAX_LETTERS = 1000
# Words of more than 100 letters are unknown to every tokenizer and slow down training: they are omitted. Chinese
# text, which has no spaces, is not.
_LONG_WORD = re.compile(r"[^\W\u3400-\u9fff\uf900-\ufaff]{101,}")


def train_vocabulary(
    texts: Iterable[str], output: str | Path, *, size: int, do_lower_case: bool = True, min_frequency: int = 2
) -> BertTokenizer:
    """Trains a WordPiece vocabulary on texts, and writes ``vocab.txt``, ``tokenizer.json`` and its settings.

    ``[PAD]`` has the id 0, ``[UNK]``, ``[CLS]``, ``[SEP]`` and ``[MASK]`` have the ids 100 to 103, as in the published
    vocabularies; the ids between them are ``[unused0]`` to ``[unused98]``.

    Args:
        texts: the texts, which are iterated twice: a list, for example, not a generator.
        output: the directory to write; must be new or empty.
        size: the maximum number of tokens.
        do_lower_case: whether text is lower-cased and accents are removed.
        min_frequency: the min. number of times that two pieces must be adjacent to be merged.

    Raises:
        InputError: the texts contain no words, or can be iterated only once.

    >>> train_vocabulary(["Good films are rare."] * 9, "vocabulary", size=130).convert_tokens_to_ids("[MASK]")
    103
    """
    if iter(texts) is texts:
        raise InputError("texts is an iterator, which can be read only once; a list or another iterable was expected.")
    if size <= _FIRST:
        raise InputError(
            f"size is {size}; more than {_FIRST} was expected, because the first {_FIRST} ids are reserved."
        )
    with create_directory(Path(output)) as directory:
        learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
        learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        letters = _find_letters(texts, learner, max_letters=(size - _FIRST) // 2)
        if not letters:
            raise InputError("The texts contain no words; texts with words were expected.")
        trainer = trainers.WordPieceTrainer(
            vocab_size=size - _FIRST,
            min_frequency=min_frequency,
            initial_alphabet=letters,
            limit_alphabet=len(letters),
            # Fixes the order: the library's order differs between runs, and decides between equally frequent pieces.
            special_tokens=[*letters, *(f"##{letter}" for letter in letters if _can_continue_words(letter, learner))],
            continuing_subword_prefix="##",
            show_progress=False,
        )
        learner.train_from_iterator(_make_batches(texts), trainer)
        learned = learner.get_vocab()
        tokens = [f"[unused{number - 1}]" for number in range(_FIRST)]
        for token, id in _SPECIAL.items():
            tokens[id] = token
        tokens += sorted(learned, key=learned.__getitem__)
        tokenizer = BertTokenizer(tokens, do_lower_case=do_lower_case)
        tokenizer.save_pretrained(directory)
    return tokenizer


def _find_letters(texts: Iterable[str], learner: Tokenizer, *, max_letters: int) -> list[str]:
    """Returns the most frequent characters of the normalized texts, sorted."""
    raw: Counter[str] = Counter()
    for batch in _make_batches(texts):
        raw.update("".join(batch))
    counts: Counter[str] = Counter()
    for character, count in raw.items():
        for letter in learner.normalizer.normalize_str(character):
            counts[letter] += 0 if letter.isspace() else count
    frequent = sorted((letter for letter in counts if counts[letter]), key=lambda letter: (-counts[letter], letter))
    rare = {*[letter for letter in frequent if _can_continue_words(letter, learner)][_MAX_LETTERS:]}
    return sorted(letter for letter in frequent[:max_letters] if letter not in rare)


def _can_continue_words(letter: str, learner: Tokenizer) -> bool:
    """Whether a character can be inside a word."""
    return len(learner.pre_tokenizer.pre_tokenize_str(learner.normalizer.normalize_str(f"a{letter}a"))) == 1


def _make_batches(texts: Iterable[str], size: int = 1 << 18) -> Iterator[list[str]]:
    """Yields lists of texts with many characters each."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(_LONG_WORD.sub(" ", text))
        characters += len(text)
        if characters >= size:
            yield batch
            batch, characters = [], 0
    yield batch
