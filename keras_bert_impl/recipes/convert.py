"""Converts a checkpoint of any published format to a directory that transformers and this package open."""

from pathlib import Path
from typing import Any

from keras_bert_impl.checkpoints.matching import LoadReport
from keras_bert_impl.config import BertConfig
from keras_bert_impl.files import create_directory
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tasks.reranking_keys import read_activation
from keras_bert_impl.tokenization import BertTokenizer


def convert(
    source: str | Path | Source,
    directory: str | Path,
    *,
    revision: str | None = None,
    strict: bool = False,
    cased: bool | None = None,
    dtype: str = "float32",
    base: str | Path | None = None,
) -> LoadReport:
    """Reads a checkpoint with its heads, and writes it with its tokenizer, if it has one.

    Args:
        source: a directory, a weights file, a bundled model, or a hub name. An adapter is merged into its base.
        directory: the directory to write; must be new or empty.
        revision: branch, tag or commit of a hub name.
        strict: whether an unexpected tensor, which no BERT has, is an error.
        cased: whether the vocabulary is cased; None: as in the tokenizer's files, or uncased if they do not say.
        dtype: the dtype of the written weights: ``float32``, ``float16`` or ``bfloat16``.
        base: the base model of an adapter; None: the one that the adapter names.

    Returns:
        The load report: the status of each tensor.

    Raises:
        InputError: the source cannot be used, or the directory has other content.

    >>> print(convert("uncased_L-2_H-128_A-2", "bert-tiny"))  # doctest: +SKIP
    """
    opened = open_source(source, revision=revision, base=base)
    config = read_activation(opened, BertConfig.from_pretrained(opened))
    with create_directory(Path(directory)) as temporary:
        model = find_model_class(opened).from_pretrained(opened, strict=strict, extra=config.extra)
        model.save_pretrained(temporary, dtype=dtype)
        if opened.find_file("tokenizer.json") or opened.find_file("vocab.txt"):
            overrides: dict[str, Any] = {} if cased is None else {"do_lower_case": not cased}
            BertTokenizer.from_pretrained(opened, **overrides).save_pretrained(temporary)
    assert model.load_report is not None
    return model.load_report
