"""Sentence embeddings with all-MiniLM-L6-v2: prints how similar sentences are.

    python examples/sentence_similarity.py

Expected: the two sentences about money are the most similar pair. Time: seconds, after the checkpoint was downloaded
once.
"""

import numpy as np
from keras import ops

from keras_bert_impl import BertModel, BertTokenizer
from keras_bert_impl.recipes.material import fetch_checkpoint

SENTENCES = [
    "She put her savings into the bank.",
    "He deposited the cash in his account.",
    "The river burst its banks.",
]


def main():
    """Prints the cosine similarity of each pair."""
    checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
    model = BertModel.from_pretrained(checkpoint)
    batch = BertTokenizer.from_pretrained(checkpoint)(SENTENCES)
    states = ops.convert_to_numpy(model(batch)["last_hidden_state"])  # [sentences, tokens, hidden]
    mask = batch["attention_mask"][:, :, None]
    vectors = (states * mask).sum(axis=1) / mask.sum(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        print(f"{vectors[first] @ vectors[second]:.3f}  {SENTENCES[first]}  |  {SENTENCES[second]}")


if __name__ == "__main__":
    main()
