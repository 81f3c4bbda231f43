"""The job of ``pretrain_curves.py`` in this package; prints its results as JSON."""

import argparse
import json
from pathlib import Path
from typing import Any

import keras
from pretrain_curves import LENGTH, RATE, ROWS, SEED, WARMUP, split_corpus

from keras_bert_impl import BertConfig, BertForPreTraining
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus, make_evaluation_data, make_fit_data
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.pretraining import summarize_logs
from keras_bert_impl.training import PretrainingSettings, adamw
from keras_bert_impl.training.pretraining import TimedRate
from keras_bert_impl.training.run import Clock

PARTS = 20


class Evaluate(keras.callbacks.Callback):
    """Evaluates after each twentieth of the time, which excludes the evaluations, as in the job on torch."""

    def __init__(self, batches: Any, clock: Clock, rate: TimedRate) -> None:
        super().__init__()
        self.batches, self.clock, self.rate = batches, clock, rate
        self.history: list[dict[str, float]] = []
        self.steps = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.rate.progress < (len(self.history) + 1) / PARTS:
            return
        seconds = self.clock.seconds
        logs = self.model.evaluate(make_evaluation_data(self.batches), verbose=0, return_dict=True)
        self.history.append({"minutes": seconds / 60, **summarize_logs(logs)})
        self.clock.load_state_dict(seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(SEED)
    corpus = TokenCorpus(arguments.shards)
    documents, evaluated = split_corpus(corpus)
    objective = Objective(max_length=LENGTH, whole_words=False, packing=True)
    batches = PretrainingBatches(
        corpus, documents=documents, batch_size=ROWS, objective=objective, seed=SEED, steps=1 << 40
    )
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = BertForPreTraining(BertConfig.preset("tiny", vocab_size=corpus.tokenizer.vocab_size, **none))
    model.compile(adamw(learning_rate=RATE, steps=None), **TASKS["pretraining"].make_compile_arguments())
    clock = Clock()
    rate = TimedRate(PretrainingSettings(learning_rate=RATE, warmup=WARMUP), clock, seconds=60 * arguments.minutes)
    evaluate = Evaluate(evaluated, clock, rate)
    model.fit(make_fit_data(batches), steps_per_epoch=1 << 40, callbacks=[evaluate, rate], shuffle=False, verbose=0)
    print(json.dumps({"steps": evaluate.steps, "history": evaluate.history}))


if __name__ == "__main__":
    main()
