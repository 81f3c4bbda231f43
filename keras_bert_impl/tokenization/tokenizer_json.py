"""Reading ``tokenizer.json``: BERT's tokenizers become constructor arguments, others are refused by name."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from keras_bert_impl import files
from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization.vocabulary import added_tokens, in_id_order

# What makes a tokenizer BERT's. A missing model type means the same: files of 2020 left it out.
REQUIRED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("model", "type"): ("WordPiece", None),
    ("model", "continuing_subword_prefix"): ("##",),
    ("model", "max_input_chars_per_word"): (100,),
    ("normalizer", "type"): ("BertNormalizer",),
    ("normalizer", "clean_text"): (True,),
    ("pre_tokenizer", "type"): ("BertPreTokenizer",),
}


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Constructor arguments of the `BertTokenizer` that the file describes.

    Padding and truncation are left out: they are the caller's, and published files hold all kinds of them.

    Raises:
        InputError: the file is not one of the tokenizers library, is not a BERT tokenizer (the differing key is named),
            or its ids have gaps.
    """
    content = files.read_json(path)
    try:
        Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises no narrower class
        raise InputError(f"{path} is not a file that the tokenizers library can read: {error}.") from error
    content["normalizer"] = _unwrapped(content.get("normalizer"))
    for (part, key), accepted in REQUIRED.items():
        found = (content.get(part) or {}).get(key)
        if found not in accepted:
            raise InputError(
                f"{path} does not describe a BERT tokenizer: {part}.{key} is {found!r}; {accepted[0]!r} was expected."
            )
    try:
        vocabulary = in_id_order(content["model"]["vocab"])
        added = added_tokens(vocabulary, content["added_tokens"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return {
        "vocabulary": vocabulary,
        "do_lower_case": content["normalizer"]["lowercase"],
        "strip_accents": content["normalizer"]["strip_accents"],
        "tokenize_chinese_chars": content["normalizer"]["handle_chinese_chars"],
        "unk_token": content["model"]["unk_token"],
        "added_tokens": added,
        **_frame(path, content.get("post_processor")),
    }


def _unwrapped(normalizer: Any) -> Any:
    """The only member of a sequence of normalizers, anything else as it is."""
    match normalizer:
        case {"type": "Sequence", "normalizers": [only]}:
            return only
    return normalizer


def _frame(path: Path, post_processor: dict[str, Any] | None) -> dict[str, str]:
    """The spellings of [CLS] and [SEP] in the post-processor, which must put them where BERT has them."""
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
        f"{path} does not describe a BERT tokenizer: its post_processor does not make [CLS] a [SEP] b [SEP] with the "
        "types 0 0 0 1 1."
    )
