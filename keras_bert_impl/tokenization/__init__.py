"""Tokenizers of BERT models: convert text to token ids and back."""

from keras_bert_impl.tokenization.auto import AutoTokenizer
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer
from keras_bert_impl.tokenization.japanese import BertJapaneseTokenizer
from keras_bert_impl.tokenization.unigram import UnigramTokenizer

__all__ = ["AutoTokenizer", "BertJapaneseTokenizer", "BertTokenizer", "UnigramTokenizer"]
