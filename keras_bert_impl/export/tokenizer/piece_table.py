"""A vocabulary's words and pieces as a perfect hash table of arrays, which a graph reads by indexing alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Letters are packed into the lower bits of signed 64-bit integers.
_PACK_BITS = 63
_WEIGHT_BITS = 62


class Spelling(NamedTuple):
    """A word or piece: its id, whether it goes on a word, and its characters as plain codes."""

    id: int
    continues: bool
    codes: tuple[int, ...]


@dataclass(frozen=True)
class PieceTable:
    """Finds a piece by the sum of its characters' weights.

    Characters are packed, several into an integer, the first into the lowest bits. The sum of these integers, weighted,
    is the piece's, modulo 2**64: so the weight of code ``c`` at place ``k`` is ``weights[k * codes + c]``. A piece that
    goes on a word weighs ``continued`` more. A sum's highest bits name its bucket, which has a shift that gives each of
    its pieces a slot of its own.

    Attributes:
        longest: characters of the longest piece.
        codes: how many codes there are.
        powers: int64 ``[characters of an integer]``, what codes are multiplied by to pack them.
        mix: int64 ``[integers]``, the weights of the integers of a piece.
        weights: int64 ``[longest * codes]``; code 0 weighs nothing at any place.
        continued: an int64.
        shifts: int32 ``[buckets]``, a power of two of them.
        slot_piece: int32 ``[slots]``, a power of two; the number of the piece there, or of the last one, which is none.
        slot_sum: int64 ``[slots]``, the sum of the piece there, or -1.
        packed: int64 ``[pieces + 1, integers]``, the codes of each piece, 0 behind its last; -1 for the last piece,
            which is none.
        continues: bool ``[pieces + 1]``.
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
        """How many characters fit the integers of a piece."""
        return self.packed.shape[1] * len(self.powers)


def make_piece_table(pieces: Sequence[Spelling], codes: int) -> PieceTable:
    """The table of pieces over an alphabet of so many codes; no two pieces may be the same."""
    longest = max(len(piece.codes) for piece in pieces)
    bits = (codes - 1).bit_length()
    powers = np.int64(1) << np.arange(0, _PACK_BITS - bits + 1, bits)
    integers = -(-longest // len(powers))
    spelling = np.zeros((len(pieces), integers, len(powers)), np.int64)
    for row, piece in zip(spelling, pieces, strict=True):
        row.flat[: len(piece.codes)] = piece.codes
    packed = (spelling * powers).sum(axis=2)
    continues = np.array([piece.continues for piece in pieces])

    slots = 1 << int(2 * len(pieces)).bit_length()
    generator = np.random.default_rng(0)
    while True:
        # Odd, so that none of a character's bits is lost.
        mix = generator.integers(-(1 << _WEIGHT_BITS), 1 << _WEIGHT_BITS, integers) * 2 + 1
        continued = generator.integers(1 << _WEIGHT_BITS)
        sums = (packed * mix).sum(axis=1) + continued * continues
        if hashed := _arrange(sums, slots=slots, buckets=slots // 8):
            shifts, slot_piece = hashed
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


def hash_bits(slots: int, buckets: int) -> tuple[int, int]:
    """From which bits of a sum on the number of its bucket stands, and that of its slot before the bucket's shift.

    The highest, because a product's bits depend on all bits below them.
    """
    bucket = 65 - buckets.bit_length()
    return bucket, bucket + 1 - slots.bit_length()


def _arrange(sums: np.ndarray, *, slots: int, buckets: int) -> tuple[np.ndarray, np.ndarray] | None:
    """A shift for each bucket such that no two sums share a slot, and the slots; None if these sums allow none."""
    bucket_bit, slot_bit = hash_bits(slots, buckets)
    bucket = (sums >> bucket_bit) & (buckets - 1)
    home = (sums >> slot_bit) & (slots - 1)
    shifts = np.zeros(buckets, np.int32)
    slot_piece = np.full(slots, len(sums), np.int32)
    taken = np.zeros(slots, bool)
    sizes = np.bincount(bucket, minlength=buckets)
    members = np.split(np.argsort(bucket, kind="stable"), np.cumsum(sizes)[:-1])
    for number in np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]:
        homes = home[members[number]]
        if len(np.unique(homes)) < len(homes):
            return None
        for shift in range(slots):
            chosen = (homes + shift) & (slots - 1)
            if not taken[chosen].any():
                break
        else:
            return None
        taken[chosen] = True
        slot_piece[chosen] = members[number]
        shifts[number] = shift
    return shifts, slot_piece
