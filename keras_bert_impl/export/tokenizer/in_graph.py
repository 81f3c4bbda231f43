"""BERT's tokenizer as core TensorFlow operations: raw UTF-8 in, ids out, on any TensorFlow and without Python.

Every stage works on all texts at once, as one flat stream of characters:

1. decode: bytes to code points, a space behind each text;
2. characters: code points to codes of the vocabulary's own small alphabet (`alphabet`), which also normalizes them.
   Literal special tokens, and characters that vanish or become several, are rare and looked at only if there are any;
3. words: wherever a character that is a word by itself, or a space, stands beside a character;
4. whole words are looked up at once (`piece_table`);
5. the others fall into pieces: for every place in them the longest piece that begins there is found, and then which
   places the longest-match-first walk from the word's start reaches;
6. rows: special tokens, truncation, padding.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_impl.errors import InputError
from keras_bert_impl.export.tokenizer.alphabet import PAGE, make_alphabet
from keras_bert_impl.export.tokenizer.piece_table import PieceTable, Spelling, hash_bits, make_piece_table
from keras_bert_impl.export.tokenizer.ragged_ops import decode, indices_where, lower_bound, ragged_positions, segment_of
from keras_bert_impl.export.tokenizer.token_trie import TokenTrie, make_token_trie
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# WordPiece takes longer words for unknown.
_LONGEST_WORD = 100
# Doublings that lead from a word's first character to its last.
_ROUNDS = (_LONGEST_WORD - 1).bit_length()
# Whole words up to this length are looked up at once; longer ones are rare, and go the way of unknown words.
_COMMON_LENGTH = 12
# Words of the two texts of a pair that are counted to tell which is longer. Of two texts that have more, either may be
# taken for the longer one, which can move one token from one to the other.
_COMPARED_WORDS = 4096
# Room for a piece's slot beside its length in one integer.
_RANK_BITS = 20


class Tokens(NamedTuple):
    """The tokens of texts behind one another, without special tokens around them; all arrays are int32.

    Attributes:
        ids: ``[tokens]``.
        splits: ``[texts + 1]``, where each text's tokens begin, and the end.
        begin: ``[tokens]``, first character of a token in its text; None unless asked for.
        end: ``[tokens]``, the character behind its last; None unless asked for.
        is_first: bool ``[tokens]``, whether a token begins a word; None unless asked for.
    """

    ids: Any
    splits: Any
    begin: Any = None
    end: Any = None
    is_first: Any = None


class InGraphTokenizer:
    """The ids of a `BertTokenizer`, computed by TensorFlow operations.

    Args:
        tokenizer: whose vocabulary, settings and added tokens count.

    Raises:
        InputError: added tokens that must be words by themselves (``single_word``), or a vocabulary with combining
            characters whose order matters.

    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s"]
    >>> in_graph = InGraphTokenizer(BertTokenizer(words))
    >>> in_graph(tf.constant(["Good films", "FILM [MASK]"]), max_length=8)["input_ids"].numpy()
    array([[2, 5, 6, 7, 3],
           [2, 6, 4, 3, 0]], dtype=int32)
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        backend = tokenizer.backend_tokenizer
        self._special_ids = np.array([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id], np.int32)
        self._unknown_id = tokenizer.unk_token_id
        added = backend.get_added_tokens_decoder()
        self._token_ids = np.array(list(added), np.int32)
        if single := [token.content for token in added.values() if token.single_word]:
            raise InputError(
                f"The added tokens {', '.join(map(repr, single))} are to be found as single words only, which a "
                "tokenizer inside of a TensorFlow graph cannot do. Export with ids as input."
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
        self._literal = make_token_trie([[ord(c) for c in token] for token in literal], list(literal.values()))
        self._normalized = make_token_trie([self._plain(token) for token in normalized], list(normalized.values()))
        self._pieces = make_piece_table(self._spellings(words), alphabet.codes)
        if len(self._pieces.slot_sum) > 1 << _RANK_BITS:
            raise InputError(f"A vocabulary of {len(words)} tokens is too large for a tokenizer inside of a graph.")

    def _plain(self, text: str) -> list[int]:
        """The plain codes of a text."""
        alphabet = self._alphabet
        points = np.array([ord(character) for character in text])
        codes = alphabet.pages[alphabet.page_of[points // PAGE], points % PAGE]
        return [code for code in alphabet.expansions[codes].ravel().tolist() if code >= 0]

    def _spellings(self, words: list[tuple[str, int]]) -> list[Spelling]:
        """The pieces that text can reach: others, as those with capitals in an uncased vocabulary, are left out."""
        alphabet = self._alphabet
        found = []
        for token, id in words:
            for continues, spelling in ((False, token), (True, token.removeprefix("##"))):
                if continues and (spelling == token or not spelling):
                    continue
                ways = [tuple((letter, False) for letter in spelling)]
                if len(spelling) == 1 and not continues:
                    ways.append(((spelling, True),))
                for way in ways:
                    if all(character in alphabet.of for character in way):
                        found.append(Spelling(id, continues, tuple(alphabet.encode(way))))
        return found

    @tf.autograph.experimental.do_not_convert
    def __call__(self, texts: Any, text_pairs: Any = None, *, max_length: int) -> dict[str, Any]:
        """The model's inputs for texts or pairs, as `BertTokenizer` gives them with ``truncation=True``.

        Args:
            texts: strings ``[batch]`` in UTF-8; bytes that are not become U+FFFD.
            text_pairs: strings ``[batch]``, the second texts; None for single texts.
            max_length: the most tokens of a row, special tokens included.

        Returns:
            ``input_ids``, ``token_type_ids`` and ``attention_mask``, int32 ``[batch, longest row]``.
        """
        if text_pairs is None:
            tokens = self.tokens(texts, max_words=max_length - 2)
            kept = tf.minimum(lengths_of(tokens), max_length - 2)
            return self.rows(tokens.ids, (tokens.splits[:-1], kept))[0]
        # Which text of a pair is the longer one decides where both are cut.
        tokens = self.tokens(tf.concat([texts, text_pairs], axis=0), max_words=max(max_length, _COMPARED_WORDS))
        starts, lengths = (tf.split(part, 2) for part in (tokens.splits[:-1], lengths_of(tokens)))
        room = max_length - 3
        # As the host does: the shorter text keeps up to half of the room, the longer one what is left.
        shorter = tf.minimum(tf.minimum(lengths[0], lengths[1]), room // 2)
        rest = room - shorter
        first_is_shorter = lengths[0] <= lengths[1]
        first = tf.where(first_is_shorter, shorter, tf.minimum(lengths[0], rest))
        second = tf.where(first_is_shorter, tf.minimum(lengths[1], rest), shorter)
        return self.rows(tokens.ids, (starts[0], first), (starts[1], second))[0]

    @tf.autograph.experimental.do_not_convert
    def rows(self, ids: Any, first: tuple[Any, Any], second: tuple[Any, Any] | None = None) -> tuple[dict, Any]:
        """Rows of tokens: ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``, padded to the longest.

        Args:
            ids: int32 ``[tokens]``.
            first: int32 ``[rows]`` each: where in ``ids`` the row's first text begins, and how many tokens it takes.
            second: the same of its second text.

        Returns:
            the model's inputs, int32 ``[rows, length]``; and for each position its place in ``ids``, or a number from
            ``len(ids)`` on.
        """
        start, length = (values[:, None] for values in first)
        total = length + 2
        if second is not None:
            other_start, other_length = (values[:, None] for values in second)
            total += other_length + 1
        # An empty batch has columns too, for models look at the first.
        column = tf.range(tf.maximum(tf.reduce_max(total), 2))[None]
        cls, sep, pad = (tf.size(ids) + i for i in range(3))
        is_row = column < total
        place = tf.where(is_row, sep, pad)
        types = tf.zeros_like(place)
        if second is not None:
            behind = column - length - 2
            place = tf.where((behind >= 0) & (behind < other_length), other_start + behind, place)
            types = tf.cast((behind >= 0) & is_row, tf.int32)
        place = tf.where(column <= length, start + column - 1, place)
        place = tf.where(column == 0, cls, place)
        inputs = {
            "input_ids": tf.gather(tf.concat([ids, self._special_ids], axis=0), place),
            "token_type_ids": types,
            "attention_mask": tf.cast(is_row, tf.int32),
        }
        return inputs, place

    @tf.autograph.experimental.do_not_convert
    def tokens(self, texts: Any, *, max_words: int | None = None, with_offsets: bool = False) -> Tokens:
        """The tokens of texts, all that stand in their first words.

        Args:
            texts: strings ``[texts]`` in UTF-8.
            max_words: how many words of a text are looked at, which bounds time and memory; None for all. Each gives
                one token at least.
            with_offsets: whether to tell where tokens are in their texts.
        """
        stream = self._characters(texts, with_offsets=with_offsets)
        words = _words(stream.codes, stream.splits, self._alphabet.first_letter, margin=self._pieces.width)
        if max_words is not None:
            words = _first_words(words, stream.splits, max_words)
        found, ids = self._whole_words(words)
        # Unknown characters at the start of a word make it unknown at once.
        in_pieces = indices_where(
            ~found
            & (words.length <= _LONGEST_WORD)
            & (_gather(words.codes, words.start + 1) > self._alphabet.unknown_letter)
        )
        start, last, ids = tf.cond(
            tf.size(in_pieces) > 0,
            lambda: self._with_pieces(words, ids, in_pieces, size=tf.size(stream.codes), with_offsets=with_offsets),
            lambda: (words.start, words.start + words.length - 1, ids),
        )
        splits = lower_bound(start, stream.splits)
        if not with_offsets:
            return Tokens(ids, splits)
        begin, end = _gather(stream.begin, start), _gather(stream.end, last)
        return Tokens(ids, splits, begin, end, is_first=_gather(words.is_start, start))

    # -- characters

    def _characters(self, texts: Any, *, with_offsets: bool) -> "_Stream":
        points, splits = decode(tf.strings.join([texts, " "]))
        alphabet = self._alphabet
        page, place = _parts(points, PAGE)
        page = _gather(tf.constant(alphabet.page_of), page)
        codes = tf.cast(_gather(_small(alphabet.pages.reshape(-1)), page * PAGE + place), tf.int32)
        begin = end = tf.constant([], tf.int32)
        if with_offsets:
            _, begin = ragged_positions(splits[1:] - splits[:-1])
            end = begin + 1
        stream = _Stream(codes, splits, begin, end)
        if self._normalized.longest:
            return self._rare_characters(points, stream)
        has_rare = tf.reduce_max(codes) >= alphabet.dropped
        return _Stream(*tf.cond(has_rare, lambda: self._rare_characters(points, stream), lambda: stream))

    def _rare_characters(self, points: Any, stream: "_Stream") -> "_Stream":
        """Literal tokens, characters that vanish, and characters that become several."""
        stream = self._mark_tokens(stream, points, self._literal, stream.codes >= self._alphabet.first_start)
        stream = self._expand(stream)
        if self._normalized.longest:
            is_start = tf.reduce_any(stream.codes[:, None] == self._normalized.starts, axis=1)
            stream = self._expand(self._mark_tokens(stream, stream.codes, self._normalized, is_start))
        return stream

    def _expand(self, stream: "_Stream") -> "_Stream":
        expanded = _gather(tf.constant(self._alphabet.expansions), stream.codes)
        is_there = expanded >= 0
        flat = indices_where(tf.reshape(is_there, [-1]))
        origin = flat // self._alphabet.expansions.shape[1]
        return _Stream(
            codes=_gather(tf.reshape(expanded, [-1]), flat),
            splits=lower_bound(origin, stream.splits),
            begin=_gather(stream.begin, origin) if _is_given(stream.begin) else stream.begin,
            end=_gather(stream.end, origin) if _is_given(stream.end) else stream.end,
        )

    def _mark_tokens(self, stream: "_Stream", symbols: Any, trie: TokenTrie, is_start: Any) -> "_Stream":
        """Writes a token's code over its first character, and lets the others vanish.

        Of tokens that overlap the first counts, and of those that begin together the longest.

        Args:
            stream: the characters.
            symbols: ``[characters]``, what the tokens are spelled with.
            trie: the tokens.
            is_start: bool ``[characters]``, where a token may begin.
        """
        if not trie.longest:
            return stream
        # The space behind a text is not the text's own; and no token goes on behind the end.
        ends = stream.splits[1:, None] - 1
        symbols = tf.tensor_scatter_nd_update(symbols, ends, tf.fill([tf.size(ends)], -1))
        symbols = tf.concat([symbols, tf.fill([trie.longest], -1)], axis=0)
        next_state, known = tf.constant(trie.next_state), tf.constant(np.append(trie.symbols, np.int32(-1)))
        start = indices_where(is_start)
        state, length, token = tf.zeros_like(start), tf.zeros_like(start), tf.zeros_like(start)
        for k in range(trie.longest):
            symbol = _gather(symbols, start + k)
            column = lower_bound(known[:-1], symbol)
            column = tf.where(_gather(known, column) == symbol, column, trie.columns - 1)
            state = _gather(next_state, state * trie.columns + column)
            ended = _gather(tf.constant(trie.token), state)
            length = tf.where(ended >= 0, k + 1, length)
            token = tf.where(ended >= 0, ended, token)
            if k == 1:
                # Most first characters are no more than that.
                begun = indices_where((state != trie.no_match) | (length > 0))
                start, state, length, token = (_gather(values, begun) for values in (start, state, length, token))
        chosen = _without_overlaps(start, length)
        start, length, token = (_gather(values, chosen) for values in (start, length, token))
        codes = tf.tensor_scatter_nd_update(stream.codes, start[:, None], token + self._alphabet.first_token)
        rest = tf.cast(tf.where(tf.range(1, trie.longest)[None] < length[:, None]), tf.int32)
        rest = _gather(start, rest[:, 0]) + rest[:, 1] + 1
        codes = tf.tensor_scatter_nd_update(codes, rest[:, None], tf.fill([tf.size(rest)], self._alphabet.dropped))
        end = stream.end
        if _is_given(end):
            end = tf.tensor_scatter_nd_update(end, start[:, None], _gather(end, start + length - 1))
        return stream._replace(codes=codes, end=end)

    # -- words and pieces

    def _whole_words(self, words: "_Words") -> tuple[Any, Any]:
        """Which words the vocabulary has, and the ids of all words: of those that it lacks the unknown token's."""
        table, alphabet = self._pieces, self._alphabet
        integers = min(-(-_COMMON_LENGTH // len(table.powers)), table.packed.shape[1])
        packed = _packed(table, words, words.start, words.length, integers)
        slot, is_hit = _look_up(table, tf.reduce_sum(packed * table.mix[:integers], axis=1))
        piece = self._piece_of(slot)
        is_hit &= words.length <= integers * len(table.powers)
        is_hit &= _is_same(_gather(tf.constant(_common_words(table, integers)), piece), packed)
        ids = tf.where(is_hit, _gather(tf.constant(table.ids), piece), self._unknown_id)
        # Special and added tokens are words of one character.
        number = _gather(words.codes, words.start + 1) - alphabet.first_token
        is_token = (number >= 0) & (number < len(self._token_ids))
        token_id = _gather(tf.constant(self._token_ids), tf.where(is_token, number, 0))
        return is_hit | is_token, tf.where(is_token, token_id, ids)

    def _with_pieces(
        self, words: "_Words", ids: Any, in_pieces: Any, *, size: Any, with_offsets: bool
    ) -> tuple[Any, Any, Any]:
        """First and last places and ids of all tokens, with some words taken apart; the last only with places."""
        walked = self._walk(words, in_pieces, spelled=False)
        # Other characters can have a piece's sum. That is so rare that only what was taken is compared.
        position, length, piece = tf.cond(
            walked.is_exact, lambda: walked[:3], lambda: self._walk(words, in_pieces, spelled=True)[:3]
        )

        def at_places(of_words: Any, of_pieces: Any) -> Any:
            spread = tf.tensor_scatter_nd_update(tf.fill([size], -1), words.start[:, None], of_words)
            return tf.tensor_scatter_nd_update(spread, position[:, None], of_pieces)

        tokens = at_places(ids, _gather(tf.constant(self._pieces.ids), piece))
        found = indices_where(tokens >= 0)
        last = found
        if with_offsets:
            last = _gather(at_places(words.start + words.length - 1, position + length - 1), found)
        return found, last, _gather(tokens, found)

    def _walk(self, words: "_Words", in_pieces: Any, *, spelled: bool) -> "_Walked":
        """The pieces of some words, the longest first; none of words that they do not cover.

        Args:
            words: all words.
            in_pieces: ``[words]``, the numbers of those that are taken apart.
            spelled: whether each piece that may be there is compared with the characters that stand there.
        """
        start, length = _gather(words.start, in_pieces), _gather(words.length, in_pieces)
        # Every place in these words: its word, and its distance from the word's start.
        place = tf.cast(tf.where(tf.range(tf.reduce_max(length))[None] < length[:, None]), tf.int32)
        word, distance = place[:, 0], place[:, 1]
        position = _gather(start, word) + distance
        places = tf.size(word)
        rest = _gather(length, word) - distance
        piece_length, slot = self._longest_pieces(words, position, distance, rest, spelled=spelled)

        # From each place with a piece on to the place behind it; a place without leads to itself.
        leads_to = tf.concat([tf.range(places) + piece_length, [places]], axis=0)
        reached = tf.concat([tf.cast(distance == 0, tf.int32), [0]], axis=0)
        for _ in range(_ROUNDS):
            reached = tf.maximum(reached, tf.math.unsorted_segment_max(reached, leads_to, places + 1))
            leads_to = _gather(leads_to, leads_to)
        reached = indices_where(reached[:-1] > 0)
        position, distance, word = (_gather(values, reached) for values in (position, distance, word))
        piece_length, piece = _gather(piece_length, reached), self._piece_of(_gather(slot, reached))
        is_stuck = piece_length == 0
        is_exact = tf.reduce_all(is_stuck | self._stands_there(words, position, distance, piece_length, piece))
        # A reached place without a piece makes the whole word unknown.
        is_unknown = tf.math.unsorted_segment_max(tf.cast(is_stuck, tf.int32), word, tf.size(in_pieces))
        taken = indices_where(_gather(is_unknown, word) < 1)
        position, piece_length, piece = (_gather(values, taken) for values in (position, piece_length, piece))
        return _Walked(position, piece_length, piece, is_exact)

    def _longest_pieces(
        self, words: "_Words", position: Any, distance: Any, rest: Any, *, spelled: bool
    ) -> tuple[Any, Any]:
        """The longest piece at each place of words, by length (0 for none) and slot.

        Args:
            words: all words.
            position: ``[places]``, places in the stream.
            distance: ``[places]``, their distances from the starts of their words.
            rest: ``[places]``, characters from there to the end of the word.
            spelled: see `_walk`.
        """
        table = self._pieces
        places = tf.size(position)
        most = tf.minimum(rest, table.longest)
        # All pairs of a place and the last character of a piece that could begin there, ordered.
        pair = tf.cast(tf.where(_ones(most, table.longest)), tf.int32)
        place, last = pair[:, 0], pair[:, 1]
        code = _gather(words.codes, _gather(position + 1, place) + last)
        # One cumulative sum over all pairs; what stood before a place's first pair is taken off.
        sums = tf.concat([[0], tf.cumsum(_gather(tf.constant(table.weights), code + last * table.codes))], axis=0)
        before = _gather(sums, tf.cumsum(most, exclusive=True))
        before -= tf.where(distance > 0, table.continued, 0)
        slot, is_hit = _look_up(table, sums[1:] - _gather(before, place))
        if spelled:
            is_hit &= self._stands_there(
                words, _gather(position, place), _gather(distance, place), last + 1, self._piece_of(slot)
            )
        rank = tf.where(is_hit, (last + 1) * (1 << _RANK_BITS) + slot, 0)
        return _parts(tf.maximum(tf.math.unsorted_segment_max(rank, place, places), 0), 1 << _RANK_BITS)

    def _piece_of(self, slot: Any) -> Any:
        return _gather(tf.constant(self._pieces.slot_piece), slot)

    def _stands_there(self, words: "_Words", position: Any, distance: Any, length: Any, piece: Any) -> Any:
        """Whether these very pieces stand at these places: bool ``[places]``."""
        table = self._pieces
        packed = _packed(table, words, position, length, table.packed.shape[1])
        is_same = _is_same(_gather(tf.constant(table.packed), piece), packed)
        return is_same & (_gather(tf.constant(table.continues), piece) == (distance > 0))


class _Walked(NamedTuple):
    """The pieces of words.

    Attributes:
        position: ``[pieces]``, their places in the stream.
        length: ``[pieces]``.
        piece: ``[pieces]``, their numbers.
        is_exact: whether all places that were reached have the characters of their pieces.
    """

    position: Any
    length: Any
    piece: Any
    is_exact: Any


class _Stream(NamedTuple):
    """The characters of all texts.

    Attributes:
        codes: ``[characters]``, with a space behind each text.
        splits: ``[texts + 1]``.
        begin: ``[characters]``, their places in their texts; empty unless asked for.
        end: the places behind them.
    """

    codes: Any
    splits: Any
    begin: Any
    end: Any


class _Words(NamedTuple):
    """The words of all texts.

    Attributes:
        start: ``[words]``, places in the stream.
        length: ``[words]``.
        codes: the stream's codes, with a space before them and several behind them.
        is_start: bool ``[characters]``, whether a word starts there.
    """

    start: Any
    length: Any
    codes: Any
    is_start: Any


def _words(codes: Any, splits: Any, first_letter: int, *, margin: int) -> _Words:
    """Finds words: runs of letters, and the characters that are words by themselves."""
    padded = tf.concat([[0], codes, tf.zeros([margin], tf.int32)], axis=0)
    # Between two characters is an edge unless both are letters.
    is_edge = tf.minimum(padded[:-margin], padded[1 : 1 - margin or None]) < first_letter
    is_character = codes > 0
    is_start = is_character & is_edge[:-1]
    start = indices_where(is_start)
    end = indices_where(is_character & is_edge[1:])
    return _Words(start, end - start + 1, padded, is_start)


def _packed(table: PieceTable, words: _Words, position: Any, length: Any, integers: int) -> Any:
    """The characters from places of the stream on, packed as the table's pieces: int64 ``[places, integers]``."""
    most = integers * len(table.powers)
    # The stream's codes have a space before them.
    codes = _gather(words.codes, position[:, None] + tf.range(1, most + 1)[None])
    # Characters behind the length are multiplied by 0.
    powers = np.tri(most + 1, most, -1, np.int64) * np.tile(table.powers, integers)
    weighted = tf.cast(codes, tf.int64) * _gather(tf.constant(powers), tf.minimum(length, most))
    return tf.reduce_sum(tf.reshape(weighted, [-1, integers, len(table.powers)]), axis=2)


def _is_same(packed: Any, others: Any) -> Any:
    """Whether rows of integers are the same: bool ``[rows]``."""
    return tf.reduce_all(packed == others, axis=1)


def _ones(lengths: Any, most: int) -> Any:
    """Rows ``[lengths, most]`` with so many ones, then zeros: from a table, for that is faster than to compare."""
    return _gather(tf.constant(np.tri(most + 1, most, -1, np.int32)), tf.minimum(lengths, most))


def _first_words(words: _Words, splits: Any, most: int) -> _Words:
    """The first words of each text."""
    row_start = lower_bound(words.start, splits)

    def cut() -> tuple[Any, Any]:
        number = tf.range(tf.size(words.start))
        row = segment_of(row_start, number)
        kept = indices_where(number - _gather(row_start, row) < most)
        return _gather(words.start, kept), _gather(words.length, kept)

    is_long = tf.reduce_max(row_start[1:] - row_start[:-1]) > most
    start, length = tf.cond(is_long, cut, lambda: (words.start, words.length))
    return words._replace(start=start, length=length)


def _look_up(table: PieceTable, sums: Any) -> tuple[Any, Any]:
    """For sums of weights their slots, and whether they are those of the pieces there."""
    slots, buckets = len(table.slot_sum), len(table.shifts)
    bucket_bit, slot_bit = hash_bits(slots, buckets)
    bucket = tf.cast(tf.bitwise.right_shift(sums, np.int64(bucket_bit)), tf.int32) & (buckets - 1)
    shift = _gather(tf.constant(table.shifts), bucket)
    home = tf.cast(tf.bitwise.right_shift(sums, np.int64(slot_bit)) & (slots - 1), tf.int32)
    slot = (home + shift) & (slots - 1)
    return slot, _gather(tf.constant(table.slot_sum), slot) == sums


def _common_words(table: PieceTable, integers: int) -> np.ndarray:
    """The packed characters of words; -1 for pieces that are longer or go on a word."""
    fits = (table.packed[:, integers:] == 0).all(axis=1) & ~table.continues
    return np.where(fits[:, None], table.packed[:, :integers], -1)


def _without_overlaps(start: Any, length: Any) -> Any:
    """Which of ascending spans remain if each that is taken rules out those that begin in it; empty ones never do."""
    there = indices_where(length > 0)
    start, end = _gather(start, there), _gather(start + length, there)
    overlap = tf.reduce_any(end[:-1] > start[1:])
    return tf.cond(overlap, lambda: _gather(there, _first_of_overlapping(start, end)), lambda: there)


def _first_of_overlapping(start: Any, end: Any) -> Any:
    """Which of ascending spans remain: `_without_overlaps` where there are some."""
    count = tf.size(start)
    leads_to = tf.concat([lower_bound(start, end), [count]], axis=0)
    taken = tf.concat([[1], tf.zeros([count], tf.int32)], axis=0)

    def double(rounds: Any, taken: Any, leads_to: Any) -> tuple[Any, Any, Any]:
        taken = tf.maximum(taken, tf.math.unsorted_segment_max(taken, leads_to, count + 1))
        return rounds * 2, taken, _gather(leads_to, leads_to)

    _, taken, _ = tf.while_loop(lambda rounds, *_: rounds < count, double, [1, taken, leads_to])
    return indices_where(taken[:-1] > 0)


def lengths_of(tokens: Tokens) -> Any:
    """How many tokens each text has: int32 ``[texts]``."""
    return tokens.splits[1:] - tokens.splits[:-1]


def _is_given(places: Any) -> bool:
    """Whether places were asked for; those that were not have a size that is known to be 0."""
    return places.shape[0] != 0


def _small(values: np.ndarray) -> Any:
    """A constant of 16 bits where they are enough."""
    return tf.constant(values.astype(np.int16 if np.abs(values).max() < 1 << 15 else np.int32))


def _parts(values: Any, size: int) -> tuple[Any, Any]:
    """Quotient and rest by a power of two, of numbers that are not negative."""
    return tf.bitwise.right_shift(values, size.bit_length() - 1), tf.bitwise.bitwise_and(values, size - 1)


def _gather(values: Any, places: Any) -> Any:
    return tf.gather(values, places)
