"""The commands of pretraining: ``train-vocab``, ``grow-vocab``, ``prepare`` and ``pretrain``."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import (
    add_hub_options,
    add_run_options,
    add_settings,
    add_source,
    add_teacher_options,
    collect_distillation,
    collect_settings,
    get_source,
    make_run_arguments,
)
from keras_bert_impl.config import PRESETS
from keras_bert_impl.data.objective import Objective
from keras_bert_impl.errors import InputError
from keras_bert_impl.progress import ProgressBar
from keras_bert_impl.training.published import RECIPES, choose_defaults
from keras_bert_impl.training.settings import PretrainingSettings

_CORPUS_HELP = "text files (also .gz; an empty line ends a document), directories, JSONL files, or tfds:NAME:SPLIT"
# The option of `Objective` whose name says what the value is.
_OBJECTIVE = {"kind": "objective"}
# The number of added words that are printed.
_SHOWN_WORDS = 10


def add_verbs(verbs: Any) -> None:
    """Adds the commands to the parser."""
    vocabulary = verbs.add_parser(
        "train-vocab",
        help="train a vocabulary on your texts",
        description="Writes vocab.txt, tokenizer.json and tokenizer_config.json.",
    )
    _add_corpus_options(vocabulary)
    vocabulary.add_argument("--size", type=int, default=30522, metavar="N", help="number of tokens (default: 30522)")
    vocabulary.add_argument("--cased", action="store_true", help="keep capitals and accents")
    vocabulary.add_argument("--output", required=True, type=Path, metavar="DIR", help="must be new or empty")
    vocabulary.set_defaults(run=_train_vocabulary)

    grow = verbs.add_parser(
        "grow-vocab",
        help="give a checkpoint tokens for the words of your texts",
        description="Finds the words that the vocabulary of a checkpoint splits into pieces and that occur often, adds "
        "those that save the most tokens, or given words, and writes the checkpoint with the larger vocabulary.",
    )
    add_source(grow, "source", kinds="directory, weights file")
    words = grow.add_mutually_exclusive_group(required=True)
    words.add_argument("--corpus", nargs="+", metavar="CORPUS", help=_CORPUS_HELP)
    words.add_argument("--words", type=Path, metavar="F", help="add the words of this file instead, one per line")
    _add_reading_options(grow)
    grow.add_argument("--size", type=int, default=500, metavar="N", help="max. number of words to add (default: 500)")
    grow.add_argument("--min-count", type=int, default=5, metavar="N", help="how often a word must occur (default: 5)")
    grow.add_argument("--output", required=True, type=Path, metavar="DIR", help="must be new or empty")
    grow.set_defaults(run=_grow_vocabulary)

    prepare = verbs.add_parser(
        "prepare",
        help="turn a corpus into shards of tokens for pretraining",
        description="Splits texts into sentences, tokenizes them on all cores and writes shards. After an "
        "interruption, run the same command again to continue.",
    )
    _add_corpus_options(prepare)
    prepare.add_argument("--tokenizer", required=True, metavar="DIR", help="directory, bundled model or hub name")
    add_hub_options(prepare)
    prepare.add_argument("--output", required=True, metavar="SHARDS", help="must be new or empty")
    prepare.add_argument("--workers", type=int, metavar="N", help="number of processes (default: one per core)")
    prepare.add_argument(
        "--line-by-line",
        action="store_true",
        help="each line of a text file is a document (default: an empty line ends one)",
    )
    prepare.add_argument("--language", default="en", metavar="CODE", help="language of the texts (default: en)")
    prepare.add_argument(
        "--beam",
        metavar="OPTIONS",
        help="run as an Apache Beam pipeline with these options, such as --beam='--runner=FlinkRunner'; --beam= runs "
        "it on this machine",
    )
    prepare.set_defaults(run=_prepare)

    pretrain = verbs.add_parser(
        "pretrain",
        help="train a BERT on shards, from scratch or from a checkpoint: masked words and next sentences",
        description="Pretrains a BERT, or continues from a checkpoint, also with masked words alone (--objective mlm). "
        "Writes a directory with the model, metrics.json, learning_curve.png and a model card.",
        epilog="Recipes: adamw-1 and adamw-2 are the two phases of the BERT paper, lamb-1 and lamb-2 two phases for "
        "large batches.",
    )
    pretrain.add_argument("shards", metavar="SHARDS", help="a directory that prepare wrote")
    pretrain.add_argument("--output", required=True, type=Path, metavar="DIR", help="must be new or empty")
    start = pretrain.add_mutually_exclusive_group()
    start.add_argument("--preset", choices=tuple(PRESETS), default="tiny", help="size of the model (default: tiny)")
    start.add_argument("--init", metavar="DIR", help="start from this checkpoint instead")
    length = pretrain.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="number of training steps")
    length.add_argument("--minutes", type=float, metavar="X", help="minutes of training, evaluations included")
    pretrain.add_argument(
        "--recipe", choices=tuple(RECIPES), help="published settings and number of steps; other options override them"
    )
    add_settings(pretrain.add_argument_group("training settings"), PretrainingSettings)
    add_settings(pretrain.add_argument_group("settings of the training examples"), Objective, _OBJECTIVE)
    add_teacher_options(pretrain, help="the larger model, with the same heads and the same tokenizer")
    add_run_options(pretrain)
    add_hub_options(pretrain)
    pretrain.set_defaults(run=_pretrain)


def _add_corpus_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS_HELP)
    _add_reading_options(verb)


def _add_reading_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--text-field", default="text", metavar="NAME", help="field of JSONL objects with the text (default: text)"
    )
    verb.add_argument("--strict", action="store_true", help="refuse lines that are not UTF-8")


@contextlib.contextmanager
def _open_lines(options: argparse.Namespace) -> Iterator[Iterable[str]]:
    """Context with the lines of the corpus; warns of those that were left out at its end."""
    from keras_bert_impl.data import Lines, find_parts
    from keras_bert_impl.data.preparation import warn_of_broken_lines

    lines = Lines(find_parts(options.corpus), text_field=options.text_field, strict=options.strict)
    yield lines
    if lines.broken:
        warn_of_broken_lines(lines.broken)


def _train_vocabulary(options: argparse.Namespace) -> int:
    from keras_bert_impl.tokenization.train import train_vocabulary

    with _open_lines(options) as lines:
        tokenizer = train_vocabulary(lines, options.output, size=options.size, do_lower_case=not options.cased)
    print(f"{len(tokenizer):,} tokens written to {options.output}")
    return 0


def _grow_vocabulary(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.data.tables import read_lines
    from keras_bert_impl.recipes.grow_vocabulary import add_words, grow_vocabulary

    source = get_source(options, "source")
    if options.words:
        given = [line.strip() for _, line in read_lines(options.words)]
        add_words(source, given, options.output)
        print(f"{len(given):,} words written to {options.output}")
        return 0
    with _open_lines(options) as lines:
        words = grow_vocabulary(source, lines, options.output, size=options.size, min_count=options.min_count)
    for word in words[:_SHOWN_WORDS]:
        print(f"{word.count:8,} × {word.word}  ({' '.join(word.pieces)})")
    if len(words) > _SHOWN_WORDS:
        print(f"     and {len(words) - _SHOWN_WORDS:,} more")
    saved = sum(word.count * (len(word.pieces) - 1) for word in words)
    print(f"{len(words):,} words, which save {saved:,} tokens in these texts, written to {options.output}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from keras_bert_impl.data import prepare

    tokenizer = get_source(options, "tokenizer")
    common = {name: getattr(options, name) for name in ("language", "text_field", "line_by_line", "strict")}
    if options.beam is not None:
        from keras_bert_impl.data.beam import prepare_with_beam

        manifest = prepare_with_beam(
            options.corpus, tokenizer, options.output, options=shlex.split(options.beam), **common
        )
    else:
        bar = ProgressBar("documents")

        def show(documents: int, tokens: int, bytes_read: int, bytes_total: int) -> None:
            bar.update(documents, bytes_read / bytes_total if bytes_total else None)

        try:
            manifest = prepare(
                options.corpus, tokenizer, options.output, workers=options.workers, progress=show, **common
            )
        except KeyboardInterrupt:
            print("run the same command again to continue", file=sys.stderr)
            raise
        finally:
            bar.end()
    counts = ", ".join(f"{manifest[name]:,} {name}" for name in ("documents", "sentences", "tokens"))
    print(f"{counts} written to {options.output}")
    return 0


def _pretrain(options: argparse.Namespace) -> int:
    distillation = collect_distillation(options)
    objective = collect_settings(options, Objective, _OBJECTIVE)
    start_framework(strategy=options.strategy)
    from keras_bert_impl.training.pretraining import pretrain

    kind, init = objective.get("kind", Objective.kind), get_source(options, "init")
    recipe = RECIPES[options.recipe] if options.recipe else choose_defaults(kind, init)
    recipe = recipe.override(objective=objective, settings=collect_settings(options, PretrainingSettings))
    steps = recipe.steps if options.steps is None and options.minutes is None else options.steps
    if steps is None and options.minutes is None:
        raise InputError("the length of the training run is missing: give --steps N, --minutes M or --recipe NAME.")
    metrics = pretrain(
        options.shards,
        output=options.output,
        preset=options.preset,
        init=init,
        steps=steps,
        minutes=options.minutes,
        objective=recipe.objective,
        settings=recipe.settings,
        teacher=get_source(options, "teacher"),
        distillation=distillation,
        command=options.command,
        **make_run_arguments(options),
    )
    print(f"written to {options.output}" if metrics else "done; results were written by worker 0")
    return 0
