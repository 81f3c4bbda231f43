# %% [markdown]
# # Fine-tune for sentiment
#
# We take a pretrained checkpoint and 2,000 labeled film snippets, and train with plain `compile` and `fit`. We also
# record how one weight changes.

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


def load_model():
    """Loads the checkpoint with a new head for two labels."""
    return BertForSequenceClassification.from_pretrained(checkpoint, id2label=LABELS)


def make_loss():
    """Returns the cross entropy of the logits."""
    return {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}


# %% [markdown]
# ## Train on two sentences and follow one weight
#
# First we train for twenty steps on two sentences. The first weight of the last block's output changes a little
# in each step.

# %%
weight = "encoder.layer.5.output.dense.weight[0][0]"
history = WeightHistory([weight, "classifier.weight[1][0]"])
model = load_model()
model.compile(keras.optimizers.AdamW(1e-4), loss=make_loss())
two = tokenizer(["It was a great movie.", "It was a waste of time."])
model.fit(two, np.array([1, 0]), epochs=20, callbacks=[history], verbose=0)
history.save_picture("weights.png")
display(Image("weights.png"))
change = history.values[weight][-1] - history.values[weight][0]
print(f"changed by {change} in {len(history.values[weight]) - 1} steps")
assert change != 0

# %% [markdown]
# ## Train on 2,000 snippets
#
# We train for one epoch. The learning rate rises during the first tenth of the steps and then falls to zero.
# (`keras-bert quickstart` trains on all 8,452 snippets, which takes a few minutes.)

# %%
train, valid = (read_table(SNIPPETS / f"{name}.tsv") for name in ("train", "valid"))
rows = 2000
inputs = tokenizer(train["text"][:rows], max_length=64)
labels = np.array([int(label == "positive") for label in train["label"][:rows]])

model = load_model()
model.compile(adamw(learning_rate=1e-4, steps=-(-rows // 32)), loss=make_loss(), metrics={"logits": ["accuracy"]})
losses = []
record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: losses.append(float(logs["loss"])))
model.fit(inputs, labels, batch_size=32, callbacks=[record], verbose=2)

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(np.arange(1, len(losses) + 1), losses, color="#0072B2")
axes.set(title="Training loss (running mean)", xlabel="step", ylabel="cross entropy", ylim=(0, None))
axes.grid(alpha=0.3)
plt.show()

# %%
true = np.array([int(label == "positive") for label in valid["label"]])
_, accuracy = model.evaluate(tokenizer(valid["text"], max_length=64), true, batch_size=64, verbose=0)
print(f"accuracy on {len(true)} snippets that were not used for training: {accuracy:.1%}")
assert accuracy > 0.7

# %%
for text in ("A warm, funny and wonderfully acted film.", "Two hours of my life that I will never get back."):
    probabilities = keras.ops.softmax(model(tokenizer(text))["logits"])[0]
    print(f"{LABELS[int(keras.ops.argmax(probabilities))]} ({float(keras.ops.max(probabilities)):.0%}): {text}")
