# %% [markdown]
# # One word, two meanings
#
# In word2vec and GloVe a word has one vector. BERT gives it a different vector in each sentence. How do the vectors of
# 'bank' as a place for money and as the side of a river differ, layer by layer?

# %%
import keras
from IPython.display import SVG, display

from keras_bert_impl import BertModel, BertTokenizer
from keras_bert_impl.interpret import compute_word_vectors
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
vectors = compute_word_vectors(model, tokenizer, MONEY + RIVER, "bank")
vectors

# %% [markdown]
# The picture shows the vectors of the last layer in their first two principal components:

# %%
vectors.save_picture("bank.svg", senses=senses)
display(SVG("bank.svg"))

# %% [markdown]
# ## In which layer do the senses separate?
#
# Layer 0 is the embeddings: there the same word has the same vector, except for its position. Each block adds
# information from the words around it.

# %%
vectors.save_layers("layers.svg", senses)
display(SVG("layers.svg"))
same, different = vectors.compare_senses(senses)
for layer, (first, second) in enumerate(zip(same, different, strict=True)):
    print(f"layer {layer}: same sense {first:.3f}, different senses {second:.3f}, difference {first - second:+.3f}")
assert abs(same[0] - different[0]) < 0.005
assert (same[1:] - different[1:] > 0.03).all()

# %% [markdown]
# One sentence can contain both senses. In the middle layers they are as different as in separate sentences. In the last
# layers they become similar again: this checkpoint was trained to give each sentence one vector, so its last layers mix
# the whole sentence into every word.

# %%
text = "He ran from the bank that he had robbed to the river bank where a boat was waiting."
both = compute_word_vectors(model, tokenizer, [text], "bank")
pairs = [both.compute_cosines(layer)[0, 1] for layer in range(len(same))]
print("cosine similarity of the two banks in one sentence:", *(f"{pair:.3f}" for pair in pairs))
assert abs(pairs[3] - different[3]) < abs(pairs[3] - same[3])
assert pairs[-1] > pairs[3]
