# %% [markdown]
# # Text in, answer out: a SavedModel for TF Serving
#
# An export takes raw strings and gives labels. The tokenizer is in the graph, as core TensorFlow operations, so that a
# stock TF Serving loads it; no Python of this package is needed there. Needs the TensorFlow backend.

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
from keras_bert_impl.training import FineTuning, finetune

keras.utils.set_random_seed(1)
place = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A model to serve
#
# `bert-tiny-novels`, which ships with the package, fine-tuned on film snippets for one epoch: seconds, and far from the
# best.

# %%
metrics = finetune(
    "bert-tiny-novels",
    train=SNIPPETS / "train.tsv",
    valid=SNIPPETS / "valid.tsv",
    output=place / "run",
    settings=FineTuning(epochs=1, learning_rate=3e-4, max_length=64),
)
print("right:", metrics["valid"]["accuracy"])
assert metrics["valid"]["accuracy"] > 0.6

# %% [markdown]
# ## The export

# %%
exported = export_model(place / "run", place / "saved_models" / "sentiment" / "1")
print(f"answers differ from the model's by at most {exported.difference:.1e}")
for path in sorted(exported.directory.rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size:12,}  {path.relative_to(place)}")

# %% [markdown]
# ## A process that has only TensorFlow
#
# It imports neither Keras' models nor this package, and gives strings to the graph, as TF Serving does.

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
without_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # Whose memory this process may hold.
run = subprocess.run(command, capture_output=True, text=True, check=True, env=without_gpu)
answer = run.stdout.splitlines()[-1]
print(answer)
assert len(json.loads(answer)["label"]) == 2

# %% [markdown]
# ## TF Serving
#
# The export's own `README.md` has the request for REST and gRPC, with its names and shapes:

# %%
print((exported.directory / "README.md").read_text()[:1500])
