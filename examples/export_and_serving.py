# %% [markdown]
# # Export a SavedModel for TF Serving
#
# An export takes raw strings and returns labels. The tokenizer is in the graph, as core TensorFlow operations, so TF
# Serving loads the export without changes and needs no Python. This notebook needs the TensorFlow backend.

# %%
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

from keras_bert_impl.export import export_model
from keras_bert_impl.recipes.quickstart import SNIPPETS
from keras_bert_impl.training import FineTuningSettings, finetune

keras.utils.set_random_seed(1)
directory = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Fine-tune a model
#
# We fine-tune `bert-tiny-novels`, which ships with the package, on film snippets for one epoch. This takes seconds. A
# larger model is much more accurate.

# %%
metrics = finetune(
    "bert-tiny-novels",
    train=SNIPPETS / "train.tsv",
    valid=SNIPPETS / "valid.tsv",
    output=directory / "run",
    settings=FineTuningSettings(epochs=1, learning_rate=3e-4, max_length=64),
)
print("accuracy:", metrics["valid"]["accuracy"])
assert metrics["valid"]["accuracy"] > 0.6

# %% [markdown]
# ## Export the model

# %%
exported = export_model(directory / "run", directory / "saved_models" / "sentiment" / "1")
print(f"maximum difference between the outputs of the export and of the model: {exported.difference:.1e}")
for path in sorted(exported.directory.rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size:12,}  {path.relative_to(directory)}")

# %% [markdown]
# ## Use the export in a process that has only TensorFlow
#
# The process does not import this package. It passes strings to the graph, as TF Serving does.

# %%
CLIENT = """
import json, sys
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answers = served(tf.constant(json.loads(sys.argv[2])))
print(json.dumps({name: values.numpy().tolist() for name, values in answers.items()}, default=bytes.decode))
assert "keras_bert_impl" not in sys.modules
"""
texts = ["A warm and funny film.", "Dull, long and pointless."]
command = [sys.executable, "-c", CLIENT, str(exported.directory), json.dumps(texts)]
without_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # This process may already use all of the GPU's memory.
run = subprocess.run(command, capture_output=True, text=True, check=True, env=without_gpu)
answer = run.stdout.splitlines()[-1]
print(answer)
assert len(json.loads(answer)["label"]) == 2

# %% [markdown]
# ## Use the export in TF Serving
#
# The `README.md` in the export contains the requests for REST and gRPC, with names and shapes:

# %%
print((exported.directory / "README.md").read_text()[:1500])
