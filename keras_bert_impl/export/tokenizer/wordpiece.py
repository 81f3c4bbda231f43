"""WordPiece by TensorFlow operations: words of a stream of character codes, and their pieces.

Words are runs of letters, and single characters such as punctuation. Most words are in the vocabulary and are looked
up at once. The others are split: at every position in them the longest piece that starts there is found, then the
pieces on the longest-match-first path from the start of the word are selected.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_impl.export.tokenizer.piece_table import PieceTable, find_hash_bits
from keras_bert_impl.export.tokenizer.ragged_ops import (
    divide,
    follow_links,
    indices_where,
    list_prefix_pairs,
    lower_bound,
    segment_of,
)

# WordPiece treats longer words as unknown.
_MAX_WORD = 100
# The number of pointer-doubling rounds that reach from the first character of a word to its last.
_ROUNDS = (_MAX_WORD - 1).bit_length()
# Complete words up to this length are looked up at once; longer ones are rare, and are split like unknown words.
_COMMON_LENGTH = 12
# The lower bits of an integer, which contain a piece's slot; the higher bits contain its length.
SLOT_BITS = 20


class Words(NamedTuple):
    """The words of all texts.

    Attributes:
        start: ``[words]``, the index of each word's first character.
        length: ``[words]``.
        codes: the codes of all characters, with a space before them and several after them.
        is_start: bool ``[characters]``, whether a word starts there.
    """

    start: Any
    length: Any
    codes: Any
    is_start: Any


class Pieces(NamedTuple):
    """The pieces that words are split into.

    Attributes:
        start: ``[pieces]``, the index of each piece's first character.
        length: ``[pieces]``.
        piece: ``[pieces]``, their numbers in the table.
        is_exact: whether the characters at all visited positions are those of the pieces found there.
    """

    start: Any
    length: Any
    piece: Any
    is_exact: Any


def find_words(codes: Any, first_letter: int, *, margin: int) -> Words:
    """Finds the words: runs of letters, and single characters such as punctuation.

    Args:
        codes: ``[characters]``, 0 for spaces.
        first_letter: codes from here are letters of longer words.
        margin: the number of spaces to add after the codes.
    """
    padded = tf.concat([[0], codes, tf.zeros([margin], tf.int32)], axis=0)
    # There is an edge between two characters unless both are letters.
    is_edge = tf.minimum(padded[:-margin], padded[1 : 1 - margin or None]) < first_letter
    is_character = codes > 0
    is_start = is_character & is_edge[:-1]
    start = indices_where(is_start)
    end = indices_where(is_character & is_edge[1:])
    return Words(start, end - start + 1, padded, is_start)


def take_first_words(words: Words, splits: Any, max_words: int) -> Words:
    """Returns the first words of each text, whose characters begin at ``splits``."""
    row_start = lower_bound(words.start, splits)

    def cut() -> tuple[Any, Any]:
        number = tf.range(tf.size(words.start))
        row = segment_of(row_start, number)
        first = indices_where(number - tf.gather(row_start, row) < max_words)
        return tf.gather(words.start, first), tf.gather(words.length, first)

    is_long = tf.reduce_max(row_start[1:] - row_start[:-1]) > max_words
    start, length = tf.cond(is_long, cut, lambda: (words.start, words.length))
    return words._replace(start=start, length=length)


@dataclass(frozen=True)
class WordPiece:
    """Finds the tokens of words.

    Attributes:
        table: the vocabulary's words and pieces.
        token_ids: int32 ``[tokens]``, the ids of special and added tokens, by their numbers.
        first_token: codes from here stand for these tokens.
        unknown_letter: the code of all letters that the vocabulary does not contain; known letters are larger.
        unknown_id: the id of the unknown token.
    """

    table: PieceTable
    token_ids: np.ndarray
    first_token: int
    unknown_letter: int
    unknown_id: int

    def split(self, words: Words, *, size: Any, with_offsets: bool) -> tuple[Any, Any, Any]:
        """Splits words into tokens.

        Args:
            words: the words.
            size: the number of characters.
            with_offsets: whether the last characters are needed.

        Returns:
            The indices of each token's first and last character, and its id; all ``[tokens]``. Without offsets the
            last character is not meaningful.
        """
        is_known, ids = self._look_up_words(words)
        # If the first character of a word is unknown, the word is unknown and need not be split.
        to_split = indices_where(
            ~is_known & (words.length <= _MAX_WORD) & (tf.gather(words.codes, words.start + 1) > self.unknown_letter)
        )
        return tf.cond(
            tf.size(to_split) > 0,
            lambda: self._split_words(words, ids, to_split, size=size, with_offsets=with_offsets),
            lambda: (words.start, words.start + words.length - 1, ids),
        )

    def _look_up_words(self, words: Words) -> tuple[Any, Any]:
        """Returns which words the vocabulary contains, and the ids of all words (``unknown_id`` for the others)."""
        table = self.table
        integers = min(-(-_COMMON_LENGTH // len(table.powers)), table.packed.shape[1])
        packed = self._pack(words, words.start, words.length, integers)
        slot, is_hit = self._look_up(tf.reduce_sum(packed * table.mix[:integers], axis=1))
        piece = self._find_piece(slot)
        is_hit &= words.length <= integers * len(table.powers)
        is_hit &= _are_rows_equal(tf.gather(tf.constant(_pack_common_words(table, integers)), piece), packed)
        ids = tf.where(is_hit, tf.gather(tf.constant(table.ids), piece), self.unknown_id)
        # Special and added tokens are words of one character.
        number = tf.gather(words.codes, words.start + 1) - self.first_token
        is_token = (number >= 0) & (number < len(self.token_ids))
        token_id = tf.gather(tf.constant(self.token_ids), tf.where(is_token, number, 0))
        return is_hit | is_token, tf.where(is_token, token_id, ids)

    def _split_words(
        self, words: Words, ids: Any, to_split: Any, *, size: Any, with_offsets: bool
    ) -> tuple[Any, Any, Any]:
        """First and last characters and ids of all tokens, after splitting the words with the numbers ``to_split``."""
        pieces = self._find_pieces(words, to_split, compare_all=False)
        # Other characters can have the same sum as a piece. This is rare, so at first only the pieces used are
        # compared.
        start, length, piece = tf.cond(
            pieces.is_exact, lambda: pieces[:3], lambda: self._find_pieces(words, to_split, compare_all=True)[:3]
        )

        def scatter(of_words: Any, of_pieces: Any) -> Any:
            """Values of words and pieces at their first characters, -1 elsewhere."""
            scattered = tf.tensor_scatter_nd_update(tf.fill([size], -1), words.start[:, None], of_words)
            return tf.tensor_scatter_nd_update(scattered, start[:, None], of_pieces)

        tokens = scatter(ids, tf.gather(tf.constant(self.table.ids), piece))
        first = indices_where(tokens >= 0)
        last = first
        if with_offsets:
            last = tf.gather(scatter(words.start + words.length - 1, start + length - 1), first)
        return first, last, tf.gather(tokens, first)

    def _find_pieces(self, words: Words, to_split: Any, *, compare_all: bool) -> Pieces:
        """Returns the pieces of some words, longest match first; none for words that pieces cannot cover.

        Args:
            words: all words.
            to_split: ``[words]``, the numbers of the words to split.
            compare_all: whether the characters of each possible piece are compared, not only its sum.
        """
        word_start, word_length = tf.gather(words.start, to_split), tf.gather(words.length, to_split)
        # Every position in these words: the number of its word, and its distance from the word's start.
        position = tf.cast(tf.where(tf.range(tf.reduce_max(word_length))[None] < word_length[:, None]), tf.int32)
        word, distance = position[:, 0], position[:, 1]
        start = tf.gather(word_start, word) + distance
        count = tf.size(word)
        remaining = tf.gather(word_length, word) - distance
        length, slot = self._find_longest(words, start, distance, remaining, compare_all=compare_all)

        # Each position links to the one after its piece; a position without a piece links to itself.
        link = tf.concat([tf.range(count) + length, [count]], axis=0)
        reached = tf.concat([tf.cast(distance == 0, tf.int32), [0]], axis=0)
        for _ in range(_ROUNDS):
            reached, link = follow_links(reached, link, count)
        visited = indices_where(reached[:-1] > 0)
        start, distance, word = (tf.gather(values, visited) for values in (start, distance, word))
        length, piece = tf.gather(length, visited), self._find_piece(tf.gather(slot, visited))
        is_stuck = length == 0
        is_exact = tf.reduce_all(is_stuck | self._is_match(words, start, distance, length, piece))
        # A visited position without a piece makes the complete word unknown.
        is_unknown = tf.math.unsorted_segment_max(tf.cast(is_stuck, tf.int32), word, tf.size(to_split))
        used = indices_where(tf.gather(is_unknown, word) < 1)
        start, length, piece = (tf.gather(values, used) for values in (start, length, piece))
        return Pieces(start, length, piece, is_exact)

    def _find_longest(
        self, words: Words, start: Any, distance: Any, remaining: Any, *, compare_all: bool
    ) -> tuple[Any, Any]:
        """Returns the length (0 if there is none) and the slot of the longest piece at each position in words.

        Args:
            words: all words.
            start: ``[positions]``, indices of characters.
            distance: ``[positions]``, their distances from the starts of their words.
            remaining: ``[positions]``, the number of characters up to the end of the word.
            compare_all: see `_find_pieces`.
        """
        table = self.table
        count = tf.size(start)
        max_length = tf.minimum(remaining, table.longest)
        # All pairs of a position and the last character of a piece that could start there, ordered.
        position, last = list_prefix_pairs(max_length, table.longest)
        code = tf.gather(words.codes, tf.gather(start + 1, position) + last)
        # One cumulative sum over all pairs; the sum before a position's first pair is subtracted.
        sums = tf.concat([[0], tf.cumsum(tf.gather(tf.constant(table.weights), code + last * table.codes))], axis=0)
        before = tf.gather(sums, tf.cumsum(max_length, exclusive=True))
        before -= tf.where(distance > 0, table.continued, 0)
        slot, is_hit = self._look_up(sums[1:] - tf.gather(before, position))
        if compare_all:
            is_hit &= self._is_match(
                words, tf.gather(start, position), tf.gather(distance, position), last + 1, self._find_piece(slot)
            )
        rank = tf.where(is_hit, (last + 1) * (1 << SLOT_BITS) + slot, 0)
        return divide(tf.maximum(tf.math.unsorted_segment_max(rank, position, count), 0), 1 << SLOT_BITS)

    def _look_up(self, sums: Any) -> tuple[Any, Any]:
        """Returns the slots of sums of weights, and whether the pieces in these slots have the same sums."""
        table = self.table
        slots, buckets = len(table.slot_sum), len(table.shifts)
        bucket_bit, slot_bit = find_hash_bits(slots, buckets)
        bucket = tf.cast(tf.bitwise.right_shift(sums, np.int64(bucket_bit)), tf.int32) & (buckets - 1)
        shift = tf.gather(tf.constant(table.shifts), bucket)
        home = tf.cast(tf.bitwise.right_shift(sums, np.int64(slot_bit)) & (slots - 1), tf.int32)
        slot = (home + shift) & (slots - 1)
        return slot, tf.gather(tf.constant(table.slot_sum), slot) == sums

    def _find_piece(self, slot: Any) -> Any:
        return tf.gather(tf.constant(self.table.slot_piece), slot)

    def _is_match(self, words: Words, start: Any, distance: Any, length: Any, piece: Any) -> Any:
        """Whether the characters at these positions are exactly those of these pieces: bool ``[positions]``."""
        table = self.table
        packed = self._pack(words, start, length, table.packed.shape[1])
        is_same = _are_rows_equal(tf.gather(tf.constant(table.packed), piece), packed)
        return is_same & (tf.gather(tf.constant(table.continues), piece) == (distance > 0))

    def _pack(self, words: Words, start: Any, length: Any, integers: int) -> Any:
        """Packs ``length`` characters from each start like the pieces of the table: int64 ``[starts, integers]``."""
        table = self.table
        max_length = integers * len(table.powers)
        # The codes have a space before them.
        codes = tf.gather(words.codes, start[:, None] + tf.range(1, max_length + 1)[None])
        # Characters after the length are multiplied by 0.
        powers = np.tri(max_length + 1, max_length, -1, np.int64) * np.tile(table.powers, integers)
        weighted = tf.cast(codes, tf.int64) * tf.gather(tf.constant(powers), tf.minimum(length, max_length))
        return tf.reduce_sum(tf.reshape(weighted, [-1, integers, len(table.powers)]), axis=2)


def _are_rows_equal(a: Any, b: Any) -> Any:
    return tf.reduce_all(a == b, axis=1)


def _pack_common_words(table: PieceTable, integers: int) -> np.ndarray:
    """Returns the packed characters of short complete words; -1 for all other pieces."""
    is_common = (table.packed[:, integers:] == 0).all(axis=1) & ~table.continues
    return np.where(is_common[:, None], table.packed[:, :integers], -1)
