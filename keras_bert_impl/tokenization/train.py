"""Training of vocabularies."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import new_directory
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# Where BERT's own vocabularies have them. The places between are [unused0] and so on, for tokens of one's own.
_SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_FIRST = 104
# Characters that get a token; rarer ones make a word unknown. As many as the published vocabularies have about.
_CHARACTERS = 1000


def train_vocabulary(
    texts: Iterable[str], output: str | Path, *, size: int, do_lower_case: bool = True, min_frequency: int = 2
) -> BertTokenizer:
    """Makes a WordPiece vocabulary of texts, and writes ``vocab.txt``, ``tokenizer.json`` and its settings.

    ``[PAD]`` has the id 0, ``[UNK]``, ``[CLS]``, ``[SEP]`` and ``[MASK]`` have 100 to 103, as in the published
    vocabularies; the ids between are ``[unused0]`` to ``[unused98]``.

    Args:
        texts: the texts, gone through once.
        output: the directory to write; must not exist or be empty.
        size: how many tokens the vocabulary has, at most.
        do_lower_case: whether text is lower-cased and loses its accents.
        min_frequency: how often two pieces stand side by side, at least, to become one.

    Raises:
        InputError: the texts have no words, or more characters than the size has room for.

    >>> train_vocabulary(open("novels.txt"), "runs/vocabulary", size=8000)  # doctest: +SKIP
    """
    if size <= _FIRST:
        raise InputError(f"size is {size}; more than {_FIRST} was expected, for so many ids are special or unused.")
    with new_directory(Path(output)) as directory:
        learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
        learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=size - _FIRST,
            min_frequency=min_frequency,
            limit_alphabet=min(_CHARACTERS, (size - _FIRST) // 2),
            continuing_subword_prefix="##",
            show_progress=False,
        )
        learner.train_from_iterator(_batches(texts), trainer)
        learned = learner.get_vocab()
        if not learned:
            raise InputError("The texts have no words to make a vocabulary of.")
        tokens = [f"[unused{number - 1}]" for number in range(_FIRST)]
        for token, place in _SPECIAL.items():
            tokens[place] = token
        tokens += sorted(learned, key=learned.__getitem__)
        tokenizer = BertTokenizer(tokens, do_lower_case=do_lower_case)
        tokenizer.save_pretrained(directory)
    return tokenizer


def _batches(texts: Iterable[str], size: int = 1000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch
