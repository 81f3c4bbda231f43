# %% [markdown]
# # The inputs of BERT
#
# The inputs are ids, segments and a mask. Some courses use lengths instead of a mask (`get_tokens_and_segments`,
# `valid_lens`); this notebook also shows how the two relate.

# %%
import keras
import numpy as np

from keras_bert_impl import BertModel, BertTokenizer
from keras_bert_impl.recipes.material import fetch_checkpoint

keras.utils.set_random_seed(1)
checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
tokenizer = BertTokenizer.from_pretrained(checkpoint)
model = BertModel.from_pretrained(checkpoint)

# %% [markdown]
# ## Words and word pieces
#
# WordPiece splits words that are not in the vocabulary. `##` marks a piece that continues a word. A word becomes
# `[UNK]` only if no pieces can spell it.

# %%
for text in ("A great movie!", "Unbelievably unphotogenic.", "Café Zürich"):
    print(f"{text:28}", tokenizer.tokenize(text))

# %% [markdown]
# ## `[CLS]`, `[SEP]` and segments
#
# A row is `[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]` for two texts. The segment of a token is the text that it belongs
# to: 0 or 1.

# %%
row = tokenizer("Where is it?", "It is on the table.")
print("token        id  segment  mask")
for token, id, segment, mask in zip(
    tokenizer.convert_ids_to_tokens(row["input_ids"][0]), *(values[0] for values in row.values()), strict=True
):
    print(f"{token:9}{id:6}{segment:9}{mask:6}")


# %% [markdown]
# Some courses define the following function. It returns the same row:


# %%
def get_tokens_and_segments(tokens_a, tokens_b=None):
    """Adds the special tokens; returns all tokens and the segment of each."""
    tokens = ["[CLS]", *tokens_a, "[SEP]"]
    segments = [0] * len(tokens)
    if tokens_b is not None:
        tokens += [*tokens_b, "[SEP]"]
        segments += [1] * (len(tokens_b) + 1)
    return tokens, segments


tokens, segments = get_tokens_and_segments(
    tokenizer.tokenize("Where is it?"), tokenizer.tokenize("It is on the table.")
)
assert tokenizer.convert_tokens_to_ids(tokens) == row["input_ids"][0].tolist()
assert segments == row["token_type_ids"][0].tolist()
print(tokens)

# %% [markdown]
# ## Rows of different lengths: padding and mask
#
# A batch is as long as its longest row. Shorter rows are filled with `[PAD]`, and the mask is 1 for the other tokens.
# Some courses use the number of these tokens, `valid_lens`, instead: the mask is `position < length`.

# %%
batch = tokenizer(["A movie.", "A movie that I would watch again."])
print(batch["input_ids"])
print(batch["attention_mask"])
valid_lens = batch["attention_mask"].sum(axis=1)
print("valid_lens:", valid_lens)
mask = (np.arange(batch["input_ids"].shape[1]) < valid_lens[:, None]).astype("int32")
assert (mask == batch["attention_mask"]).all()

# %% [markdown]
# With the mask, padding does not change the result. Without the mask it does:

# %%
alone = model(tokenizer("A movie."))["last_hidden_state"]
padded = model(batch)["last_hidden_state"][:1, : valid_lens[0]]
unmasked = model({"input_ids": batch["input_ids"]})["last_hidden_state"][:1, : valid_lens[0]]


def compute_max_difference(first, second):
    """The maximum absolute difference of two tensors."""
    return float(keras.ops.max(keras.ops.abs(first - second)))


print(f"padded, with the mask:    {compute_max_difference(alone, padded):.1e}")
print(f"padded, without the mask: {compute_max_difference(alone, unmasked):.1e}")
assert compute_max_difference(alone, padded) < 1e-4 < 1e-2 < compute_max_difference(alone, unmasked)

# %% [markdown]
# ## Texts that are too long
#
# A model has a fixed number of positions, usually 512. The tokenizer truncates longer texts, or splits them into
# overlapping windows:

# %%
windows = tokenizer("one two three four five six seven eight nine", max_length=7, stride=2, return_overflowing=True)
for ids in windows["input_ids"]:
    print(tokenizer.convert_ids_to_tokens(ids))
