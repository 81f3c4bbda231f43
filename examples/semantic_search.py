# %% [markdown]
# # Semantic search: embed, search, rerank
#
# A search engine for 240 paragraphs of Wikipedia, and the 1,190 questions that XQuAD asks about them. An embedding
# model finds candidates: it compares vectors, which are computed once. A cross-encoder, which we train, then reads each
# candidate together with the question, and orders them again.

# %%
import json
import random
import re
import urllib.request
import warnings
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.prediction import MiningSettings, Reranker, mine_hard_negatives, semantic_search
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.training import FineTuningSettings, finetune

keras.utils.set_random_seed(1)
checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
model = BertForSentenceEmbedding.from_pretrained(checkpoint)

# %% [markdown]
# ## The paragraphs and their questions
#
# [XQuAD](https://github.com/google-deepmind/xquad) has 48 articles with five paragraphs each (CC BY-SA 4.0). The
# cross-encoder learns from the first 40 articles; the questions of the last 8 are for the test.

# %%
file = Path("xquad.en.json")
if not file.exists():
    urllib.request.urlretrieve("https://raw.githubusercontent.com/google-deepmind/xquad/master/xquad.en.json", file)
articles = json.loads(file.read_text(encoding="utf-8"))["data"]


def list_texts(articles):
    """Returns the paragraphs, the questions, and for each question the number of its paragraph."""
    entries = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [(entry["question"], k) for k, paragraph in enumerate(entries) for entry in paragraph["qas"]]
    return [entry["context"] for entry in entries], [text for text, _ in questions], [k for _, k in questions]


paragraphs, questions, answers = list_texts(articles)
print(f"{len(paragraphs)} paragraphs, {len(questions)} questions")
print(questions[0], "→", paragraphs[answers[0]][:150], "…")

# %% [markdown]
# ## Embed and search
#
# `encode_document` and `encode_query` put the model's prompts before the texts; all-MiniLM has none. A question is
# compared with all paragraphs.

# %%
vectors = model.encode_document(paragraphs)
query_vectors = model.encode_query(questions)
print(vectors.shape, query_vectors.shape)
for entry in semantic_search(query_vectors[0], vectors, top_k=3)[0]:
    print(f"{entry['score']:.3f}", paragraphs[entry["corpus_id"]][:100], "…")


# %% [markdown]
# ## Measure
#
# The rank of a question's paragraph decides the metrics: recall@k is the fraction of questions whose paragraph is among
# the first k, and MRR@10 is the mean of 1/rank, or 0 beyond rank 10.


# %%
def find_ranks(rankings, answers):
    """Returns the rank of each question's paragraph, from 1; infinite if it was not found."""
    return np.array(
        [ranking.index(k) + 1 if k in ranking else np.inf for ranking, k in zip(rankings, answers, strict=True)]
    )


def compute_mrr(ranks):
    """The mean reciprocal rank at 10."""
    return float(np.mean(np.where(ranks <= 10, 1 / ranks, 0)))


def search(questions, paragraphs, *, top_k=10):
    """Returns the numbers of the most similar paragraphs of each question."""
    found = semantic_search(model.encode_query(questions), model.encode_document(paragraphs), top_k=top_k)
    return [[entry["corpus_id"] for entry in entries] for entries in found]


ranks = find_ranks(search(questions, paragraphs), answers)
print(f"all 240 paragraphs: MRR@10 {compute_mrr(ranks):.3f}, recall@10 {np.mean(ranks <= 10):.3f}")
assert np.mean(ranks <= 10) > 0.9

# %% [markdown]
# ## Train a cross-encoder
#
# The checkpoint has read single texts only. With paragraphs that look right and are not, two epochs teach it nothing.
# So it first learns what an answer is from an easier task: a question is to find the sentence with its answer among
# other sentences, and some words of a sentence are to find that sentence. This takes a few minutes on two cores.


# %%
def make_sentence_pairs(articles):
    """Returns labeled pairs: a question or some words, and a sentence."""
    draw = random.Random(1)
    rows, everywhere = [], []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z\"\d])", paragraph["context"])
        ends = np.cumsum([len(sentence) + 1 for sentence in sentences])
        for entry in paragraph["qas"]:
            answer = int(np.searchsorted(ends, entry["answers"][0]["answer_start"], side="right"))
            others = sentences[:answer] + sentences[answer + 1 :]
            negatives = draw.sample(others, min(2, len(others))) + draw.sample(everywhere, min(2, len(everywhere)))
            rows.append((entry["question"], sentences[answer], 1))
            rows += [(entry["question"], sentence, 0) for sentence in negatives]
        for sentence in sentences:
            words = " ".join(word for word in sentence.split() if draw.random() < 0.4)
            rows += [(words, sentence, 1), (words, draw.choice(everywhere or sentences), 0)]
        everywhere += sentences
    texts, pairs, labels = zip(*rows, strict=True)
    return {"text": list(texts), "text_pair": list(pairs), "label": list(labels)}


train, valid = make_sentence_pairs(articles[:36]), make_sentence_pairs(articles[36:40])
print(len(train["text"]), "pairs,", sum(train["label"]), "of them relevant")
metrics = finetune(
    checkpoint,
    task="reranking",
    train=train,
    valid=valid,
    output="runs/sentences",
    settings=FineTuningSettings(epochs=2, learning_rate=1e-4, max_length=96),
)

# %% [markdown]
# Now it can learn from hard negatives: paragraphs that the embedding model ranks high for a question, and that do not
# answer it. `mine_hard_negatives` finds two for each question. The second run starts from the directory of the first.


# %%
def mine(articles):
    """Returns labeled pairs: a question, and its paragraph or a hard negative."""
    paragraphs, questions, answers = list_texts(articles)
    pairs = {"text": questions, "positive": [paragraphs[k] for k in answers]}
    return mine_hard_negatives(model, pairs, settings=MiningSettings(num_negatives=2, output_format="labeled-pair"))


metrics = finetune(
    "runs/sentences",
    task="reranking",
    train=mine(articles[:36]),
    valid=mine(articles[36:40]),
    output="runs/reranker",
    settings=FineTuningSettings(epochs=1, max_length=192),
)

# %% [markdown]
# ## Rerank
#
# For the questions of the last 8 articles, the embedding model chooses ten of all 240 paragraphs, and the cross-encoder
# orders them. Long paragraphs are truncated.

# %%
warnings.filterwarnings("ignore", message=".*truncated")
_, test_questions, _ = list_texts(articles[40:])
test_answers = answers[-len(test_questions) :]
candidates = search(test_questions, paragraphs)

reranker = Reranker("runs/reranker", max_length=192)
pairs = [(text, paragraphs[k]) for text, found in zip(test_questions, candidates, strict=True) for k in found]
scores = reranker.predict(pairs).reshape(len(test_questions), -1)
reranked = [[found[k] for k in np.argsort(-row, kind="stable")] for found, row in zip(candidates, scores, strict=True)]
before, after = find_ranks(candidates, test_answers), find_ranks(reranked, test_answers)
print(f"MRR@10 of {len(before)} questions: {compute_mrr(before):.3f} before, {compute_mrr(after):.3f} after reranking")
assert compute_mrr(after) > compute_mrr(before)

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
k = np.arange(1, 11)
axes.plot(k, [np.mean(before <= each) for each in k], color="#0072B2", marker="o", label="embedding model")
axes.plot(k, [np.mean(after <= each) for each in k], color="#D55E00", marker="s", label="reranked")
axes.set(title="Questions whose paragraph is among the first k", xlabel="k", ylabel="recall@k", xticks=k)
axes.grid(alpha=0.3)
axes.legend()
plt.show()
