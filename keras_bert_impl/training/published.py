"""Recipes: published settings of pretraining, two phases each, with rows of 128 and then of 512 tokens."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_bert_impl.data.objective import Objective
from keras_bert_impl.training.settings import PretrainingSettings


@dataclass(frozen=True)
class Recipe:
    """The settings of one phase of pretraining.

    Attributes:
        steps: number of training steps.
        objective: the settings of the examples.
        settings: the training settings.
        source: the publication.
    """

    steps: int | None
    objective: Objective
    settings: PretrainingSettings
    source: str

    def override(self, *, objective: Mapping[str, Any], settings: Mapping[str, Any]) -> "Recipe":
        """Returns the recipe with some settings changed.

        Args:
            objective: fields of the objective. A new ``max_length`` resets ``max_predictions``, which depends on it.
            settings: fields of the settings.

        >>> recipe = RECIPES["adamw-2"].override(objective={"max_length": 256}, settings={"batch_size": 32})
        >>> recipe.objective.predictions, recipe.settings.batch_size, recipe.settings.learning_rate
        (39, 32, 0.0001)
        """
        objective = {**({"max_predictions": None} if "max_length" in objective else {}), **objective}
        return dataclasses.replace(
            self,
            objective=dataclasses.replace(self.objective, **objective),
            settings=dataclasses.replace(self.settings, **settings),
        )


# Without a recipe: from scratch, and for masked LM alone from a checkpoint, which adapts it to a domain. The latter has
# a learning rate of fine-tuning, packed rows because texts may be short, and the dropout of the checkpoint.
_DEFAULTS = Recipe(None, Objective(), PretrainingSettings(), source="")
_ADAPTATION = Recipe(
    None,
    Objective(kind="mlm", packing=True),
    PretrainingSettings(learning_rate=5e-5, warmup=0.1, dropout=None),
    source="",
)


def choose_defaults(kind: str, init: Any) -> Recipe:
    """Returns the settings that apply without a recipe.

    Args:
        kind: what is learned, see `Objective`.
        init: the checkpoint that training starts from; None: new weights.

    >>> choose_defaults("mlm", "bert-tiny-novels").settings.learning_rate
    5e-05
    """
    return _ADAPTATION if kind == "mlm" and init is not None else _DEFAULTS


# The paper's million steps: 90 % with short rows, 10,000 steps of warm-up, no whole-word masking.
_PAPER = "Devlin et al. 2018, appendix A.2, https://arxiv.org/abs/1810.04805"
_LAMB = "the two phases of BERT-large in 64,000 and 32,000 rows, https://github.com/NVIDIA/DeepLearningExamples"
_SHORT = Objective(max_length=128, max_predictions=20, whole_words=False)
_LONG = Objective(max_length=512, max_predictions=80, whole_words=False)

RECIPES = {
    "adamw-1": Recipe(900_000, _SHORT, PretrainingSettings(batch_size=256, learning_rate=1e-4, warmup=1 / 90), _PAPER),
    "adamw-2": Recipe(100_000, _LONG, PretrainingSettings(batch_size=256, learning_rate=1e-4, warmup=1 / 10), _PAPER),
    "lamb-1": Recipe(
        7038,
        _SHORT,
        PretrainingSettings(batch_size=65_536, learning_rate=6e-3, optimizer="lamb", warmup=0.2843, power=0.5),
        _LAMB,
    ),
    "lamb-2": Recipe(
        1563,
        _LONG,
        PretrainingSettings(batch_size=32_768, learning_rate=4e-3, optimizer="lamb", warmup=0.128, power=0.5),
        _LAMB,
    ),
}
