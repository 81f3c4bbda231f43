"""Predictions and vectors from texts or files, in Python."""

from keras_bert_impl.prediction.encoding import encode, encode_document, encode_query, iterate_vectors
from keras_bert_impl.prediction.fill_mask import fill_mask
from keras_bert_impl.prediction.mining import mine_file, mine_hard_negatives
from keras_bert_impl.prediction.next_sentence import next_sentence
from keras_bert_impl.prediction.predictor import Predictor
from keras_bert_impl.prediction.quantization import quantize_embeddings
from keras_bert_impl.prediction.ranking import Reranker, find_candidates
from keras_bert_impl.prediction.search import semantic_search
from keras_bert_impl.prediction.vector_files import encode_file
from keras_bert_impl.tasks.mining import MiningSettings
from keras_bert_impl.vectors.similarity import (
    cos_sim,
    dot_score,
    euclidean_sim,
    manhattan_sim,
    pairwise_cos_sim,
    pairwise_dot_score,
    pairwise_euclidean_sim,
    pairwise_manhattan_sim,
)

__all__ = [
    "MiningSettings",
    "Predictor",
    "Reranker",
    "cos_sim",
    "dot_score",
    "encode",
    "encode_document",
    "encode_file",
    "encode_query",
    "euclidean_sim",
    "fill_mask",
    "find_candidates",
    "iterate_vectors",
    "manhattan_sim",
    "mine_file",
    "mine_hard_negatives",
    "next_sentence",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
    "quantize_embeddings",
    "semantic_search",
]
