# %% [markdown]
# # Pretraining: masked words and next sentences
#
# BERT learns from plain text. It predicts words that are masked, and it predicts whether the second of two segments
# follows the first. Here we try both with `bert-tiny-novels`, a BERT that ships with this package. Then we train a
# smaller one from scratch.

# %%
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_bert_impl import BertConfig, BertForPreTraining
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus, make_fit_data, prepare, read_table
from keras_bert_impl.prediction import fill_mask, next_sentence
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization.train import train_vocabulary
from keras_bert_impl.training import adamw

keras.utils.set_random_seed(1)
for text in ("He shook his [MASK] and said nothing.", "She opened the [MASK] and went in."):
    (answers,) = fill_mask("bert-tiny-novels", [text])[0]
    print(
        text,
        *(f"{word} {probability:.0%}" for word, probability in zip(answers["tokens"], answers["scores"], strict=True)),
    )
first = "“Where is the captain?” asked the boy."
for second in ("“He is on board,” said the sailor.", "Her aunt's letter lay on the breakfast table."):
    (probability,) = next_sentence("bert-tiny-novels", [first], [second])
    print(f"probability {probability:.0%} that {second} follows {first}")

# %% [markdown]
# ## Make batches from text
#
# First we train a vocabulary on the texts. Then we tokenize the texts and store them as shards, which contain each
# token once. Masks and sentence pairs are drawn when a batch is made. The corpus consists of the film snippets, twelve
# per document. That is enough to see how pretraining works, but too little to learn English.

# %%
directory = Path(tempfile.mkdtemp())
texts = read_table(SNIPPETS / "train.tsv")["text"]
documents = ["\n".join(texts[begin : begin + 12]) for begin in range(0, len(texts), 12)]
(directory / "corpus.txt").write_text("\n\n".join(documents), encoding="utf-8")
train_vocabulary(texts, directory / "vocabulary", size=2000)
prepare([directory / "corpus.txt"], directory / "vocabulary", directory / "shards")
corpus = TokenCorpus(directory / "shards")
print(corpus)

# %%
steps = 150
batches = PretrainingBatches(corpus, batch_size=32, objective=Objective(max_length=64), steps=steps)
inputs, labels, weights = batches[0]
tokenizer = corpus.tokenizer
print(tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=False))
positions = inputs["masked_lm_positions"][0][weights["prediction_logits"][0] > 0]
for position, label in zip(positions, labels["prediction_logits"][0], strict=False):
    shown = tokenizer.convert_ids_to_tokens(int(inputs["input_ids"][0, position]))
    print(f"position {position:2}: input {shown!r}, label {tokenizer.convert_ids_to_tokens(int(label))!r}")
print("the second segment", "is from another document" if labels["seq_relationship_logits"][0] else "follows")

# %% [markdown]
# Of the chosen words, 80 % are replaced by `[MASK]`, 10 % are replaced by a random word, and 10 % stay unchanged. So
# the model cannot rely on the word in the input:

# %%
shown, true = [], []
for k in range(50):
    inputs, labels, weights = batches[k]
    chosen = weights["prediction_logits"] > 0
    shown.append(np.take_along_axis(inputs["input_ids"], inputs["masked_lm_positions"], axis=1)[chosen])
    true.append(labels["prediction_logits"][chosen])
shown, true = np.concatenate(shown), np.concatenate(true)
masked, unchanged = (shown == tokenizer.mask_token_id).mean(), (shown == true).mean()
print(f"{len(shown):,} words: {masked:.1%} masked, {unchanged:.1%} unchanged, {1 - masked - unchanged:.1%} replaced")
assert abs(masked - 0.8) < 0.02

# %% [markdown]
# ## Train with plain `fit`
#
# The loss is the sum of two cross entropies, of the masked words and of the next sentence. The perplexity starts at
# 2,000 (all words equally probable) and falls towards that of the word frequencies. A lower perplexity requires more
# text.

# %%
model = BertForPreTraining(BertConfig.preset("tiny", vocab_size=tokenizer.vocab_size))
model.compile(adamw(learning_rate=2e-3, steps=steps), **TASKS["pretraining"].make_compile_arguments())
history = model.fit(make_fit_data(batches), steps_per_epoch=steps // 3, epochs=3, shuffle=False, verbose=0).history
perplexity = history["prediction_logits_perplexity"]
print("perplexity of the masked words:", *(f"{value:.0f}" for value in perplexity))
assert 2000 > perplexity[0] > perplexity[-1]
