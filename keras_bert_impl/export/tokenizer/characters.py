"""Converts texts to normalized codes of an alphabet with TensorFlow operations.

A code point becomes a code by one lookup, which also normalizes it. Three things are rare, and handled only if a text
contains them: special and added tokens, characters that are removed, and characters that become several.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_impl.export.tokenizer.alphabet import PAGE, Alphabet
from keras_bert_impl.export.tokenizer.ragged_ops import (
    decode,
    divide,
    find_positions,
    follow_links,
    indices_where,
    lower_bound,
)
from keras_bert_impl.export.tokenizer.token_trie import TokenTrie


class Characters(NamedTuple):
    """The normalized characters of all texts, concatenated.

    Attributes:
        codes: ``[characters]``, with a space after each text.
        splits: ``[texts + 1]``, where each text begins, and the end.
        begin: ``[characters]``, their positions in the original texts; empty unless offsets are requested.
        end: ``[characters]``, the positions after them; empty unless offsets are requested.
    """

    codes: Any
    splits: Any
    begin: Any
    end: Any

    @property
    def has_offsets(self) -> bool:
        """Whether offsets were requested: otherwise their size is known to be 0 when the graph is built."""
        return self.begin.shape[0] != 0


@dataclass(frozen=True)
class CharacterReader:
    """Reads texts as `Characters`.

    Attributes:
        alphabet: the alphabet.
        literal_tokens: tokens that are found in the original text, spelled in code points.
        normalized_tokens: tokens that are found in the normalized text, spelled in codes.
    """

    alphabet: Alphabet
    literal_tokens: TokenTrie
    normalized_tokens: TokenTrie

    def read(self, texts: Any, *, with_offsets: bool) -> Characters:
        """Returns the characters of UTF-8 strings ``[texts]``."""
        points, splits = decode(tf.strings.join([texts, " "]))
        alphabet = self.alphabet
        page, position = divide(points, PAGE)
        page = tf.gather(tf.constant(alphabet.page_of), page)
        codes = tf.cast(tf.gather(_make_small_constant(alphabet.pages.reshape(-1)), page * PAGE + position), tf.int32)
        begin = end = tf.constant([], tf.int32)
        if with_offsets:
            _, begin = find_positions(splits[1:] - splits[:-1])
            end = begin + 1
        characters = Characters(codes, splits, begin, end)
        if self.normalized_tokens.longest:
            return self._handle_rare(points, characters)
        has_rare = tf.reduce_max(codes) >= alphabet.dropped
        return Characters(*tf.cond(has_rare, lambda: self._handle_rare(points, characters), lambda: characters))

    def _handle_rare(self, points: Any, characters: Characters) -> Characters:
        """Handles tokens, characters that are removed, and characters that become several."""
        is_start = characters.codes >= self.alphabet.first_start
        characters = self._mark_tokens(characters, points, self.literal_tokens, is_start)
        characters = self._expand(characters)
        if self.normalized_tokens.longest:
            is_start = tf.reduce_any(characters.codes[:, None] == self.normalized_tokens.starts, axis=1)
            characters = self._mark_tokens(characters, characters.codes, self.normalized_tokens, is_start)
            characters = self._expand(characters)
        return characters

    def _expand(self, characters: Characters) -> Characters:
        """Replaces each rare code by the codes that it stands for, which may be none."""
        expanded = tf.gather(tf.constant(self.alphabet.expansions), characters.codes)
        is_code = expanded >= 0
        flat = indices_where(tf.reshape(is_code, [-1]))
        origin = flat // self.alphabet.expansions.shape[1]
        begin, end = characters.begin, characters.end
        return Characters(
            codes=tf.gather(tf.reshape(expanded, [-1]), flat),
            splits=lower_bound(origin, characters.splits),
            begin=tf.gather(begin, origin) if characters.has_offsets else begin,
            end=tf.gather(end, origin) if characters.has_offsets else end,
        )

    def _mark_tokens(self, characters: Characters, symbols: Any, trie: TokenTrie, is_start: Any) -> Characters:
        """Replaces the first character of each token by the token's code; its other characters are removed.

        If tokens overlap, the first is taken; if tokens start at the same character, the longest.

        Args:
            characters: the characters.
            symbols: ``[characters]``, the symbols that tokens are spelled with.
            trie: the tokens.
            is_start: bool ``[characters]``, where a token may start.
        """
        if not trie.longest:
            return characters
        # The space after a text does not belong to the text; and no token continues after the end.
        ends = characters.splits[1:, None] - 1
        symbols = tf.tensor_scatter_nd_update(symbols, ends, tf.fill([tf.size(ends)], -1))
        symbols = tf.concat([symbols, tf.fill([trie.longest], -1)], axis=0)
        next_state, known = tf.constant(trie.next_state), tf.constant(np.append(trie.symbols, np.int32(-1)))
        start = indices_where(is_start)
        state, length, token = tf.zeros_like(start), tf.zeros_like(start), tf.zeros_like(start)
        for k in range(trie.longest):
            symbol = tf.gather(symbols, start + k)
            column = lower_bound(known[:-1], symbol)
            column = tf.where(tf.gather(known, column) == symbol, column, trie.columns - 1)
            state = tf.gather(next_state, state * trie.columns + column)
            ended = tf.gather(tf.constant(trie.token), state)
            length = tf.where(ended >= 0, k + 1, length)
            token = tf.where(ended >= 0, ended, token)
            if k == 1:
                # Most candidates already differ from every token: remove them.
                candidates = indices_where((state != trie.no_match) | (length > 0))
                start, state, length, token = (tf.gather(v, candidates) for v in (start, state, length, token))
        chosen = _choose_spans(start, length)
        start, length, token = (tf.gather(values, chosen) for values in (start, length, token))
        codes = tf.tensor_scatter_nd_update(characters.codes, start[:, None], token + self.alphabet.first_token)
        rest = tf.cast(tf.where(tf.range(1, trie.longest)[None] < length[:, None]), tf.int32)
        rest = tf.gather(start, rest[:, 0]) + rest[:, 1] + 1
        codes = tf.tensor_scatter_nd_update(codes, rest[:, None], tf.fill([tf.size(rest)], self.alphabet.dropped))
        end = characters.end
        if characters.has_offsets:
            end = tf.tensor_scatter_nd_update(end, start[:, None], tf.gather(end, start + length - 1))
        return characters._replace(codes=codes, end=end)


def _choose_spans(start: Any, length: Any) -> Any:
    """Returns the indices of spans that do not overlap an earlier chosen span; spans of length 0 are never chosen.

    Args:
        start: ``[spans]``, ascending.
        length: ``[spans]``.
    """
    nonempty = indices_where(length > 0)
    start, end = tf.gather(start, nonempty), tf.gather(start + length, nonempty)
    has_overlap = tf.reduce_any(end[:-1] > start[1:])
    return tf.cond(has_overlap, lambda: tf.gather(nonempty, _choose_overlapping(start, end)), lambda: nonempty)


def _choose_overlapping(start: Any, end: Any) -> Any:
    """`_choose_spans` for spans that overlap: follows the links from each span to the first that starts after it."""
    count = tf.size(start)
    link = tf.concat([lower_bound(start, end), [count]], axis=0)
    chosen = tf.concat([[1], tf.zeros([count], tf.int32)], axis=0)

    def double(rounds: Any, chosen: Any, link: Any) -> tuple[Any, Any, Any]:
        return rounds * 2, *follow_links(chosen, link, count)

    _, chosen, _ = tf.while_loop(lambda rounds, *_: rounds < count, double, [1, chosen, link])
    return indices_where(chosen[:-1] > 0)


def _make_small_constant(values: np.ndarray) -> Any:
    """Returns a constant of 16-bit integers if the values fit."""
    return tf.constant(values.astype(np.int16 if np.abs(values).max() < 1 << 15 else np.int32))
