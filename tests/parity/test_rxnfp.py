"""The reaction fingerprint that rxnfp publishes, from its ids."""

import re
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_bert_impl import BertModel

# The example of https://rxn4chemistry.github.io/rxnfp/ and of the package's README: `print(len(fp)); print(fp[:5])`.
EXAMPLE = (
    "Nc1cccc2cnccc12.O=C(O)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
    ">>O=C(Nc1cccc2cnccc12)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
)
PUBLISHED = [-2.0174953937530518, 1.7602033615112305, -1.3323537111282349, -1.1095019578933716, 1.2254549264907837]

# How rxnfp splits a reaction into tokens (`rxnfp/tokenization.py`, MIT).
TOKENS = re.compile(
    r"(\%\([0-9]{3}\)|\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\||\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$"
    r"|\%[0-9]{2}|[0-9])"
)


def encode_reaction(reaction: str, vocabulary: Path) -> np.ndarray:
    """``[1, length]``, with special tokens."""
    tokens = ["[CLS]", *TOKENS.findall(reaction), "[SEP]"]
    assert "".join(tokens[1:-1]) == reaction
    words = vocabulary.read_text(encoding="utf-8").split("\n")
    return np.array([[words.index(token) for token in tokens]], "int32")


@pytest.fixture(scope="module")
def model(rxn: Path) -> BertModel:
    return BertModel.from_pretrained(rxn / "bert_ft")


@pytest.mark.parametrize("padding", [0, 17])
def test_published_fingerprint(rxn: Path, model: BertModel, padding: int) -> None:
    """The last hidden state of ``[CLS]``, padded or not."""
    ids = encode_reaction(EXAMPLE, rxn / "bert_ft" / "vocab.txt")
    mask = np.pad(np.ones_like(ids), ((0, 0), (0, padding)))
    outputs = model({"input_ids": np.pad(ids, ((0, 0), (0, padding))), "attention_mask": mask})
    fingerprint = ops.convert_to_numpy(outputs["last_hidden_state"])[0, 0]
    assert fingerprint.shape == (256,)
    np.testing.assert_allclose(fingerprint[:5], PUBLISHED, atol=2e-6)
