"""Perfect hash table of a vocabulary's words and pieces, stored in arrays that a graph reads by indexing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Characters are packed into the lower bits of signed 64-bit integers.
_PACK_BITS = 63
_WEIGHT_BITS = 62


class Spelling(NamedTuple):
    """A word or piece: its id, whether it continues a word, and its characters as plain codes."""

    id: int
    continues: bool
    codes: tuple[int, ...]


@dataclass(frozen=True)
class PieceTable:
    """Finds a piece by the sum of its characters' weights.

    Characters are packed, several into one integer, the first into its lowest bits. The key of a piece is the weighted
    sum of its integers modulo 2**64. So code ``c`` at position ``k`` adds ``weights[k * codes + c]`` to the key, and a
    piece that continues a word adds ``continued``. The highest bits of the key are the number of its bucket. Each
    bucket has a shift that gives each of its pieces a slot of its own.

    Attributes:
        longest: the number of characters of the longest piece.
        codes: the number of codes.
        powers: int64 ``[characters per integer]``, the factors that pack codes into an integer.
        mix: int64 ``[integers]``, the weights of the integers of a piece.
        weights: int64 ``[longest * codes]``; code 0 has weight 0 at every position.
        continued: an int64.
        shifts: int32 ``[buckets]``, whose number is a power of two.
        slot_piece: int32 ``[slots]``, whose number is a power of two: the number of the piece in a slot. Empty slots
            contain the number of the last piece, which is a placeholder.
        slot_sum: int64 ``[slots]``, the key of the piece in a slot, or -1.
        packed: int64 ``[pieces + 1, integers]``, the packed codes of each piece, padded with 0; -1 for the placeholder.
        continues: bool ``[pieces + 1]``, whether a piece continues a word.
        ids: int32 ``[pieces + 1]``.
    """

    longest: int
    codes: int
    powers: np.ndarray
    mix: np.ndarray
    weights: np.ndarray
    continued: np.int64
    shifts: np.ndarray
    slot_piece: np.ndarray
    slot_sum: np.ndarray
    packed: np.ndarray
    continues: np.ndarray
    ids: np.ndarray

    @property
    def width(self) -> int:
        """The number of characters that fit into the integers of a piece."""
        return self.packed.shape[1] * len(self.powers)


def make_piece_table(pieces: Sequence[Spelling], codes: int) -> PieceTable:
    """Makes the table of pieces, which must differ, over an alphabet with this number of codes."""
    longest = max(len(piece.codes) for piece in pieces)
    bits = (codes - 1).bit_length()
    powers = np.int64(1) << np.arange(0, _PACK_BITS - bits + 1, bits)
    integers = -(-longest // len(powers))
    codes_of = np.zeros((len(pieces), integers, len(powers)), np.int64)
    for row, piece in zip(codes_of, pieces, strict=True):
        row.flat[: len(piece.codes)] = piece.codes
    packed = (codes_of * powers).sum(axis=2)
    continues = np.array([piece.continues for piece in pieces])

    slots = 1 << int(2 * len(pieces)).bit_length()
    generator = np.random.default_rng(0)
    while True:
        # Odd factors, so that the product keeps all bits of a character.
        mix = generator.integers(-(1 << _WEIGHT_BITS), 1 << _WEIGHT_BITS, integers) * 2 + 1
        continued = generator.integers(1 << _WEIGHT_BITS)
        sums = (packed * mix).sum(axis=1) + continued * continues
        if arranged := _arrange(sums, slots=slots, buckets=slots // 8):
            shifts, slot_piece = arranged
            break
    return PieceTable(
        longest,
        codes,
        powers,
        mix,
        (np.outer(mix, powers).reshape(-1, 1)[:longest] * np.arange(codes)).reshape(-1),
        continued,
        shifts,
        slot_piece,
        slot_sum=np.append(sums, -1)[slot_piece],
        packed=np.append(packed, np.full((1, integers), -1), axis=0),
        continues=np.append(continues, False),
        ids=np.array([piece.id for piece in pieces] + [0], np.int32),
    )


def find_hash_bits(slots: int, buckets: int) -> tuple[int, int]:
    """Returns the positions of two bit fields in a key: the number of its bucket, and its slot before the shift.

    The highest bits are used because each bit of a product depends on all bits below it.
    """
    bucket = 65 - buckets.bit_length()
    return bucket, bucket + 1 - slots.bit_length()


def _arrange(sums: np.ndarray, *, slots: int, buckets: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Finds a shift for each bucket such that no two keys share a slot; None if there is none for these keys.

    Returns:
        The shifts ``[buckets]``, and the number of the piece in each slot ``[slots]``.
    """
    bucket_bit, slot_bit = find_hash_bits(slots, buckets)
    bucket = (sums >> bucket_bit) & (buckets - 1)
    home = (sums >> slot_bit) & (slots - 1)
    shifts = np.zeros(buckets, np.int32)
    slot_piece = np.full(slots, len(sums), np.int32)
    is_used = np.zeros(slots, bool)
    sizes = np.bincount(bucket, minlength=buckets)
    members = np.split(np.argsort(bucket, kind="stable"), np.cumsum(sizes)[:-1])
    for number in np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]:
        homes = home[members[number]]
        if len(np.unique(homes)) < len(homes):
            return None
        for shift in range(slots):
            candidates = (homes + shift) & (slots - 1)
            if not is_used[candidates].any():
                break
        else:
            return None
        is_used[candidates] = True
        slot_piece[candidates] = members[number]
        shifts[number] = shift
    return shifts, slot_piece
