"""Splits validation data off training data."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from keras_bert_impl.data.tables import Columns, count_examples
from keras_bert_impl.errors import InputError


def split_off(
    columns: Columns, fraction: float, *, seed: int, group_column: str = "text", strata: Sequence[str] | None = None
) -> tuple[Columns, Columns]:
    """Splits examples into training and validation data.

    Examples with the same value in ``group_column`` stay together, so that the validation data contains no text of the
    training data. Each stratum, such as a label, has the same fraction of its examples in the validation data, as far
    as groups permit; at least one of its groups stays in the training data. The split depends on the examples, the
    fraction and the seed only.

    Args:
        columns: the examples.
        fraction: the fraction of the examples that become validation data.
        seed: the seed of the draw.
        group_column: the column by which examples belong together; ignored if the examples lack it.
        strata: the stratum of each example; None: there is one.

    Returns:
        the training data and the validation data, both in the order of the examples.

    Raises:
        InputError: there are too few examples, or too few different values in ``group_column``.

    >>> columns = {"text": list("abcdabcdef"), "label": list("0011001100")}
    >>> train, valid = split_off(columns, 0.4, seed=1, strata=columns["label"])
    >>> sorted(set(valid["label"])), set(train["text"]) & set(valid["text"])
    (['0', '1'], set())
    """
    count = count_examples(columns, name="train")
    keys = map(repr, columns[group_column]) if group_column in columns else map(str, range(count))
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    names = [str(name) for name in strata] if strata else [""] * count
    frequency = Counter(names)
    ordered = list(groups.values())
    by_stratum: dict[str, list[list[int]]] = {}
    for i in np.random.default_rng(seed).permutation(len(groups)):
        rows = ordered[i]
        by_stratum.setdefault(min((names[row] for row in rows), key=frequency.__getitem__), []).append(rows)
    is_valid = np.zeros(count, bool)
    seen = taken = 0
    for stratum in sorted(by_stratum):
        first, *others = by_stratum[stratum]
        seen += len(first)
        # Also the examples that other strata could not give are limited to this number.
        limit = taken + math.ceil(fraction * sum(map(len, by_stratum[stratum])))
        for rows in others:
            seen += len(rows)
            if taken + len(rows) <= min(round(fraction * seen), limit):
                is_valid[rows] = True
                taken += len(rows)
    if not is_valid.any():
        larger = ", or choose a larger valid_fraction" if len(groups) > 1 else ""
        raise InputError(
            f"the training data has {count} examples with {len(groups)} different values of {group_column!r}, too few "
            f"to split off a fraction of {fraction:g}. Give validation data{larger}."
        )
    train, valid = (
        {name: [values[i] for i in np.flatnonzero(kept)] for name, values in columns.items()}
        for kept in (~is_valid, is_valid)
    )
    return train, valid
