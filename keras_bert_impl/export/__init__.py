"""Exports for servers and other runtimes."""

from typing import TYPE_CHECKING, Any

from keras_bert_impl.export.formats import FORMATS, find_format

if TYPE_CHECKING:
    from keras_bert_impl.export.exporter import ExportReport, export_model

__all__ = ["FORMATS", "ExportReport", "export_model", "find_format"]


def __getattr__(name: str) -> Any:
    """Imports the exporter on first use, so that the names of the formats cost nothing."""
    if name in ("ExportReport", "export_model"):
        from keras_bert_impl.export import exporter

        return getattr(exporter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
