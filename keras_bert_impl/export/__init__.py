"""Exports for servers and other runtimes."""

from keras_bert_impl.export.exporter import Exported, export_model
from keras_bert_impl.export.formats import FORMATS, format_of

__all__ = ["FORMATS", "Exported", "export_model", "format_of"]
