"""Options of single tasks, which `keras-bert finetune` has as options of the command line."""

import math
from dataclasses import dataclass, field

from keras_bert_impl.errors import InputError, check_field, join_names

LOSSES = ("auto", "multiple-negatives", "cosent", "cosine", "triplet")
DISTANCES = ("euclidean", "cosine", "manhattan")


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """The options of the task ``embedding``; the defaults of losses are those of sentence-transformers.

    Args:
        loss: loss; auto: cosent if the training data has scores, else multiple-negatives.
        scale: factor of the similarities in multiple-negatives and cosent, the inverse of the temperature.
        symmetric: in multiple-negatives, compare each second text with all first texts as well.
        margin: in triplet, how much farther than the positive the negative must be.
        distance: in triplet, the distance between vectors.
        matryoshka: sizes of the truncated vectors that are trained together, such as 384,256,128,64; empty: only the
            complete vectors.
        label_scale: labels are divided by this number, so that they are in the range that the loss needs.
        pooling: pooling mode, such as cls; None: the checkpoint's.
        normalize: L2 normalization of the vectors; None: as the checkpoint says.
        query_prompt: prompt for queries, the texts that find others; None: the checkpoint's.
        document_prompt: prompt for documents, the texts that are found; None: the checkpoint's.

    Raises:
        InputError: an option is out of range.

    >>> EmbeddingOptions(matryoshka="384,128").matryoshka_dims
    (384, 128)
    """

    loss: str = field(default="auto", metadata={"choices": LOSSES})
    scale: float = 20.0
    symmetric: bool = False
    margin: float = 5.0
    distance: str = field(default="euclidean", metadata={"choices": DISTANCES})
    matryoshka: str = ""
    label_scale: float = 1.0
    pooling: str | None = None
    normalize: bool | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "label_scale"):
            check_field(self, name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        check_field(self, "margin", 0 <= self.margin < math.inf, "a finite number from 0")
        check_field(self, "loss", self.loss in LOSSES, join_names(LOSSES))
        check_field(self, "distance", self.distance in DISTANCES, join_names(DISTANCES))
        _parse_sizes(self.matryoshka)

    @property
    def matryoshka_dims(self) -> tuple[int, ...]:
        """The sizes in ``matryoshka``, largest first; empty if only complete vectors are trained."""
        return _parse_sizes(self.matryoshka)


def _parse_sizes(matryoshka: str) -> tuple[int, ...]:
    """Returns the sizes, largest first; raises ``InputError`` for what is not a list of sizes."""
    try:
        sizes = {int(size) for size in matryoshka.split(",")} if matryoshka else set()
    except ValueError:
        sizes = {0}
    if any(size < 1 for size in sizes):
        raise InputError(f"matryoshka is {matryoshka!r}; sizes such as 384,256,128 were expected.")
    return tuple(sorted(sizes, reverse=True))


@dataclass(frozen=True, kw_only=True)
class RerankingOptions:
    """Options of the task ``reranking``.

    Args:
        label_scale: labels are divided by this number, so that they are in the range that the loss needs, 0 to 1.
        pos_weight: factor of the loss of relevant pairs; above 1 if most pairs are not relevant.
    """

    label_scale: float = 1.0
    pos_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("label_scale", "pos_weight"):
            check_field(self, name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
