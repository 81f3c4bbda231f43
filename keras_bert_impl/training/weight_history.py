"""``WeightHistory``: a callback that records single weights during training."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_impl.checkpoints.names import find_path, to_torch_name
from keras_bert_impl.errors import InputError
from keras_bert_impl.training.distribution import get_backend
from keras_bert_impl.training.report import save_weight_curves

_NAME = re.compile(r"(.+?)((?:\[\d+\])+)")


class WeightHistory(keras.callbacks.Callback):
    """Records selected weights before the first step and after each step.

    It also adds them to Keras' logs of steps and epochs, for ``History``, ``CSVLogger`` and ``TensorBoard`` (with
    ``update_freq=1`` for steps), if they are after it in the list of callbacks.

    Args:
        names: weights by their names in PyTorch, with an index in PyTorch's layout:
            ``encoder.layer.11.output.dense.weight[0][0]``.

    Attributes:
        values: the values of each weight, by its name, float ``[steps + 1]``.

    Raises:
        InputError: the model has no such weight, or the index is out of range; raised at the start of training.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig, BertForSequenceClassification
    >>> model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99))
    >>> model.compile("sgd", "mse")
    >>> history = WeightHistory(["classifier.weight[1][0]"])
    >>> _ = model.fit(np.array([[2, 71, 3]]), np.array([[0.0, 1.0]]), epochs=3, callbacks=[history], verbose=0)
    >>> len(history.values["classifier.weight[1][0]"])
    4
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.values: dict[str, list[float]] = {}
        self._variables: dict[str, tuple[Any, tuple[int, ...]]] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the weights and records their first values."""
        variables = {variable.path: variable for variable in self.model.weights}
        self._variables = {name: _find_weight(name, variables) for name in self.names}
        self.values = {name: [value] for name, value in self._read().items()}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Records the weights, and adds them to the logs."""
        get_backend().sync_variables(self.model)
        for name, value in self._read().items():
            self.values[name].append(value)
            logs[name] = value

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the weights to the epoch's logs."""
        logs.update({name: values[-1] for name, values in self.values.items()})

    def save_picture(self, path: str | Path) -> None:
        """Plots the weights over the steps, as PNG or SVG."""
        save_weight_curves(Path(path), {name: np.array(values) for name, values in self.values.items()})

    def _read(self) -> dict[str, float]:
        return {
            name: float(ops.convert_to_numpy(variable[index])) for name, (variable, index) in self._variables.items()
        }


def _find_weight(name: str, variables: dict[str, Any]) -> tuple[Any, tuple[int, ...]]:
    """Returns the variable that contains a weight, and the weight's index in it."""
    parts = _NAME.fullmatch(name)
    known = find_path(to_torch_name(parts[1])) if parts else None
    if parts is None or known is None or known[1] not in variables:
        raise InputError(
            f"{name!r} is not a weight of this model; a name in PyTorch with an index was expected, such as "
            "encoder.layer.0.output.dense.weight[0][0]."
        )
    row, path = known
    index = tuple(map(int, re.findall(r"\d+", parts[2])))
    shape = tuple(variables[path].shape)[:: -1 if row.torch_transposed else 1]
    if len(index) != len(shape) or any(position >= size for position, size in zip(index, shape, strict=True)):
        raise InputError(
            f"{name!r} is out of range: {parts[1]} has the shape {list(shape)} in PyTorch. Choose an index inside it."
        )
    return variables[path], index[:: -1 if row.torch_transposed else 1]
