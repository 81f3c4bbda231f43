"""Fine-tuning MiniLM for four tasks, in this package and in transformers on torch: time, memory and scores.

    python benchmarks/finetune_tasks.py CHECKPOINT DATA --seeds 1 2 3
    python benchmarks/finetune_tasks.py --report

``DATA`` contains the directories ``wnut17``, ``xquad_en`` and ``stsb_en``. The jobs:

- ``tagging``: named entities of WNUT17, F1 of entities on its development data.
- ``types``: which types of entities a sentence of WNUT17 contains (multi-label), micro F1 on the development data.
- ``questions``: answers in XQuAD, trained on 40 articles, F1 on the other 8.
- ``sts``: similarity of STS-B, Spearman correlation on the development data.

Both sides train on the same rows with the same settings and score with the same code. Torch: random batches, dynamic
padding, fused AdamW. This package: batches of rows of similar length. Each job is a process
(``finetune_tasks_keras.py`` or ``finetune_tasks_torch.py``); the jobs take turns. The machine must do nothing else.

Targets: at least 1 / 0.6 times as fast as torch; the median score is not below the lowest score of torch.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedding_data import TRAIN_ARTICLES, read_paragraphs
from paired_jobs import PairedJobs


@dataclasses.dataclass(frozen=True)
class Job:
    """A task, its settings, and the function that reads its training and development data from ``DATA``."""

    task: str
    metric: str
    read: Callable[[Path], tuple[Any, Any]]
    max_length: int = 128
    batch_size: int = 32
    epochs: int = 3
    learning_rate: float = 5e-5


def read_tagging(data):
    from keras_bert_impl.tasks import get_task

    spec = get_task("tagging")
    return tuple(spec.read_file(data / "wnut17" / name, columns={}) for name in _WNUT17)


def read_types(data):
    """The sentences of WNUT17 with the types of their entities."""
    return tuple(
        {
            "text": [" ".join(words) for words in columns["words"]],
            "label": [sorted({tag[2:] for tag in tags if tag != "O"}) for tags in columns["label"]],
        }
        for columns in read_tagging(data)
    )


def read_answers(data):
    path = data / "xquad_en" / "xquad.en.json"
    return tuple(
        _make_question_columns(read_paragraphs(path, articles))
        for articles in (slice(TRAIN_ARTICLES), slice(TRAIN_ARTICLES, None))
    )


def _make_question_columns(paragraphs):
    rows = [(entry, paragraph["context"]) for paragraph in paragraphs for entry in paragraph["qas"]]
    return {
        "id": [entry["id"] for entry, _ in rows],
        "question": [entry["question"] for entry, _ in rows],
        "context": [context for _, context in rows],
        "answers": [
            {name: [answer[name] for answer in entry["answers"]] for name in ("text", "answer_start")}
            for entry, _ in rows
        ],
    }


def read_similarity(data):
    from keras_bert_impl.data import read_table

    columns = {"text": "0", "text_pair": "1", "label": "2"}
    return tuple(read_table(data / "stsb_en" / f"stsb-en-{split}.csv", **columns) for split in ("train", "dev"))


_WNUT17 = ("wnut17train.conll", "emerging.dev.conll")

JOBS = {
    "tagging": Job("tagging", "f1", read_tagging, epochs=5, learning_rate=1e-4),
    # Small batches, because with 32 rows both sides have hardly begun to learn after five epochs.
    "types": Job("multi-label-classification", "micro_f1", read_types, batch_size=16, epochs=4, learning_rate=1e-4),
    "questions": Job("question-answering", "f1", read_answers, max_length=384, batch_size=8, learning_rate=1e-4),
    "sts": Job("regression", "spearman", read_similarity),
}
PAIRS = PairedJobs(
    ("finetune_tasks_keras", "finetune_tasks_torch"),
    {name: job.metric for name, job in JOBS.items()},
    peer="torch",
    min_ratio=1 / 0.6,
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A job with its task, configuration, and encoded data. Imports no framework."""

    job: Job
    spec: Any
    config: Any
    changes: dict[str, Any]
    train: Any
    valid: Any
    valid_columns: dict[str, Any]

    def score(self, run):
        """The scores on the development data; ``run`` computes the outputs of a batch of named inputs."""
        predictions = self.spec.predict(run, self.valid, self.valid_columns, config=self.config)
        return self.spec.score(predictions, self.valid_columns)


def prepare(arguments):
    """Reads and encodes the data of a job."""
    from keras_bert_impl.config import BertConfig
    from keras_bert_impl.tasks import get_task
    from keras_bert_impl.tokenization import BertTokenizer

    job = JOBS[arguments.job]
    spec = get_task(job.task)
    train, valid = job.read(arguments.data)
    changes = spec.make_config_changes(spec.find_labels(train))
    train = {name: values[: arguments.limit] for name, values in train.items()}
    config = dataclasses.replace(BertConfig.from_pretrained(arguments.checkpoint), **changes)
    tokenizer = BertTokenizer.from_pretrained(arguments.checkpoint)
    encoded = [spec.encode(columns, tokenizer, config, max_length=job.max_length) for columns in (train, valid)]
    return Prepared(job, spec, config, changes, *encoded, valid)


def parse_job():
    """Parses the options of the scripts of both sides."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--job", choices=JOBS, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="number of training examples, from the first")
    parser.add_argument("--models", type=Path, help="directory where this package saves its trained models")
    return parser.parse_args()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--limit", type=int, help="number of training examples, from the first")
    parser.add_argument("--models", type=Path, help="directory where this package saves its trained models")
    PAIRS.add_options(parser)
    arguments = parser.parse_args()
    if arguments.report:
        settings = "; ".join(
            f"{name} {job.epochs} epochs at {job.learning_rate:g} in batches of {job.batch_size}"
            for name, job in JOBS.items()
        )
        PAIRS.write_report(
            arguments.results,
            "Fine-tuning MiniLM for four tasks",
            f"AdamW ({settings}), 10 % warm-up, linear decay, weight decay 0.01, clipping at 1, dropout. "
            "'score': on the development data after the last epoch: F1 of entities, micro F1, F1 of answers, Spearman.",
        )
        return
    if not (arguments.checkpoint and arguments.data):
        parser.error("CHECKPOINT and DATA are needed, unless --report is given")
    options = [f"--{name}={value}" for name in ("limit", "models") if (value := getattr(arguments, name))]
    PAIRS.run(arguments, [str(arguments.checkpoint), str(arguments.data), *options])


if __name__ == "__main__":
    main()
