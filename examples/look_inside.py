# %% [markdown]
# # Which words did the model use?
#
# Attention shows which words the vector of a word is computed from. Integrated gradients show which words caused the
# prediction. The two differ, and only integrated gradients explain the prediction. First we train a small sentiment
# model, which takes about a minute on two cores.

# %%
import keras
import numpy as np

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.data import read_table
from keras_bert_impl.interpret import attend, attribute, compute_removal_curves
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.training import adamw

keras.utils.set_random_seed(1)
checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
tokenizer = BertTokenizer.from_pretrained(checkpoint)
model = BertForSequenceClassification.from_pretrained(checkpoint, id2label={0: "negative", 1: "positive"})
train = read_table(SNIPPETS / "train.tsv")
rows = 2000
model.compile(
    adamw(learning_rate=1e-4, steps=-(-rows // 32)),
    loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    metrics={"logits": ["accuracy"]},
)
inputs = tokenizer(train["text"][:rows], max_length=64)
labels = np.array([int(label == "positive") for label in train["label"][:rows]])
model.fit(inputs, labels, batch_size=32, verbose=2)

# %% [markdown]
# ## View attention
#
# Click a word to see which words it attends to. Choose a layer and a head in the maps. `view.save("view.html")` writes
# the page as one file that needs no network. `keras-bert attention DIR "It was a great movie." --output view.html` does
# the same.

# %%
view = attend(model, tokenizer, "It was a great movie, though the ending is not convincing.")
view

# %% [markdown]
# The view also contains the attention weights. The prediction is computed from the vector of `[CLS]`. These are the
# words that `[CLS]` attends to most in the last layer:

# %%
attention = view.row.sum_per_word(view.attentions[-1].mean(axis=0)[0])
for word, fraction in sorted(zip(view.row.words, attention, strict=True), key=lambda pair: -pair[1])[:5]:
    print(f"{fraction:6.1%}  {word.text}")
assert abs(attention.sum() - 1) < 1e-4

# %% [markdown]
# ## Compute integrated gradients
#
# The path goes from a baseline, the sentence with `[PAD]` in place of each word, to the sentence, in 50 steps. Each
# word is assigned its part of the change of the predicted label's logit on that path. The sum over the words equals the
# change.

# %%
why = attribute(model, tokenizer, "It was a great movie, though the ending is not convincing.")
why

# %%
print(why.format_table())
(target,) = why.targets
print(f"sum over the words {target.total:.4f}, change of the logit {target.change:.4f}")
assert target.is_complete

# %% [markdown]
# ## Compare both by removing words
#
# Remove the words that each method ranks highest, and see how fast the probability of the predicted label falls. Here
# we use twenty snippets and three words; `benchmarks/faithfulness.py` uses 200 snippets.

# %%
valid = read_table(SNIPPETS / "valid.tsv")
curves = compute_removal_curves(model, tokenizer, valid["text"][:20], words=3)
print("words removed      0      1      2      3")
for name, values in curves.items():
    print(f"{name:14}", *(f"{value:6.1%}" for value in values))
assert curves["attributions"][-1] < curves["random words"][-1]
