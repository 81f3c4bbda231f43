"""Semantic search with FAISS: an index of float vectors, and one of bits that is 32 times smaller.

    pip install faiss-cpu
    python examples/search_faiss.py "The actors are wonderful."

The passages are film snippets. ``IndexFlatIP`` compares the query with all vectors. ``IndexBinaryFlat`` counts the bits
that differ; its best candidates are then ordered by the float query, which restores most of the quality. For millions
of passages, replace the two indexes by ``IndexHNSWFlat`` or ``IndexIVFFlat``, and ``IndexBinaryHNSW`` or
``IndexBinaryIVF``, which search approximately.

Expected: both lists have most passages in common. Time: less than a minute, after the checkpoint was downloaded once.
"""

import argparse

import numpy as np

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.data import read_table
from keras_bert_impl.prediction import quantize_embeddings
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.recipes.quickstart import SNIPPETS


def search_floats(query, vectors, *, top_k):
    """Returns the rows with the highest dot product."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, rows = index.search(query[None], top_k)
    return rows[0].tolist()


def search_bits(query, vectors, *, top_k, candidates):
    """Returns the rows with the highest product of the query and the bits, among those with the most equal bits."""
    import faiss

    index = faiss.IndexBinaryFlat(vectors.shape[1])  # The number of bits.
    index.add(quantize_embeddings(vectors, "ubinary"))
    _, rows = index.search(quantize_embeddings(query[None], "ubinary"), candidates)
    bits = np.stack([np.unpackbits(index.reconstruct(int(row))) for row in rows[0]]).astype(np.float32)
    order = np.argsort(-((2 * bits - 1) @ query), kind="stable")
    return rows[0][order[:top_k]].tolist()


def main():
    """Prints the passages that both indexes find."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("query", nargs="?", default="The actors are wonderful.")
    parser.add_argument("--top-k", type=int, default=5)
    arguments = parser.parse_args()
    passages = read_table(SNIPPETS / "valid.tsv")["text"]
    model = BertForSentenceEmbedding.from_pretrained(fetch_checkpoint("all-MiniLM-L6-v2"))
    vectors = model.encode_document(passages)
    query = model.encode_query(arguments.query)
    found = {
        "float32": search_floats(query, vectors, top_k=arguments.top_k),
        "bits": search_bits(query, vectors, top_k=arguments.top_k, candidates=4 * arguments.top_k),
    }
    for name, rows in found.items():
        print(f"{name}:")
        for row in rows:
            print(f"  {row:5}  {passages[row]}")


if __name__ == "__main__":
    main()
