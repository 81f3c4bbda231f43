"""Integrated gradients, compared with the gradient passes alone.

    python benchmarks/attributions.py SENTIMENT_RUN      # ten minutes on two cores

32 film snippets, 50 steps each. The gradient passes alone (``bare``) are a ``tf.function`` that computes the gradient
of the same logit with respect to embeddings of the same shapes, in the same batches.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, run
from report import describe_load, make_table, write

TEXTS, STEPS, MAX_RATIO = 32, 50, 1.2


def load(directory: str) -> tuple[Any, Any, list[str]]:
    """The model, its tokenizer and the texts."""
    from keras_bert_impl import BertForSequenceClassification, BertTokenizer
    from keras_bert_impl.data import read_table
    from keras_bert_impl.recipes.quickstart import SNIPPETS

    texts = read_table(SNIPPETS / "valid.tsv")["text"][:TEXTS]
    return BertForSequenceClassification.from_pretrained(directory), BertTokenizer.from_pretrained(directory), texts


def make_attributions(directory: str) -> Callable[[], Any]:
    """Attributions as users compute them: tokenization, targets, integrals and their check."""
    from keras_bert_impl.interpret import attribute_all

    model, tokenizer, texts = load(directory)

    def call() -> float:
        results = attribute_all(model, tokenizer, texts, steps=STEPS)
        return max(abs(one.targets[0].total / one.targets[0].change - 1) for one in results)

    return call


def make_gradient_passes(directory: str) -> Callable[[], Any]:
    """The gradient passes alone."""
    import numpy as np
    import tensorflow as tf

    from keras_bert_impl.interpret.attribution import MAX_TOKENS

    model, tokenizer, texts = load(directory)
    from_embeddings = model.from_embedding_output("input_ids", "attention_mask")

    @tf.function(reduce_retracing=True)
    def compute_gradient(states: Any, ids: Any, mask: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(states)
            inputs = {"embedding_output": states, "input_ids": ids, "attention_mask": mask}
            logit = from_embeddings(inputs, training=False)["logits"][:, 1]
        return tape.gradient(logit, states)

    texts = sorted(texts, key=lambda text: -tokenizer(text)["input_ids"].size)
    batches = []
    while texts:
        # attribute_all uses batches of the same size.
        size = max(1, MAX_TOKENS // (tokenizer(texts[0])["input_ids"].size * STEPS))
        batch, texts = tokenizer(texts[:size]), texts[size:]
        ids, mask = (np.repeat(batch[name], STEPS, axis=0) for name in ("input_ids", "attention_mask"))
        batches.append(tuple(map(tf.constant, (np.asarray(model.embeddings(ids)), ids, mask))))

    def call() -> int:
        for batch in batches:
            compute_gradient(*batch).numpy()
        return len(batches)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a fine-tuned MiniLM, as quickstart writes it")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    makers = {"attributions": make_attributions, "bare": make_gradient_passes}
    peers = [Peer(name, make, {"directory": str(arguments.run)}, 1) for name, make in makers.items()]
    series = run(peers, rounds=arguments.rounds)
    ours = Ratio.compute(series["bare"], series["attributions"]).medians
    verdict = "reached" if ours <= MAX_RATIO else "**missed**"
    write(
        "Attributions compared with the gradient passes alone",
        f"- {TEXTS} film snippets × {STEPS} steps on MiniLM: the time, divided by that of the gradient passes: "
        f"{ours:.3f}, at most {MAX_RATIO}: {verdict}",
        f"- the sum of a text's attributions differs from the change of the logit by up to "
        f"{series['attributions'].first:.2%}, at most 1 %",
        describe_load(series),
        make_table(("what", "s, median"), [(name, f"{turns.median:.2f}") for name, turns in series.items()]),
    )


if __name__ == "__main__":
    main()
