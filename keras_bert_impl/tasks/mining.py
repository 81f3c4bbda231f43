"""The settings of `mine_hard_negatives`. Imports no framework: the command line reads them."""

import dataclasses
import math

from keras_bert_impl.errors import check_field, join_names

_FORMATS = ("triplet", "n-tuple", "labeled-pair")
_STRATEGIES = ("top", "random")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiningSettings:
    """Which documents are hard negatives of a query; the names and rules are those of sentence-transformers.

    Candidates are the documents that are not positives of the query, most similar first. Those that a score or a margin
    excludes are dropped; then ``range_min`` candidates are skipped, and ``num_negatives`` are chosen.

    Args:
        num_negatives: number of negatives for a query.
        range_min: number of candidates to skip, which may be positives that are not labeled.
        range_max: number of candidates to choose from, including those to skip; None: as many as are needed, and 9
            more for each negative if a score, a margin or a reranker can drop candidates.
        max_score: drop candidates with a higher score; None: keep them.
        min_score: drop candidates with a lower score; None: keep them.
        absolute_margin: drop candidates whose score is not at least this much lower than that of each positive; None:
            keep them.
        relative_margin: as absolute_margin, but a fraction of the absolute value of the positive's score; None: keep
            them.
        sampling_strategy: top: the most similar candidates; random: a random sample of the candidates.
        seed: seed of the random choice.
        output_format: a triplet for each positive and each negative; an n-tuple for each positive, with all negatives,
            if there are enough of them; or a labeled-pair for each positive (label 1) and each negative (0).

    Raises:
        InputError: a setting is out of range.

    >>> MiningSettings(num_negatives=5, relative_margin=0.05).resolve_range_max(max_positives=2)
    52
    """

    num_negatives: int = 3
    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    sampling_strategy: str = dataclasses.field(default="top", metadata={"choices": _STRATEGIES})
    seed: int = 1
    output_format: str = dataclasses.field(default="triplet", metadata={"choices": _FORMATS})

    def __post_init__(self) -> None:
        check_field(self, "num_negatives", self.num_negatives > 0, "an integer above 0")
        for name in ("range_min", "seed"):
            check_field(self, name, getattr(self, name) >= 0, "an integer from 0")
        least = self.range_min + self.num_negatives
        expected = f"at least range_min + num_negatives, which is {least},"
        check_field(self, "range_max", self.range_max is None or self.range_max >= least, expected)
        for name in ("max_score", "min_score", "absolute_margin", "relative_margin"):
            value = getattr(self, name)
            check_field(self, name, value is None or math.isfinite(value), "a finite number")
        check_field(self, "sampling_strategy", self.sampling_strategy in _STRATEGIES, join_names(_STRATEGIES))
        check_field(self, "output_format", self.output_format in _FORMATS, join_names(_FORMATS))

    @property
    def needs_scores(self) -> bool:
        """Whether a score or a margin may drop candidates."""
        return self.min_score is not None or self._drops_similar

    @property
    def _drops_similar(self) -> bool:
        """Whether the most similar candidates may be dropped, so that others are needed."""
        return any(limit is not None for limit in (self.max_score, self.absolute_margin, self.relative_margin))

    def resolve_range_max(self, max_positives: int, *, is_reranked: bool = False) -> int:
        """Returns ``range_max``, or its default.

        Args:
            max_positives: the largest number of documents of a query that are not candidates.
            is_reranked: whether a cross-encoder computes the scores, so that the least similar candidates need not have
                the lowest scores.
        """
        if self.range_max is not None:
            return self.range_max
        reserves = 10 if self._drops_similar or is_reranked else 1
        return self.range_min + self.num_negatives * reserves + max_positives
