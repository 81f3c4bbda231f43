"""The Rust tokenizer with BERT's rules, and its results as flat arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization.pretrained import SPECIAL_TOKENS


def build_backend(
    vocabulary: Sequence[str], *, settings: Mapping[str, Any], added_tokens: Sequence[AddedToken]
) -> Tokenizer:
    """The Rust tokenizer; it neither pads nor truncates.

    Args:
        vocabulary: tokens in id order.
        settings: the arguments of `BertTokenizer` for the normalizer and the spellings of the special tokens.
        added_tokens: found in text before it is split into words; new ones get the ids behind the vocabulary.

    Raises:
        InputError: special tokens are neither in the vocabulary nor added (all missing ones are named).
    """
    words = {token: id for id, token in enumerate(vocabulary)}
    added = [token.content for token in added_tokens]
    ids = {token: id for id, token in enumerate(dict.fromkeys([*vocabulary, *added]))}
    special = {name: settings[name] for name in SPECIAL_TOKENS}
    # WordPiece itself needs the unknown token, so adding it is not enough.
    missing = [name for name, token in special.items() if token not in (words if name == "unk_token" else ids)]
    if missing:
        named = ", ".join(f"{name} {special[name]!r}" for name in missing)
        raise InputError(
            f"The vocabulary of {len(words)} tokens lacks {named}. If it has other spellings, name them: {missing[0]}=…"
        )
    backend = Tokenizer(models.WordPiece(words, unk_token=special["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings["tokenize_chinese_chars"],
        strip_accents=settings["strip_accents"],
        lowercase=settings["do_lower_case"],
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.add_tokens([AddedToken(token, special=True) for token in special.values() if token not in added])
    backend.add_tokens(list(added_tokens))
    cls, sep = ((special[name], ids[special[name]]) for name in ("cls_token", "sep_token"))
    backend.post_processor = processors.BertProcessing(sep, cls)
    return backend


def without_special_token_matching(backend: Tokenizer) -> Tokenizer:
    """A copy to which ``[SEP]`` in a text is text like any other."""
    copy = Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = True
    return copy


@dataclass(frozen=True)
class Pieces:
    """The tokens of many texts behind one another, without special tokens around them.

    Attributes:
        lengths: int64 ``[texts]``, how many tokens each text has.
        ids: int32 ``[tokens]``.
        offsets: int32 ``[tokens, 2]``, first character and the one behind the last, in the text as it was given (for
            texts given as words: in the word).
        word_ids: int32 ``[tokens]``, the number of the word in its text.
    """

    lengths: np.ndarray
    ids: np.ndarray
    offsets: np.ndarray | None = None
    word_ids: np.ndarray | None = None


def encode_pieces(backend: Tokenizer, texts: Sequence, *, are_words: bool, with_offsets: bool) -> Pieces:
    """Tokenizes texts (strings, or lists of words), with ``offsets`` and ``word_ids`` on request: they cost time."""
    encode = backend.encode_batch if with_offsets else backend.encode_batch_fast
    encodings = encode(texts, is_pretokenized=are_words, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    total = int(lengths.sum())
    flat_ids = np.fromiter(chain.from_iterable(ids), np.int32, total)
    if not with_offsets:
        return Pieces(lengths, flat_ids)
    offsets = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
    words = chain.from_iterable(encoding.word_ids for encoding in encodings)
    return Pieces(
        lengths,
        flat_ids,
        offsets=np.fromiter(offsets, np.int32, 2 * total).reshape(total, 2),
        word_ids=np.fromiter(words, np.int32, total),
    )
