"""Semantic search in a file of passages with NumPy alone: the vectors are in a memory-mapped file.

    python examples/search_numpy.py passages.txt "What is the film about?"

``passages.txt`` has a passage per line; without arguments, the film snippets of the package are searched. The vectors
are computed once and saved next to the file; delete ``passages.npy`` if the passages change. Each search compares the
query with all vectors, block by block, so that they may need more memory than there is.

Expected: the passages that mean the same as the query come first, whichever words they use. Time: the vectors of 1,000
short passages take seconds, and a search takes milliseconds.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.data import read_table
from keras_bert_impl.prediction import dot_score, encode_file, semantic_search
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.recipes.quickstart import SNIPPETS


def search(passages, query, *, top_k):
    """Returns the score and the text of the passages that are most similar to the query."""
    model = BertForSentenceEmbedding.from_pretrained(fetch_checkpoint("all-MiniLM-L6-v2"))
    vectors = passages.with_suffix(".npy")
    if not vectors.exists():
        encode_file(model, passages, vectors, prompt_name="document")
    corpus = np.load(vectors, mmap_mode="r")
    # all-MiniLM gives normalized vectors, for which the dot product is the cosine.
    (found,) = semantic_search(model.encode_query(query), corpus, top_k=top_k, score_function=dot_score)
    lines = passages.read_text(encoding="utf-8").split("\n")
    return [(entry["score"], lines[entry["corpus_id"]]) for entry in found]


def main():
    """Prints the most similar passages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("passages", type=Path, nargs="?")
    parser.add_argument("query", nargs="?", default="The actors are wonderful.")
    parser.add_argument("--top-k", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        passages = arguments.passages
        if passages is None:
            passages = Path(scratch, "passages.txt")
            passages.write_text("\n".join(read_table(SNIPPETS / "valid.tsv")["text"]), encoding="utf-8")
        for score, text in search(passages, arguments.query, top_k=arguments.top_k):
            print(f"{score:.3f}  {text}")


if __name__ == "__main__":
    main()
