"""Reads and writes the files of a tokenizer: ``tokenizer.json`` or ``vocab.txt``, and its settings.

BERT's tokenizers in ``tokenizer.json`` become constructor arguments; other tokenizers are refused, with the reason.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from keras_bert_impl import files
from keras_bert_impl.errors import InputError
from keras_bert_impl.keras_formats import find_archive, is_serialized, read_config, read_tokenizer
from keras_bert_impl.sources import Source

SETTINGS = {"do_lower_case": bool, "strip_accents": bool | None, "tokenize_chinese_chars": bool}
SPECIAL_TOKENS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
# The settings of every tokenizer, and all settings of a BERT tokenizer.
COMMON = {**dict.fromkeys(SPECIAL_TOKENS, str), "model_max_length": int}
TYPES = {**SETTINGS, **COMMON}

# Classes whose vocab.txt is used with BERT's rules. Others (RoFormerTokenizer, …) find words in another way.
CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "PreTrainedTokenizer", "TokenizersBackend")

# transformers writes 1e30 if no limit is known.
NO_LIMIT = 10**9

# The settings of a BERT tokenizer. The model type may be missing: files of 2020 do not have it.
REQUIRED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("model", "type"): ("WordPiece", None),
    ("model", "continuing_subword_prefix"): ("##",),
    ("model", "max_input_chars_per_word"): (100,),
    ("normalizer", "type"): ("BertNormalizer",),
    ("normalizer", "clean_text"): (True,),
    ("pre_tokenizer", "type"): ("BertPreTokenizer",),
}


def read_arguments(source: Source) -> dict[str, Any]:
    """Reads the constructor arguments of the `BertTokenizer` of a source.

    ``tokenizer.json`` takes precedence over ``vocab.txt``, because only it contains added tokens with their flags. That
    of a KerasHub preset has other content, and the vocabulary is in a separate file.
    Settings in ``tokenizer_config.json`` take precedence over those in ``tokenizer.json``, as in transformers. The
    maximum length is that of ``tokenizer_config.json``, otherwise the model's number of positions.

    Raises:
        InputError: the source has neither file, or one that cannot be used.
    """
    if path := source.find_file("tokenizer.json"):
        content = files.read_json(path)
        if is_serialized(content):
            vocabulary_path, arguments = read_tokenizer(content, source, path)
            arguments["vocabulary"] = read_vocabulary(vocabulary_path)
        else:
            arguments = read_tokenizer_json(path)
    elif path := source.find_file("vocab.txt"):
        _check_class(source)
        arguments = read_vocabulary_arguments(source, path)
    else:
        raise InputError(
            f"{source.name} has neither tokenizer.json nor vocab.txt; a tokenizer needs one of them. Copy the files of "
            "the model's tokenizer there."
        )
    return arguments | read_settings(source, TYPES)


def read_vocabulary_arguments(source: Source, path: Path) -> dict[str, Any]:
    """Reads the vocabulary in the ``vocab.txt`` of a source, and the tokens added to it.

    Raises:
        InputError: a file cannot be used.
    """
    vocabulary = read_vocabulary(path)
    spellings = _read(source, "special_tokens_map.json") | _read(source, "tokenizer_config.json")
    return {"vocabulary": vocabulary, "added_tokens": _read_added_tokens(source, vocabulary, spellings)}


def read_settings(source: Source, names: Iterable[str]) -> dict[str, Any]:
    """Reads the settings of a tokenizer: those with the given names, special tokens, and the maximum length."""
    config = _read(source, "tokenizer_config.json")
    spellings = _read(source, "special_tokens_map.json") | config
    length = config.get("model_max_length", config.get("max_len"))
    if length is None or (isinstance(length, int | float) and length > NO_LIMIT):
        has_config = source.find_config() or find_archive(source)
        length = read_config(source)[1].get("max_position_embeddings") if has_config else None
    return (
        {key: config[key] for key in names if key in config and key not in COMMON}
        | {key: _get_spelling(spellings[key]) for key in SPECIAL_TOKENS if spellings.get(key)}
        | ({} if length is None else {"model_max_length": length})
    )


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Reads the constructor arguments of the `BertTokenizer` that a ``tokenizer.json`` describes.

    Padding and truncation are ignored: the caller chooses them, and published files contain all kinds of values.

    Raises:
        InputError: the tokenizers library cannot read the file, it does not describe a BERT tokenizer (the message
            names the differing key), or its ids have gaps.
    """
    content = files.read_json(path)
    try:
        Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # The library raises no narrower class.
        raise InputError(f"{path} is not a file that the tokenizers library can read: {error}.") from error
    content["normalizer"] = _unwrap(content.get("normalizer"))
    for (part, key), accepted in REQUIRED.items():
        value = (content.get(part) or {}).get(key)
        if value not in accepted:
            raise InputError(
                f"{path} does not describe a BERT tokenizer: {part}.{key} is {value!r}; {accepted[0]!r} was expected. "
                "Open the tokenizer in transformers, and give the model its ids."
            )
    try:
        vocabulary = sort_by_id(content["model"]["vocab"])
        added = make_added_tokens(vocabulary, content["added_tokens"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return {
        "vocabulary": vocabulary,
        "do_lower_case": content["normalizer"]["lowercase"],
        "strip_accents": content["normalizer"]["strip_accents"],
        "tokenize_chinese_chars": content["normalizer"]["handle_chinese_chars"],
        "unk_token": content["model"]["unk_token"],
        "added_tokens": added,
        **_read_post_processor(path, content.get("post_processor")),
    }


def write_files(
    directory: Path,
    *,
    settings: Mapping[str, Any],
    tokenizer_class: str = CLASSES[0],
    backend_json: str | None = None,
    vocabulary: Sequence[str] | None = None,
    added_tokens: Mapping[int, AddedToken] | None = None,
) -> None:
    """Writes the files of a tokenizer, each completely or not at all.

    Args:
        directory: created if needed; files with the same names are replaced, others are not changed.
        settings: the content of ``tokenizer_config.json`` without the class.
        tokenizer_class: the class that transformers opens the files with.
        backend_json: the content of ``tokenizer.json``; None if this class has no such file.
        vocabulary: tokens in id order, without tokens added after it; None if this class has no ``vocab.txt``.
        added_tokens: the special and added tokens by id, for a class without ``tokenizer.json``.
    """
    spellings = {key: settings[key] for key in SPECIAL_TOKENS}
    config = {"tokenizer_class": tokenizer_class, **settings}
    if vocabulary is not None:
        files.write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in vocabulary))
    if backend_json is not None:
        files.write_text(directory / "tokenizer.json", backend_json)
    if added_tokens is not None:
        config["added_tokens_decoder"] = {
            str(id): {"content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}
            for id, token in sorted(added_tokens.items())
        }
    files.write_text(directory / "special_tokens_map.json", files.to_json(spellings))
    files.write_text(directory / "tokenizer_config.json", files.to_json(config))


def check_types(settings: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Raises ``InputError`` for a setting of a wrong type."""
    for name, value in settings.items():
        if not isinstance(value, types[name]):
            expected = getattr(types[name], "__name__", types[name])
            raise InputError(f"{name} is {value!r} ({type(value).__name__}); {expected} was expected.")


def _read(source: Source, name: str) -> dict[str, Any]:
    """Reads a JSON file of a source as a dictionary, which is empty if the source has no such file."""
    path = source.find_file(name)
    return files.read_json(path) if path else {}


def _get_spelling(token: Any) -> Any:
    """Returns a token's spelling, which in some files is in a dictionary with flags."""
    return token.get("content") if isinstance(token, dict) else token


def _check_class(source: Source) -> None:
    name = _read(source, "tokenizer_config.json").get("tokenizer_class") or CLASSES[0]
    if str(name).removesuffix("Fast") not in CLASSES:
        raise InputError(
            f"{source.name}: tokenizer_config.json has tokenizer_class {name!r}, whose rules for vocab.txt are not "
            f"BERT's; one of {', '.join(CLASSES)} was expected. If BERT's rules apply, read the "
            "vocabulary and call BertTokenizer(vocabulary)."
        )


def _read_added_tokens(source: Source, vocabulary: list[str], spellings: Mapping[str, Any]) -> list[Any]:
    """Returns the tokens that transformers 4 added to a ``vocab.txt``, which are in one of two other files."""
    special = spellings.get("additional_special_tokens") or []
    try:
        entries = [{"id": int(id), **entry} for id, entry in spellings.get("added_tokens_decoder", {}).items()] or [
            {"content": token, "id": id, "special": token in special, "normalized": token not in special}
            for token, id in _read(source, "added_tokens.json").items()
        ]
        return make_added_tokens(vocabulary, entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source.name}: the added tokens in tokenizer_config.json or added_tokens.json cannot be used: {error}"
        ) from error


def _unwrap(normalizer: Any) -> Any:
    """Returns the only member of a sequence of normalizers; anything else is returned as it is.

    sentence-transformers puts ``Lowercase`` before a ``BertNormalizer``; both become one ``BertNormalizer`` that
    lower-cases, and that keeps accents if it kept them before.
    """
    match normalizer:
        case {"type": "Sequence", "normalizers": [only]}:
            return only
        case {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "BertNormalizer"} as bert]}:
            accents = bert["lowercase"] if bert["strip_accents"] is None else bert["strip_accents"]
            return {**bert, "lowercase": True, "strip_accents": accents}
    return normalizer


def _read_post_processor(path: Path, post_processor: dict[str, Any] | None) -> dict[str, str]:
    """Returns the spellings of [CLS] and [SEP] in the post-processor, which must add them as BERT does."""
    match post_processor:
        case None:
            return {}
        case {"type": "BertProcessing", "cls": [cls, _], "sep": [sep, _]}:
            return {"cls_token": cls, "sep_token": sep}
        case {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": cls, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": sep, "type_id": 0}},
            ] as single,
            "pair": [*first, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": last, "type_id": 1}}],
        } if first == single and last == sep:
            return {"cls_token": cls, "sep_token": sep}
    raise InputError(
        f"{path} does not describe a BERT tokenizer: its post_processor "
        f"({post_processor.get('type')}) does not make [CLS] a [SEP] b [SEP] with the types 0 0 0 1 1."
    )


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_vocabulary(path: Path) -> list[str]:
    r"""Reads the tokens of a ``vocab.txt``, one per line.

    Only ``\n`` ends a line: published vocabularies contain tokens like ``"\u2028"``, which `str.splitlines` would
    split.

    Raises:
        InputError: the file is missing, not UTF-8, empty, or contains a token twice (the message names both lines).
    """
    text = files.read_text(path).removesuffix("\n")
    if not text:
        raise InputError(f"{path} is empty; a vocabulary with one token per line was expected.")
    tokens = [line.removesuffix("\r") for line in text.split("\n")]
    if repeated := _find_repeated(tokens):
        first, second = repeated
        raise InputError(
            f"{path} has {tokens[first]!r} on line {first + 1} and on line {second + 1}. The line of a token is its "
            "id, so each must occur once. Rename the one that the model was not trained with."
        )
    return tokens


def sort_by_id(vocabulary: Sequence[str] | Mapping[str, int]) -> list[str]:
    """Returns the tokens of a list, or of a dictionary from token to id, as a list indexed by id.

    Raises:
        InputError: the list contains a token twice, or the dictionary's ids are not 0, 1, 2 … without gaps.
    """
    if isinstance(vocabulary, Mapping):
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        for expected, token in enumerate(tokens):
            if vocabulary[token] != expected:
                raise InputError(
                    f"The vocabulary's {len(tokens)} tokens need the ids 0 to {len(tokens) - 1}, each once, but "
                    f"{token!r} has {vocabulary[token]} instead of {expected}."
                )
        return tokens
    if repeated := _find_repeated(vocabulary):
        raise InputError(f"The vocabulary has {vocabulary[repeated[0]]!r} as id {repeated[0]} and as id {repeated[1]}.")
    return list(vocabulary)


def make_added_tokens(vocabulary: list[str], entries: Iterable[Mapping[str, Any]]) -> list[AddedToken]:
    """Added tokens in the order of their ids, made from dictionaries with ``content``, ``id`` and flags.

    Raises:
        InputError: an id is neither the token's id in the vocabulary nor continues the ids without a gap.
    """
    entries = sorted(entries, key=lambda entry: entry["id"])
    ids = {entry["content"]: entry["id"] for entry in entries} | {token: id for id, token in enumerate(vocabulary)}
    sort_by_id(ids)
    for entry in entries:
        if ids[entry["content"]] != entry["id"]:
            raise InputError(
                f"The added token {entry['content']!r} has id {entry['id']}, but its id in the vocabulary is "
                f"{ids[entry['content']]}. Both must be equal."
            )
    return [AddedToken(entry["content"], **{key: entry[key] for key in FLAGS if key in entry}) for entry in entries]


def looks_cased(vocabulary: Sequence[str]) -> bool:
    """Whether many tokens contain capitals, which lower-cased text never has; ``[CLS]`` and the like do not count."""
    unreachable = sum(token != token.lower() for token in vocabulary if not token.startswith("["))
    return unreachable > len(vocabulary) // 100


def _find_repeated(tokens: Iterable[str]) -> tuple[int, int] | None:
    """Returns the first and the second index of the first repeated token."""
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if seen.setdefault(token, index) != index:
            return seen[token], index
    return None
