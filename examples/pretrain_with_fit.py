"""Pretraining with plain Keras: a vocabulary, shards, and ``fit`` on masked words and next sentences.

    python examples/pretrain_with_fit.py --steps 150

The corpus consists of the film snippets, twelve per document. That is too little text to learn English, but enough to
see the perplexity of the masked words fall from 2,000 (all words equally probable) to about 500 (that of the word
frequencies). Time: half a minute on two cores.
"""

import argparse
import tempfile
from pathlib import Path

import keras

from keras_bert_impl import BertConfig, BertForPreTraining
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus, make_fit_data, prepare, read_table
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization.train import train_vocabulary
from keras_bert_impl.training import adamw


def main():
    """Makes a vocabulary and shards from the film snippets, and pretrains a tiny BERT on them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    steps = parser.parse_args().steps

    keras.utils.set_random_seed(1)
    texts = read_table(SNIPPETS / "train.tsv")["text"]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        documents = ["\n".join(texts[begin : begin + 12]) for begin in range(0, len(texts), 12)]
        (directory / "corpus.txt").write_text("\n\n".join(documents), encoding="utf-8")
        train_vocabulary(texts, directory / "vocabulary", size=2000)
        prepare([directory / "corpus.txt"], directory / "vocabulary", directory / "shards")

        corpus = TokenCorpus(directory / "shards")
        objective = Objective(max_length=64, packing=True)
        batches = PretrainingBatches(corpus, batch_size=32, objective=objective, steps=steps)
        model = BertForPreTraining(BertConfig.preset("tiny", vocab_size=corpus.tokenizer.vocab_size))
        model.compile(adamw(learning_rate=2e-3, steps=steps), **TASKS["pretraining"].make_compile_arguments())
        history = model.fit(
            make_fit_data(batches), steps_per_epoch=steps // 3, epochs=3, shuffle=False, verbose=0
        ).history
    for part, values in (("masked words", "prediction_logits"), ("next sentence", "seq_relationship_logits")):
        print(part, *(f"{value:.3f}" for value in history[f"{values}_accuracy"]))
    print("perplexity", *(f"{value:.0f}" for value in history["prediction_logits_perplexity"]))


if __name__ == "__main__":
    main()
