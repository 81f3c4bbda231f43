# %% [markdown]
# # What goes into BERT
#
# Ids, segments, a mask. And how lessons that count lengths instead of masking (`get_tokens_and_segments`, `valid_lens`)
# say the same.

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
# ## Words and pieces
#
# WordPiece splits what the vocabulary does not have: `##` means 'goes on'. Nothing is unknown but what no pieces spell.

# %%
for text in ("A great movie!", "Unbelievably unphotogenic.", "Café Zürich"):
    print(f"{text:28}", tokenizer.tokenize(text))

# %% [markdown]
# ## `[CLS]`, `[SEP]` and segments
#
# A row is `[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]` for two texts; segments tell them apart.

# %%
row = tokenizer("Where is it?", "It is on the table.")
print("token        id  segment  mask")
for token, id, segment, one in zip(
    tokenizer.convert_ids_to_tokens(row["input_ids"][0]), *(values[0] for values in row.values()), strict=True
):
    print(f"{token:9}{id:6}{segment:9}{one:6}")


# %% [markdown]
# Lessons write this by hand. It is the same row:


# %%
def get_tokens_and_segments(tokens_a, tokens_b=None):
    """Tokens with their special ones, and the segment of each."""
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
# ## Rows of different length: padding and mask
#
# A batch is as long as its longest row; `[PAD]` fills the others, and the mask says what is real. Some lessons give the
# number of real tokens, `valid_lens`, instead: the mask is `position < length`.

# %%
batch = tokenizer(["A movie.", "A movie that I would watch again."])
print(batch["input_ids"])
print(batch["attention_mask"])
valid_lens = batch["attention_mask"].sum(axis=1)
print("valid_lens:", valid_lens)
mask = (np.arange(batch["input_ids"].shape[1]) < valid_lens[:, None]).astype("int32")
assert (mask == batch["attention_mask"]).all()

# %% [markdown]
# With the mask, padding changes nothing; without it, it does:

# %%
alone = model(tokenizer("A movie."))["last_hidden_state"]
padded = model(batch)["last_hidden_state"][:1, : valid_lens[0]]
unmasked = model({"input_ids": batch["input_ids"]})["last_hidden_state"][:1, : valid_lens[0]]


def apart(first, second):
    """The largest difference of two tensors."""
    return float(keras.ops.max(keras.ops.abs(first - second)))


print(f"padded, with the mask:    {apart(alone, padded):.1e}")
print(f"padded, without the mask: {apart(alone, unmasked):.1e}")
assert apart(alone, padded) < 1e-4 < 1e-2 < apart(alone, unmasked)

# %% [markdown]
# ## Too long
#
# A model has so many positions, most have 512. The tokenizer cuts (`truncation`), or makes windows that overlap:

# %%
windows = tokenizer("one two three four five six seven eight nine", max_length=7, stride=2, return_overflowing=True)
for ids in windows["input_ids"]:
    print(tokenizer.convert_ids_to_tokens(ids))
