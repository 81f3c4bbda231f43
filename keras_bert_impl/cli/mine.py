"""The command ``mine-negatives``."""

import argparse
from collections import Counter
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_settings, add_source, collect_settings, get_source
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.mining import MiningSettings

_NAMES = {"output_format": "format"}


def add_verbs(verbs: Any) -> None:
    """Adds the command to the parser."""
    mine = verbs.add_parser(
        "mine-negatives",
        help="find hard negatives for pairs of texts, to train with",
        description="Writes examples for finetune: pairs of a query and a positive text, and as negatives the texts "
        "most similar to the query that are not its positives.",
    )
    add_source(mine, kinds="directory of a sentence-transformers model or of a run")
    mine.add_argument("--pairs", required=True, metavar="F", help="a table of queries and positive texts")
    mine.add_argument("--output", required=True, metavar="F", help="the .tsv or .jsonl file to write")
    mine.add_argument("--text-column", metavar="NAME", help="column of the queries (default: text, anchor, query …)")
    mine.add_argument(
        "--pair-column", metavar="NAME", help="column of the positive texts (default: text_pair, positive, answer …)"
    )
    mine.add_argument(
        "--corpus", metavar="F", help="more texts that may be negatives: a .txt file with a text per line, or a table"
    )
    mine.add_argument("--corpus-column", metavar="NAME", help="column in --corpus (default: text)")
    mine.add_argument(
        "--reranker", metavar="SOURCE", help="a cross-encoder; the scores and margins below then refer to its scores"
    )
    add_settings(mine.add_argument_group("negatives"), MiningSettings, _NAMES)
    mine.set_defaults(run=_mine)


def _mine(options: argparse.Namespace) -> int:
    if options.corpus_column and not options.corpus:
        raise InputError(f"--corpus-column {options.corpus_column} is for --corpus, which was not given. Add it.")
    settings = MiningSettings(**collect_settings(options, MiningSettings, _NAMES))
    start_framework()
    from keras_bert_impl.models import BertForSentenceEmbedding
    from keras_bert_impl.prediction.mining import mine_file
    from keras_bert_impl.prediction.ranking import Reranker

    columns = {"text": options.text_column, "text_pair": options.pair_column}
    mined = mine_file(
        BertForSentenceEmbedding.from_pretrained(get_source(options)),
        options.pairs,
        options.output,
        columns={role: name for role, name in columns.items() if name is not None},
        corpus=options.corpus,
        corpus_column=options.corpus_column or "text",
        reranker=Reranker(get_source(options, "reranker")) if options.reranker else None,
        settings=settings,
    )
    print(f"{len(mined):,} queries; examples written to {options.output}")
    for negatives, queries in sorted(Counter(len(query.negatives) for query in mined).items(), reverse=True):
        print(f"{queries:6,} with {negatives} {'negative' if negatives == 1 else 'negatives'}")
    return 0
