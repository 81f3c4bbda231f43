"""What the pages of all views share."""

from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import write_text
from keras_bert_impl.interpret.view import Page, to_html
from keras_bert_impl.interpret.words import Row


def described(model: Any) -> str:
    """A model's class and size, for headings."""
    config = model.config
    return f"{type(model).__name__}, {config.num_hidden_layers} layers, {config.num_attention_heads} heads"


def of_row(row: Row) -> dict[str, Any]:
    """The fields of a `Page` that a row gives."""
    return {
        "tokens": row.tokens,
        "words": [(word.text, word.first, word.last) for word in row.words],
        "segments": row.inputs["token_type_ids"][0].tolist(),
    }


def title_of(row: Row) -> str:
    """The text, or both."""
    return row.text if row.text_pair is None else f"{row.text} | {row.text_pair}"


def save_page(page: Page, path: str | Path) -> None:
    """Writes a page as one HTML file.

    Raises:
        InputError: the path cannot be written.
    """
    try:
        write_text(Path(path), to_html(page))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
