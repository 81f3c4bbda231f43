"""Faithfulness of attributions: the predicted probability while words are removed, in three orders.

    python benchmarks/faithfulness.py SENTIMENT_RUN      # ten minutes on two cores

On 200 film snippets of the test set, it measures the probability of the model's first prediction after 0 to 5 words are
removed: those with the largest attributions first, those with the largest attention from [CLS] first, or random ones. A
picture is saved with the report.
"""

import argparse
from pathlib import Path

from report import make_table, write

TEXTS, WORDS = 200, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a fine-tuned MiniLM, as quickstart writes it")
    arguments = parser.parse_args()

    from keras_bert_impl import BertForSequenceClassification, BertTokenizer
    from keras_bert_impl.data import read_table
    from keras_bert_impl.interpret import compute_removal_curves
    from keras_bert_impl.interpret.pictures import save_removal
    from keras_bert_impl.recipes.quickstart import SNIPPETS

    model = BertForSequenceClassification.from_pretrained(arguments.run)
    tokenizer = BertTokenizer.from_pretrained(arguments.run)
    texts = [text for text in read_table(SNIPPETS / "test.tsv")["text"] if len(text.split()) > WORDS][:TEXTS]
    curves = compute_removal_curves(model, tokenizer, texts, words=WORDS)
    falls = {name: values[0] - values[-1] for name, values in curves.items()}
    best = all(falls["attributions"] > fall for name, fall in falls.items() if name != "attributions")
    rows = [(name, *(f"{value:.3f}" for value in values)) for name, values in curves.items()]
    report = write(
        "Faithfulness of attributions",
        f"- removing {WORDS} words lowers the predicted probability by {falls['attributions']:.3f} in the order of the "
        f"attributions, {falls['attention']:.3f} in that of the attention, {falls['random words']:.3f} at random: "
        + ("reached" if best else "**missed**"),
        f"- {len(texts)} snippets of the test set; picture in the same directory",
        make_table(("order", *map(str, range(WORDS + 1))), rows),
    )
    picture = report.with_suffix(".png")
    save_removal(picture, curves, texts=len(texts), title="Words removed, the most important first")


if __name__ == "__main__":
    main()
