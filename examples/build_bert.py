# %% [markdown]
# # BERT, built layer by layer
#
# BERT is the encoder of the Transformer ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)), trained to predict
# masked words and next sentences ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805)). Here we create each part,
# look at its output, and compute it again in plain NumPy.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

from keras_bert_impl import BertConfig, BertModel
from keras_bert_impl.config import PRESETS
from keras_bert_impl.layers import BertAttentionBias, BertEmbeddings, BertLayer, BertPooler, BertSelfAttention

keras.utils.set_random_seed(1)


def to_numpy(tensor):
    """Converts a tensor of any backend to NumPy."""
    return keras.ops.convert_to_numpy(tensor)


# %% [markdown]
# ## Embeddings: word + position + segment
#
# A text is a row of ids. Each id has a vector, each position has one, and each of the two segments has one. BERT adds
# the three and normalizes the sum. The example has two rows of 8 tokens and a hidden size of 24:

# %%
config = BertConfig(
    vocab_size=100,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=96,
    max_position_embeddings=16,
)
embeddings = BertEmbeddings(config)
ids = np.array([[2, 11, 12, 13, 3, 21, 22, 3], [2, 31, 32, 3, 0, 0, 0, 0]])
segments = np.array([[0, 0, 0, 0, 0, 1, 1, 1], [0] * 8])
states = to_numpy(embeddings(ids, token_type_ids=segments))
print("rows, tokens, hidden:", states.shape)

# %%
words, positions, segment_vectors = (
    to_numpy(getattr(embeddings, f"{name}_embeddings").embeddings) for name in ("word", "position", "token_type")
)
summed = words[ids] + positions[np.arange(8)] + segment_vectors[segments]
by_hand = (summed - summed.mean(-1, keepdims=True)) / np.sqrt(summed.var(-1, keepdims=True) + 1e-12)
print("maximum difference to NumPy:", np.abs(by_hand - states).max())
assert np.abs(by_hand - states).max() < 1e-4

# %% [markdown]
# The Transformer of 2017 did not learn its position embeddings. It used sines and cosines of many wavelengths, so that
# a model can process positions that it was not trained on. BERT learns a vector for each of 512 positions, so its texts
# cannot be longer.


# %%
def make_sinusoids(length, hidden):
    """Computes the position embeddings of 'Attention is all you need', section 3.5."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, hidden, 2) / hidden)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, hidden)


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for axes, table, title in (
    (left, make_sinusoids(16, 24), "sinusoidal, fixed"),
    (right, positions, "learned (untrained)"),
):
    image = axes.imshow(table, aspect="auto", cmap="cividis")
    axes.set(title=title, xlabel="dimension", ylabel="position")
    figure.colorbar(image, ax=axes)
plt.show()

# %% [markdown]
# ## Attention: each token collects information from others
#
# Each token has three vectors: a query, a key and a value. The product of one token's query with another token's key
# determines how much of the other token's value it receives. Several heads do this in parallel, each on a part of the
# hidden size. A bias of −10⁹ before the softmax excludes padding.

# %%
attention = BertSelfAttention(config)
mask = (ids != 0).astype("int32")
bias = BertAttentionBias()(ids, attention_mask=mask)
context, weights = (to_numpy(part) for part in attention(states, bias, output_attentions=True))
print("context:", context.shape, " attention (rows, heads, queries, keys):", weights.shape)
print("attention of the first token in a padded row, first head:", weights[1, 0, 0].round(3))


# %%
def split_heads(name):
    """Projects the states and splits them into heads: [rows, heads, tokens, 8]."""
    layer = getattr(attention, name)
    projected = states @ to_numpy(layer.kernel) + to_numpy(layer.bias)
    return projected.reshape(2, 8, 3, 8).transpose(0, 2, 1, 3)


scores = split_heads("query") @ split_heads("key").transpose(0, 1, 3, 2) / np.sqrt(8) + to_numpy(bias)
probabilities = np.exp(scores - scores.max(-1, keepdims=True))
probabilities /= probabilities.sum(-1, keepdims=True)
by_hand = (probabilities @ split_heads("value")).transpose(0, 2, 1, 3).reshape(2, 8, 24)
print("maximum difference to NumPy:", np.abs(by_hand - context).max())
assert np.abs(by_hand - context).max() < 1e-4

# %% [markdown]
# This is an **encoder**: each token attends to all others, so the vector of a word depends on the words to its left and
# right. In a **decoder** (GPT) a token attends only to the tokens before it, so that the model can generate the next
# one. The difference is the mask:

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for axes, allowed, title in ((left, np.ones((8, 8)), "encoder"), (right, np.tri(8), "decoder")):
    axes.imshow(allowed, cmap="cividis", vmin=0, vmax=1)
    axes.set(title=title, xlabel="key", ylabel="query")
plt.show()

# %% [markdown]
# ## Feed-forward layers and GELU
#
# After attention, each token goes through two dense layers separately. The output of the first one is four times as
# wide, with the activation GELU: `x · Φ(x)`, where `Φ(x)` is the probability that a normally distributed number is
# below x. Unlike ReLU it is smooth, and it is not zero for all negative x. The published checkpoints use the exact
# GELU; the tanh approximation gives slightly different numbers.

# %%
x = np.linspace(-4, 4, 400, dtype="float32")
exact = to_numpy(keras.activations.gelu(x, approximate=False))
approximate = to_numpy(keras.activations.gelu(x, approximate=True))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(x, exact, color="#0072B2", label="GELU")
left.plot(x, np.maximum(x, 0), color="#D55E00", linestyle="--", label="ReLU")
left.set(title="activations", xlabel="x", ylabel="output")
left.legend(frameon=False)
right.plot(x, approximate - exact, color="#009E73")
right.set(title="tanh approximation minus exact", xlabel="x", ylabel="difference")
plt.show()
print("maximum error of the approximation:", float(np.abs(approximate - exact).max()))

# %% [markdown]
# A block consists of attention and feed-forward layers, each followed by a residual connection and a layer norm. BERT
# stacks 2 to 24 blocks.

# %%
block = BertLayer(config)
print("through a block:", states.shape, "->", to_numpy(block(states, bias)).shape)

# %% [markdown]
# ## The pooler
#
# To get one vector for the text, BERT applies a dense layer and tanh to the first token, `[CLS]`.

# %%
pooler = BertPooler(config)
pooled = to_numpy(pooler(states))
by_hand = np.tanh(states[:, 0] @ to_numpy(pooler.dense.kernel) + to_numpy(pooler.dense.bias))
print("pooled:", pooled.shape, " maximum difference to NumPy:", np.abs(by_hand - pooled).max())
assert np.abs(by_hand - pooled).max() < 1e-5

# %% [markdown]
# ## The complete model and its six published sizes

# %%
model = BertModel(BertConfig.preset("tiny"))
outputs = model({"input_ids": ids, "attention_mask": mask})
print({name: tuple(value.shape) for name, value in outputs.items()})


# %%
def count_parameters(config):
    """Counts the parameters of a backbone from its configuration."""
    hidden, intermediate = config.hidden_size, config.intermediate_size
    tables = (config.vocab_size + config.max_position_embeddings + config.type_vocab_size) * hidden
    block_size = 4 * (hidden * hidden + hidden) + 2 * hidden * intermediate + intermediate + hidden + 4 * hidden
    return tables + 2 * hidden + config.num_hidden_layers * block_size + hidden * hidden + hidden


print("size     layers  hidden  heads   parameters")
for name in PRESETS:
    config = BertConfig.preset(name)
    sizes = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    print(f"{name:8}{sizes[0]:7}{sizes[1]:8}{sizes[2]:7}{count_parameters(config):13,}")
assert count_parameters(model.config) == model.count_params()
assert count_parameters(BertConfig.preset("base")) == 109_482_240
