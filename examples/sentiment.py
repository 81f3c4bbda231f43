# %% [markdown]
# # Fine-tuning for sentiment
#
# A checkpoint that knows English, 2,000 film snippets with labels, plain `compile` and `fit`. One weight is watched on
# its way.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.data import read_table
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.training import WeightHistory, adamw

keras.utils.set_random_seed(1)
checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
tokenizer = BertTokenizer.from_pretrained(checkpoint)
LABELS = {0: "negative", 1: "positive"}


def new_model():
    """The checkpoint with a new head for two labels."""
    return BertForSequenceClassification.from_pretrained(checkpoint, id2label=LABELS)


def loss():
    """Cross entropy of the logits."""
    return {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}


# %% [markdown]
# ## Two sentences, and one weight
#
# First the smallest training there is: two sentences, twenty steps. The upper left weight of the last block's output
# moves a little with each.

# %%
weight = "encoder.layer.5.output.dense.weight[0][0]"
history = WeightHistory([weight, "classifier.weight[1][0]"])
model = new_model()
model.compile(keras.optimizers.AdamW(1e-4), loss=loss())
two = tokenizer(["It was a great movie.", "It was a waste of time."])
model.fit(two, np.array([1, 0]), epochs=20, callbacks=[history], verbose=0)
history.save_picture("weights.png")
display(Image("weights.png"))
print(
    "moved by", history.values[weight][-1] - history.values[weight][0], "in", len(history.values[weight]) - 1, "steps"
)
assert history.values[weight][-1] != history.values[weight][0]

# %% [markdown]
# ## For real
#
# 2,000 snippets, one epoch; the learning rate rises over the first tenth of the steps and falls to zero. (All 8,452,
# three epochs, take some minutes: `keras-bert quickstart`.)

# %%
train, valid = (read_table(SNIPPETS / f"{name}.tsv") for name in ("train", "valid"))
rows = 2000
inputs = tokenizer(train["text"][:rows], max_length=64)
labels = np.array([int(label) for label in train["label"][:rows]])

model = new_model()
model.compile(adamw(learning_rate=1e-4, steps=-(-rows // 32)), loss=loss(), metrics={"logits": ["accuracy"]})
losses = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(float(logs["loss"])))
seen = []
model.fit(inputs, labels, batch_size=32, callbacks=[losses], verbose=2)

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(np.arange(1, len(seen) + 1), seen, color="#0072B2")
axes.set(title="Training loss, mean so far", xlabel="step", ylabel="cross entropy", ylim=(0, None))
axes.grid(alpha=0.3)
plt.show()

# %%
answers = np.array([int(label) for label in valid["label"]])
_, accuracy = model.evaluate(tokenizer(valid["text"], max_length=64), answers, batch_size=64, verbose=0)
print(f"right on {accuracy:.1%} of {len(answers)} snippets that it has not seen")
assert accuracy > 0.7

# %%
for text in ("A warm, funny and wonderfully acted film.", "Two hours of my life that I will never get back."):
    share = keras.ops.softmax(model(tokenizer(text))["logits"])[0]
    print(f"{LABELS[int(keras.ops.argmax(share))]} ({float(keras.ops.max(share)):.0%}): {text}")
