"""Which signatures an export of a model has."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_impl.export.graphs import (
    classification,
    embedding,
    int8,
    masked_lm,
    question_answering,
    tagging,
)
from keras_bert_impl.export.graphs.inference_weights import prepare_inference_weights
from keras_bert_impl.export.graphs.served import IDS, TEXT, Endpoint, Served, Tensors
from keras_bert_impl.export.parts import Parts
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer
from keras_bert_impl.ops.variants import use_variants

# Class of the model: the signatures that it has.
ENDPOINTS: dict[str, Callable[[Served], dict[str, Endpoint]]] = {
    "BertForSequenceClassification": classification.endpoints,
    "BertForTokenClassification": tagging.endpoints,
    "BertForQuestionAnswering": question_answering.endpoints,
    "BertForMaskedLM": masked_lm.endpoints,
    "BertForPreTraining": masked_lm.endpoints,
    "BertModel": embedding.endpoints,
}


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
            "attentions": tf.stack(maps, axis=1),
        }

    return Endpoint(of_text, {"text": TEXT})


def signatures(parts: Parts) -> tuple[dict[str, Any], list[Any]]:
    """The signatures of a model, and the variables that they read.

    Returns:
        concrete functions by name; and all that must be saved with them.
    """
    run, kept = _inference(parts)
    served = Served(
        run=functools.partial(run, parts.model),
        tokenizer=parts.tokenizer,
        in_graph=InGraphTokenizer(parts.tokenizer),
        config=parts.config,
        max_length=parts.max_length,
    )
    endpoints = dict(ENDPOINTS[type(parts.model).__name__](served))
    if parts.attentions:
        looking = functools.partial(run, parts.model.with_outputs(output_attentions=True))
        endpoints["attentions"] = attention_endpoint(dataclasses.replace(served, run=looking))
    found = {}
    for name, (function, inputs) in endpoints.items():
        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in inputs.items()}
        found[name] = tf.function(function, autograph=False).get_concrete_function(**specs)
    variables = {id(variable): variable for function in found.values() for variable in function.graph.variables}
    return found, [*kept, *variables.values()]


def _inference(parts: Parts) -> tuple[Callable[[Any, Tensors], Tensors], list[Any]]:
    """Runs the model, or a twin of it, on inputs; and the weights that are kept otherwise than in its variables."""
    kept: list[Any] = []

    def store(values: np.ndarray, axis: int = 0) -> Any:
        kept.append(int8.stored(values, axis) if parts.precision == "int8" else tf.Variable(values))
        return kept[-1]

    merged = prepare_inference_weights(parts.model, store)
    replaced = [
        (variable, store(keras.ops.convert_to_numpy(variable), axis=int(variable.name == "embeddings")))
        for variable in parts.model.weights
        if parts.precision == "int8" and id(variable) not in merged.replaced
    ]

    # One function for each model, so that all signatures share its graph.
    @functools.cache
    def traced(model: Any) -> Any:
        def call(inputs: Tensors) -> Tensors:
            values = [(variable, weight.value()) for variable, weight in replaced]
            with keras.StatelessScope(state_mapping=values), use_variants("inference", merged.prepared):
                outputs = model(inputs, training=False)
            # No client reads bfloat16.
            return tf.nest.map_structure(lambda value: tf.cast(value, tf.float32), outputs)

        return tf.function(call, reduce_retracing=True, autograph=False)

    def run(model: Any, inputs: Tensors) -> Tensors:
        return traced(model)({name: tf.ensure_shape(value, IDS.shape) for name, value in inputs.items()})

    return run, kept
