"""LoRA in the blocks of a model (https://arxiv.org/abs/2106.09685), and its adapters, which PEFT can read and write.

Keras has LoRA for a single layer, ``Dense.enable_lora``. Here a model gets it in the layers that PEFT would choose.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_bert_impl.checkpoints.adapters import LoraMatrices, find_module, matches, merge_adapter, read_adapter
from keras_bert_impl.checkpoints.matching import match_tensors
from keras_bert_impl.errors import InputError, join_names
from keras_bert_impl.sources import Source

if TYPE_CHECKING:
    from keras import Model as _Base
else:
    _Base = object  # See `MultiWorkerMixin`.


# An adapter is loaded into a model that exists, whose head cannot get other labels.
_LABELS_ADVICE = "Create the model with the labels of the adapter (id2label), or open the adapter with from_pretrained."


class LoraMixin(_Base):
    """Mixin of `BertPreTrainedModel`, which adds LoRA to its layers and loads adapters."""

    @property
    def has_lora(self) -> bool:
        """Whether `enable_lora` or `load_adapter` added LoRA."""
        return bool(self._find_lora_layers())

    def enable_lora(
        self,
        rank: int = 8,
        *,
        alpha: float | None = None,
        targets: Sequence[str] = ("query", "value"),
        rslora: bool = False,
    ) -> None:
        """Adds LoRA to dense layers of the blocks. Then only its weights, the pooler and the head are trained.

        Call it before ``compile``. The outputs remain the same until the model is trained.

        Args:
            rank: the rank.
            alpha: the product of the LoRA matrices is scaled by ``alpha / rank``; None: by 1.
            targets: the layers: ``query``, ``key``, ``value``, ``dense``, or a longer end of a published name, such as
                ``intermediate.dense``.
            rslora: whether to scale by ``alpha / sqrt(rank)`` (https://arxiv.org/abs/2312.03732).

        Raises:
            InputError: there is no such layer, the rank is not above 0, or the model has LoRA already.

        >>> from keras_bert_impl import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99))
        >>> model.enable_lora(4)
        >>> sum(variable.name.startswith("lora") for variable in model.trainable_variables)
        8
        """
        if rank < 1:
            raise InputError(f"the rank of LoRA is {rank}; an integer above 0 was expected.")
        layers = self._find_layers_for_lora()
        names = {path: find_module(path) for path in layers}
        for target in targets:
            if not any(matches(target, name) for name in names.values()):
                known = join_names(sorted({name.split(".")[-1] for name in names.values()}))
                raise InputError(f"the LoRA target {target!r} is not a dense layer of a block; {known} was expected.")
        self._freeze_backbone()
        # Keras divides by the rank.
        scaled = (rank if alpha is None else alpha) * (math.sqrt(rank) if rslora else 1)
        for path, name in names.items():
            if any(matches(target, name) for target in targets):
                _add_lora(layers[path], rank, scaled)
        self.train_function = None  # `fit` traces it again.

    def load_adapter(self, source: str | Path | Source) -> None:
        """Loads an adapter that PEFT or ``save_adapter`` wrote, into its base model.

        LoRA in the blocks remains apart from the weights, as after `enable_lora`. ``from_pretrained`` of the same
        source merges it instead.

        Args:
            source: a directory with ``adapter_config.json``, or a hub name.

        Raises:
            InputError: the adapter is damaged, not supported or made for another base model; or this model has LoRA
                already.

        >>> model = BertForSequenceClassification.from_pretrained("bert-base-uncased")  # doctest: +SKIP
        >>> model.load_adapter("runs/sentiment/adapter")  # doctest: +SKIP
        """
        adapter, layers = read_adapter(source), self._find_layers_for_lora()
        variables, name = self.find_checkpoint_variables(), f"this {type(self).__name__}"
        shapes = {path: tuple(variable.shape) for path, variable in variables.items()}
        adapter.check_base(shapes, name)
        # The pooler and the head are trained completely, so their LoRA is merged.
        others = {path: matrices for path, matrices in adapter.lora.items() if path not in layers}
        rest = dataclasses.replace(adapter, lora=others, targets=())
        merged = merge_adapter(self.state_dict(), rest, base=name)
        arrays, _ = match_tensors(merged, shapes, source=adapter.source, labels_advice=_LABELS_ADVICE)
        for path, array in arrays.items():
            variables[path].assign(array)
        self._freeze_backbone()
        for path, layer in layers.items():
            if matrices := adapter.lora.get(path):
                _add_lora(layer, matrices.rank, matrices.alpha)
                layer.lora_kernel_a.assign(matrices.a)
                layer.lora_kernel_b.assign(matrices.b)
        self.train_function = None  # `fit` traces it again.

    def read_lora(self) -> dict[str, LoraMatrices]:
        """Returns the LoRA matrices of all layers that have them, by the paths of the kernels."""
        return {
            path: LoraMatrices(
                np.asarray(ops.convert_to_numpy(layer.lora_kernel_a), "float32"),
                np.asarray(ops.convert_to_numpy(layer.lora_kernel_b), "float32"),
                float(layer.lora_alpha),
            )
            for path, layer in self._find_lora_layers().items()
        }

    def reset_lora(self) -> None:
        """Makes the product of the LoRA matrices zero, as at the start of training."""
        for layer in self._find_lora_layers().values():
            layer.lora_kernel_b.assign(np.zeros(layer.lora_kernel_b.shape))

    def find_checkpoint_variables(self) -> dict[str, Any]:
        """Returns the variables that checkpoints have, by path: all weights but those of LoRA."""
        layers = self._find_lora_layers().values()
        added = {id(variable) for layer in layers for variable in (layer.lora_kernel_a, layer.lora_kernel_b)}
        return {variable.path: variable for variable in self.weights if id(variable) not in added}

    def _find_lora_layers(self) -> dict[str, Any]:
        """Returns the layers with LoRA, by the paths of their kernels."""
        return {path: layer for path, layer in _find_dense_layers(self).items() if layer.lora_enabled}

    def _find_layers_for_lora(self) -> dict[str, Any]:
        """Returns the dense layers of the blocks, by the paths of their kernels; no layer may have LoRA."""
        if self.has_lora:
            raise InputError("This model has LoRA already. Load the base model again, without it.")
        return {path: layer for path, layer in _find_dense_layers(self).items() if path.startswith("encoder/")}

    def _freeze_backbone(self) -> None:
        """Makes the weights of embeddings and encoder not trainable; LoRA that is added later is trainable."""
        for variable in (*self.embeddings.weights, *self.encoder.weights):
            variable.trainable = False


def _find_dense_layers(model: keras.Model) -> dict[str, Any]:
    """Returns the dense layers of a model, by the paths of their kernels."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
    return {variable.path: layer for layer in layers for variable in layer.weights if variable.name == "kernel"}


def _add_lora(layer: Any, rank: int, alpha: float) -> None:
    """Adds LoRA to a layer. The first matrix starts as in PEFT, with a sixth of the variance of Keras' default."""
    start = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
    layer.enable_lora(rank, lora_alpha=alpha, a_initializer=start)
