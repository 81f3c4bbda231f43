"""The commands that interpret a model: ``similar``, ``attention`` and ``attribute``."""

import argparse
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_source, get_source
from keras_bert_impl.errors import InputError


def add_verbs(verbs: Any) -> None:
    """Adds the commands to the parser."""
    similar = verbs.add_parser(
        "similar",
        help="compare a word's vectors in its contexts",
        description="Prints the cosines of the word's vectors, a row per occurrence.",
    )
    add_source(similar)
    similar.add_argument(
        "texts",
        nargs="+",
        metavar="TEXT",
        help="texts that contain the word; or one .tsv, .csv or .jsonl file with the columns text and sense",
    )
    similar.add_argument("--word", required=True, metavar="W", help="the word, or several consecutive words")
    similar.add_argument("--layer", type=int, default=-1, metavar="N", help="0: embeddings (default: the last)")
    similar.add_argument("--picture", metavar="F", help="draw the vectors (PCA): a .png or .svg file")
    similar.add_argument("--layers-picture", metavar="F", help="draw the similarity of the senses at each layer")
    similar.set_defaults(run=_compare_vectors)

    attention = verbs.add_parser(
        "attention",
        help="write a page that shows a text's attention",
        description="Writes one HTML file that needs no network: words colored by attention, all layers and heads.",
    )
    attribute = verbs.add_parser(
        "attribute",
        help="write a page with each word's contribution to the prediction",
        description="Integrated gradients: the contribution of each word to the predicted logit. Prints the words and "
        "writes one HTML file.",
    )
    for verb in (attention, attribute):
        add_source(verb)
        verb.add_argument("text", metavar="TEXT", help="the text; the question for question answering")
        verb.add_argument(
            "pair", nargs="?", metavar="TEXT", help="the second text: the context of a question, or a choice"
        )
        verb.add_argument("--output", required=True, metavar="F", help="the HTML file")
    attention.set_defaults(run=_write_attention)
    attribute.add_argument("--target", metavar="T", help="what to explain: a label, a tagged word, an answer, a token")
    attribute.add_argument("--steps", type=int, default=50, metavar="N", help="points of the integral (default: 50)")
    attribute.set_defaults(run=_attribute)


def _load(source: Any) -> tuple[Any, Any]:
    start_framework()
    from keras_bert_impl.models.heads import find_model_class
    from keras_bert_impl.sources import open_source

    opened = open_source(source)
    model = find_model_class(opened).from_pretrained(opened)
    return model, model.tokenizer  # The tokenizer of an embedding model may lower-case texts.


def _compare_vectors(options: argparse.Namespace) -> int:
    texts, senses = _read_texts(options)
    if options.layers_picture and senses is None:
        raise InputError("--layers-picture compares senses: give a file with the columns text and sense, not texts.")
    model, tokenizer = _load(get_source(options))
    from keras_bert_impl.interpret import compute_word_vectors

    vectors = compute_word_vectors(model, tokenizer, texts, options.word)
    print(vectors.format_table(options.layer))
    if options.picture:
        vectors.save_picture(options.picture, layer=options.layer, senses=senses)
        print(f"written to {options.picture}")
    if options.layers_picture and senses:
        vectors.save_layers(options.layers_picture, senses)
        print(f"written to {options.layers_picture}")
    return 0


def _read_texts(options: argparse.Namespace) -> tuple[list[str], list[str] | None]:
    """Reads the texts, and their senses if they are in a file."""
    from keras_bert_impl.data import read_table

    first, *others = options.texts
    if others or not first.endswith((".tsv", ".csv", ".jsonl")):
        return options.texts, None
    columns = read_table(first, label="sense")
    return columns["text"], columns["label"]


def _write_attention(options: argparse.Namespace) -> int:
    model, tokenizer = _load(get_source(options))
    from keras_bert_impl.interpret import attend

    attend(model, tokenizer, options.text, options.pair).save(options.output)
    print(f"written to {options.output}")
    return 0


def _attribute(options: argparse.Namespace) -> int:
    model, tokenizer = _load(get_source(options))
    from keras_bert_impl.interpret import attribute

    attribution = attribute(model, tokenizer, options.text, options.pair, target=options.target, steps=options.steps)
    print(attribution.format_table())
    attribution.save(options.output)
    print(f"written to {options.output}")
    return 0
