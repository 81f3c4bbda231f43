"""Smaller models: copied layers, and new weights with projected embeddings."""

from pathlib import Path

import numpy as np
import pytest
import small
import transformers_models

from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertModel
from keras_bert_impl.recipes.shrink import shrink


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> Path:
    """A random classifier with 7 layers."""
    return small.write_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "larger",
        film_texts[:100],
        model="BertForSequenceClassification",
        num_hidden_layers=7,
        hidden_size=144,
        layer_norm_eps=1e-9,
    )


def test_layers_are_copied(larger: Path, tmp_path: Path) -> None:
    shrink(larger, tmp_path / "smaller", layers=3)
    before, after = (
        transformers_models.load_state_dict("BertForSequenceClassification", path)
        for path in (larger, tmp_path / "smaller")
    )
    copied = {0: 1, 1: 4, 2: 6}  # The hidden states 7 / 3 and 14 / 3 of 7 are rounded to 2 and 5; the last is the 7th.
    assert len(after) == len(before) - 4 * 16
    for name, array in after.items():
        parts = name.split(".")
        if "layer" in parts:
            place = parts.index("layer") + 1
            parts[place] = str(copied[int(parts[place])])
        np.testing.assert_array_equal(array, before[".".join(parts)], err_msg=name)
    texts = ["A quiet, funny and deeply moving film.", "unheard 😀"]
    ids = [transformers_models.Tokenizer(path)(texts)["input_ids"] for path in (larger, tmp_path / "smaller")]
    assert ids[0] == ids[1]


def test_a_size_has_new_weights_and_projected_embeddings(larger: Path, tmp_path: Path) -> None:
    config = shrink(larger, tmp_path / "smaller", size="tiny").config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (2, 128, 997)
    assert (config.max_position_embeddings, config.layer_norm_eps) == (131, 1e-9)
    before, after = (BertModel.from_pretrained(path).state_dict() for path in (larger, tmp_path / "smaller"))
    words = before["embeddings.word_embeddings.weight"].astype(np.float64)
    _, _, directions = np.linalg.svd(words - words.mean(axis=0), full_matrices=False)
    scale = config.initializer_range / (words @ directions[:128].T).std()
    for name in ("word", "position", "token_type"):
        table, reduced = (tensors[f"embeddings.{name}_embeddings.weight"] for tensors in (before, after))
        expected = table.astype(np.float64) @ directions[:128].T * scale
        # The signs of the directions are arbitrary, products of vectors are not.
        np.testing.assert_allclose(reduced @ reduced.T, expected @ expected.T, atol=2e-5, err_msg=name)


def test_sizes_that_are_not_possible(larger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["shrink", str(larger), str(tmp_path / "smaller"), "--layers"]
    for layers in ("0", "7"):
        assert main([*command, layers]) == 2
        message = f"layers is {layers}, and {larger} has 7 layers; a number from 1 to 6 was expected"
        assert message in capsys.readouterr().err
    for arguments in ({}, {"size": "tiny", "layers": 2}):
        with pytest.raises(InputError, match="exactly one of them was expected"):
            shrink(larger, tmp_path / "smaller", **arguments)
    with pytest.raises(InputError, match="No preset is named 'huge'"):
        shrink(larger, tmp_path / "smaller", size="huge")
    assert not list(tmp_path.iterdir())
    assert main([*command, "2"]) == 0
    assert capsys.readouterr().out.startswith("2 layers, hidden size 144, ")
