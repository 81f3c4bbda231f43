"""Compares the float32 results of two checkouts of this package bit for bit, on TensorFlow.

    python benchmarks/bit_equality.py OLD_CHECKOUT [CHECKPOINT ...]

It compares, for every model class: the paths, shapes and initial values of the variables, the outputs in eager and in
graph mode, hidden states and attentions, and the gradients of a training step with dropout. It also compares the
outputs of checkpoints (directories), and the results of fine-tuning, of its export to a SavedModel, and of pretraining.
Each checkout runs in its own process. It takes four minutes on two cores. A difference is printed, and the exit code is
1.
"""

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZES = {
    "vocab_size": 99,
    "hidden_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 300,
    "max_position_embeddings": 61,
    "initializer_range": 0.2,
}


def compute_digest(values: Any) -> str:
    """A hash of nested arrays, in the order in which Keras flattens them."""
    import keras

    arrays = [np.asarray(value) for value in keras.tree.flatten(values)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def digest_classes() -> Iterator[tuple[str, str]]:
    """Digests of each model class with random weights."""
    import keras
    import tensorflow as tf

    from keras_bert_impl import BertConfig, models

    draw = np.random.default_rng(0)
    ids = draw.integers(1, 99, (13, 7)).astype("int32")
    mask = (np.arange(7) < draw.integers(2, 8, (13, 1))).astype("int32")
    for name in sorted(set(models.__all__) - {"BertPreTrainedModel"}):
        keras.utils.set_random_seed(3)
        model = getattr(models, name)(BertConfig(**SIZES))
        inputs = {"input_ids": ids, "attention_mask": mask}
        if model.input_rank == 3:
            inputs = {key: np.stack([value, value[::-1]], axis=1) for key, value in inputs.items()}
        shapes = [(variable.path, list(variable.shape)) for variable in model.weights]
        yield f"{name}: paths and shapes", hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]
        yield f"{name}: new weights", compute_digest([variable.numpy() for variable in model.weights])
        yield f"{name}: eager outputs", compute_digest(model(inputs))
        yield f"{name}: graph outputs", compute_digest(model.predict_on_batch(inputs))
        extra = model.with_outputs(output_hidden_states=True, output_attentions=True)
        yield f"{name}: hidden states and attentions", compute_digest(extra(inputs))
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_sum(output**2) for output in tf.nest.flatten(model(inputs, training=True)))
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_weights])
        yield (
            f"{name}: gradients with dropout",
            compute_digest([tf.convert_to_tensor(g) for g in gradients if g is not None]),
        )


def read_snippets(part: str, count: int) -> str:
    """The header and the first lines of a file of film snippets."""
    import keras_bert_impl

    path = Path(keras_bert_impl.__file__).parent / "assets" / "movie_snippets" / f"{part}.tsv"
    return "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[: count + 1])


def digest_checkpoints(directories: list[str]) -> Iterator[tuple[str, str]]:
    """Digests of the outputs of checkpoints."""
    from keras_bert_impl import BertTokenizer, models

    texts = [line.split("\t")[0] for line in read_snippets("test", 32).splitlines()[1:]]
    for directory in directories:
        tokenizer = BertTokenizer.from_pretrained(directory)
        inputs = tokenizer(texts, truncation=True, max_length=128)
        for name in ("BertModel", "BertForPreTraining", "BertForSequenceClassification"):
            model = getattr(models, name).from_pretrained(directory, new_heads=True)
            statuses = {entry.status.split()[0] for entry in model.load_report.entries}
            if name != "BertModel" and "newly" in statuses:
                continue  # The checkpoint lacks this head.
            yield f"{Path(directory).name}: {name}", compute_digest(model.predict_on_batch(inputs))


def digest_jobs(directory: Path) -> Iterator[tuple[str, str]]:
    """Digests of the results of fine-tuning, export and pretraining."""
    from keras_bert_impl import BertTokenizer, training
    from keras_bert_impl.data import prepare

    for part, count in (("train", 256), ("valid", 64)):
        (directory / f"{part}.tsv").write_text(read_snippets(part, count), encoding="utf-8")
    run = directory / "run"
    names = ("FineTuningSettings", "PretrainingSettings")
    if not hasattr(training, names[0]):  # Before a renaming.
        names = ("FineTuning", "PreTraining")
    fine_tuning, pretraining = (getattr(training, name) for name in names)
    training.finetune(
        "bert-tiny-novels",
        train=directory / "train.tsv",
        valid=directory / "valid.tsv",
        output=run,
        settings=fine_tuning(epochs=2, batch_size=16),
    )
    yield "fine-tuning: model.safetensors", hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()[:16]

    import tensorflow as tf

    # At older commits, the package was named `serving`.
    package = "export" if (Path(training.__file__).parents[1] / "export").is_dir() else "serving"
    importlib.import_module(f"keras_bert_impl.{package}").export_model(run, directory / "saved" / "1")
    loaded = tf.saved_model.load(str(directory / "saved" / "1"))
    texts = [line.split("\t")[0] for line in read_snippets("test", 32).splitlines()[1:]]
    inputs = BertTokenizer.from_pretrained(run)(texts, truncation=True)
    outputs = loaded.signatures["ids"](**{name: tf.constant(value) for name, value in inputs.items()})
    yield "SavedModel: ids to logits", compute_digest(outputs["logits"])
    yield (
        "SavedModel: text to scores",
        compute_digest(loaded.signatures["serving_default"](text=tf.constant(texts))["scores"]),
    )

    corpus = directory / "corpus.txt"
    lines = [line.split("\t")[0] for line in read_snippets("train", 600).splitlines()[1:]]
    corpus.write_text("\n".join(line + ("\n" if number % 6 == 5 else "") for number, line in enumerate(lines)), "utf-8")
    prepare([corpus], "bert-tiny-novels", directory / "shards", workers=1)
    settings = pretraining(batch_size=8, report_every=20)
    training.pretrain(directory / "shards", output=directory / "pretrained", steps=40, settings=settings)
    content = (directory / "pretrained" / "model.safetensors").read_bytes()
    yield "pretraining: model.safetensors", hashlib.sha256(content).hexdigest()[:16]


def run_child(checkout: Path, checkpoints: list[str]) -> dict[str, str]:
    """Computes the digests of one checkout in a new process."""
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "digests.json"
        command = [sys.executable, __file__, "--child", str(result), *checkpoints]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "KERAS_BACKEND": "tensorflow"}
        subprocess.run(command, check=True, cwd=directory, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(result.read_text())


def write_digests(result: Path, checkpoints: list[str]) -> None:
    """Writes the digests of the checkout that ``PYTHONPATH`` names."""
    with tempfile.TemporaryDirectory() as directory:
        digests = [*digest_classes(), *digest_checkpoints(checkpoints), *digest_jobs(Path(directory))]
    result.write_text(json.dumps(dict(digests)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path, help="a checkout to compare this one with")
    parser.add_argument("checkpoints", nargs="*", help="directories of checkpoints")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        write_digests(options.child, [*([str(options.old)] if options.old else []), *options.checkpoints])
        return 0
    from report import get_commit, make_table, write

    before, after = (run_child(checkout.resolve(), options.checkpoints) for checkout in (options.old, ROOT))
    names = list(dict.fromkeys([*before, *after]))
    different = [name for name in names if before.get(name) != after.get(name)]
    write(
        "Equality of two commits, bit for bit",
        f"- Commits: {get_commit(options.old)} and {get_commit(ROOT)}, float32 on TensorFlow",
        f"- all {len(names)} digests are the same: {'**missed**' if different else 'reached'}",
        make_table(
            ("digest of", "before", "after", "same"),
            [(n, before.get(n, "–"), after.get(n, "–"), "no" if n in different else "yes") for n in names],
        ),
    )
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
