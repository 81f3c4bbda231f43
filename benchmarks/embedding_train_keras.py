"""The jobs of ``embedding_train.py`` in this package, with ``compile`` and ``fit``.

    python benchmarks/embedding_train_keras.py CHECKPOINT --job sts --sts DIRECTORY --questions xquad.en.json --seed 1

Prints the same JSON object as ``embedding_train_torch.py``.
"""

import argparse
import json
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import tensorflow as tf
from embedding_data import TRAIN_ARTICLES, make_queries, read_questions, read_sts
from embedding_train import add_job_options

from keras_bert_impl.data import make_fit_data
from keras_bert_impl.tasks import get_task, open_task
from keras_bert_impl.tasks.options import EmbeddingOptions
from keras_bert_impl.training import adamw


def read_columns(path, limit=None):
    """The pairs of STS-B as columns of the task."""
    firsts, seconds, scores = read_sts(path)
    return {"text": firsts[:limit], "text_pair": seconds[:limit], "label": [str(score) for score in scores[:limit]]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_job_options(parser)
    arguments = parser.parse_args()
    tf.constant(0.0)
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if arguments.job == "sts":
        train = read_columns(arguments.sts / "stsb-en-train.csv", arguments.limit)
        valid = read_columns(arguments.sts / "stsb-en-dev.csv")
    else:
        data = read_questions(arguments.questions, slice(TRAIN_ARTICLES))
        train = {"text": data.questions, "positive": [data.paragraphs[number] for number in data.answers]}
        train = {name: values[: arguments.limit] for name, values in train.items()}
        valid = make_queries(read_questions(arguments.questions, slice(TRAIN_ARTICLES, None)))

    keras.utils.set_random_seed(arguments.seed)
    task, config, tokenizer = open_task(arguments.checkpoint, get_task("embedding", EmbeddingOptions()))
    max_length = task.resolve_max_length(config, tokenizer, None)
    model = task.model_class.from_pretrained(arguments.checkpoint)
    # The peer tokenizes while it trains, so the time of tokenization counts here too.
    start = time.perf_counter()
    features = task.encode(train, tokenizer, config, max_length=max_length)
    trainable = task.make_trainable(model, features)
    batches = task.make_batches(features, arguments.batch_size, seed=arguments.seed, epochs=arguments.epochs)
    trainable.compile(
        optimizer=adamw(learning_rate=arguments.learning_rate, steps=len(batches)),
        jit_compile=False,
        **task.make_compile_arguments(features),
    )
    history = trainable.fit(
        make_fit_data(batches), steps_per_epoch=batches.per_epoch, epochs=arguments.epochs, shuffle=False, verbose=0
    )
    seconds = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor) / 1024

    encoded = task.encode(valid, tokenizer, config, max_length=max_length)
    predictions = task.predict(model.predict_on_batch, encoded, valid, config=config)
    scores = task.score(predictions, valid)
    names = ("spearman", "pearson") if arguments.job == "sts" else ("mrr@10", "ndcg@10")
    result = {
        "seconds": seconds,
        "megabytes": memory,
        "steps": len(batches),
        "loss": history.history["loss"][-1],
        "scores": {name: scores[name] for name in names},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
