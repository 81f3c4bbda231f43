"""The command ``rank``."""

import argparse
import json
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_source, get_source
from keras_bert_impl.cli.predict import start_runtime
from keras_bert_impl.errors import InputError


def add_verbs(verbs: Any) -> None:
    """Adds the command to the parser."""
    rank = verbs.add_parser(
        "rank",
        help="order passages by their scores for a query",
        description="Reads each passage with the query, and prints the best passages: score, number of the passage in "
        "the file, from 1, and text. With --embedder, it reads only the passages whose vectors are most similar to the "
        "query's, which is faster. It computes the vectors of all passages in each call.",
    )
    add_source(rank, kinds="directory of a cross-encoder, of a run or of an export")
    rank.add_argument("query", metavar="QUERY", help="a text, such as a question")
    rank.add_argument(
        "--file", required=True, metavar="F", help="a .txt file with a passage per line, or a TSV, CSV or JSONL file"
    )
    rank.add_argument(
        "--column",
        default="text",
        metavar="NAME",
        help="column of the passages in --file (default: %(default)s); a number if the file has no header",
    )
    rank.add_argument(
        "--embedder",
        metavar="SOURCE",
        help="an embedding model, which chooses the passages to read (default: read all passages)",
    )
    rank.add_argument("--top", type=int, metavar="N", help="number of passages that --embedder chooses (default: 100)")
    rank.add_argument(
        "--top-k", type=int, default=10, metavar="K", help="number of passages to print (default: %(default)s)"
    )
    rank.add_argument(
        "--max-length", type=int, metavar="N", help="longest pair in tokens (default: as long as the model allows)"
    )
    rank.add_argument(
        "--json",
        action="store_true",
        help="print a line of JSON per passage; its corpus_id is the number of the passage, from 0",
    )
    rank.set_defaults(run=_rank)


def _rank(options: argparse.Namespace) -> int:
    for name, number in {"--top-k": options.top_k, "--top": options.top}.items():
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}; a number above 0 was expected.")
    if options.top and not options.embedder:
        raise InputError(f"--top {options.top} is for --embedder, which was not given. Add it.")
    source = get_source(options)
    start_runtime(source)
    from keras_bert_impl.data.tables import iterate_texts
    from keras_bert_impl.prediction.ranking import Reranker

    passages = iterate_texts(options.file, column=options.column)
    reranker = Reranker(source, max_length=options.max_length)
    arguments: dict[str, Any] = {"top_k": options.top_k, "return_documents": True}
    if options.embedder:
        start_framework()  # The cross-encoder may be an export, which needs no framework.
        from keras_bert_impl.models import BertForSentenceEmbedding

        arguments["embedder"] = BertForSentenceEmbedding.from_pretrained(get_source(options, "embedder"))
        if options.top:
            arguments["top"] = options.top
    for entry in reranker.rank(options.query, passages, **arguments):
        if options.json:
            print(json.dumps(entry, ensure_ascii=False))
        else:
            print(f"{entry['score']:9.4f}  {entry['corpus_id'] + 1:6}  {entry['text']}")
    return 0
