"""Settings that were published for pretraining, two phases each: rows of 128 tokens, then of 512."""

from dataclasses import dataclass

from keras_bert_impl.data import Objective
from keras_bert_impl.training.settings import PreTraining


@dataclass(frozen=True)
class Recipe:
    """A phase of pretraining.

    Attributes:
        steps: how many.
        objective: what examples are like.
        settings: the settings.
        source: who published them.
    """

    steps: int
    objective: Objective
    settings: PreTraining
    source: str


# The paper made a million steps, of which nine tenths with short rows, and warmed up over 10,000; plain masking.
_PAPER = "Devlin et al. 2018, appendix A.2, https://arxiv.org/abs/1810.04805"
_LAMB = "the two phases of BERT-large in 64,000 and 32,000 rows, https://github.com/NVIDIA/DeepLearningExamples"
_SHORT = Objective(max_length=128, max_predictions=20, whole_words=False)
_LONG = Objective(max_length=512, max_predictions=80, whole_words=False)

RECIPES = {
    "adamw-1": Recipe(900_000, _SHORT, PreTraining(batch_size=256, learning_rate=1e-4, warmup=1 / 90), _PAPER),
    "adamw-2": Recipe(100_000, _LONG, PreTraining(batch_size=256, learning_rate=1e-4, warmup=1 / 10), _PAPER),
    "lamb-1": Recipe(
        7038,
        _SHORT,
        PreTraining(batch_size=65_536, learning_rate=6e-3, optimizer="lamb", warmup=0.2843, power=0.5),
        _LAMB,
    ),
    "lamb-2": Recipe(
        1563,
        _LONG,
        PreTraining(batch_size=32_768, learning_rate=4e-3, optimizer="lamb", warmup=0.128, power=0.5),
        _LAMB,
    ),
}
