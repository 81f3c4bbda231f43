"""Fine-tuning with plain Keras: compile, fit and evaluate on NumPy arrays.

    python examples/finetune_with_fit.py --rows 2000

Expected: an accuracy of about 0.80 on the validation snippets after one epoch over 2,000 rows. Time: a minute on two
cores.
"""

import argparse

import keras

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.data import read_table
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.training import adamw


def main():
    """Trains on the first rows of the film snippets and evaluates on the validation snippets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000, help="training rows")
    rows = parser.parse_args().rows

    keras.utils.set_random_seed(1)
    checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
    tokenizer = BertTokenizer.from_pretrained(checkpoint)
    data = {name: read_table(SNIPPETS / f"{name}.tsv") for name in ("train", "valid")}
    inputs = {name: tokenizer(columns["text"], max_length=64) for name, columns in data.items()}
    labels = {
        name: keras.ops.array([label == "positive" for label in columns["label"]], "int32")
        for name, columns in data.items()
    }

    model = BertForSequenceClassification.from_pretrained(checkpoint, id2label={0: "negative", 1: "positive"})
    model.compile(
        optimizer=adamw(learning_rate=5e-5, steps=-(-rows // 32)),
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        metrics={"logits": ["accuracy"]},
    )
    first = {name: values[:rows] for name, values in inputs["train"].items()}
    model.fit(first, {"logits": labels["train"][:rows]}, batch_size=32, verbose=2)
    loss, accuracy = model.evaluate(inputs["valid"], {"logits": labels["valid"]}, batch_size=64, verbose=0)
    print(f"validation: loss {loss:.3f}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
