"""Compares the files of two checkouts of this package: shards, runs, saved states and exported signatures.

    python benchmarks/format_equality.py OLD_CHECKOUT      # ten minutes on two cores

Both checkouts prepare the same corpus, train the same runs and export models of the tasks that both have. These must be
the same: the shards, the weights of the runs, every value in their ``metrics.json``, and the names, types and shapes of
the signatures. Exports of embeddings had the outputs ``mean`` and ``cls`` before they had ``sentence_embedding``; only
inputs are compared with such a checkout. The new checkout also continues a run that the old one began and that was
interrupted; it must end with the weights of the old checkout's uninterrupted run, bit for bit.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bit_equality import read_snippets
from report import get_commit, make_table, write

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import sys; from keras_bert_impl.cli.main import main; sys.exit(main())"
# What differs between two runs of one checkout, in JSON files.
VARYING = ("minutes", "seconds", "command", "versions")
# The tasks that the first commits export too, and the settings of their models.
TASKS: dict[str, dict[str, Any]] = {
    "classification": {"id2label": {0: "bad", 1: "fair", 2: "good"}},
    "regression": {"id2label": {0: "value"}, "problem_type": "regression"},
    "tagging": {"id2label": {0: "O", 1: "B-place", 2: "I-place"}},
    "question-answering": {},
    "masked-lm": {},
    "embedding": {},
    "pretraining": {},
}
SAVE = """
import ast, sys
from keras_bert_impl import BertTokenizer
from keras_bert_impl.tasks import TASKS
for name, settings in ast.literal_eval(sys.argv[1]).items():
    TASKS[name].model_class.from_pretrained("bert-tiny-novels", **settings).save_pretrained(name)
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
    """Starts training, and ends it by SIGTERM after it has saved two states."""
    process = start(checkout, place, *arguments, "--resume", "--save-steps", "1")
    while len(list(place.rglob("states/*"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    if process.returncode != 128 + signal.SIGTERM:
        raise SystemExit(f"{' '.join(arguments)} was not interrupted: {errors}")


def digest_files(directory: Path) -> dict[str, str]:
    """Digests of the files in a directory; of JSON files without the order of their keys and what varies."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = repr(sorted(read_values(path).items())).encode() if path.suffix == ".json" else path.read_bytes()
            found[str(path.relative_to(directory))] = hashlib.sha256(content).hexdigest()[:16]
    return found


def read_values(path: Path) -> dict[str, Any]:
    """The values of a JSON file by their paths, such as ``metrics/settings/seed``, without what varies."""

    def flatten(value: Any, place: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict | list):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                if key not in VARYING:
                    yield from flatten(part, f"{place}/{key}")
        else:
            yield place, value

    return dict(flatten(json.loads(path.read_text("utf-8")), path.stem))


def write_examples(place: Path) -> None:
    """Writes a corpus of 60 documents, and two files of labeled texts."""
    texts = [line.split("\t")[0] for line in read_snippets("train", 900).splitlines()[1:]]
    (place / "corpus").mkdir()
    documents = ["\n".join(texts[begin : begin + 15]) for begin in range(0, 900, 15)]
    (place / "corpus" / "films.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    for part, count in (("train", 160), ("valid", 40)):
        (place / f"{part}.tsv").write_text(read_snippets(part, count), "utf-8")


def compare(old: Path, place: Path) -> Iterator[tuple[str, bool, str]]:
    """What was compared, whether it is the same, and how much it was."""
    write_examples(place)
    checkouts = {"old": old, "new": ROOT}
    for name, checkout in checkouts.items():
        run(checkout, place, "prepare", "corpus", "--tokenizer", "bert-tiny-novels", "--output", f"shards-{name}")
    shards = [digest_files(place / f"shards-{name}") for name in checkouts]
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
            runs[name] = digest_files(place / f"{title}-{name}")
        interrupt(old, place, *arguments, "--output", f"{title}-continued")
        run(ROOT, place, *arguments, "--output", f"{title}-continued", "--resume")
        runs["continued"] = digest_files(place / f"{title}-continued")
        same_names = runs["old"].keys() == runs["new"].keys() == runs["continued"].keys()
        yield f"{title}: names of the run's files", same_names, f"{len(runs['old'])} files"
        for name, how in (
            ("new", "trained by the new checkout"),
            ("continued", "begun by the old one, then continued"),
        ):
            for file, extent in (("model.safetensors", "bit for bit"), ("config.json", "all values")):
                yield f"{title}: {file}, {how}", runs[name][file] == runs["old"][file], extent
            before, after = (read_values(place / f"{title}-{each}" / "metrics.json") for each in ("old", name))
            added = ", ".join(key for key in after if key not in before) or "none"
            same = all(key in after and after[key] == value for key, value in before.items())
            yield f"{title}: metrics.json, {how}", same, f"{len(before)} values; added: {added}"

    run(ROOT, place, repr(TASKS), code=SAVE)
    signatures = []
    for name, checkout in checkouts.items():
        for task in TASKS:
            run(checkout, place, "export", task, f"exports-{name}/{task}/1", "--max-length", "31")
        exports = [f"exports-{name}/{task}/1" for task in TASKS]
        signatures.append(json.loads(run(ROOT, place, *exports, code=SIGNATURES)))
    for title in sorted({*signatures[0], *signatures[1]}):
        one, other = (found.get(title) for found in signatures)
        amount = f"{len(one[0])} inputs, {len(one[1])} outputs" if one else "missing"
        if one and other and title.startswith("embedding ") and "sentence_embedding" not in one[1]:
            one, other, amount = one[0], other[0], f"{len(one[0])} inputs"
        yield f"signature: {title}", one == other, amount


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
        make_table(("compared", "amount", "same"), rows),
    )
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
