"""Continuing bert-tiny-novels on film snippets with masked LM, and the sentiment accuracy that follows.

    python benchmarks/domain_adaptation.py
    python benchmarks/domain_adaptation.py --seeds 1 --epochs 1 --rows 2000    # tries the script

Both sides train on the same rows of at most 64 tokens, one snippet each, which the shards contain: 32 rows per batch,
AdamW with a learning rate of 5e-4, 10 % warm-up, linear decay, weight decay 0.01, clipping at 1, dropout 0.1, single
tokens masked. ``domain_adaptation_torch.py`` does what transformers' ``run_mlm.py`` does: random batches, padded,
masked by `DataCollatorForLanguageModeling`. A third side adapts a checkpoint with 500 more words. Loss and accuracy of
masked words are those of ``keras-bert evaluate`` on the other snippets, with the same masks for all; a larger
vocabulary has other tokens, so its values cannot be compared. Then each checkpoint is fine-tuned for sentiment. Runs
are kept in a directory, so that an interrupted script continues.

Expected time on two cores: 25 minutes. Target: the mean loss is not higher than that of torch by more than the spread
of torch's seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import report

_HERE = Path(__file__).parent
CHECKPOINT = "bert-tiny-novels"
OURS, THEIRS, GROWN = "keras_bert_impl", "transformers on torch", "keras_bert_impl, 500 more words"
# The settings of both sides.
LENGTH, ROWS, RATE, WARMUP, HELD_OUT = 64, 32, 5e-4, 0.1, 0.02


def make_objective() -> Any:
    """The settings of the examples."""
    from keras_bert_impl.data import Objective

    return Objective(kind="mlm", max_length=LENGTH, whole_words=False)


def count_steps(corpus: Any, epochs: int, seed: int) -> int:
    """The number of steps of a run."""
    from keras_bert_impl.data import PretrainingBatches

    documents, _ = corpus.split_documents(HELD_OUT, seed=seed)
    options = {"batch_size": ROWS, "objective": make_objective(), "steps": 1}
    return epochs * PretrainingBatches(corpus, documents=documents, **options).per_epoch


def prepare_data(texts: list[str], directory: Path) -> dict[str, Path]:
    """Shards of the texts with the tokenizer of the checkpoint, and with that of a grown one."""
    from keras_bert_impl.data import prepare
    from keras_bert_impl.recipes.grow_vocabulary import grow_vocabulary

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    grown, shards = directory / "grown", {"plain": directory / "shards", "grown": directory / "shards-grown"}
    if not grown.exists():
        grow_vocabulary(CHECKPOINT, texts, grown, size=500)
    for name, path in shards.items():
        if not path.exists():
            tokenizer = grown if name == "grown" else CHECKPOINT
            prepare(directory / "texts.txt", tokenizer, path, line_by_line=True, workers=1)
    return shards


def adapt(name: str, directory: Path, shards: dict[str, Path], seed: int, epochs: int) -> Path:
    """Trains a checkpoint with masked LM; returns its directory."""
    from keras_bert_impl.data import TokenCorpus
    from keras_bert_impl.training import PretrainingSettings, pretrain

    place = {OURS: "keras", THEIRS: "torch", GROWN: "grown"}[name]
    output = directory / f"{place}-{seed}"
    corpus = TokenCorpus(shards["grown" if name == GROWN else "plain"])
    steps = count_steps(corpus, epochs, seed)
    if name == THEIRS:
        if not output.exists():
            options = ["--steps", steps, "--seed", seed]
            command = [sys.executable, _HERE / "domain_adaptation_torch.py", corpus.directory, output, *options]
            subprocess.run(list(map(str, command)), check=True)
        return output
    pretrain(
        corpus.directory,
        init=directory / "grown" if name == GROWN else CHECKPOINT,
        output=output,
        steps=steps,
        objective=make_objective(),
        settings=PretrainingSettings(
            batch_size=ROWS, learning_rate=RATE, warmup=WARMUP, dropout=None, held_out=HELD_OUT, seed=seed
        ),
        resume=True,
    )
    return output


def score(checkpoint: str | Path, output: Path, data: dict[str, Any], seed: int) -> dict[str, float]:
    """Loss and accuracy of masked words in the texts that were not trained on, and of sentiment after fine-tuning."""
    from keras_bert_impl.prediction import Predictor
    from keras_bert_impl.training import FineTuningSettings, finetune

    path = output.with_suffix(".json")
    if not path.exists():
        texts = [*data["valid"]["text"], *data["test"]["text"]]
        masked = Predictor(checkpoint, task="masked-lm", max_length=LENGTH).score({"text": texts})
        settings = FineTuningSettings(learning_rate=RATE, max_length=LENGTH, seed=seed)
        tuned = finetune(checkpoint, **data, output=output, settings=settings, resume=True)
        result = {"loss": masked["loss"], "accuracy": masked["accuracy"], "sentiment": tuned["test"]["accuracy"]}
        path.write_text(json.dumps(result), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, help="number of rows of each file, from the first")
    parser.add_argument("--results", type=Path, default=_HERE / "results" / "domain_adaptation")
    arguments = parser.parse_args()

    from keras_bert_impl.data import read_table
    from keras_bert_impl.recipes.quickstart import SNIPPETS

    data = {
        name: {column: values[: arguments.rows] for column, values in read_table(SNIPPETS / f"{name}.tsv").items()}
        for name in ("train", "valid", "test")
    }
    directory = arguments.results
    shards = prepare_data(data["train"]["text"], directory)
    scores: dict[str, list[dict[str, float]]] = {}
    for seed in arguments.seeds:
        before = scores.setdefault("before", [])
        before.append(score(CHECKPOINT, directory / f"sentiment-before-{seed}", data, seed))
        for name in (OURS, THEIRS, GROWN):
            adapted = adapt(name, directory, shards, seed, arguments.epochs)
            results = scores.setdefault(name, [])
            results.append(score(adapted, directory / f"sentiment-{adapted.name}", data, seed))

    def format_values(name: str, metric: str) -> str:
        values = [result[metric] for result in scores[name]]
        spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
        return f"{statistics.mean(values):.4f}{spread}"

    ours, theirs = ([result["loss"] for result in scores[name]] for name in (OURS, THEIRS))
    difference, spread = statistics.mean(ours) - statistics.mean(theirs), max(theirs) - min(theirs)
    verdict = "reached" if difference <= spread else "**missed**"
    rows = [(name, *(format_values(name, metric) for metric in ("loss", "accuracy", "sentiment"))) for name in scores]
    report.write(
        "Domain adaptation of bert-tiny-novels to film snippets",
        f"- held-out masked loss, minus that of transformers on torch: {difference:+.4f}; not higher by more than the "
        f"spread of torch's seeds, {spread:.4f}: {verdict}",
        f"{len(data['train']['text']):,} snippets, number of epochs: {arguments.epochs}, seeds "
        f"{', '.join(map(str, arguments.seeds))}: mean (lowest to highest). Masked words are those of "
        f"{len(data['valid']['text']) + len(data['test']['text']):,} other snippets; 'sentiment' is the accuracy on "
        "the test set after fine-tuning the checkpoint for 3 epochs. With 500 more words the tokens are others, so loss"
        " and accuracy of masked words cannot be compared with those of the other rows.",
        report.make_table(("checkpoint", "masked loss", "masked accuracy", "sentiment accuracy"), rows),
    )


if __name__ == "__main__":
    main()
