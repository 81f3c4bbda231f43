"""The commands that predict: ``evaluate``, ``predict``, ``fill-mask`` and ``next-sentence``."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_source, add_task_options, collect_columns, get_source, read_standard_input
from keras_bert_impl.errors import InputError
from keras_bert_impl.progress import ProgressBar

if TYPE_CHECKING:
    from keras_bert_impl.data.tables import Columns
    from keras_bert_impl.tasks import Task


def add_verbs(verbs: Any) -> None:
    """Adds the commands to the parser."""
    evaluate = verbs.add_parser(
        "evaluate", help="compute a model's metrics on a file", description="Prints the task's metrics as JSON."
    )
    add_source(evaluate, kinds="directory of a run or of an export")
    evaluate.add_argument(
        "--data",
        required=True,
        metavar="F",
        help="a file with labels, as for finetune; for embeddings also a directory with corpus.jsonl, queries.jsonl "
        "and qrels/*.tsv (BEIR's layout)",
    )
    add_task_options(evaluate)
    evaluate.add_argument("--mask-seed", type=int, metavar="N", help="for masked-lm: seed of the masks (default: 1)")
    evaluate.add_argument(
        "--each-token",
        action="store_true",
        help="for masked-lm: mask each token in turn, for the pseudo-perplexity, which takes many times as long",
    )
    evaluate.set_defaults(run=_evaluate)

    predict = verbs.add_parser(
        "predict",
        help="predict texts, a file or standard input",
        description="Prints a line of JSON per example. Texts are read from arguments, a file, or standard input, "
        "one per line; lines of standard input are answered as they arrive. A TAB separates the texts of a pair, a "
        "question from its context, or a text from its choices.",
    )
    add_source(predict, kinds="directory of a run or of an export")
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="without texts and --file: lines of standard input")
    predict.add_argument("--file", metavar="F", help="a file as for finetune; labels in it are ignored")
    add_task_options(predict)
    predict.set_defaults(run=_predict)

    fill = verbs.add_parser("fill-mask", help="predict the most likely words for each [MASK] of a text")
    add_source(fill)
    fill.add_argument("text", help='such as "The [MASK] crossed the river."')
    fill.add_argument("--top-k", type=int, default=5, metavar="K", help="number of words (default: 5)")
    fill.set_defaults(run=_fill_mask)

    following = verbs.add_parser("next-sentence", help="predict how likely it is that one text follows another")
    add_source(following)
    following.add_argument("first", help="a text")
    following.add_argument("second", help="the text that may follow")
    following.set_defaults(run=_predict_next_sentence)


def _evaluate(options: argparse.Namespace) -> int:
    from keras_bert_impl.data.tables import count_examples

    predictor = _load_predictor(options)
    if options.each_token or options.mask_seed is not None:
        predictor.task = predictor.task.choose_masks(seed=options.mask_seed, each_token=options.each_token)
    columns = predictor.task.read_file(options.data, columns=collect_columns(options))
    examples = count_examples(columns, name=options.data)
    print(json.dumps({"examples": examples, **predictor.score(columns)}, indent=2))
    return 0


def _predict(options: argparse.Namespace) -> int:
    if options.file and options.texts:
        raise InputError(f"texts and --file {options.file} were given; only one of them was expected. Omit the other.")
    predictor = _load_predictor(options)
    if options.file:
        predictions = _show_progress(predictor.predict_file(options.file, columns=collect_columns(options)))
    else:
        predictions = predictor.predict_chunks(_make_chunks(predictor.task, options.texts))
    for prediction in predictions:
        # A program that writes a line may wait for the answer before it writes the next one.
        print(json.dumps(prediction, ensure_ascii=False), flush=not options.file)
    return 0


def _make_chunks(task: "Task", texts: list[str]) -> Iterator["Columns"]:
    """Yields the columns of texts, or if there are none, of the lines of standard input that have arrived."""
    if texts:
        yield task.from_fields([text.split("\t") for text in texts])
        return
    done = 0
    for lines in read_standard_input():
        columns = task.from_fields([line.split("\t") for line in lines])
        yield {**columns, "location": [f"standard input, line {done + i}" for i in range(1, len(lines) + 1)]}
        done += len(lines)


def _show_progress(predictions: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the predictions; shows their number on a terminal, unless the predictions are printed there."""
    bar = ProgressBar("examples", is_shown=False if sys.stdout.isatty() else None)
    try:
        for prediction in predictions:
            yield prediction
            bar.add(1)
    finally:
        bar.end()


def _load_predictor(options: argparse.Namespace) -> Any:
    source = get_source(options)
    start_runtime(source)
    from keras_bert_impl.prediction import Predictor

    return Predictor(source, task=options.task, max_length=options.max_length, allow_no_answer=options.allow_no_answer)


def start_runtime(source: Any) -> None:
    """Imports the framework that runs a model or an export, if it needs one."""
    from keras_bert_impl.export import find_format

    format = find_format(source)
    framework = format.framework if format else "keras.ops"
    if framework:
        start_framework(framework)


def _fill_mask(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.prediction import fill_mask

    masks = fill_mask(get_source(options), [options.text], top_k=options.top_k)[0]
    for number, mask in enumerate(masks, 1):
        if len(masks) > 1:
            print(f"[MASK] {number}")
        for token, score in zip(mask["tokens"], mask["scores"], strict=True):
            print(f"{score:8.1%}  {token}")
    return 0


def _predict_next_sentence(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.prediction import next_sentence

    [probability] = next_sentence(get_source(options), [options.first], [options.second])
    print(f"{probability:.1%}: the second text follows the first")
    return 0
