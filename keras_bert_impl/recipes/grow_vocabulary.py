"""Gives a checkpoint tokens for the words of a corpus that its vocabulary splits into many pieces."""

from collections.abc import Iterable
from pathlib import Path

from keras_bert_impl.files import create_directory
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.frequent_words import FrequentWord, find_frequent_words


def grow_vocabulary(
    source: str | Path | Source, texts: Iterable[str], directory: str | Path, *, size: int = 500, min_count: int = 5
) -> list[FrequentWord]:
    """Adds the words of texts that save the most tokens to a checkpoint, and writes the larger checkpoint.

    Which words these are: see `find_frequent_words`. The words become tokens of WordPiece, with the ids after all
    others (`BertTokenizer.add_words`); their rows are the means of those of their pieces (`resize_token_embeddings`).
    All heads of the checkpoint are kept.

    Args:
        source: a directory, a weights file, a bundled model, or a hub name.
        texts: the texts, which are iterated once.
        directory: the directory to write; must be new or empty.
        size: the maximum number of words.
        min_count: how often a word must occur.

    Returns:
        the added words, those that save the most tokens first.

    Raises:
        InputError: the source cannot be used, there are no such words, or the directory has other content.

    >>> import tempfile
    >>> words = grow_vocabulary("bert-tiny-novels", ["A zany sitcom."] * 5, tempfile.mkdtemp())
    >>> [word.word for word in words]
    ['sitcom', 'zany']
    """
    with create_directory(Path(directory)) as temporary:
        tokenizer = BertTokenizer.from_pretrained(source)
        words = find_frequent_words(texts, tokenizer, size=size, min_count=min_count)
        _write(source, [word.word for word in words], temporary)
    return words


def add_words(source: str | Path | Source, words: Iterable[str], directory: str | Path) -> None:
    """Adds given words to a checkpoint, and writes the larger checkpoint; see `grow_vocabulary`.

    Args:
        source: a directory, a weights file, a bundled model, or a hub name.
        words: the words, as the tokenizer sees them.
        directory: the directory to write; must be new or empty.

    Raises:
        InputError: the source cannot be used, a word cannot be added (see `BertTokenizer.add_words`), or the directory
            has other content.

    >>> import tempfile
    >>> add_words("bert-tiny-novels", ["sitcom", "podcast"], tempfile.mkdtemp())
    """
    with create_directory(Path(directory)) as temporary:
        _write(source, words, temporary)


def _write(source: str | Path | Source, words: Iterable[str], directory: Path) -> None:
    """Writes a checkpoint with more words."""
    opened = open_source(source)
    tokenizer = BertTokenizer.from_pretrained(opened)
    before = len(tokenizer)
    tokenizer.add_words(words)
    model = find_model_class(opened).from_pretrained(opened)
    model.config.check_tokenizer(before)
    # A model may have more rows than its tokenizer has tokens.
    new_num_tokens = max(len(tokenizer), model.config.vocab_size)
    model = model.resize_token_embeddings(new_num_tokens, pieces=tokenizer.find_pieces(before))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
