"""Integrated gradients, compared with the gradient passes alone.

    python benchmarks/attributions.py SENTIMENT_RUN      # ten minutes on two cores

32 film snippets, 50 steps each. The bare passes: the gradient of the same logit to the same embeddings, for as many
rows of the same lengths in the same batches, in a ``tf.function``, with nothing done before or after.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, run
from report import quiet, table, write

TEXTS, STEPS, MOST = 32, 50, 1.2


def loaded(directory: str) -> tuple[Any, Any, list[str]]:
    from keras_bert_impl import BertForSequenceClassification, BertTokenizer
    from keras_bert_impl.data import read_table
    from keras_bert_impl.recipes.quickstart import SNIPPETS

    texts = read_table(SNIPPETS / "valid.tsv")["text"][:TEXTS]
    return BertForSequenceClassification.from_pretrained(directory), BertTokenizer.from_pretrained(directory), texts


def attributions(directory: str) -> Callable[[], Any]:
    """All of it: text to words, targets, integrals and their check."""
    from keras_bert_impl.interpret import attribute_all

    model, tokenizer, texts = loaded(directory)

    def call() -> float:
        found = attribute_all(model, tokenizer, texts, steps=STEPS)
        return max(abs(one.targets[0].total / one.targets[0].change - 1) for one in found)

    return call


def bare(directory: str) -> Callable[[], Any]:
    """The gradient passes alone."""
    import numpy as np
    import tensorflow as tf

    from keras_bert_impl.interpret.attribution import MAX_TOKENS

    model, tokenizer, texts = loaded(directory)
    behind = model.from_embedding_output("input_ids", "attention_mask")

    @tf.function(reduce_retracing=True)
    def gradient(states: Any, ids: Any, mask: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(states)
            inputs = {"embedding_output": states, "input_ids": ids, "attention_mask": mask}
            logit = behind(inputs, training=False)["logits"][:, 1]
        return tape.gradient(logit, states)

    texts = sorted(texts, key=lambda text: -tokenizer(text)["input_ids"].size)
    batches = []
    while texts:
        # As many rows at once as attribute_all takes.
        size = max(1, MAX_TOKENS // (tokenizer(texts[0])["input_ids"].size * STEPS))
        batch, texts = tokenizer(texts[:size]), texts[size:]
        ids, mask = (np.repeat(batch[name], STEPS, axis=0) for name in ("input_ids", "attention_mask"))
        batches.append(tuple(map(tf.constant, (np.asarray(model.embeddings(ids)), ids, mask))))

    def call() -> int:
        for batch in batches:
            gradient(*batch).numpy()
        return len(batches)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a fine-tuned MiniLM, as quickstart writes it")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    peers = [Peer(make.__name__, make, {"directory": str(arguments.run)}, 1) for make in (attributions, bare)]
    series = run(peers, rounds=arguments.rounds)
    ours = Ratio.of(series["bare"], series["attributions"]).medians
    verdict = "reached" if ours <= MOST else "**missed**"
    write(
        "Attributions beside the bare gradient passes",
        f"- {TEXTS} film snippets × {STEPS} steps on MiniLM: {ours:.3f} × the bare passes, at most {MOST}: {verdict}",
        f"- the words' sum is off the change of the logit by at most {series['attributions'].first:.2%}, at most 1 %",
        quiet(series),
        table(("what", "s, median"), [(name, f"{turns.median:.2f}") for name, turns in series.items()]),
    )


if __name__ == "__main__":
    main()
