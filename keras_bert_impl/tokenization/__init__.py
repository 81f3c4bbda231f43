"""BERT's tokenizer: converts text to token ids and back."""

from keras_bert_impl.tokenization.auto import AutoTokenizer
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

__all__ = ["AutoTokenizer", "BertTokenizer"]
