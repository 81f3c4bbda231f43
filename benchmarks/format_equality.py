"""Compares the files of two checkouts of this package: shards, runs, saved states and exported signatures.

    python benchmarks/format_equality.py OLD_CHECKOUT      # ten minutes on two cores

Both checkouts prepare the same corpus, train the same runs and export a model of every task; the shards, the weights
and metrics of the runs, and the names, types and shapes of the signatures must be the same. Training that the old
checkout began and that was interrupted is continued by the new one, and must end with the weights of the old checkout's
uninterrupted run, bit for bit.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from report import get_commit, table, write

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import sys; from keras_bert_impl.cli.main import main; sys.exit(main())"
# What differs between two runs of one checkout, and between the texts of two.
VARYING = re.compile(r'"(minutes|seconds|command|keras_bert_impl)": [^,\n]*')
CLASSES = {
    "classification": ("BertForSequenceClassification", {"id2label": {0: "bad", 1: "fair", 2: "good"}}),
    "regression": ("BertForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}),
    "tagging": ("BertForTokenClassification", {"id2label": {0: "O", 1: "B-place", 2: "I-place"}}),
    "question-answering": ("BertForQuestionAnswering", {}),
    "masked-lm": ("BertForMaskedLM", {}),
    "next-sentence": ("BertForNextSentencePrediction", {}),
    "multiple-choice": ("BertForMultipleChoice", {}),
    "embedding": ("BertModel", {}),
    "pretraining": ("BertForPreTraining", {}),
}
SAVE = """
import json, sys
from keras_bert_impl import BertTokenizer, models
for name, (model_class, changes) in json.loads(sys.argv[1]).items():
    changes = {key: dict(zip(map(int, value), value.values())) if key == "id2label" else value
               for key, value in changes.items()}
    getattr(models, model_class).from_pretrained("bert-tiny-novels", **changes).save_pretrained(name)
    BertTokenizer.from_pretrained("bert-tiny-novels").save_pretrained(name)
"""
SIGNATURES = """
import json, sys
import tensorflow as tf
found = {}
for path in sys.argv[1:]:
    for name, function in tf.saved_model.load(path).signatures.items():
        specs = (function.structured_input_signature[1], function.structured_outputs)
        found[f"{path.split('/')[1]} {name}"] = [
            {key: f"{spec.dtype.name} {spec.shape}" for key, spec in sorted(part.items())} for part in specs
        ]
print(json.dumps(found))
"""


def start(checkout: Path, place: Path, *arguments: str, code: str = COMMAND) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(checkout: Path, place: Path, *arguments: str, code: str = COMMAND) -> str:
    process = start(checkout, place, *arguments, code=code)
    output, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {errors}")
    return output


def interrupt(checkout: Path, place: Path, *arguments: str) -> None:
    """Starts training and ends it by SIGTERM after its third state."""
    process = start(checkout, place, *arguments, "--resume", "--save-steps", "1")
    while len(list(place.rglob("states/*"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    if process.returncode != 128 + signal.SIGTERM:
        raise SystemExit(f"{' '.join(arguments)} was not interrupted: {errors}")


def read_contents(directory: Path, pattern: str = "*") -> dict[str, str]:
    """Digests of the files, of JSON files without what varies."""
    found = {}
    for path in sorted(directory.rglob(pattern)):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".json":
                content = VARYING.sub("", content.decode()).encode()
            found[str(path.relative_to(directory))] = hashlib.sha256(content).hexdigest()[:16]
    return found


def write_examples(place: Path) -> None:
    """Writes a corpus of 60 documents, and two files of labeled texts."""
    lines = (ROOT / "keras_bert_impl/assets/movie_snippets/train.tsv").read_text("utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines[1:901]]
    (place / "corpus").mkdir()
    documents = ["\n".join(texts[begin : begin + 15]) for begin in range(0, 900, 15)]
    (place / "corpus" / "films.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    for name, part in (("train", lines[1:161]), ("valid", lines[161:201])):
        (place / f"{name}.tsv").write_text("\n".join([lines[0], *part]) + "\n", "utf-8")


def compare(old: Path, place: Path) -> Iterator[tuple[str, bool, str]]:
    """What was compared, whether it is the same, and how much it was."""
    write_examples(place)
    checkouts = {"old": old, "new": ROOT}
    for name, checkout in checkouts.items():
        run(checkout, place, "prepare", "corpus", "--tokenizer", "bert-tiny-novels", "--output", f"shards-{name}")
    shards = [read_contents(place / f"shards-{name}") for name in checkouts]
    yield "shards of a corpus", shards[0] == shards[1], f"{len(shards[0])} files"

    trainings = {
        "pretraining": "pretrain shards-old --init bert-tiny-novels --steps 12 --batch-size 4 --max-length 37 "
        "--report-every 6 --held-out 0.2",
        "fine-tuning": "finetune bert-tiny-novels --train train.tsv --valid valid.tsv --epochs 2 --batch-size 16 "
        "--max-length 29",
    }
    for title, line in trainings.items():
        arguments, runs = line.split(), {}
        for name, checkout in checkouts.items():
            run(checkout, place, *arguments, "--output", f"{title}-{name}")
            runs[name] = read_contents(place / f"{title}-{name}")
        interrupt(old, place, *arguments, "--output", f"{title}-continued")
        run(ROOT, place, *arguments, "--output", f"{title}-continued", "--resume")
        runs["continued"] = read_contents(place / f"{title}-continued")
        same_names = runs["old"].keys() == runs["new"].keys() == runs["continued"].keys()
        yield f"{title}: names of the run's files", same_names, f"{len(runs['old'])} files"
        for name, how in (
            ("new", "trained by the new checkout"),
            ("continued", "begun by the old one, then continued"),
        ):
            for file in ("model.safetensors", "metrics.json", "config.json"):
                yield f"{title}: {file}, {how}", runs[name][file] == runs["old"][file], "bit for bit"

    run(ROOT, place, json.dumps(CLASSES), code=SAVE)
    signatures = []
    for name, checkout in checkouts.items():
        for task in CLASSES:
            run(checkout, place, "export", task, f"exports-{name}/{task}/1", "--task", task, "--max-length", "31")
        exports = [f"exports-{name}/{task}/1" for task in CLASSES]
        signatures.append(json.loads(run(ROOT, place, *exports, code=SIGNATURES)))
    for title in sorted({*signatures[0], *signatures[1]}):
        one, other = (found.get(title) for found in signatures)
        yield f"signature: {title}", one == other, f"{len(one[0])} inputs, {len(one[1])} outputs" if one else "missing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout to compare this one with")
    old = parser.parse_args().old.resolve()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for title, same, amount in compare(old, Path(place)):
            print(f"{'same     ' if same else 'DIFFERENT'} {title} ({amount})", flush=True)
            rows.append((title, amount, "yes" if same else "**no**"))
    different = sum(same != "yes" for _, _, same in rows)
    write(
        "Files of two commits",
        f"- Commits: {get_commit(old)} and {get_commit(ROOT)}, on TensorFlow",
        f"- all {len(rows)} comparisons show the same: {'**missed**' if different else 'reached'}",
        table(("compared", "amount", "same"), rows),
    )
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
