"""Which signatures an export of a model has."""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.serving.graphs import classification, embedding, masked_lm, question_answering, tagging
from keras_bert_impl.serving.graphs.served import IDS, TEXT, Endpoint, Served, Tensors
from keras_bert_impl.tasks.encoding import check_fit
from keras_bert_impl.tasks.lookup import refuse_new_head
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.in_graph import InGraphTokenizer

# Class of the model: the signatures that it has.
ENDPOINTS: dict[str, Callable[[Served], dict[str, Endpoint]]] = {
    "BertForSequenceClassification": classification.endpoints,
    "BertForTokenClassification": tagging.endpoints,
    "BertForQuestionAnswering": question_answering.endpoints,
    "BertForMaskedLM": masked_lm.endpoints,
    "BertForPreTraining": masked_lm.endpoints,
    "BertModel": embedding.endpoints,
}


def class_of(architectures: list[str]) -> str:
    """The class of a checkpoint that can be exported.

    Raises:
        InputError: there is none.
    """
    for name in architectures:
        if name in ENDPOINTS:
            return name
    raise InputError(
        f"the configuration's architectures are {architectures}; one of {', '.join(ENDPOINTS)} was expected. "
        "'keras-bert finetune' makes a model that can be exported."
    )


def attention_endpoint(served: Served) -> Endpoint:
    """How much each token of a text attends to each.

    ``text`` gives ``tokens``, strings ``[batch, length]``, and ``attentions``, float32
    ``[batch, layers, heads, length, length]``.
    """

    def of_text(text: tf.Tensor) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        maps = served.run(inputs)["attentions"]
        words = tf.constant(served.tokenizer.vocabulary)
        return {
            "tokens": tf.gather(words, inputs["input_ids"]),
            "attentions": tf.cast(tf.stack(maps, axis=1), tf.float32),
        }

    return Endpoint(of_text, {"text": TEXT})


def load_served(
    source: str | Path, config: BertConfig, tokenizer: BertTokenizer, *, max_length: int | None
) -> tuple[Served, Any]:
    """The model of a checkpoint, ready for its signatures, and the Keras model itself.

    Raises:
        InputError: the checkpoint is of a class that is not served, lacks its head, or does not fit the tokenizer.
    """
    name = class_of(config.extra.get("architectures") or [])
    length = min(config.max_position_embeddings, tokenizer.model_max_length) if max_length is None else max_length
    check_fit(tokenizer, config, max_length=length, pairs=name == "BertForQuestionAnswering")
    in_graph = InGraphTokenizer(tokenizer)
    model = getattr(importlib.import_module("keras_bert_impl.models"), name).from_pretrained(source)
    if name != "BertModel":  # whose vectors do not need the pooler
        refuse_new_head(model, source)
    return Served(_traced(model), tokenizer, in_graph, config, length), model


def _traced(model: Any) -> Callable[[Tensors], Tensors]:
    """The model as one function, so that all signatures share its graph."""
    traced = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True, autograph=False)

    def run(inputs: Tensors) -> Tensors:
        return traced({name: tf.ensure_shape(value, IDS.shape) for name, value in inputs.items()})

    return run


def signatures(served: Served, model: Any, *, attentions: bool) -> dict[str, Any]:
    """The concrete functions of all signatures of a model, by name."""
    endpoints = dict(ENDPOINTS[type(model).__name__](served))
    if attentions:
        looking = _traced(model.with_outputs(output_attentions=True))
        endpoints["attentions"] = attention_endpoint(dataclasses.replace(served, run=looking))
    found = {}
    for name, (function, inputs) in endpoints.items():
        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in inputs.items()}
        found[name] = tf.function(function, autograph=False).get_concrete_function(**specs)
    return found
