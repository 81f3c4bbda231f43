"""A tokenizer's files: ``tokenizer.json`` or ``vocab.txt``, and the settings beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl import files
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization.tokenizer_json import read_tokenizer_json
from keras_bert_impl.tokenization.vocabulary import added_tokens, read_vocabulary

SETTINGS = {"do_lower_case": bool, "strip_accents": bool | None, "tokenize_chinese_chars": bool}
SPECIAL_TOKENS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
TYPES = {**SETTINGS, **dict.fromkeys(SPECIAL_TOKENS, str), "model_max_length": int}

# Classes whose vocab.txt means BERT's rules. Others (BertJapaneseTokenizer, …) find words in another way.
CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "PreTrainedTokenizer", "TokenizersBackend")

# transformers writes 1e30 where no limit is known.
NO_LIMIT = 10**9


def read_arguments(source: Source) -> dict[str, Any]:
    """Constructor arguments of the `BertTokenizer` that a source holds.

    ``tokenizer.json`` goes before ``vocab.txt``, for it alone holds added tokens with their flags. Settings in
    ``tokenizer_config.json`` go before those in ``tokenizer.json``, as in transformers. The longest input is that of
    ``tokenizer_config.json``, else the model's number of positions.

    Raises:
        InputError: the source has neither file, or one that cannot be used.
    """
    config = _read(source, "tokenizer_config.json")
    spellings = _read(source, "special_tokens_map.json") | config
    if path := source.file("tokenizer.json"):
        arguments = read_tokenizer_json(path)
    elif path := source.file("vocab.txt"):
        _check_class(source, config)
        vocabulary = read_vocabulary(path)
        arguments = {"vocabulary": vocabulary, "added_tokens": _added_beside(source, vocabulary, spellings)}
    else:
        raise InputError(f"{source.name} has neither tokenizer.json nor vocab.txt; a tokenizer needs one of them.")
    length = config.get("model_max_length", config.get("max_len"))
    if length is None or (isinstance(length, int | float) and length > NO_LIMIT):
        length = (_read(source, "config.json") or _read(source, "bert_config.json")).get("max_position_embeddings")
    return (
        arguments
        | {key: config[key] for key in SETTINGS if key in config}
        | {key: _content(spellings[key]) for key in SPECIAL_TOKENS if spellings.get(key)}
        | ({} if length is None else {"model_max_length": length})
    )


def write_files(directory: Path, *, backend_json: str, vocabulary: list[str], settings: Mapping[str, Any]) -> None:
    """Writes ``tokenizer.json``, ``vocab.txt`` and the two files of settings, each whole or not at all.

    Args:
        directory: made if it does not exist; files of the same names are replaced, others stay.
        backend_json: the content of ``tokenizer.json``.
        vocabulary: tokens in id order, without those added behind it, which only ``tokenizer.json`` can hold.
        settings: what ``tokenizer_config.json`` holds beside the class.
    """
    spellings = {key: settings[key] for key in SPECIAL_TOKENS}
    files.write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in vocabulary))
    files.write_text(directory / "tokenizer.json", backend_json)
    files.write_text(directory / "special_tokens_map.json", files.to_json(spellings))
    config = {"tokenizer_class": "BertTokenizer", **settings}
    files.write_text(directory / "tokenizer_config.json", files.to_json(config))


def check_types(settings: Mapping[str, Any]) -> None:
    """Raises ``InputError`` for a setting that is not of its type."""
    for name, value in settings.items():
        if not isinstance(value, TYPES[name]):
            expected = getattr(TYPES[name], "__name__", TYPES[name])
            raise InputError(f"{name} is {value!r} ({type(value).__name__}); {expected} was expected.")


def _read(source: Source, name: str) -> dict[str, Any]:
    path = source.file(name)
    return files.read_json(path) if path else {}


def _content(token: Any) -> Any:
    """A token's spelling, which some files wrap in a dictionary with flags."""
    return token.get("content") if isinstance(token, dict) else token


def _check_class(source: Source, config: Mapping[str, Any]) -> None:
    name = config.get("tokenizer_class") or CLASSES[0]
    if str(name).removesuffix("Fast") not in CLASSES:
        raise InputError(
            f"{source.name}: tokenizer_config.json has tokenizer_class {name!r}, whose rules for vocab.txt are not "
            f"BERT's. Expected one of {', '.join(CLASSES)}. If BERT's rules are right all the same, read the "
            "vocabulary yourself and call BertTokenizer(vocabulary)."
        )


def _added_beside(source: Source, vocabulary: list[str], spellings: Mapping[str, Any]) -> list[Any]:
    """The tokens that transformers 4 added to a ``vocab.txt``, which it keeps in one of two other files."""
    special = spellings.get("additional_special_tokens") or []
    try:
        entries = [{"id": int(id), **entry} for id, entry in spellings.get("added_tokens_decoder", {}).items()] or [
            {"content": token, "id": id, "special": token in special, "normalized": token not in special}
            for token, id in _read(source, "added_tokens.json").items()
        ]
        return added_tokens(vocabulary, entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source.name}: the added tokens in tokenizer_config.json or added_tokens.json cannot be used: {error}"
        ) from error
