"""Text to token ids and back, as BERT does it."""

from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

__all__ = ["BertTokenizer"]
