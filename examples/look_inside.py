# %% [markdown]
# # What did it look at?
#
# Attention shows where each word's vector comes from; integrated gradients show which words made the answer. They are
# not the same, and only one of them adds up. First a small sentiment model is trained, about a minute on two cores.

# %%
import keras
import numpy as np

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.data import read_table
from keras_bert_impl.interpret import attend, attribute, removal_curves
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
inputs, labels = tokenizer(train["text"][:rows], max_length=64), np.array([int(one) for one in train["label"][:rows]])
model.fit(inputs, labels, batch_size=32, verbose=2)

# %% [markdown]
# ## Attention
#
# Click a word to see whom it looks at; choose a layer and a head in the maps. The page is one file without network:
# `view.save("view.html")`, or `keras-bert attention DIR "It was a great movie." --output view.html`.

# %%
view = attend(model, tokenizer, "It was a great movie, though the ending is not convincing.")
view

# %% [markdown]
# The numbers are there too. What `[CLS]`, whose vector is the answer's, looks at in the last layer:

# %%
paid = view.row.sums(view.attentions[-1].mean(axis=0)[0])
for word, share in sorted(zip(view.row.words, paid, strict=True), key=lambda pair: -pair[1])[:5]:
    print(f"{share:6.1%}  {word.text}")
assert abs(paid.sum() - 1) < 1e-4

# %% [markdown]
# ## Integrated gradients
#
# From the sentence with blank words to the sentence itself, in 50 steps: how much of the answer's logit does each word
# add on the way? The sum of the words is the change of the logit.

# %%
why = attribute(model, tokenizer, "It was a great movie, though the ending is not convincing.")
why

# %%
print(why.table())
(target,) = why.targets
print(f"sum of the words {target.total:.4f}, change of the logit {target.change:.4f}")
assert target.is_complete

# %% [markdown]
# ## Which of the two is right?
#
# Take the words away that matter most by each, and see how fast the answer goes. Here on twenty snippets and three
# words; `benchmarks/faithfulness.py` does it on 200.

# %%
valid = read_table(SNIPPETS / "valid.tsv")
curves = removal_curves(model, tokenizer, valid["text"][:20], words=3)
print("words removed      0      1      2      3")
for name, values in curves.items():
    print(f"{name:14}", *(f"{value:6.1%}" for value in values))
assert curves["attributions"][-1] < curves["random words"][-1]
