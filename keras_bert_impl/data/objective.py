"""``Objective``: how pretraining examples are made. Imports no library: the command line reads it."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from keras_bert_impl.errors import InputError, check_field, join_names

# What is learned: the task whose model and losses are trained.
OBJECTIVES = {"mlm-nsp": "pretraining", "mlm": "masked-lm"}

_MIN_LENGTH = 8
# A packed row contains at most one sequence per this many tokens: the shortest pairs have five.
_TOKENS_PER_SEQUENCE = 8
# Names on disk of fields that have been renamed. metrics.json and saved states keep them, so that older runs can be
# resumed and compared. For the same reason they have no ``kind`` that is the default.
_NAMES_ON_DISK = {"masked_fraction": "masked_share", "short_fraction": "short_share"}


@dataclass(frozen=True)
class Objective:
    """How pretraining examples are made; the defaults are the paper's, except for ``whole_words``.

    Args:
        kind: what is learned: masked words and next sentences (mlm-nsp), or masked words alone (mlm).
        max_length: max. tokens in a row, special tokens included.
        masked_fraction: fraction of the tokens that are predicted.
        max_predictions: max. predictions in a row; None: masked fraction × max. length.
        whole_words: mask all pieces of a word together (whole-word masking).
        short_fraction: fraction of the pairs that get a random shorter length, from 2 tokens; mlm has no pairs.
        packing: put several sequences into a row, without attention between them; ``keras-bert pretrain`` does so by
            default for masked LM alone from a checkpoint.

    Raises:
        InputError: a setting is out of its range.
    """

    kind: str = field(default="mlm-nsp", metadata={"choices": tuple(OBJECTIVES)})
    max_length: int = 128
    masked_fraction: float = 0.15
    max_predictions: int | None = None
    whole_words: bool = True
    short_fraction: float = 0.1
    packing: bool = False

    def __post_init__(self) -> None:
        check_field(self, "kind", self.kind in OBJECTIVES, join_names(tuple(OBJECTIVES)))
        if self.max_length < _MIN_LENGTH:
            raise InputError(
                f"max_length is {self.max_length}; a pair needs at least {_MIN_LENGTH} tokens, including [CLS] and two "
                "[SEP]."
            )
        for name in ("masked_fraction", "short_fraction"):
            check_field(self, name, 0 <= getattr(self, name) <= 1, "a fraction from 0 to 1")
        predictions = self.max_predictions
        is_valid = predictions is None or 1 <= predictions <= self.max_length
        check_field(self, "max_predictions", is_valid, "1 to max_length")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields under their names on disk, for ``metrics.json`` and saved states."""
        values = {_NAMES_ON_DISK.get(name, name): value for name, value in asdict(self).items()}
        return {name: value for name, value in values.items() if (name, value) != ("kind", "mlm-nsp")}

    @property
    def task(self) -> str:
        """The name of the task whose model and losses are trained."""
        return OBJECTIVES[self.kind]

    @property
    def has_pairs(self) -> bool:
        """Whether a sequence is a pair of segments, for next-sentence prediction."""
        return self.kind == "mlm-nsp"

    @property
    def masked_output(self) -> str:
        """The output of the model that predicts the masked words."""
        return "prediction_logits" if self.has_pairs else "logits"

    @property
    def predictions(self) -> int:
        """The maximum number of predictions of a row."""
        return self.max_predictions or max(1, math.ceil(self.max_length * self.masked_fraction))

    @property
    def sequences(self) -> int:
        """The maximum number of sequences of a row."""
        return max(1, self.max_length // _TOKENS_PER_SEQUENCE) if self.packing else 1
