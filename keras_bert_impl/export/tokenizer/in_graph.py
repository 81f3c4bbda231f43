"""BERT's tokenizer as core TensorFlow operations: UTF-8 strings in, ids out, without Python.

Every stage processes all texts at once, as one flat array:

1. `characters`: bytes to code points, and code points to normalized codes of the vocabulary's alphabet (`alphabet`);
   special and added tokens are found here too (`token_trie`);
2. `wordpiece`: codes to words, and words to tokens of the vocabulary (`piece_table`);
3. rows: special tokens, truncation, padding.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_impl.errors import InputError
from keras_bert_impl.export.tokenizer.alphabet import PAGE, make_alphabet
from keras_bert_impl.export.tokenizer.characters import CharacterReader
from keras_bert_impl.export.tokenizer.piece_table import Spelling, make_piece_table
from keras_bert_impl.export.tokenizer.ragged_ops import lower_bound
from keras_bert_impl.export.tokenizer.token_trie import make_token_trie
from keras_bert_impl.export.tokenizer.wordpiece import SLOT_BITS, WordPiece, find_words, take_first_words
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# The max. number of words that are counted to decide which text of a pair is longer. If both texts have more words,
# the decision can be wrong, which moves one token between them.
_COMPARED_WORDS = 4096


class Tokens(NamedTuple):
    """The tokens of all texts, concatenated, without special tokens around them; all arrays are int32.

    Attributes:
        ids: ``[tokens]``.
        splits: ``[texts + 1]``, where each text's tokens begin, and the end.
        begin: ``[tokens]``, the first character of a token in its text; None unless offsets are requested.
        end: ``[tokens]``, the character after its last; None unless offsets are requested.
        is_first: bool ``[tokens]``, whether a token begins a word; None unless offsets are requested.
    """

    ids: Any
    splits: Any
    begin: Any = None
    end: Any = None
    is_first: Any = None


class InGraphTokenizer:
    """Computes the ids of a `BertTokenizer` by TensorFlow operations.

    Args:
        tokenizer: the tokenizer, for its vocabulary, settings and added tokens.

    Raises:
        InputError: an added token must be a word by itself (``single_word``), or the vocabulary has combining
            characters whose order matters.

    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s"]
    >>> in_graph = InGraphTokenizer(BertTokenizer(words))
    >>> in_graph(tf.constant(["Good films", "FILM [MASK]"]), max_length=8)["input_ids"].numpy()
    array([[2, 5, 6, 7, 3],
           [2, 6, 4, 3, 0]], dtype=int32)
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        tokenizer.check_in_graph(are_words=True)
        backend = tokenizer.backend_tokenizer
        self._special_ids = np.array([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id], np.int32)
        added = backend.get_added_tokens_decoder()
        if single := [token.content for token in added.values() if token.single_word]:
            raise InputError(
                f"The added tokens {', '.join(map(repr, single))} match single words only, which a tokenizer inside a "
                "TensorFlow graph does not support. Export with ids as input."
            )
        literal = {token.content: i for i, token in enumerate(added.values()) if not token.normalized}
        normalized = {token.content: i for i, token in enumerate(added.values()) if token.normalized}
        words = [(token, id) for token, id in backend.get_vocab(with_added_tokens=False).items()]
        self._alphabet = alphabet = make_alphabet(
            tokenizer,
            [token.removeprefix("##") for token, _ in words] + list(normalized) + ["#"],
            tokens=len(added),
            literal_starts=frozenset(token[0] for token in literal),
        )
        self._reader = CharacterReader(
            alphabet,
            literal_tokens=make_token_trie([[ord(c) for c in token] for token in literal], list(literal.values())),
            normalized_tokens=make_token_trie(
                [self._find_plain_codes(token) for token in normalized], list(normalized.values())
            ),
        )
        self._word_piece = WordPiece(
            make_piece_table(self._list_spellings(words), alphabet.codes),
            token_ids=np.array(list(added), np.int32),
            first_token=alphabet.first_token,
            unknown_letter=alphabet.unknown_letter,
            unknown_id=tokenizer.unk_token_id,
        )
        if len(self._word_piece.table.slot_sum) > 1 << SLOT_BITS:
            raise InputError(
                f"A vocabulary of {len(words)} tokens is too large for a tokenizer inside a TensorFlow graph. Export "
                "with ids as input."
            )

    def _find_plain_codes(self, text: str) -> list[int]:
        """Returns the codes of a text after normalization."""
        alphabet = self._alphabet
        points = np.array([ord(character) for character in text])
        codes = alphabet.pages[alphabet.page_of[points // PAGE], points % PAGE]
        return [code for code in alphabet.expansions[codes].ravel().tolist() if code >= 0]

    def _list_spellings(self, words: list[tuple[str, int]]) -> list[Spelling]:
        """Lists the pieces that can occur in normalized text, which has no capitals if the vocabulary is uncased."""
        alphabet = self._alphabet
        spellings = []
        for token, id in words:
            for continues, letters in ((False, token), (True, token.removeprefix("##"))):
                if continues and (letters == token or not letters):
                    continue
                variants = [tuple((letter, False) for letter in letters)]
                if len(letters) == 1 and not continues:
                    variants.append(((letters, True),))
                for characters in variants:
                    if all(character in alphabet.of for character in characters):
                        spellings.append(Spelling(id, continues, tuple(alphabet.encode(characters))))
        return spellings

    @tf.autograph.experimental.do_not_convert
    def __call__(self, texts: Any, text_pairs: Any = None, *, max_length: int) -> dict[str, Any]:
        """The model's inputs for texts or pairs, the same as those of `BertTokenizer` with ``truncation=True``.

        Args:
            texts: UTF-8 strings ``[batch]``; invalid bytes become U+FFFD.
            text_pairs: strings ``[batch]``, the second texts; None for single texts.
            max_length: the maximum number of tokens of a row, special tokens included.

        Returns:
            ``input_ids``, ``token_type_ids`` and ``attention_mask``, int32 ``[batch, longest row]``.
        """
        if text_pairs is None:
            tokens = self.tokenize(texts, max_words=max_length - 2)
            length = tf.minimum(count_tokens(tokens), max_length - 2)
            return self.arrange_rows(tokens.ids, (tokens.splits[:-1], length))[0]
        # Truncation depends on which text of a pair is longer.
        tokens = self.tokenize(tf.concat([texts, text_pairs], axis=0), max_words=max(max_length, _COMPARED_WORDS))
        starts, lengths = (tf.split(part, 2) for part in (tokens.splits[:-1], count_tokens(tokens)))
        max_tokens = max_length - 3
        # The shorter text keeps up to half of the row, the longer one gets the rest.
        shorter = tf.minimum(tf.minimum(lengths[0], lengths[1]), max_tokens // 2)
        rest = max_tokens - shorter
        first_is_shorter = lengths[0] <= lengths[1]
        first = tf.where(first_is_shorter, shorter, tf.minimum(lengths[0], rest))
        second = tf.where(first_is_shorter, tf.minimum(lengths[1], rest), shorter)
        return self.arrange_rows(tokens.ids, (starts[0], first), (starts[1], second))[0]

    @tf.autograph.experimental.do_not_convert
    def arrange_rows(self, ids: Any, first: tuple[Any, Any], second: tuple[Any, Any] | None = None) -> tuple[dict, Any]:
        """Arranges tokens in rows ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``, padded to the longest.

        Args:
            ids: int32 ``[tokens]``.
            first: where in ``ids`` each row's first text begins, and how many of its tokens the row takes; both int32
                ``[rows]``.
            second: the same for its second text.

        Returns:
            The model's inputs, int32 ``[rows, length]``; and the index in ``ids`` for each position, which is
            ``len(ids)`` or more for special tokens and padding.
        """
        start, length = (values[:, None] for values in first)
        total = length + 2
        if second is not None:
            other_start, other_length = (values[:, None] for values in second)
            total += other_length + 1
        # An empty batch has columns too, because models read the first column.
        column = tf.range(tf.maximum(tf.reduce_max(total), 2))[None]
        cls, sep, pad = (tf.size(ids) + i for i in range(3))
        is_row = column < total
        index = tf.where(is_row, sep, pad)
        types = tf.zeros_like(index)
        if second is not None:
            offset = column - length - 2
            index = tf.where((offset >= 0) & (offset < other_length), other_start + offset, index)
            types = tf.cast((offset >= 0) & is_row, tf.int32)
        index = tf.where(column <= length, start + column - 1, index)
        index = tf.where(column == 0, cls, index)
        inputs = {
            "input_ids": tf.gather(tf.concat([ids, self._special_ids], axis=0), index),
            "token_type_ids": types,
            "attention_mask": tf.cast(is_row, tf.int32),
        }
        return inputs, index

    @tf.autograph.experimental.do_not_convert
    def tokenize(self, texts: Any, *, max_words: int | None = None, with_offsets: bool = False) -> Tokens:
        """Returns the tokens of the first words of texts.

        Args:
            texts: UTF-8 strings ``[texts]``.
            max_words: how many words of a text are processed, to limit time and memory; None for all. Each gives at
                least one token.
            with_offsets: whether to return the positions of tokens in their texts.
        """
        characters = self._reader.read(texts, with_offsets=with_offsets)
        words = find_words(characters.codes, self._alphabet.first_letter, margin=self._word_piece.table.width)
        if max_words is not None:
            words = take_first_words(words, characters.splits, max_words)
        start, last, ids = self._word_piece.split(words, size=tf.size(characters.codes), with_offsets=with_offsets)
        splits = lower_bound(start, characters.splits)
        if not with_offsets:
            return Tokens(ids, splits)
        begin, end = tf.gather(characters.begin, start), tf.gather(characters.end, last)
        return Tokens(ids, splits, begin, end, is_first=tf.gather(words.is_start, start))


def count_tokens(tokens: Tokens) -> Any:
    """Returns the number of tokens of each text: int32 ``[texts]``."""
    return tokens.splits[1:] - tokens.splits[:-1]
