"""Rows of a model for more tokens than it has: the word embeddings and the decoder of masked words."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from keras_bert_impl.errors import InputError

if TYPE_CHECKING:
    from keras import Model as _Base
else:
    _Base = object  # See `MultiWorkerMixin`.

# The variables with an entry for each token, and the axis of the tokens.
_AXES = {
    "embeddings/word_embeddings/embeddings": 0,
    "cls/predictions/decoder/kernel": 1,
    "cls/predictions/bias": 0,
}
_BIAS = "cls/predictions/bias"
# The key of ``config.json`` with the first and the last id, plus one, of tokens whose biases are low.
_LOW = "low_bias_tokens"
# The probability of all new tokens together, at any position, is at most this at first.
_PROBABILITY = 1e-7
# The covariance of new rows without pieces, divided by that of the old rows.
_COVARIANCE = 1e-9


class ResizeMixin(_Base):
    """Mixin of `BertPreTrainedModel`, which gives its vocabulary another size."""

    if TYPE_CHECKING:  # What the class that is mixed with defines.
        config: Any
        load_report: Any
        _source: Any
        _tokenizer: Any

        @property
        def has_lora(self) -> bool: ...

        def find_checkpoint_variables(self) -> dict[str, Any]: ...

    def resize_token_embeddings(
        self,
        new_num_tokens: int,
        *,
        pad_to_multiple_of: int | None = None,
        pieces: Mapping[int, Sequence[int]] | None = None,
        seed: int = 1,
    ) -> Self:
        """Returns a model with more tokens: the old embeddings are kept exactly, those of new tokens are added.

        The weights of a Keras model have a fixed shape, so this is another model, which is not compiled. The new
        embedding of a token is the mean of those of its pieces. Others are drawn from a normal distribution with the
        mean of the old embeddings and a billionth of their covariance (https://nlp.stanford.edu/~johnhew/vocab-expansion.html).

        The biases of new tokens in the masked-LM head are so low that all new tokens together have a probability of at
        most 1e-7, whatever the text is. So the loss of texts without them changes by at most 1e-7, up to rounding. To
        train the masked-LM head, call `raise_new_tokens` before: from so low a bias, a token is learned slowly.

        Args:
            new_num_tokens: the number of tokens, at least as many as the model has.
            pad_to_multiple_of: rounds the number up; the additional embeddings belong to no token.
            pieces: for the ids of new tokens, the ids of their pieces, see `BertTokenizer.find_pieces`; empty if there
                are none. If the model already has embeddings for these ids, which no token had, all from the first of
                these ids on are new.
            seed: the seed of embeddings without pieces.

        Raises:
            InputError: the model has more tokens than that, or LoRA; or an id in ``pieces`` does not exist.

        >>> from keras_bert_impl import BertConfig, BertForMaskedLM
        >>> model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=99))
        >>> model.resize_token_embeddings(101, pad_to_multiple_of=8, pieces={99: [71, 7]}).config.vocab_size
        104
        """
        old, multiple, pieces = self.config.vocab_size, pad_to_multiple_of or 1, pieces or {}
        if new_num_tokens < old or multiple < 1:
            raise InputError(
                f"new_num_tokens is {new_num_tokens} and pad_to_multiple_of is {multiple}; the model has {old} word "
                f"embeddings, so {old} or more and a multiple above 0 were expected. A model may have more embeddings "
                "than its tokenizer has tokens: pass max(len(tokenizer), model.config.vocab_size)."
            )
        if self.has_lora:
            raise InputError("the model has LoRA, whose matrices would be lost. Resize it before enable_lora.")
        size = -(-new_num_tokens // multiple) * multiple
        first = min(old, *pieces) if pieces else old
        for id, row in pieces.items():
            if not 0 < id < size or not all(0 <= piece < first for piece in row):
                raise InputError(
                    f"pieces has the id {id} with the pieces {list(row)}; an id below {size} and the ids of old "
                    f"tokens, below {first}, were expected."
                )
        settings = self.get_config()
        values = {**settings["config"], "vocab_size": size}
        if first < size:
            values[_LOW] = [*values.get(_LOW, []), [first, size]]
        model = type(self).from_config({**settings, "config": values})
        variables = self.find_checkpoint_variables()
        for path, variable in model.find_checkpoint_variables().items():
            array = keras.ops.convert_to_numpy(variables[path])
            if path in _AXES:
                array = np.moveaxis(array, _AXES[path], 0)[:first]
                rows = _make_rows(array.astype("float64"), range(first, size), pieces, seed=seed)
                if path == _BIAS:
                    rows += _compute_low_bias(size - first)
                array = np.moveaxis(np.concatenate([array, rows.astype(array.dtype)]), 0, _AXES[path])
            variable.assign(array)
        model._source, model._tokenizer, model.load_report = self._source, self._tokenizer, self.load_report
        return model

    def raise_new_tokens(self) -> int:
        """Gives the new tokens of `resize_token_embeddings` the mean bias of their pieces, so that they can be learned.

        ``keras-bert pretrain`` calls it. It changes a model once: a key of ``config.json`` says which biases are low.

        Returns:
            the number of these tokens.
        """
        extra = dict(self.config.extra)
        ranges = extra.pop(_LOW, [])
        bias = self.find_checkpoint_variables().get(_BIAS)
        if bias is not None:
            array = np.array(keras.ops.convert_to_numpy(bias))
            for first, stop in ranges:
                array[first:stop] -= _compute_low_bias(stop - first)
            bias.assign(array)
        self.config = dataclasses.replace(self.config, extra=extra)
        return sum(stop - first for first, stop in ranges)


def _compute_low_bias(count: int) -> float:
    """Returns what is added to the biases of new tokens, so that together they have at most the probability above.

    The mean of the logits of some tokens is at most the log of the sum of all exponentials.
    """
    return float(np.log(_PROBABILITY / count))


def _make_rows(old: np.ndarray, new: Sequence[int], pieces: Mapping[int, Sequence[int]], *, seed: int) -> np.ndarray:
    """Returns the rows of new tokens.

    Args:
        old: float64 ``[tokens, ...]``.
        new: the ids of the new tokens.
        pieces: the ids of the pieces of some of them.
        seed: the seed of the others.
    """
    mean, generator = old.mean(axis=0), np.random.default_rng(seed)
    rows = np.empty((len(new), *old.shape[1:]))
    for number, id in enumerate(new):
        if pieces.get(id):
            rows[number] = old[list(pieces[id])].mean(axis=0)
        else:  # A sum of the old rows with random factors has their covariance.
            factors = generator.normal(0, np.sqrt(_COVARIANCE / len(old)), len(old))
            rows[number] = mean + factors @ (old - mean)
    return rows
