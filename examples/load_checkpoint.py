# %% [markdown]
# # Load a PyTorch checkpoint
#
# A published BERT consists of three files: `config.json` with its sizes, a weights file whose tensors have PyTorch's
# names, and a vocabulary. Here we open all-MiniLM-L6-v2 (Apache-2.0), a BERT with 6 layers, look at its parts, and
# compare its outputs with PyTorch's.

# %%
import json
import subprocess
import sys
from importlib.util import find_spec
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
# ## Read the configuration

# %%
print(json.dumps(json.loads(Path(checkpoint / "config.json").read_text()), indent=1))
config = BertConfig.from_pretrained(checkpoint)
print(f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_attention_heads} heads")

# %% [markdown]
# ## Compare the names in the file with the tree of layers
#
# The name of a tensor is its path in the tree of PyTorch modules. The Keras model has the same tree, so each name
# belongs to exactly one variable.

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
# The load report shows how each tensor was used. PyTorch stores the kernels of dense layers transposed. `state_dict()`
# returns all tensors with PyTorch's names and layout, bit-identical to the file.

# %%
print(model.load_report)
state = model.state_dict()
with safe_open(weights, framework="np") as file:
    same = sum(np.array_equal(state[name], file.get_tensor(name)) for name in names if name in state)
print(same, "tensors are bit-identical")
assert same == len([name for name in names if name in state]) > 100

# %% [markdown]
# ## Compare the outputs with PyTorch
#
# PyTorch runs in a separate process: some of its builds crash in a process that also runs TensorFlow.

# %%
texts = ["The bank raised its rates.", "We sat on the bank of the river and watched the boats."]
batch = BertTokenizer.from_pretrained(checkpoint)(texts)
ours = keras.ops.convert_to_numpy(model(batch)["last_hidden_state"])

PYTORCH = """
import sys
import numpy as np, torch, transformers

model = transformers.BertModel.from_pretrained(sys.argv[1]).eval()
batch = {name: torch.from_numpy(values).long() for name, values in np.load("batch.npz").items()}
with torch.no_grad():
    np.save("theirs.npy", model(**batch).last_hidden_state.numpy())
"""
if find_spec("torch") and find_spec("transformers"):
    np.savez("batch.npz", **batch)
    subprocess.run([sys.executable, "-c", PYTORCH, str(checkpoint)], capture_output=True, check=True)
    is_token = batch["attention_mask"] == 1
    difference = np.abs(ours - np.load("theirs.npy"))[is_token].max()
    print(f"maximum difference: {difference:.1e}")
    assert difference < 1e-4
else:
    print("install torch and transformers to compare")

# %% [markdown]
# `keras-bert verify DIR` makes this comparison for each layer and head, on real text, and also compares both with a
# float64 reference.
#
# ## Save the model
#
# `save_pretrained` writes a directory that transformers can load.

# %%
model.save_pretrained("my-minilm")
print(*sorted(path.name for path in Path("my-minilm").iterdir()))
