"""The same numbers on TensorFlow, JAX and Torch, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import small
import transformers_models
from corpora import make_corpus

from keras_bert_impl import BertConfig, models
from keras_bert_impl.checkpoints.sentence_settings import POOLING_MODES, DenseSettings, SentenceSettings

BACKENDS = ["tensorflow", "jax", "torch"]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}

RUN = """
import sys
import keras, numpy as np
from keras_bert_impl import models

name, directory, inputs, outputs, blocked, *texts = sys.argv[1:]
inputs = dict(np.load(inputs))
model = getattr(models, name).from_pretrained(directory, output_hidden_states=True)
found = model.predict({key: value for key, value in inputs.items() if key in model.input_names}, verbose=0)
states = found.pop("hidden_states")
found |= {f"hidden_state_{number}": state for number, state in enumerate(states)}

model = getattr(models, name).from_pretrained(directory)
few = {"input_ids": inputs["input_ids"]}
targets = {key: np.zeros(value.shape, "float32") for key, value in model.predict(few, verbose=0).items()}
model.compile(optimizer=keras.optimizers.SGD(0.1), loss=dict.fromkeys(targets, "mse"))
model.fit(few, targets, batch_size=13, verbose=0)
found |= {f"after a step: {key}": value for key, value in model.state_dict().items()}
"""

ENCODE = """
directory, *texts = texts
model = models.BertForSentenceEmbedding.from_pretrained(directory)
found |= {
    "encode: many": model.encode(texts, max_tokens=300),
    "encode: prompt": model.encode(texts[:5], prompt_name="query"),
    "encode: one": model.encode(texts[2]),
    "encode: longest": model.encode("film " * 200),
    "encode: states": model.encode(texts[2], output_value="token_embeddings"),
    "encode: bfloat16": model.encode(texts[:5], precision="bfloat16"),
}
"""

SAVE = """
np.savez(outputs, backend=keras.backend.backend(), **found)
assert not blocked or not [module for module in sys.modules if module.split(".")[0] == blocked]
"""

# Refuses an import, as where the library is not installed.
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def start(backend: str, code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_on_all_backends(directory: Path, code: str, name: str, *texts: object) -> dict[str, np.ndarray]:
    """Returns what TensorFlow gives; JAX, without TensorFlow, and PyTorch give the same."""
    inputs = transformers_models.make_inputs()
    is_pooled = np.arange(transformers_models.LENGTH) >= np.arange(transformers_models.BATCH)[:, None] % 3
    np.savez(directory / "inputs.npz", **inputs, pooling_mask=is_pooled.astype("int32"))
    processes = []
    for backend in BACKENDS:
        blocked = "tensorflow" if backend == "jax" else ""
        files = [directory, directory / "inputs.npz", directory / f"{backend}.npz"]
        processes.append(start(backend, (BLOCK if blocked else "") + code + SAVE, name, *files, blocked, *texts))
    for process in processes:
        _, messages = process.communicate()
        assert process.returncode == 0, messages
    first, *others = ({**np.load(directory / f"{backend}.npz")} for backend in BACKENDS)
    assert [str(found.pop("backend")) for found in (first, *others)] == BACKENDS
    for other in others:
        assert other.keys() == first.keys()
        for key, value in first.items():
            atol = 2e-2 if key == "encode: bfloat16" else 1e-5
            np.testing.assert_allclose(other[key], value, rtol=0, atol=atol, err_msg=key)
    return first


def test_same_numbers_on_all_backends(tmp_path: Path) -> None:
    """Outputs, and all weights after a step of training without dropout."""
    transformers_models.save("BertForPreTraining", tmp_path, **NO_DROPOUT)
    found = run_on_all_backends(tmp_path, RUN, "BertForPreTraining")
    inputs = transformers_models.make_inputs()
    expected = transformers_models.compute_outputs("BertForPreTraining", tmp_path, inputs)["seq_relationship_logits"]
    np.testing.assert_allclose(found["seq_relationship_logits"], expected, atol=1e-5)


@pytest.mark.slow
def test_same_vectors_on_all_backends(tmp_path: Path, small_bert: Path, film_texts: list[str]) -> None:
    """Poolings and a dense module; and ``encode``, which on JAX pads to a few lengths, with a prompt not pooled."""
    settings = SentenceSettings(
        pooling=POOLING_MODES, modules=(DenseSettings(6 * 32, 7, activation="gelu"), "normalize")
    )
    transformers_models.save("BertModel", tmp_path / "bert", **NO_DROPOUT)
    config = settings.add_to(BertConfig.from_pretrained(tmp_path / "bert"))
    models.BertForSentenceEmbedding(config).save_pretrained(tmp_path / "model")
    prompts = {"prompts": {"query": "a film: "}}
    embedder = small.write_embedder(tmp_path / "embedder", small_bert, include_prompt=False, **prompts)
    texts = film_texts[:23]
    found = run_on_all_backends(tmp_path / "model", RUN + ENCODE, "BertForSentenceEmbedding", embedder, *texts)
    assert found["encode: many"].shape == (23, 32)


PRETRAIN = """
import json, sys
import numpy as np
from keras_bert_impl.data import Objective
from keras_bert_impl.training import PretrainingSettings, pretrain

shards, init, output, blocked = sys.argv[1:]
settings = PretrainingSettings(
    batch_size=4, learning_rate=1e-2, dropout=0.0, held_out=0.2, report_every=12, warmup=0.0
)
metrics = pretrain(
    shards, init=init, output=output, steps=24, objective=Objective(max_length=37, packing=True), settings=settings,
    log=lambda _: None,
)
assert not blocked or not [module for module in sys.modules if module.split(".")[0] == blocked]
print(json.dumps(metrics["history"]))
"""


@pytest.mark.slow
def test_pretraining_is_the_same_on_all_backends(tmp_path: Path) -> None:
    """Twenty-four steps on packed rows from the same weights: the losses of training and of held-out documents."""
    (tmp_path / "shards").mkdir()
    corpus = make_corpus(tmp_path / "shards", documents=40, sentences=(4, 20), tokens=(3, 11))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    sizes |= {"vocab_size": corpus.tokenizer.vocab_size, "max_position_embeddings": 41}
    keras.utils.set_random_seed(3)
    models.BertForPreTraining(BertConfig(**sizes)).save_pretrained(tmp_path / "init")
    corpus.tokenizer.save_pretrained(tmp_path / "init")
    processes = {
        backend: start(
            backend,
            (BLOCK if backend == "jax" else "") + PRETRAIN,
            tmp_path / "shards",
            tmp_path / "init",
            tmp_path / backend,
            "tensorflow" if backend == "jax" else "",
        )
        for backend in BACKENDS
    }
    histories = {}
    for backend, process in processes.items():
        output, messages = process.communicate()
        assert process.returncode == 0, messages
        histories[backend] = json.loads(output.splitlines()[-1])
    expected = histories.pop("tensorflow")
    change = expected[-1]["held_out"]["masked_loss"] - expected[0]["held_out"]["masked_loss"]
    assert change < -0.03  # Hundreds of times the tolerance below.
    for backend, history in histories.items():
        for ours, theirs in zip(expected, history, strict=True):
            for part in ("train", "held_out"):
                for name, value in ours[part].items():
                    np.testing.assert_allclose(
                        theirs[part][name], value, rtol=1e-5, err_msg=f"{backend}: {part} {name}"
                    )


INTERPRET = """
import sys
import numpy as np
from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.interpret import attend, attribute_all, compute_word_vectors

directory, outputs, blocked = sys.argv[1:]
model = BertForSequenceClassification.from_pretrained(directory)
tokenizer = BertTokenizer.from_pretrained(directory, do_lower_case=True)
texts = ["A film.", "A film that is not good, and is not bad.", "A good film."]
targets = [found.targets[0] for found in attribute_all(model, tokenizer, texts)]
np.savez(
    outputs,
    vectors=compute_word_vectors(model, tokenizer, texts, "film").vectors,
    attentions=attend(model, tokenizer, texts[1]).attentions,
    scores=np.concatenate([target.scores for target in targets]),
    changes=[target.change for target in targets],
)
assert not blocked or not [module for module in sys.modules if module.split(".")[0] == blocked]
"""


@pytest.mark.slow
def test_interpretation_is_the_same_on_all_backends(tmp_path: Path, film_texts: list[str]) -> None:
    """Vectors, attention and gradients; JAX with the import of TensorFlow blocked."""
    path = small.write_checkpoint(tmp_path / "bert", film_texts[:300], model="BertForSequenceClassification")
    processes = [
        start(backend, (BLOCK if blocked else "") + INTERPRET, path, tmp_path / f"{backend}.npz", blocked)
        for backend, blocked in (("tensorflow", ""), ("jax", "tensorflow"), ("torch", ""))
    ]
    for process in processes:
        _, messages = process.communicate()
        assert process.returncode == 0, messages
    first, *others = ({**np.load(tmp_path / f"{backend}.npz")} for backend in BACKENDS)
    assert np.abs(first["scores"]).max() > 0.01
    for other in others:
        for key, value in first.items():
            np.testing.assert_allclose(other[key], value, rtol=0, atol=2e-5, err_msg=key)
