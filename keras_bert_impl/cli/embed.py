"""The command ``embed``."""

import argparse
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_source, get_source, iterate_standard_input, read_standard_input
from keras_bert_impl.errors import InputError

# The precisions of `encode`, which is not imported here, so that --help stays fast.
_PRECISIONS = ("float32", "bfloat16", "int8", "uint8", "binary", "ubinary")


def add_verbs(verbs: Any) -> None:
    """Adds the command to the parser."""
    embed = verbs.add_parser(
        "embed",
        help="compute the vectors of texts",
        description="Writes the vectors of texts to a .npy file of NumPy, or prints a line of JSON per text. Texts are "
        "read from arguments, a file, or standard input, one per line; lines of standard input are answered as they "
        "arrive.",
    )
    add_source(embed, kinds="directory of a sentence-transformers model or of a run")
    embed.add_argument("texts", nargs="*", metavar="TEXT", help="without texts and --file: lines of standard input")
    embed.add_argument("--file", metavar="F", help="a .txt file with a text per line, or a TSV, CSV or JSONL file")
    embed.add_argument(
        "--column",
        metavar="NAME",
        help="column of the texts in --file (default: text); a number if the file has no header",
    )
    embed.add_argument("--output", type=Path, metavar="F", help="the .npy file to write (default: print JSON)")
    prompt = embed.add_mutually_exclusive_group()
    prompt.add_argument(
        "--prompt", metavar="NAME", help="name of a prompt of the model, such as query (default: its default prompt)"
    )
    prompt.add_argument("--prompt-text", metavar="TEXT", help="text of a prompt, which is put before each text")
    embed.add_argument(
        "--precision",
        choices=_PRECISIONS,
        default="float32",
        help="bfloat16: compute in bfloat16; int8, uint8, binary, ubinary: quantize the vectors (default: float32)",
    )
    embed.add_argument("--normalize", action="store_true", help="divide each vector by its L2 norm")
    embed.add_argument(
        "--truncate-dim", type=int, metavar="N", help="keep the first N dimensions (default: as the model says)"
    )
    embed.add_argument("--batch-size", type=int, metavar="N", help="texts per batch (default: by tokens)")
    embed.set_defaults(run=_embed)


def _embed(options: argparse.Namespace) -> int:
    if options.file and options.texts:
        raise InputError(f"texts and --file {options.file} were given; only one of them was expected. Omit the other.")
    if options.column and not options.file:
        raise InputError(f"--column {options.column} names a column of --file, which was not given. Add it.")
    start_framework()
    from keras_bert_impl.data.tables import iterate_texts
    from keras_bert_impl.models import BertForSentenceEmbedding
    from keras_bert_impl.prediction.encoder import EncodeOptions, get_dimensions
    from keras_bert_impl.prediction.encoding import encode, iterate_vectors
    from keras_bert_impl.prediction.quantization import needs_ranges
    from keras_bert_impl.prediction.vector_files import encode_file

    dtype = "bfloat16" if options.precision == "bfloat16" else None
    model = BertForSentenceEmbedding.from_pretrained(get_source(options), dtype=dtype)
    texts: Iterable[str] = options.texts or iterate_standard_input()
    if options.file:
        texts = iterate_texts(options.file, column=options.column or "text")
    arguments: EncodeOptions = {
        "prompt_name": options.prompt,
        "prompt": options.prompt_text,
        "normalize_embeddings": options.normalize,
        "truncate_dim": options.truncate_dim,
        "batch_size": options.batch_size,
    }
    precision = options.precision
    if options.output:
        rows, _ = encode_file(model, texts, options.output, precision=precision, **arguments)
        dimensions = get_dimensions(model, options.truncate_dim)
        dtype = "float32" if precision == "bfloat16" else precision
        print(f"{rows:,} vectors of {dimensions} dimensions written to {options.output} ({dtype})")
        return 0
    is_shown = False if sys.stdout.isatty() else None
    if needs_ranges(precision):  # The ranges are those of all vectors, so all are computed before the first is printed.
        chunks: Iterable[Any] = [encode(model, texts, precision=precision, show_progress_bar=is_shown, **arguments)]
    elif options.file or options.texts:
        chunks = iterate_vectors(model, texts, precision=precision, show_progress_bar=is_shown, **arguments)
    else:
        arrived = (iterate_vectors(model, lines, precision=precision, **arguments) for lines in read_standard_input())
        chunks = itertools.chain.from_iterable(arrived)
    for chunk in chunks:
        for vector in chunk:
            print(json.dumps({"embedding": vector.tolist()}))
        sys.stdout.flush()
    return 0
