"""The verbs of pretraining: ``train-vocab``, ``prepare``, ``pretrain``, ``fill-mask`` and ``next-sentence``."""

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.startup import start_framework
from keras_bert_impl.cli.training import add_training_options, given_of, training_of

# The names in keras_bert_impl.config.PRESETS and keras_bert_impl.training.RECIPES; tests compare them.
PRESET_NAMES = ("tiny", "mini", "small", "medium", "base", "large")
RECIPE_NAMES = ("adamw-1", "adamw-2", "lamb-1", "lamb-2")


def add_verbs(verbs: Any) -> None:
    """Adds the verbs to the parser."""
    number: dict[str, Any] = {"metavar": "N", "default": argparse.SUPPRESS}

    vocabulary = verbs.add_parser(
        "train-vocab",
        help="make a vocabulary of your texts",
        description="Writes vocab.txt, tokenizer.json and tokenizer_config.json.",
    )
    _add_corpus_options(vocabulary)
    vocabulary.add_argument("--size", type=int, default=30522, metavar="N", help="tokens (default: 30522)")
    vocabulary.add_argument("--cased", action="store_true", help="keep capitals and accents")
    vocabulary.add_argument("--output", required=True, type=Path, metavar="DIR", help="must not exist or be empty")
    vocabulary.set_defaults(run=_train_vocabulary)

    prepare = verbs.add_parser(
        "prepare",
        help="turn a corpus into shards of tokens for pretraining",
        description="Finds sentences, tokenizes them on all cores and writes shards. Stopped, it continues when run "
        "again.",
    )
    _add_corpus_options(prepare)
    prepare.add_argument("--tokenizer", required=True, metavar="DIR", help="directory, bundled model or hub name")
    prepare.add_argument("--output", required=True, metavar="SHARDS", help="must not exist or be empty")
    prepare.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    prepare.add_argument("--language", default="en", metavar="CODE", help="of the sentences (default: en)")
    prepare.add_argument(
        "--beam",
        metavar="OPTIONS",
        help="run as an Apache Beam pipeline with these options, as --beam='--runner=FlinkRunner'; --beam= for "
        "this machine",
    )
    prepare.set_defaults(run=_prepare)

    pretrain = verbs.add_parser(
        "pretrain",
        help="train a BERT from its beginning on shards: masked words and next sentences",
        description="Writes a directory with the model, metrics.json, learning_curve.png and a model card.",
        epilog="Recipes are the paper's two phases (adamw-1, adamw-2) and those of LAMB for large batches.",
    )
    pretrain.add_argument("shards", metavar="SHARDS", help="what prepare wrote")
    pretrain.add_argument("--output", required=True, type=Path, metavar="DIR", help="must not exist or be empty")
    begin = pretrain.add_mutually_exclusive_group()
    begin.add_argument("--preset", choices=PRESET_NAMES, default="tiny", help="default: %(default)s")
    begin.add_argument("--init", metavar="DIR", help="go on from this checkpoint")
    length = pretrain.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="how many steps to train")
    length.add_argument("--minutes", type=float, metavar="M", help="how long to train, evaluations included")
    pretrain.add_argument("--recipe", choices=RECIPE_NAMES, help="published settings, which other options change")
    pretrain.add_argument("--batch-size", type=int, help="rows in a batch (default: 64)", **number)
    pretrain.add_argument("--max-length", type=int, help="tokens of a row (default: 128)", **number)
    pretrain.add_argument("--max-predictions", type=int, help="masked tokens of a row, at most", **number)
    pretrain.add_argument("--learning-rate", type=float, help="default: 1e-3", **number)
    pretrain.add_argument("--optimizer", choices=["adamw", "lamb"], help="default: adamw", default=argparse.SUPPRESS)
    pretrain.add_argument("--dropout", type=float, help="default: 0.1", **number)
    pretrain.add_argument(
        "--packing", action="store_true", help="several sequences in a row", default=argparse.SUPPRESS
    )
    pretrain.add_argument(
        "--whole-words",
        action=argparse.BooleanOptionalAction,
        help="mask all pieces of a word together",
        default=argparse.SUPPRESS,
    )
    pretrain.add_argument(
        "--held-out", type=float, help="share of documents to evaluate with (default: 0.05)", **number
    )
    pretrain.add_argument("--report-every", type=int, help="steps between evaluations (default: 500)", **number)
    add_training_options(pretrain)
    pretrain.set_defaults(run=_pretrain)

    fill = verbs.add_parser("fill-mask", help="the likeliest words for each [MASK] of a text")
    fill.add_argument("model", metavar="DIR", help="directory, bundled model or hub name")
    fill.add_argument("text", help='as "The [MASK] crossed the river."')
    fill.add_argument("--top-k", type=int, default=5, metavar="K", help="how many words (default: 5)")
    fill.set_defaults(run=_fill_mask)

    following = verbs.add_parser("next-sentence", help="how likely one text follows another")
    following.add_argument("model", metavar="DIR", help="directory, bundled model or hub name")
    following.add_argument("first", help="a text")
    following.add_argument("second", help="the text that may follow")
    following.set_defaults(run=_next_sentence)


def _add_corpus_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help="text files (also .gz; an empty line ends a document), directories, JSONL files, or tfds:NAME:SPLIT",
    )
    verb.add_argument("--text-field", default="text", metavar="NAME", help="of JSONL objects (default: text)")
    verb.add_argument("--strict", action="store_true", help="refuse lines that are not UTF-8")


def _train_vocabulary(options: argparse.Namespace) -> int:
    from keras_bert_impl.data import Lines, find_parts
    from keras_bert_impl.data.preparation import warn_of_broken_lines
    from keras_bert_impl.tokenization.train import train_vocabulary

    lines = Lines(find_parts(options.corpus), text_field=options.text_field, strict=options.strict)
    tokenizer = train_vocabulary(lines, options.output, size=options.size, do_lower_case=not options.cased)
    if lines.broken:
        warn_of_broken_lines(lines.broken)
    print(f"{len(tokenizer):,} tokens written to {options.output}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from keras_bert_impl.data import prepare

    common = {"language": options.language, "text_field": options.text_field, "strict": options.strict}
    if options.beam is not None:
        from keras_bert_impl.data.beam import prepare_with_beam

        manifest = prepare_with_beam(
            options.corpus, options.tokenizer, options.output, options=shlex.split(options.beam), **common
        )
    else:
        bar = _Bar()
        try:
            manifest = prepare(
                options.corpus, options.tokenizer, options.output, workers=options.workers, progress=bar, **common
            )
        except KeyboardInterrupt:
            print("the same command again continues where this one stopped", file=sys.stderr)
            raise
        finally:
            bar.end()
    counts = ", ".join(f"{manifest[name]:,} {name}" for name in ("documents", "sentences", "tokens"))
    print(f"{counts} written to {options.output}")
    return 0


class _Bar:
    """A line about the progress of a preparation, on terminals."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._told = False

    def __call__(self, documents: int, tokens: int, read: int, whole: int) -> None:
        if not sys.stderr.isatty():
            return
        seconds = time.monotonic() - self._begin
        share = read / whole if whole else 0
        left = f"{seconds / share - seconds:,.0f} s left" if share else ""
        filled = "█" * round(20 * share)
        line = f"{filled:░<20} {documents:,} documents, {tokens:,} tokens, {left}"
        print(f"\r{line:79.79}", end="", file=sys.stderr, flush=True)
        self._told = True

    def end(self) -> None:
        if self._told:
            print(file=sys.stderr)


def _pretrain(options: argparse.Namespace) -> int:
    start_framework(strategy=options.strategy)
    import dataclasses

    from keras_bert_impl.data import Objective
    from keras_bert_impl.errors import InputError
    from keras_bert_impl.training import RECIPES, PreTraining, pretrain

    recipe = RECIPES[options.recipe] if options.recipe else None
    objective, settings = (recipe.objective, recipe.settings) if recipe else (Objective(), PreTraining())
    if hasattr(options, "max_length"):
        # The recipe's is for its own length.
        objective = dataclasses.replace(objective, max_predictions=None)
    steps = options.steps
    if steps is None and options.minutes is None:
        if recipe is None:
            raise InputError("how long? Give --steps N, --minutes M, or a recipe.")
        steps = recipe.steps
    metrics = pretrain(
        options.shards,
        output=options.output,
        preset=options.preset,
        init=options.init,
        steps=steps,
        minutes=options.minutes,
        objective=dataclasses.replace(objective, **given_of(options, Objective)),
        settings=dataclasses.replace(settings, **given_of(options, PreTraining)),
        command=options.command,
        **training_of(options),
    )
    print(f"written to {options.output}" if metrics else "done; results were written by worker 0")
    return 0


def _fill_mask(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.tasks.pretraining import fill_mask

    masks = fill_mask(options.model, [options.text], top_k=options.top_k)[0]
    for number, mask in enumerate(masks, 1):
        if len(masks) > 1:
            print(f"[MASK] {number}")
        for token, score in zip(mask["tokens"], mask["scores"], strict=True):
            print(f"{score:8.1%}  {token}")
    return 0


def _next_sentence(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.tasks.pretraining import next_sentence

    [probability] = next_sentence(options.model, [options.first], [options.second])
    print(f"{probability:.1%} that the second follows the first")
    return 0
