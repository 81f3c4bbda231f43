"""Common code of the formats that take ids: the conversion of the Keras model, and the README."""

import contextlib
import importlib
import json
import logging
import warnings
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import make_missing_error
from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.tasks.encoding import POOLING_MASK
from keras_bert_impl.tasks.windows import get_windows

_PAGE = """# {name}

Made by keras_bert_impl, for {title}, in {precision}. The model takes token ids, because this format has no strings. The
{tokenizer_files}, and the labels are in `config.json`.

    pip install {package} {tokenizer_package} numpy

```python
import numpy as np
{imports}
{tokenizer}{changes}{code}
for name, values in outputs.items():
    print(name, values.shape)
```

In the parent directory, `keras-bert predict {name} {arguments}` and `keras-bert evaluate` can run this
export.
"""


_RUST_TOKENIZER = """from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({truncation})
tokenizer.enable_padding(pad_id={pad_id})
{texts}
{rows}
inputs = {{
    "input_ids": np.array([row.ids for row in rows], np.int32){axis},
    "token_type_ids": np.array([row.type_ids for row in rows], np.int32){axis},
    "attention_mask": np.array([row.attention_mask for row in rows], np.int32){axis},
}}
"""
# For a class that the library lacks. A long text is truncated, also if the model reads windows.
_PYTHON_TOKENIZER = """from keras_bert_impl import BertTokenizer

tokenizer = BertTokenizer.from_pretrained(".")
{texts}
rows = tokenizer({columns}, max_length={max_length})
inputs = {{name: values{axis} for name, values in rows.items()}}
"""


def import_library(name: str, extra: str) -> Any:
    """Imports a module that an optional extra installs.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise make_missing_error(error, extra, user="this format") from error


def convert(contents: ExportContents, path: Path, format: str, **settings: Any) -> None:
    """Exports the Keras model in a format, with operations in the forms that converters recognize."""
    import tensorflow as tf

    from keras_bert_impl.ops.variants import use_variants

    names = contents.task.list_export_inputs(contents.config)
    specs = {name: tf.TensorSpec(contents.input_shape, tf.int32, name=name) for name in names}
    with use_variants("portable"), suppress_messages():
        contents.model.export(str(path), format=format, input_signature=[specs], verbose=False, **settings)


def select_inputs(inputs: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """Returns those inputs that an exported model has."""
    return {name: values for name, values in inputs.items() if name in names}


@contextlib.contextmanager
def suppress_messages() -> Iterator[None]:
    """Suppresses the warnings and log messages of converters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def make_runtime_guide(contents: ExportContents, *, title: str, package: str, imports: str, code: str) -> str:
    """Returns the README of an export.

    Args:
        contents: the export.
        title: the name of the runtime.
        package: the package to install.
        imports: its import statement.
        code: Python that computes ``outputs`` by name from ``inputs``.
    """
    texts: list[Any] = ["It was a great movie.", "A dull film."]
    if contents.task.needs_pair:
        texts = [(text, "I liked it.") for text in texts]
    code_of_texts = "texts = " + str(texts).replace("'", '"')
    changes, settings = "", contents.settings
    if prompts := contents.prompts:
        name = settings.default_prompt_name if settings.default_prompt_name in prompts else next(iter(prompts))
        listed, chosen = (json.dumps(value, ensure_ascii=False) for value in (prompts, name))
        code_of_texts = f"prompts = {listed}\nprompt = prompts[{chosen}]\n{code_of_texts}"
        code_of_texts += "\ntexts = [prompt + text for text in texts]"
    if POOLING_MASK in contents.task.list_export_inputs(contents.config):
        changes = """# The tokens of the prompt are not pooled. Without a prompt, all tokens are.
inputs["pooling_mask"] = inputs["attention_mask"].copy()
inputs["pooling_mask"][:, : len(tokenizer.encode(prompt).ids) - 1] = 0
"""
    truncation, rows = str(contents.max_length), "rows = tokenizer.encode_batch(texts)"
    if windows := get_windows(contents.config):
        strategy = ', strategy="only_second"' if contents.task.needs_pair else ""
        truncation += f", stride={windows.stride}{strategy}"
        rows = f"""# A long text has several rows: its windows, at most {windows.count}. Their logits are pooled.
windows = [[row, *row.overflowing][:{windows.count}] for row in tokenizer.encode_batch(texts)]
rows = [row for of_text in windows for row in of_text]"""
        pool = "max" if windows.pooling == "max" else "mean"
        code += f"""
ends = np.cumsum([len(of_text) for of_text in windows])
outputs["logits"] = np.stack([logits.{pool}(axis=0) for logits in np.split(outputs["logits"], ends[:-1])])"""
    if settings.truncate_dim:
        code += f'\noutputs["sentence_embedding"] = outputs["sentence_embedding"][:, :{settings.truncate_dim}]'
    first = "\t".join(texts[0]) if contents.task.needs_pair else texts[0]
    is_rust = contents.tokenizer.is_rust
    tokenizer = (_RUST_TOKENIZER if is_rust else _PYTHON_TOKENIZER).format(
        truncation=truncation,
        rows=rows,
        pad_id=contents.tokenizer.pad_token_id,
        texts=code_of_texts,
        columns="*map(list, zip(*texts))" if contents.task.needs_pair else "texts",
        max_length=contents.max_length,
        axis="" if contents.model.input_rank == 2 else "[:, None]",
    )
    return _PAGE.format(
        name=contents.name,
        title=title,
        precision=contents.precision,
        package=package,
        imports=imports,
        code=code,
        tokenizer=tokenizer,
        tokenizer_files="tokenizer is in `tokenizer.json`, for the `tokenizers` library"
        if is_rust
        else "tokenizer is in `vocab.txt` and `tokenizer_config.json`",
        tokenizer_package="tokenizers" if is_rust else "keras_bert_impl[japanese]",
        changes=changes,
        arguments=f'"{first}"' if "\t" not in first else "$'" + first.replace("\t", "\\t") + "'",
    )
