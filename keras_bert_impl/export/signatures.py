"""The signatures of an exported model."""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.formats import INT8_PRODUCTS
from keras_bert_impl.export.graphs import int8
from keras_bert_impl.export.graphs.base import TEXT, Endpoint, ServedModel, Tensors
from keras_bert_impl.export.graphs.inference_weights import prepare_inference_weights, prepare_int8_weights
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer
from keras_bert_impl.ops.variants import use_variants


def make_attention_endpoint(served: ServedModel) -> Endpoint:
    """Attention maps of a text.

    For ``text`` returns ``tokens``, strings ``[batch, length]``, and ``attentions``, float32
    ``[batch, layers, heads, length, length]``.
    """

    def serve_text(text: tf.Tensor) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        maps = served.run(inputs)["attentions"]
        words = tf.constant(served.tokenizer.vocabulary)
        return {
            "tokens": tf.gather(words, inputs["input_ids"]),
            "attentions": tf.stack(maps, axis=1),
        }

    return Endpoint(serve_text, {"text": TEXT})


def find_graph(contents: ExportContents) -> Any:
    """Returns the module of the graph that serves the model's task."""
    return importlib.import_module(f"keras_bert_impl.export.graphs.{contents.task.graph}")


def make_signatures(contents: ExportContents) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Returns the signatures of a model, and the variables that they read.

    Returns:
        concrete functions by name; everything that must be saved with them; and for int8 the record of
        `keras_bert_impl.export.graphs.inference_weights.InferenceWeights`.
    """
    run, stored, record = _make_inference(contents)
    served = ServedModel(
        run=functools.partial(run, contents.model),
        task=contents.task,
        tokenizer=contents.tokenizer,
        in_graph=None if contents.inputs == "ids" else InGraphTokenizer(contents.tokenizer),
        config=contents.config,
        max_length=contents.max_length,
        ids_spec=tf.TensorSpec(contents.input_shape, tf.int32),
    )
    endpoints = find_graph(contents).make_endpoints(served)
    if contents.inputs == "ids":
        endpoints = dict.fromkeys(("serving_default", "ids"), endpoints["ids"])
    if contents.attentions:
        run_with_attentions = functools.partial(run, contents.model.with_outputs(output_attentions=True))
        endpoints["attentions"] = make_attention_endpoint(dataclasses.replace(served, run=run_with_attentions))
    functions = {}
    for name, endpoint in endpoints.items():
        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in endpoint.inputs.items()}
        functions[name] = tf.function(endpoint.function, autograph=False).get_concrete_function(**specs)
    variables = {id(variable): variable for function in functions.values() for variable in function.graph.variables}
    return functions, [*stored, *variables.values()], record


def _make_inference(
    contents: ExportContents,
) -> tuple[Callable[[Any, Tensors], Tensors], list[Any], dict[str, Any]]:
    """Makes the function ``run(model, inputs)``, its weights that are not variables of the model, and their record."""
    stored: list[Any] = []

    def store(values: np.ndarray, axis: int = 0) -> Any:
        stored.append(int8.store(values, axis) if contents.precision == "int8-weights" else tf.Variable(values))
        return stored[-1]

    if contents.precision in INT8_PRODUCTS:
        merged = prepare_int8_weights(contents.model, store, contents.make_sample())
        purposes = ["int8"]
    else:
        merged = prepare_inference_weights(contents.model, store)
        purposes = []
    purposes += ["fused", "inference"] if contents.fused else ["inference"]
    quantized = [
        (variable, store(keras.ops.convert_to_numpy(variable), axis=int(variable.name == "embeddings")))
        for variable in contents.model.weights
        if contents.precision == "int8-weights" and id(variable) not in merged.replaced
    ]

    # One traced function per model, so that all signatures share its graph.
    @functools.cache
    def trace(model: Any) -> Any:
        def call(inputs: Tensors) -> Tensors:
            values = [(variable, weight.value()) for variable, weight in quantized]
            with (
                keras.StatelessScope(state_mapping=values),
                use_variants(*purposes, prepared=merged.prepared),
            ):
                outputs = model(inputs, training=False)
            # Clients cannot read bfloat16.
            return tf.nest.map_structure(lambda value: tf.cast(value, tf.float32), outputs)

        return tf.function(call, reduce_retracing=True, autograph=False)

    def run(model: Any, inputs: Tensors) -> Tensors:
        return trace(model)({name: tf.ensure_shape(value, contents.input_shape) for name, value in inputs.items()})

    return run, stored, merged.record
