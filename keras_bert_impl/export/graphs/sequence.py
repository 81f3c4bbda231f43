"""Graph that makes one prediction for a text, or for a pair of texts."""

from typing import Any

from keras_bert_impl.export.graphs.base import TEXT, Endpoint, ServedModel, Tensors, make_ids_endpoint

# One example for the README, by argument.
EXAMPLE = {"text": "It was a great movie.", "text_pair": "I liked it a lot."}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, ``pair`` over ``text`` and ``text_pair``, and ``ids``.

    If the task needs pairs, ``serving_default`` takes pairs, and there is no ``pair``. Each signature returns the
    task's prediction; ``ids`` also returns the ``logits``.
    """

    def predict(inputs: Tensors) -> Tensors:
        return served.task.serve(served.run(inputs), served)

    def serve_ids(inputs: Tensors) -> Tensors:
        outputs = served.run(inputs)
        return {**served.task.serve(outputs, served), "logits": outputs["logits"]}

    def serve_text(text: Any) -> Tensors:
        return predict(served.in_graph(text, max_length=served.max_length))

    def serve_pair(text: Any, text_pair: Any) -> Tensors:
        return predict(served.in_graph(text, text_pair, max_length=served.max_length))

    pair = Endpoint(serve_pair, {"text": TEXT, "text_pair": TEXT})
    if served.task.needs_pair:
        return {"serving_default": pair, "ids": make_ids_endpoint(served, serve_ids)}
    signatures = {"serving_default": Endpoint(serve_text, {"text": TEXT}), "ids": make_ids_endpoint(served, serve_ids)}
    if served.config.type_vocab_size > 1:
        signatures["pair"] = pair
    return signatures
