"""Makes the Rust tokenizer with BERT's rules, and returns its results as flat arrays."""

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
    """Makes the Rust tokenizer; it neither pads nor truncates.

    Args:
        vocabulary: tokens in id order.
        settings: the arguments of `BertTokenizer` for the normalizer and the spellings of the special tokens.
        added_tokens: tokens that are found in text before it is split into words; new ones get the ids after the
            vocabulary.

    Raises:
        InputError: special tokens are neither in the vocabulary nor added (the message names all of them).
    """
    words = {token: id for id, token in enumerate(vocabulary)}
    added = [token.content for token in added_tokens]
    ids = {token: id for id, token in enumerate(dict.fromkeys([*vocabulary, *added]))}
    special = {name: settings[name] for name in SPECIAL_TOKENS}
    # WordPiece itself needs the unknown token, so it must be in the vocabulary.
    missing = [name for name, token in special.items() if token not in (words if name == "unk_token" else ids)]
    if missing:
        spellings = ", ".join(f"{name} {special[name]!r}" for name in missing)
        raise InputError(
            f"The vocabulary of {len(words)} tokens lacks {spellings}. If it has other spellings, pass {missing[0]}=…"
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
    """A copy that tokenizes ``[SEP]`` in a text like other text."""
    copy = Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = True
    return copy


@dataclass(frozen=True)
class FlatTokens:
    """The tokens of many texts, concatenated, without special tokens around them.

    Attributes:
        lengths: int64 ``[texts]``, the number of tokens of each text.
        ids: int32 ``[tokens]``.
        offsets: int32 ``[tokens, 2]``, the first character of a token and the one after its last, in the original text
            (or in the original word, if texts are lists of words).
        word_ids: int32 ``[tokens]``, the number of the word in its text.
    """

    lengths: np.ndarray
    ids: np.ndarray
    offsets: np.ndarray | None = None
    word_ids: np.ndarray | None = None


def tokenize(backend: Tokenizer, texts: Sequence, *, are_words: bool, with_offsets: bool) -> FlatTokens:
    """Tokenizes texts.

    Args:
        backend: the Rust tokenizer.
        texts: strings, or lists of words.
        are_words: whether texts are lists of words.
        with_offsets: whether to return ``offsets`` and ``word_ids``, which takes time.
    """
    encode = backend.encode_batch if with_offsets else backend.encode_batch_fast
    encodings = encode(texts, is_pretokenized=are_words, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    total = int(lengths.sum())
    flat_ids = np.fromiter(chain.from_iterable(ids), np.int32, total)
    if not with_offsets:
        return FlatTokens(lengths, flat_ids)
    offsets = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
    words = chain.from_iterable(encoding.word_ids for encoding in encodings)
    return FlatTokens(
        lengths,
        flat_ids,
        offsets=np.fromiter(offsets, np.int32, 2 * total).reshape(total, 2),
        word_ids=np.fromiter(words, np.int32, total),
    )
