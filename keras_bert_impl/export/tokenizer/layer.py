"""BERT's tokenizer as a Keras layer, on TensorFlow."""

from collections.abc import Mapping
from typing import Any, Self

import keras
from tokenizers import AddedToken

from keras_bert_impl.config import INPUTS
from keras_bert_impl.errors import InputError
from keras_bert_impl.export.backend import require_tensorflow
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.pretrained import FLAGS


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertTokenizerLayer(keras.layers.Layer):
    """BERT's tokenizer as a Keras layer: strings in, the inputs of a model out, as TensorFlow operations.

    It computes the ids of the `BertTokenizer`. Use it in ``tf.data.Dataset.map``, or in a functional model whose input
    is ``keras.Input((), dtype="string")``. A ``.keras`` file and an export of such a model contain the vocabulary.

    Args:
        tokenizer: the tokenizer, such as ``model.tokenizer``.
        max_length: the maximum number of tokens of a row, special tokens included; longer texts are truncated. None: as
            the tokenizer says.
        name: the name of the layer.

    Inputs:
        strings ``[batch]``, or a tuple of two such tensors for pairs; or single strings.

    Outputs:
        input_ids, token_type_ids, attention_mask: int32 ``[batch, longest row]``; of single strings ``[tokens]``.

    Raises:
        InputError: Keras runs on another backend than TensorFlow, which have no strings; or the tokenizer cannot be
            converted, see `InGraphTokenizer`.

    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s"]
    >>> layer = BertTokenizerLayer(BertTokenizer(words), max_length=8)
    >>> layer(["Good films", "FILM"])["input_ids"].numpy()
    array([[2, 5, 6, 7, 3],
           [2, 6, 3, 0, 0]], dtype=int32)
    """

    def __init__(self, tokenizer: BertTokenizer, *, max_length: int | None = None, name: str | None = None) -> None:
        require_tensorflow("a tokenizer inside a model is made of operations on strings, which need")
        if not isinstance(tokenizer, BertTokenizer):
            raise InputError(
                f"the tokenizer is {tokenizer!r:.100}; a BertTokenizer was expected, such as model.tokenizer or "
                "BertTokenizer.from_pretrained(…)."
            )
        tokenizer.check_in_graph()
        length = tokenizer.model_max_length if max_length is None else max_length
        if length < 3:
            raise InputError(f"max_length is {length}; at least 3 was expected: [CLS], a token and [SEP].")
        super().__init__(trainable=False, name=name)
        from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer

        self.tokenizer = tokenizer
        self.max_length = length
        self.supports_jit = False  # XLA has no strings.
        self._in_graph = InGraphTokenizer(tokenizer)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Tokenizes a tensor, an array or a list of strings, or a tuple of two of them."""
        import tensorflow as tf

        def convert(texts: Any) -> Any:
            is_python = isinstance(texts, list) and all(isinstance(text, str | bytes) for text in texts)
            return tf.constant(texts, tf.string, [len(texts)]) if is_python else texts

        inputs = tuple(map(convert, inputs)) if isinstance(inputs, tuple) else convert(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Any) -> dict[str, Any]:
        """See the class."""
        texts, pairs = inputs if isinstance(inputs, tuple | list) else (inputs, None)
        if len(texts.shape) == 0:  # In `dataset.map` before `batch`.
            pairs = None if pairs is None else pairs[None]
            batch = self._in_graph(texts[None], pairs, max_length=self.max_length)
            return {name: values[0] for name, values in batch.items()}
        return self._in_graph(texts, pairs, max_length=self.max_length)

    def compute_output_spec(self, inputs: Any) -> dict[str, Any]:
        """Returns symbolic ids, segments and masks, because Keras cannot infer their length."""
        texts = inputs[0] if isinstance(inputs, tuple | list) else inputs
        if len(texts.shape) != 1 or keras.backend.standardize_dtype(texts.dtype) != "string":
            raise InputError(
                f"the input of the tokenizer has the shape {texts.shape} and the dtype {texts.dtype}; strings [batch] "
                'were expected. Use keras.Input((), dtype="string").'
            )
        return {name: keras.KerasTensor((texts.shape[0], None), "int32") for name in INPUTS}

    def get_config(self) -> dict[str, Any]:
        """Returns the settings and the complete vocabulary."""
        backend = self.tokenizer.backend_tokenizer
        added = backend.get_added_tokens_decoder()
        size = backend.get_vocab_size(with_added_tokens=False)
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "vocabulary": self.tokenizer.vocabulary[:size],
            "settings": self.tokenizer.settings,
            "added_tokens": [
                {"content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}
                for _, token in sorted(added.items())
            ],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates the layer of a ``get_config`` result."""
        added = [AddedToken(**token) for token in config["added_tokens"]]
        tokenizer = BertTokenizer(config["vocabulary"], added_tokens=added, **config["settings"])
        return cls(tokenizer, max_length=config["max_length"], name=config["name"])
