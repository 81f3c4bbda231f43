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

RUN = """
import json, sys
from pathlib import Path
import keras, numpy as np
from keras_bert_impl import models

names, directory, inputs, outputs, blocked = sys.argv[1:]
inputs = dict(np.load(inputs))
found = {}
for name in names.split():
    model = getattr(models, name).from_pretrained(f"{directory}/{name}", output_hidden_states=True)
    results = model.predict({key: value for key, value in inputs.items() if key in model.input_names}, verbose=0)
    states = results.pop("hidden_states")
    results |= {f"hidden_state_{number}": state for number, state in enumerate(states)}

    model = getattr(models, name).from_pretrained(f"{directory}/{name}")
    few = {"input_ids": inputs["input_ids"]}
    targets = {key: np.zeros(value.shape, "float32") for key, value in model.predict(few, verbose=0).items()}
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=dict.fromkeys(targets, "mse"))
    model.fit(few, targets, batch_size=13, verbose=0)
    results |= {f"after a step: {key}": value for key, value in model.state_dict().items()}
    found |= {f"{name} {key}": value for key, value in results.items()}

model = models.BertForSentenceEmbedding.from_pretrained(f"{directory}/embedder")
texts = json.loads(Path(directory, "texts.json").read_text())
found |= {
    "encode: many": model.encode(texts, max_tokens=300),
    "encode: prompt": model.encode(texts[:5], prompt_name="query"),
    "encode: one": model.encode(texts[2]),
    "encode: longest": model.encode("film " * 200),
    "encode: states": model.encode(texts[2], output_value="token_embeddings"),
    "encode: bfloat16": model.encode(texts[:5], precision="bfloat16"),
}
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


def test_same_numbers_on_all_backends(tmp_path: Path, small_bert: Path, film_texts: list[str]) -> None:
    """Outputs, all weights after a step of training without dropout, and vectors with a prompt that is not pooled.

    JAX, which pads to a few lengths, runs with the import of TensorFlow blocked.
    """
    names = ["BertForPreTraining", "BertForSentenceEmbedding"]
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}
    transformers_models.save(names[0], tmp_path / names[0], **no_dropout)
    settings = SentenceSettings(
        pooling=POOLING_MODES, modules=(DenseSettings(6 * 32, 7, activation="gelu"), "normalize")
    )
    config = settings.add_to(BertConfig.from_pretrained(tmp_path / names[0]))
    models.BertForSentenceEmbedding(config).save_pretrained(tmp_path / names[1])
    prompts = {"prompts": {"query": "a film: "}}
    small.write_embedder(tmp_path / "embedder", small_bert, include_prompt=False, **prompts)
    (tmp_path / "texts.json").write_text(json.dumps(film_texts[:23]), encoding="utf-8")
    inputs = transformers_models.make_inputs()
    is_pooled = np.arange(transformers_models.LENGTH) >= np.arange(transformers_models.BATCH)[:, None] % 3
    np.savez(tmp_path / "inputs.npz", **inputs, pooling_mask=is_pooled.astype("int32"))
    files = [" ".join(names), tmp_path, tmp_path / "inputs.npz"]
    processes = [
        start("tensorflow", RUN, *files, tmp_path / "tensorflow.npz", ""),
        start("jax", BLOCK + RUN, *files, tmp_path / "jax.npz", "tensorflow"),
        start("torch", RUN, *files, tmp_path / "torch.npz", ""),
    ]
    for process in processes:
        _, messages = process.communicate()
        assert process.returncode == 0, messages
    first, *others = ({**np.load(tmp_path / f"{backend}.npz")} for backend in BACKENDS)
    assert [str(found.pop("backend")) for found in (first, *others)] == BACKENDS
    for other in others:
        assert other.keys() == first.keys()
        for key, value in first.items():
            atol = 2e-2 if key == "encode: bfloat16" else 1e-5
            np.testing.assert_allclose(other[key], value, rtol=0, atol=atol, err_msg=key)
    assert first["encode: many"].shape == (23, 32)
    expected = transformers_models.compute_outputs(names[0], tmp_path / names[0], inputs)["seq_relationship_logits"]
    np.testing.assert_allclose(first[f"{names[0]} seq_relationship_logits"], expected, atol=1e-5)


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
