"""Sentence embeddings with all-MiniLM-L6-v2: prints how similar sentences are.

    python examples/sentence_similarity.py

Expected: the two sentences about money are the most similar pair. Time: seconds, after the checkpoint was downloaded
once.
"""

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.recipes.material import fetch_checkpoint

SENTENCES = [
    "She put her savings into the bank.",
    "He deposited the cash in his account.",
    "The river burst its banks.",
]


def main():
    """Prints the cosine similarity of each pair."""
    model = BertForSentenceEmbedding.from_pretrained(fetch_checkpoint("all-MiniLM-L6-v2"))
    vectors = model.encode(SENTENCES)
    similarities = model.similarity(vectors, vectors)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        print(f"{similarities[first, second]:.3f}  {SENTENCES[first]}  |  {SENTENCES[second]}")


if __name__ == "__main__":
    main()
