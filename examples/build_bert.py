# %% [markdown]
# # BERT, built layer by layer
#
# BERT is the encoder half of the Transformer ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)), trained to fill
# gaps and to tell whether two sentences follow each other ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805)).
# Here each part is made, looked at, and computed a second time in plain NumPy.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

from keras_bert_impl import BertConfig, BertModel
from keras_bert_impl.config import PRESETS
from keras_bert_impl.layers import BertAttentionBias, BertEmbeddings, BertLayer, BertPooler, BertSelfAttention

keras.utils.set_random_seed(1)


def array(tensor):
    """A tensor of any backend as NumPy."""
    return keras.ops.convert_to_numpy(tensor)


# %% [markdown]
# ## Embeddings: word + position + segment
#
# A text is a row of ids. Each id has a vector; so has each position, and each of the two segments. BERT adds the three
# and normalises the sum. Two rows of 8 tokens, width 24:

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
states = array(embeddings(ids, token_type_ids=segments))
print("rows, tokens, width:", states.shape)

# %%
words, positions, kinds = (
    array(getattr(embeddings, f"{name}_embeddings").embeddings) for name in ("word", "position", "token_type")
)
summed = words[ids] + positions[np.arange(8)] + kinds[segments]
by_hand = (summed - summed.mean(-1, keepdims=True)) / np.sqrt(summed.var(-1, keepdims=True) + 1e-12)
print("largest difference from NumPy:", np.abs(by_hand - states).max())
assert np.abs(by_hand - states).max() < 1e-4

# %% [markdown]
# The Transformer of 2017 did not learn its positions: it took sines and cosines of many wavelengths, so that a model
# can meet positions it was not trained on. BERT learns a vector for each of 512 positions, and ends there.


# %%
def sinusoidal(length, width):
    """The positions of 'Attention is all you need', section 3.5."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for axes, table, title in ((left, sinusoidal(16, 24), "sinusoidal, fixed"), (right, positions, "learned (untrained)")):
    image = axes.imshow(table, aspect="auto", cmap="cividis")
    axes.set(title=title, xlabel="dimension", ylabel="position")
    figure.colorbar(image, ax=axes)
plt.show()

# %% [markdown]
# ## Attention: who looks at whom
#
# Each token asks (query), answers to questions (key), and has something to say (value). How well a question fits a key
# decides how much of that value the token takes. Several heads do so side by side, on parts of the width. Padding is
# kept out by a bias of −10⁹ before the softmax.

# %%
attention = BertSelfAttention(config)
mask = (ids != 0).astype("int32")
bias = BertAttentionBias()(ids, attention_mask=mask)
context, weights = (array(part) for part in attention(states, bias, output_attentions=True))
print("context:", context.shape, " attention (rows, heads, asking, looked at):", weights.shape)
print("a padded row's attention, first head, first token:", weights[1, 0, 0].round(3))


# %%
def heads_of(name):
    """States through a projection, split into heads: [rows, heads, tokens, 8]."""
    layer = getattr(attention, name)
    projected = states @ array(layer.kernel) + array(layer.bias)
    return projected.reshape(2, 8, 3, 8).transpose(0, 2, 1, 3)


scores = heads_of("query") @ heads_of("key").transpose(0, 1, 3, 2) / np.sqrt(8) + array(bias)
shares = np.exp(scores - scores.max(-1, keepdims=True))
shares /= shares.sum(-1, keepdims=True)
by_hand = (shares @ heads_of("value")).transpose(0, 2, 1, 3).reshape(2, 8, 24)
print("largest difference from NumPy:", np.abs(by_hand - context).max())
assert np.abs(by_hand - context).max() < 1e-4

# %% [markdown]
# That is an **encoder**: each token sees all others, so the vector of a word knows what stands left and right of it. A
# **decoder** (GPT) lets a token see only what is before it, so that it can write the next one. The difference is the
# mask:

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for axes, allowed, title in ((left, np.ones((8, 8)), "encoder"), (right, np.tri(8), "decoder")):
    axes.imshow(allowed, cmap="cividis", vmin=0, vmax=1)
    axes.set(title=title, xlabel="looked at", ylabel="asking")
plt.show()

# %% [markdown]
# ## The feed-forward, and GELU
#
# After attention each token goes through two dense layers on its own, four times as wide inside, with GELU between:
# `x · Φ(x)`, the share of a normal distribution below x. Unlike ReLU it is smooth and lets a little through below zero.
# The published checkpoints name the exact one in their configurations; the approximation by tanh is near, not the same.

# %%
x = np.linspace(-4, 4, 400, dtype="float32")
exact = array(keras.activations.gelu(x, approximate=False))
near = array(keras.activations.gelu(x, approximate=True))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(x, exact, color="#0072B2", label="GELU")
left.plot(x, np.maximum(x, 0), color="#D55E00", linestyle="--", label="ReLU")
left.set(title="activations", xlabel="x", ylabel="output")
left.legend(frameon=False)
right.plot(x, near - exact, color="#009E73")
right.set(title="tanh approximation minus exact", xlabel="x", ylabel="difference")
plt.show()
print("the approximation is off by at most", float(np.abs(near - exact).max()))

# %% [markdown]
# A block is attention and feed-forward, each with a residual connection and a layer norm behind it. BERT stacks 2 to 24
# of them.

# %%
block = BertLayer(config)
print("through a block:", states.shape, "->", array(block(states, bias)).shape)

# %% [markdown]
# ## The pooler
#
# For one vector for the whole text, BERT takes the first token, `[CLS]`, through a dense layer and tanh.

# %%
pooler = BertPooler(config)
pooled = array(pooler(states))
by_hand = np.tanh(states[:, 0] @ array(pooler.dense.kernel) + array(pooler.dense.bias))
print("pooled:", pooled.shape, " largest difference from NumPy:", np.abs(by_hand - pooled).max())
assert np.abs(by_hand - pooled).max() < 1e-5

# %% [markdown]
# ## The whole model, and its six published sizes

# %%
model = BertModel(BertConfig.preset("tiny"))
outputs = model({"input_ids": ids, "attention_mask": mask})
print({name: tuple(value.shape) for name, value in outputs.items()})


# %%
def parameters(config):
    """Weights of a backbone, counted from its configuration."""
    width, inside = config.hidden_size, config.intermediate_size
    tables = (config.vocab_size + config.max_position_embeddings + config.type_vocab_size) * width
    a_block = 4 * (width * width + width) + 2 * width * inside + inside + width + 4 * width
    return tables + 2 * width + config.num_hidden_layers * a_block + width * width + width


print("size     layers  width  heads   parameters")
for name in PRESETS:
    config = BertConfig.preset(name)
    sizes = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    print(f"{name:8}{sizes[0]:7}{sizes[1]:7}{sizes[2]:7}{parameters(config):13,}")
assert parameters(model.config) == model.count_params()
assert parameters(BertConfig.preset("base")) == 109_482_240
