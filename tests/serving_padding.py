"""How TF Serving joins requests of different lengths."""

import numpy as np


def pad_like_tf_serving(rows: list[np.ndarray]) -> np.ndarray:
    """Joins the tensors of requests as ``pad_variable_length_inputs`` does: each is padded with its own first value."""
    longest = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, longest - row.shape[1])), constant_values=row[0, 0]) for row in rows]
    )
