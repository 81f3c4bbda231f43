# %% [markdown]
# # Pretraining: gaps and next sentences
#
# BERT learns from plain text. Some words are hidden and it guesses them; of two segments it tells whether the second
# follows the first. Here both are looked at with a BERT that ships with this package, `bert-tiny-novels`, and then a
# smaller one is trained from nothing.

# %%
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_bert_impl import BertConfig, BertForPreTraining
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus, for_fit, prepare, read_table
from keras_bert_impl.prediction import fill_mask, next_sentence
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization.train import train_vocabulary
from keras_bert_impl.training import adamw

keras.utils.set_random_seed(1)
for text in ("He shook his [MASK] and said nothing.", "She opened the [MASK] and went in."):
    (answers,) = fill_mask("bert-tiny-novels", [text])[0]
    print(text, *(f"{word} {share:.0%}" for word, share in zip(answers["tokens"], answers["scores"], strict=True)))
first = "“Where is the captain?” asked the boy."
for second in ("“He is on board,” said the sailor.", "Her aunt's letter lay on the breakfast table."):
    (share,) = next_sentence("bert-tiny-novels", [first], [second])
    print(f"{share:.0%} that {second} follows {first}")

# %% [markdown]
# ## From text to batches
#
# A vocabulary is made of the texts; the texts become shards, each token stored once; examples are drawn when a batch is
# made. The corpus is the film snippets, twelve a document: enough to see it work, too little to learn English.

# %%
place = Path(tempfile.mkdtemp())
texts = read_table(SNIPPETS / "train.tsv")["text"]
documents = ["\n".join(texts[begin : begin + 12]) for begin in range(0, len(texts), 12)]
(place / "corpus.txt").write_text("\n\n".join(documents), encoding="utf-8")
train_vocabulary(texts, place / "vocabulary", size=2000)
prepare([place / "corpus.txt"], place / "vocabulary", place / "shards")
corpus = TokenCorpus(place / "shards")
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
    print(f"at {position:2}: shown {shown!r}, right is {tokenizer.convert_ids_to_tokens(int(label))!r}")
print("the second segment", "is another document's" if labels["seq_relationship_logits"][0] else "follows")

# %% [markdown]
# Of the chosen words 80 % are hidden, 10 % are replaced by a random word, and 10 % stay, so that the model cannot trust
# what it sees:

# %%
shown, right = [], []
for k in range(50):
    inputs, labels, weights = batches[k]
    chosen = weights["prediction_logits"] > 0
    shown.append(np.take_along_axis(inputs["input_ids"], inputs["masked_lm_positions"], axis=1)[chosen])
    right.append(labels["prediction_logits"][chosen])
shown, right = np.concatenate(shown), np.concatenate(right)
hidden, kept = (shown == tokenizer.mask_token_id).mean(), (shown == right).mean()
print(f"{len(shown):,} words: {hidden:.1%} hidden, {kept:.1%} as they were, {1 - hidden - kept:.1%} replaced")
assert abs(hidden - 0.8) < 0.02

# %% [markdown]
# ## Training, with plain `fit`
#
# The loss is the sum of both: cross entropy of the words, and of the next sentence. Perplexity falls from 2,000 (any
# word) towards what the frequencies of words alone give; more needs more text.

# %%
model = BertForPreTraining(BertConfig.preset("tiny", vocab_size=tokenizer.vocab_size))
model.compile(adamw(learning_rate=2e-3, steps=steps), **TASKS["pretraining"].compile_arguments())
history = model.fit(for_fit(batches), steps_per_epoch=steps // 3, epochs=3, shuffle=False, verbose=0).history
perplexity = history["prediction_logits_perplexity"]
print("perplexity of the hidden words:", *(f"{value:.0f}" for value in perplexity))
assert 2000 > perplexity[0] > perplexity[-1]
