"""Trie of special and added tokens, stored in arrays, to find them in a text before it is split into words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TokenTrie:
    """A trie over a few symbols (code points, or codes of an alphabet). State 0 is its root.

    Attributes:
        symbols: int32 ``[symbols]``, ascending.
        next_state: int32 ``[states * (symbols + 1)]``, the state after each state and symbol; the last column is for
            all other symbols, the last state means that no token matches.
        token: int32 ``[states]``, the number of the token that ends in a state, or -1.
        longest: the number of symbols of the longest token; 0 if there are no tokens.
    """

    symbols: np.ndarray
    next_state: np.ndarray
    token: np.ndarray
    longest: int

    @property
    def starts(self) -> np.ndarray:
        """The symbols that a token can start with."""
        return self.symbols[self.next_state[: len(self.symbols)] != self.no_match]

    @property
    def columns(self) -> int:
        """The number of columns of ``next_state``."""
        return len(self.symbols) + 1

    @property
    def no_match(self) -> int:
        """The state in which no token matches."""
        return len(self.token) - 1


def make_token_trie(spellings: Sequence[Sequence[int]], numbers: Sequence[int]) -> TokenTrie:
    """Makes the trie of tokens from their symbols and their numbers."""
    symbols = sorted({symbol for spelling in spellings for symbol in spelling})
    column = {symbol: i for i, symbol in enumerate(symbols)}
    states: list[dict[int, int]] = [{}]
    ends: dict[int, int] = {}
    for spelling, number in zip(spellings, numbers, strict=True):
        state = 0
        for symbol in spelling:
            if column[symbol] not in states[state]:
                states.append({})
                states[state][column[symbol]] = len(states) - 1
            state = states[state][column[symbol]]
        ends[state] = number
    next_state = np.full((len(states) + 1, len(symbols) + 1), len(states), np.int32)
    for state, following in enumerate(states):
        for symbol_column, target in following.items():
            next_state[state, symbol_column] = target
    token = np.array([ends.get(state, -1) for state in range(len(states) + 1)], np.int32)
    return TokenTrie(np.array(symbols, np.int32), next_state.reshape(-1), token, max(map(len, spellings), default=0))
