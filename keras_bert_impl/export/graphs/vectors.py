"""Graph that computes embeddings of texts."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_bert_impl.checkpoints.sentence_settings import SentenceSettings
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.export.graphs.base import TEXT, Endpoint, ServedModel, Tensors, make_ids_endpoint
from keras_bert_impl.tasks.encoding import POOLING_MASK, count_prompt_tokens

# One example for the README, by argument.
EXAMPLE = {"text": "It was a great movie."}

# Names that no prompt may have: those of the other signatures.
_RESERVED = ("serving_default", "embed", "ids", "attentions")


def list_prompts(config: BertConfig) -> dict[str, str]:
    """Returns the prompt that each signature puts before a text, by the name of the signature.

    ``serving_default`` has the model's default prompt, and ``embed`` is the same. A model with prompts also has a
    signature for each of them, with its name; ``query`` and ``document`` always exist, as in sentence-transformers.

    Raises:
        InputError: a prompt has the name of another signature.
    """
    settings = SentenceSettings.from_config(config)
    default = settings.prompts[settings.default_prompt_name] if settings.default_prompt_name else ""
    named = settings.prompts if any(settings.prompts.values()) else {}
    if clashes := [name for name in named if name in _RESERVED]:
        raise InputError(
            f"the prompt {clashes[0]!r} has the name of another signature. Rename it in "
            "config_sentence_transformers.json."
        )
    return {"serving_default": default, "embed": default, **named}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default``, ``embed`` and those of prompts (see `list_prompts`) over ``text``; and ``ids``.

    ``ids`` returns the model's outputs; the others return only the vectors, truncated if the model says so.
    """
    has_mask = POOLING_MASK in served.task.list_export_inputs(served.config)

    def embed(text: Any, excluded: Any) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        if has_mask:
            positions = tf.range(tf.shape(inputs["input_ids"])[1])[None]
            inputs[POOLING_MASK] = inputs["attention_mask"] * tf.cast(positions >= excluded, tf.int32)
        return served.task.serve(served.run(inputs), served)

    # Traced once, so that all signatures share its graph.
    shared = tf.function(embed, input_signature=[TEXT, tf.TensorSpec([], tf.int32)], autograph=False)

    def make_function(prompt: str) -> Callable[[Any], Tensors]:
        excluded = count_prompt_tokens(served.tokenizer, prompt, served.max_length)
        prompt = served.tokenizer.make_graph_text(prompt)

        def serve_text(text: Any) -> Tensors:
            return shared(tf.strings.join([prompt, text]) if prompt else text, excluded)

        return serve_text

    prompts = list_prompts(served.config).items()
    signatures = {name: Endpoint(make_function(prompt), {"text": TEXT}) for name, prompt in prompts}
    return {**signatures, "ids": make_ids_endpoint(served, served.run)}
