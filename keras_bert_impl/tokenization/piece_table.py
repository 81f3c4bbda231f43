"""A vocabulary's words and pieces as a perfect hash table of arrays, which a graph reads by indexing alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Weights are below 2**39, so that sums over the longest piece stay far below 2**63.
_WEIGHT_BITS = 39
# The lowest bits of a hash name its bucket, the bits from here its slot before the bucket's shift.
SLOT_BITS = 17


class Spelling(NamedTuple):
    """A word or piece: its id, whether it goes on a word, and its characters as plain codes."""

    id: int
    continues: bool
    codes: tuple[int, ...]


@dataclass(frozen=True)
class PieceTable:
    """Finds a piece by the sum of its characters' weights.

    The weight of code ``c`` at place ``k`` of a piece is ``weights[k * codes + c]``, and a piece that goes on a word
    weighs ``continued`` more. A sum's bucket has a shift that gives each of its pieces a slot of its own.

    Attributes:
        longest: characters of the longest piece.
        codes: how many codes there are.
        weights: int64 ``[longest * codes]``; code 0 weighs nothing at any place.
        continued: an int64.
        shifts: int32 ``[buckets]``, a power of two of them.
        slot_piece: int32 ``[slots]``, a power of two; the number of the piece there, or of the last one, which is none.
        slot_sum: int64 ``[slots]``, the sum of the piece there, or -1.
        spelling: ``[pieces + 1, longest]``, codes of each piece, 0 behind its last; -1 for the last piece, which is
            none.
        continues: bool ``[pieces + 1]``.
        ids: int32 ``[pieces + 1]``.
    """

    longest: int
    codes: int
    weights: np.ndarray
    continued: np.int64
    shifts: np.ndarray
    slot_piece: np.ndarray
    slot_sum: np.ndarray
    spelling: np.ndarray
    continues: np.ndarray
    ids: np.ndarray


def make_piece_table(pieces: Sequence[Spelling], codes: int) -> PieceTable:
    """The table of pieces over an alphabet of so many codes; no two pieces may be the same."""
    longest = max(len(piece.codes) for piece in pieces)
    continues = np.array([piece.continues for piece in pieces] + [False])
    spelling = np.zeros((len(pieces) + 1, longest), np.min_scalar_type(-codes))
    spelling[-1] = -1
    for row, piece in zip(spelling, pieces, strict=False):
        row[: len(piece.codes)] = piece.codes
    places = spelling[:-1].astype(np.int32) + codes * np.arange(longest, dtype=np.int32)

    slots = 1 << int(2 * len(pieces)).bit_length()
    generator = np.random.default_rng(0)
    while True:
        weights = generator.integers(1, 1 << _WEIGHT_BITS, longest * codes)
        continued = generator.integers(1, 1 << _WEIGHT_BITS)
        weights[::codes] = 0
        sums = weights[places].sum(axis=1) + continued * continues[:-1]
        if hashed := _arrange(sums, slots=slots, buckets=slots // 8):
            shifts, slot_piece = hashed
            break
    slot_sum = np.where(slot_piece < len(pieces), np.append(sums, -1)[slot_piece], -1)
    ids = np.array([piece.id for piece in pieces] + [0], np.int32)
    return PieceTable(longest, codes, weights, continued, shifts, slot_piece, slot_sum, spelling, continues, ids)


def _arrange(sums: np.ndarray, *, slots: int, buckets: int) -> tuple[np.ndarray, np.ndarray] | None:
    """A shift for each bucket such that no two sums share a slot, and the slots; None if these weights allow none."""
    bucket = sums & (buckets - 1)
    home = (sums >> SLOT_BITS) & (slots - 1)
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
