# %% [markdown]
# # One word, two meanings
#
# In word2vec and GloVe a word has one vector. BERT gives it one for each place where it stands. 'Bank' as a house for
# money and as the side of a river: how do they part, layer by layer?

# %%
import keras
from IPython.display import SVG, display

from keras_bert_impl import BertModel, BertTokenizer
from keras_bert_impl.interpret import word_vectors
from keras_bert_impl.recipes.material import fetch_checkpoint

keras.utils.set_random_seed(1)
checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
model, tokenizer = BertModel.from_pretrained(checkpoint), BertTokenizer.from_pretrained(checkpoint)

# %%
MONEY = [
    "She opened an account at the bank before the holidays.",
    "The bank raised its interest rates again in the spring.",
    "He borrowed money from the bank to buy a house.",
    "The bank will close my account if I do not pay.",
    "I went to the bank to deposit money.",
    "Two men robbed the bank in broad daylight.",
    "My salary goes straight into the bank every month.",
]
RIVER = [
    "We sat on the bank of the river and watched the boats.",
    "The river burst its bank after three days of rain.",
    "Willows grow along the bank of the stream.",
    "He pulled the canoe up onto the muddy bank.",
    "Ducks were sleeping on the grassy bank near the water.",
    "They fished from the bank until the sun went down.",
    "On the far bank of the Rhine stood a castle.",
]
senses = ["money"] * len(MONEY) + ["river"] * len(RIVER)
vectors = word_vectors(model, tokenizer, MONEY + RIVER, "bank")
vectors

# %% [markdown]
# The same in the plane of the two directions in which the vectors differ most:

# %%
vectors.save_picture("bank.svg", senses=senses)
display(SVG("bank.svg"))

# %% [markdown]
# ## Where do the senses part?
#
# Layer 0 is the embeddings: the same word has the same vector there, but for its position. With each block the words
# around it come in.

# %%
vectors.save_layers("layers.svg", senses)
display(SVG("layers.svg"))
same, different = vectors.by_sense(senses)
for layer, (first, second) in enumerate(zip(same, different, strict=True)):
    print(f"layer {layer}: one sense {first:.3f}, two senses {second:.3f}, apart {first - second:+.3f}")
assert abs(same[0] - different[0]) < 0.005
assert (same[1:] - different[1:] > 0.03).all()

# %% [markdown]
# A sentence may hold both. In the middle layers they part as the others do. Towards the end they come together again:
# this checkpoint was trained to give each sentence one vector, and its last layers spread the sentence over all words.

# %%
text = "He ran from the bank that he had robbed to the river bank where a boat was waiting."
both = word_vectors(model, tokenizer, [text], "bank")
pairs = [both.cosines(layer)[0, 1] for layer in range(len(same))]
print("the two banks of one sentence:", *(f"{pair:.3f}" for pair in pairs))
assert abs(pairs[3] - different[3]) < abs(pairs[3] - same[3])
assert pairs[-1] > pairs[3]
