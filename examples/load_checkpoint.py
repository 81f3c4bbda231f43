# %% [markdown]
# # Loading a PyTorch checkpoint
#
# A published BERT is three files: `config.json` says how large it is, a weights file has its tensors under PyTorch's
# names, a vocabulary belongs to it. Here all-MiniLM-L6-v2 (Apache-2.0), a real BERT of 6 layers, is opened, looked
# through, and its numbers are held against PyTorch's.

# %%
import json
from pathlib import Path

import keras
import numpy as np
from safetensors import safe_open

from keras_bert_impl import BertConfig, BertModel, BertTokenizer
from keras_bert_impl.recipes.material import fetch_checkpoint

keras.utils.set_random_seed(1)
checkpoint = fetch_checkpoint("all-MiniLM-L6-v2")
print(*sorted(path.name for path in checkpoint.iterdir()), sep="\n")

# %% [markdown]
# ## The configuration

# %%
print(json.dumps(json.loads(Path(checkpoint / "config.json").read_text()), indent=1))
config = BertConfig.from_pretrained(checkpoint)
print(config.num_hidden_layers, "layers of width", config.hidden_size, "with", config.num_attention_heads, "heads")

# %% [markdown]
# ## The names in the file, and the tree of the model
#
# A tensor's name is its path through the tree of modules. The Keras model has the same tree, so that each name has one
# place, and nothing is guessed.

# %%
(weights,) = checkpoint.glob("*.safetensors")
with safe_open(weights, framework="np") as file:
    names = list(file.keys())
    shapes = {name: file.get_slice(name).get_shape() for name in names}
for name in [name for name in names if "layer.0." in name or "layer" not in name]:
    print(f"{name:55}{shapes[name]}")

# %%
model = BertModel.from_pretrained(checkpoint)
for variable in model.weights[:12]:
    print(f"{variable.path:55}{tuple(variable.shape)}")

# %% [markdown]
# What became of each tensor stands in the report. Kernels of dense layers are transposed between the two worlds; back
# in `state_dict()` they have PyTorch's names and layout again, number for number.

# %%
print(model.load_report)
state = model.state_dict()
with safe_open(weights, framework="np") as file:
    same = sum(np.array_equal(state[name], file.get_tensor(name)) for name in names if name in state)
print(same, "tensors equal in every bit")
assert same == len([name for name in names if name in state]) > 100

# %% [markdown]
# ## The same numbers as PyTorch

# %%
texts = ["The bank raised its rates.", "We sat on the bank of the river and watched the boats."]
batch = BertTokenizer.from_pretrained(checkpoint)(texts)
ours = keras.ops.convert_to_numpy(model(batch)["last_hidden_state"])

try:
    import torch
    import transformers
except ModuleNotFoundError:
    print("install torch and transformers to compare")
else:
    transformers.utils.logging.disable_progress_bar()
    theirs = transformers.BertModel.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        outputs = theirs(**{name: torch.from_numpy(values).long() for name, values in batch.items()})
    real = batch["attention_mask"] == 1
    difference = np.abs(ours - outputs.last_hidden_state.numpy())[real].max()
    print(f"largest difference of any number: {difference:.1e}")
    assert difference < 1e-4

# %% [markdown]
# `keras-bert verify DIR` does this for each layer and head, on real text, and says how far both are from a float64
# reference. And back: `save_pretrained` writes a directory that transformers opens.

# %%
model.save_pretrained("my-minilm")
print(*sorted(path.name for path in Path("my-minilm").iterdir()))
