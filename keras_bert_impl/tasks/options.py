"""Options of single tasks, which `keras-bert finetune` has as options of the command line."""

from dataclasses import dataclass

from keras_bert_impl.errors import check_field


@dataclass(frozen=True, kw_only=True)
class RerankingOptions:
    """Options of the task ``reranking``.

    Args:
        label_scale: labels are divided by this number, so that they are from 0 to 1.
        pos_weight: weight of the relevant part of each label; above 1 if most pairs are not relevant.
    """

    label_scale: float = 1.0
    pos_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("label_scale", "pos_weight"):
            check_field(self, name, 0 < getattr(self, name) < float("inf"), "a number above 0")
