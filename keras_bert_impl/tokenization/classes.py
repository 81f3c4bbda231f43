"""Finds the class of a tokenizer by its files."""

from keras_bert_impl import files
from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer
from keras_bert_impl.tokenization.japanese import BertJapaneseTokenizer
from keras_bert_impl.tokenization.unigram import UnigramTokenizer, is_unigram


def find_tokenizer_class(source: Source) -> type[BertTokenizer]:
    """Returns the class whose rules the tokenizer of a source follows.

    The files say it: ``tokenizer_class`` in ``tokenizer_config.json`` or ``config.json``, and the kind of the model in
    ``tokenizer.json``. `BertTokenizer` reads all others, or says why it cannot.

    Raises:
        InputError: a file is damaged.

    >>> from keras_bert_impl.sources import open_source
    >>> find_tokenizer_class(open_source("bert-tiny-novels")).__name__
    'BertTokenizer'
    """
    paths = (source.find_file("tokenizer_config.json"), source.find_config())
    names = [name for path in paths if path and (name := files.read_json(path).get("tokenizer_class"))]
    if names[:1] == [BertJapaneseTokenizer.__name__]:
        return BertJapaneseTokenizer
    return UnigramTokenizer if is_unigram(source) else BertTokenizer
