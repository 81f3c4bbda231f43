"""Graph that computes embeddings of texts."""

from typing import Any

from keras_bert_impl.export.graphs.base import TEXT, Endpoint, ServedModel, Tensors, make_ids_endpoint

# One example for the README, by argument.
EXAMPLE = {"text": "It was a great movie."}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default``, which is also ``embed``, over ``text``; and ``ids``.

    The first returns the task's vectors, ``ids`` the model's outputs.
    """

    def serve_text(text: Any) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        return served.task.serve({**served.run(inputs), "attention_mask": inputs["attention_mask"]}, served)

    embed = Endpoint(serve_text, {"text": TEXT})
    return {"serving_default": embed, "embed": embed, "ids": make_ids_endpoint(served, served.run)}
