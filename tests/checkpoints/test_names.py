"""The name table compared with the parameters of transformers, and with Google's names."""

import re

import pytest
import transformers_models
from torch_process import run_in_torch_process
from transformers_models import CLASSES

from keras_bert_impl.checkpoints.names import DECODER_BIAS, ROWS, find_path, find_torch_name, list_names, to_torch_name

# Prefixes of the names of tensors of heads that transformers lacks.
OWN_HEADS: tuple[str, ...] = ("sentence_dense.",)


@run_in_torch_process
def list_parameter_names(classes: list[str]) -> set[str]:
    import torch_models
    import transformers

    return {
        name.removeprefix("bert.")
        for model in classes
        for name, _ in getattr(transformers, model)(torch_models.make_config()).named_parameters(remove_duplicate=False)
    }


def test_the_table_has_exactly_the_parameters_of_transformers() -> None:
    ours = {name for _, name in list_names(transformers_models.SIZES["num_hidden_layers"])}
    own = {name for name in ours if name.startswith(OWN_HEADS)}
    assert all(any(name.startswith(prefix) for name in own) for prefix in OWN_HEADS)
    assert (ours - own) | {DECODER_BIAS} == list_parameter_names(CLASSES)


def test_both_directions() -> None:
    for path, name in list_names(11):
        assert find_path(name) == (find_path(name)[0], path)
        assert find_torch_name(path) == (find_path(name)[0], name)
    assert (
        len(set(list_names(11)))
        == len({path for path, _ in list_names(11)})
        == len({name for _, name in list_names(11)})
    )


def convert_like_transformers_4(name: str) -> str:
    """The PyTorch name of a TF1 name by the rules of transformers 4 (``load_tf_weights_in_bert``)."""
    parts = []
    for part in name.removeprefix("bert/").split("/"):
        words = {
            "kernel": "weight",
            "gamma": "weight",
            "output_weights": "weight",
            "beta": "bias",
            "output_bias": "bias",
        }
        parts += [words.get(part, re.sub(r"^layer_(\d+)$", r"layer.\1", part))]
        parts += ["weight"] if part.endswith("_embeddings") else []
    return ".".join(parts)


@pytest.mark.parametrize("row", [row for row in ROWS if row.tf1], ids=lambda row: row.tf1)
def test_google_names(row) -> None:
    google = row.tf1.replace("{i}", "11")
    # Heads of Google's fine-tuning scripts have no prefix, or the prefix "cls/squad".
    heads = {"weight": "classifier.weight", "bias": "classifier.bias"}
    expected = convert_like_transformers_4(google).replace("cls.squad", "qa_outputs")
    assert row.torch.replace("{i}", "11") == heads.get(expected, expected)
    for spelling in {google, f"bert/{google}"} if not google.startswith(("cls", "output")) else {google}:
        assert to_torch_name(spelling) == row.torch.replace("{i}", "11")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
        ("encoder.layer.10.attention.output.LayerNorm.beta", "encoder.layer.10.attention.output.LayerNorm.bias"),
        ("cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.LayerNorm.weight"),
        ("pooler.dense.weight", "pooler.dense.weight"),
        ("roberta.pooler.dense.weight", "roberta.pooler.dense.weight"),
        ("mixer.gamma", "mixer.gamma"),
        ("bert/encoder/layer_0/crossattention/query/kernel", "encoder/layer_0/crossattention/query/kernel"),
    ],
)
def test_spellings(key: str, name: str) -> None:
    assert to_torch_name(key) == name
    assert find_path("mixer.gamma") is None
