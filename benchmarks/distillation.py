"""Distillation of a fine-tuned MiniLM to small students on the film snippets: accuracy, size and speed.

    python benchmarks/distillation.py CHECKPOINT          # all-MiniLM-L6-v2
    python benchmarks/distillation.py CHECKPOINT --rows 200 --copies 1 --seeds 1 --epochs 1     # tries the script

The teacher is fine-tuned once. Each student is trained with three seeds: of the size tiny on labels alone, on labels
and teacher, and on the teacher alone with more texts, which have no labels; and with 3 of the teacher's 6 layers. The
texts without labels are variants of the training texts: a part of a text, or a text without some of its words. Runs are
kept in a directory, so that an interrupted script continues.

Expected time on two cores: 2 hours, estimated. Targets: the best student of the size tiny is at most two points of
accuracy below the teacher, and its model runs at least 8 times as fast.
"""

import argparse
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, run
from report import describe_load, make_table, write

TEACHER = "teacher, MiniLM"
MAX_DIFFERENCE, MIN_RATIO = 0.02, 8.0
# Of tiny students with new weights, and of students whose layers are copies.
NEW, COPIED = {"epochs": 10, "learning_rate": 5e-4}, {"epochs": 3, "learning_rate": 5e-5}


@dataclass(frozen=True)
class Job:
    """One kind of student.

    Args:
        name: its name in the report.
        directory: the name of its runs.
        student: ``tiny`` or ``layers-3``.
        settings: the settings of training.
        distillation: the settings of distillation; None: without the teacher.
        unlabeled: whether it learns from the texts without labels.
    """

    name: str
    directory: str
    student: str
    settings: dict[str, Any]
    distillation: dict[str, float] | None = None
    unlabeled: bool = False


JOBS = (
    Job("tiny, labels", "tiny-labels", "tiny", NEW),
    Job("tiny, labels and teacher", "tiny-both", "tiny", NEW, {"alpha": 0.7}),
    Job("tiny, teacher and more texts", "tiny-texts", "tiny", {**NEW, "epochs": 5}, {"alpha": 1.0}, unlabeled=True),
    Job("3 layers, labels", "layers-labels", "layers-3", COPIED),
    Job("3 layers, labels and teacher", "layers-both", "layers-3", COPIED, {"alpha": 0.7, "hidden_weight": 1.0}),
)


def make_variants(texts: Sequence[str], copies: int) -> list[str]:
    """The texts, and variants of each: a part of 3 or more words, or the text without 15 % of its words."""
    draw = random.Random(1)
    variants = list(texts)
    for text in texts:
        words = text.split()
        for _ in range(copies):
            if draw.random() < 0.5:
                length = draw.randint(min(3, len(words)), len(words))
                begin = draw.randint(0, len(words) - length)
                chosen = words[begin : begin + length]
            else:
                chosen = [word for word in words if draw.random() > 0.15]
            variants.append(" ".join(chosen))
    return variants


def train(job: Job, seed: int, data: dict[str, Any], directory: Path, epochs: int | None) -> dict[str, Any]:
    """Trains a student; returns its metrics."""
    from keras_bert_impl.training import DistillationSettings, FineTuningSettings, finetune

    settings = {**job.settings, **({"epochs": epochs} if epochs else {}), "seed": seed}
    train = {"text": data["unlabeled"]} if job.unlabeled else data["train"]
    distillation = None if job.distillation is None else DistillationSettings(**job.distillation)
    return finetune(
        directory / job.student,
        train=train,
        valid=data["valid"],
        test=data["test"],
        output=directory / f"{job.directory}-{seed}",
        settings=FineTuningSettings(**settings),
        teacher=None if distillation is None else directory / "teacher",
        distillation=distillation,
        resume=True,
    )


def make_model_peer(directory: Path, texts: list[str]) -> Callable[[], Any]:
    """The model on encoded texts, without the time of the tokenizer."""
    from keras_bert_impl.ops.compiled import compile_inference
    from keras_bert_impl.tasks import open_task

    task, config, tokenizer = open_task(directory)
    function = compile_inference(task.load_model(directory))
    features = task.encode({"text": texts}, tokenizer, config, max_length=128)
    return lambda: task.compute_outputs(function, features)["logits"]


def make_text_peer(directory: Path, texts: list[str]) -> Callable[[], Any]:
    """Predictions for texts, with the tokenizer."""
    from keras_bert_impl.prediction import Predictor

    predictor = Predictor(directory, max_length=128)
    return lambda: len(predictor.predict_texts(texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--copies", type=int, default=8, help="variants of each training text, without labels")
    parser.add_argument("--rows", type=int, help="number of rows of each file, from the first")
    parser.add_argument("--epochs", type=int, help="epochs of all students")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "results" / "distillation")
    arguments = parser.parse_args()

    from keras_bert_impl.data import read_table
    from keras_bert_impl.recipes.quickstart import SNIPPETS
    from keras_bert_impl.recipes.shrink import shrink
    from keras_bert_impl.training import finetune

    runs = arguments.runs
    data: dict[str, Any] = {
        name: {column: values[: arguments.rows] for column, values in read_table(SNIPPETS / f"{name}.tsv").items()}
        for name in ("train", "valid", "test")
    }
    texts = data["test"]["text"]
    teacher = finetune(arguments.checkpoint, **data, output=runs / "teacher", resume=True)
    data["unlabeled"] = make_variants(data["train"]["text"], arguments.copies)
    for name, size in (("tiny", {"size": "tiny"}), ("layers-3", {"layers": 3})):
        if not (runs / name).exists():
            shrink(runs / "teacher", runs / name, **size)

    accuracies = {TEACHER: [teacher["test"]["accuracy"]]}
    directories = {TEACHER: runs / "teacher"}
    for job in JOBS:
        scores = [train(job, seed, data, runs, arguments.epochs) for seed in arguments.seeds]
        accuracies[job.name] = [metrics["test"]["accuracy"] for metrics in scores]
        directories[job.name] = runs / f"{job.directory}-{arguments.seeds[0]}"
    # Students of the same size have the same speed.
    first = arguments.seeds[0]
    measured = {TEACHER: "teacher", "tiny": f"tiny-both-{first}", "3 layers": f"layers-both-{first}"}
    series = [
        run(
            [Peer(name, make, {"directory": runs / place, "texts": texts}) for name, place in measured.items()],
            rounds=arguments.rounds,
        )
        for make in (make_model_peer, make_text_peer)
    ]
    rows = []
    for name, values in accuracies.items():
        peer = name.split(", ")[0] if name != TEACHER else TEACHER
        ratios = [str(Ratio.compute(turns[peer], turns[TEACHER])) for turns in series]
        size = (directories[name] / "model.safetensors").stat().st_size / 1e6
        spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
        rows.append((name, f"{statistics.mean(values):.4f}{spread}", f"{size:.1f}", *ratios))

    best = max((job.name for job in JOBS if job.student == "tiny"), key=lambda name: statistics.mean(accuracies[name]))
    difference = statistics.mean(accuracies[best]) - accuracies[TEACHER][0]
    ratio = Ratio.compute(series[0]["tiny"], series[0][TEACHER])
    reached = {True: "reached", False: "**missed**"}
    write(
        "Distillation of MiniLM on the film snippets",
        f"- accuracy of '{best}', minus that of the teacher: {difference:+.4f} (target: at least -{MAX_DIFFERENCE}) – "
        f"{reached[difference >= -MAX_DIFFERENCE]}\n"
        f"- the model of the size tiny at least {MIN_RATIO:g} times as fast as the teacher: {ratio} – "
        f"{reached[ratio.medians >= MIN_RATIO]}",
        f"{len(data['train']['text']):,} rows for training, {len(data['unlabeled']):,} texts without labels, "
        f"{len(texts):,} rows of the test set; seeds {', '.join(map(str, arguments.seeds))}: mean (lowest to highest). "
        "Times as fast as the teacher: the model alone, and with the tokenizer.",
        describe_load(*series),
        make_table(("model", "accuracy", "MB", "times as fast: model", "times as fast: texts"), rows),
    )


if __name__ == "__main__":
    main()
