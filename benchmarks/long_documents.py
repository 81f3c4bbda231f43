"""Long documents: which of 20 novels a passage of 2,000 words is from, read in windows or truncated.

    python benchmarks/long_documents.py CHECKPOINT NOVEL.txt.gz…      # a BERT-tiny, three seeds

The passages for training, validation and test are from disjoint parts of each novel: its beginning, the words after it,
and its end. The truncated passages have the length of one window. The result of each run is saved as JSON, so that an
interrupted measurement continues. Target: the mean accuracy with windows is higher.
"""

import argparse
import gzip
import json
import statistics
import tempfile
from pathlib import Path

from report import make_table, write

NOVELS, WORDS = 20, 2000
# Passages of each novel.
PASSAGES = {"train": 20, "valid": 4, "test": 8}
LENGTH = 256
WINDOWS = {"stride": 32, "max_windows": 16}


def make_passages(
    paths: list[Path], *, novels: int, words: int, passages: dict[str, int]
) -> dict[str, dict[str, list[str]]]:
    """Passages and the names of their novels, for each split; of the first novels that are long enough."""
    columns: dict[str, dict[str, list[str]]] = {split: {"text": [], "label": []} for split in passages}
    found = 0
    for path in sorted(paths):
        text = gzip.decompress(path.read_bytes()).decode("utf-8").split()
        if found == novels or len(text) < words * sum(passages.values()):
            continue
        found += 1
        # The test passages are the end of the novel, the others its beginning.
        starts = {"train": 0, "valid": words * passages["train"], "test": len(text) - words * passages["test"]}
        for split, count in passages.items():
            for number in range(count):
                begin = starts[split] + number * words
                columns[split]["text"].append(" ".join(text[begin : begin + words]))
                columns[split]["label"].append(path.name.split(".")[0])
    if found < novels:
        raise SystemExit(f"{found} of {len(paths)} novels are long enough; {novels} are needed. Give more novels.")
    return columns


def train(checkpoint, columns, *, seed, epochs, options, result):
    """Trains with a seed, unless its result exists; returns the accuracy on the test passages, and the seconds."""
    if result.exists():
        return json.loads(result.read_text(encoding="utf-8"))
    from keras_bert_impl.training import FineTuningSettings, finetune

    settings = FineTuningSettings(epochs=epochs, batch_size=8, learning_rate=2e-4, max_length=LENGTH, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        metrics = finetune(checkpoint, **columns, output=Path(scratch, "run"), settings=settings, options=options)
    values = metrics["test"]["accuracy"], metrics["seconds"]
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(values), encoding="utf-8")
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("novels", type=Path, nargs="+", help="texts, compressed with gzip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--count", type=int, default=NOVELS, help="number of novels")
    parser.add_argument("--passages", type=int, default=PASSAGES["train"], help="training passages of each novel")
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results" / "long_documents", help="directory of JSON"
    )
    arguments = parser.parse_args()

    from keras_bert_impl.tasks.options import ClassificationOptions

    passages = {**PASSAGES, "train": arguments.passages}
    columns = make_passages(arguments.novels, novels=arguments.count, words=WORDS, passages=passages)
    peers = {"windows": ClassificationOptions(**WINDOWS), "truncated": None}
    results = {
        name: [
            train(
                arguments.checkpoint,
                columns,
                seed=seed,
                epochs=arguments.epochs,
                options=options,
                result=arguments.results / f"{name}_{seed}_{arguments.epochs}_{len(columns['train']['text'])}.json",
            )
            for seed in arguments.seeds
        ]
        for name, options in peers.items()
    }
    means = {name: statistics.mean(accuracy for accuracy, _ in runs) for name, runs in results.items()}
    rows = [
        (
            name,
            *(f"{accuracy:.4f}" for accuracy, _ in runs),
            f"{means[name]:.4f}",
            f"{statistics.mean(seconds for _, seconds in runs):.0f}",
        )
        for name, runs in results.items()
    ]
    write(
        "Long documents",
        f"- accuracy {means['windows']:.4f} with windows and {means['truncated']:.4f} without: "
        + ("reached" if means["windows"] > means["truncated"] else "**missed**"),
        f"{arguments.count} novels; passages of {WORDS:,} words of each: "
        + ", ".join(f"{count} {split}" for split, count in passages.items())
        + f". {arguments.epochs} epochs, batches of 8, AdamW 2e-4. Windows of {LENGTH} tokens that overlap by "
        f"{WINDOWS['stride']}, at most {WINDOWS['max_windows']} per passage, mean of their logits; truncated: the "
        f"first {LENGTH} tokens of a passage. The accuracy is that on the test passages.",
        make_table(("", *(f"seed {seed}" for seed in arguments.seeds), "mean", "s of training"), rows),
    )


if __name__ == "__main__":
    main()
