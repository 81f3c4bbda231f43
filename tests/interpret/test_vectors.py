"""Word vectors compared with transformers' hidden states; cosines with scikit-learn's; two senses of "bank"."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from torch_process import run_in_torch_process

from keras_bert_impl import BertModel, BertTokenizer
from keras_bert_impl.data import read_table
from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret import compute_word_vectors

BANK = Path(__file__).resolve().parents[2] / "examples" / "bank.tsv"
TEXTS = ["An unbelievable film.", "Unbelievable! So unbelievable and bad", "The unbelievable"]


@run_in_torch_process
def compute_word_states(directory: Path, texts: list[str], word: str) -> list[np.ndarray]:
    """Per occurrence of a word, the mean of its tokens' hidden states in each layer."""
    import numpy as np
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(directory).eval()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(directory)
    tokens = tokenizer(word, add_special_tokens=False).tokens()
    if len(tokens) < 2:
        raise ValueError(f"{word} is one token; several were expected")
    vectors = []
    for text in texts:
        batch = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = torch.stack(model(**batch, output_hidden_states=True).hidden_states)[:, 0]
        words = np.array([-1 if number is None else number for number in batch.word_ids()])
        for positions in (np.flatnonzero(words == number) for number in range(words.max() + 1)):
            if [batch.tokens()[position] for position in positions] == tokens:
                vectors.append(states[:, positions].mean(dim=1).numpy())
    return vectors


def test_vectors(checkpoints: dict[str, Path], loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    found = compute_word_vectors(loaded["BertForSequenceClassification"], tokenizer, TEXTS, "unbelievable")
    assert found.names == ["1", "2a", "2b", "3"]
    assert [one.mark("<", ">") for one in found.occurrences[:2]] == [
        "An <unbelievable> film.",
        "<Unbelievable>! So unbelievable and bad",
    ]
    expected = compute_word_states(checkpoints["BertForSequenceClassification"], TEXTS, "unbelievable")
    assert found.vectors.shape == (4, 3, 32)
    np.testing.assert_allclose(found.vectors, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.compute_cosines(1), cosine_similarity(found.vectors[:, 1]), atol=1e-6)
    np.testing.assert_array_equal(found.compute_cosines(-1), found.compute_cosines(2))


def test_senses(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    found = compute_word_vectors(loaded["BertModel"], tokenizer, TEXTS, "unbelievable")
    same, different = found.compare_senses(["a", "a", "b"])
    for layer in range(3):
        cosines = cosine_similarity(found.vectors[:, layer])
        assert same[layer] == pytest.approx(np.mean([cosines[0, 1], cosines[0, 2], cosines[1, 2]]), abs=1e-6)
        assert different[layer] == pytest.approx(cosines[:3, 3].mean(), abs=1e-6)
    for senses, message in (
        (["a", "b"], "2 senses for 3 texts"),
        (["a"] * 3, "the senses are \\['a'\\]; at least two were expected, one with two"),
    ):
        with pytest.raises(InputError, match=message):
            found.compare_senses(senses)


def test_shown(loaded: dict[str, Any], tokenizer: BertTokenizer, tmp_path: Path) -> None:
    texts = ["<b>" + "very long words " * 9 + "film & so on " + "behind it " * 9, *["A film."] * 17]
    found = compute_word_vectors(loaded["BertModel"], tokenizer, texts, "film")
    lines = found.format_table().split("\n")
    assert max(map(len, lines)) <= 80
    assert ">film<" in lines[0]
    assert lines[0].count("…") == 2
    assert sum(line.split()[:1] == ["18"] for line in lines) == 3  # The text, and both blocks of cosines.
    page = found._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>film</b> &amp; so on" in page
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        found.save_picture(tmp_path / name, senses=["x"] * 9 + ["y"] * 9)
        found.save_layers(tmp_path / f"layers_{name}", ["x"] * 9 + ["y"] * 9)
        assert (tmp_path / name).read_bytes().startswith(start)
        assert (tmp_path / f"layers_{name}").read_bytes().startswith(start)
    with pytest.raises(InputError, match=r"pictures are written as \.png or \.svg"):
        found.save_picture(tmp_path / "a.gif")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        found.save_picture(tmp_path / "file" / "a.png")
    with pytest.raises(InputError, match=r"there is no layer 3; the model has the layers 0 \(embeddings\) to 2"):
        found.compute_cosines(3)
    with pytest.raises(InputError, match="there are 17 senses for 18 texts"):
        found.save_picture(tmp_path / "a.png", senses=["x"] * 17)
    with pytest.raises(InputError, match="needs three occurrences"):
        compute_word_vectors(loaded["BertModel"], tokenizer, ["A film."], "film").save_picture(tmp_path / "b.png")


def test_multiple_choice(checkpoints: dict[str, Path], loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """A class whose inputs have an additional axis gives the same vectors as the encoder in it."""
    inside = BertModel.from_pretrained(checkpoints["BertForMultipleChoice"])
    texts = ["A film.", "Another film by Ada."]
    found = compute_word_vectors(loaded["BertForMultipleChoice"], tokenizer, texts, "film")
    np.testing.assert_allclose(found.vectors, compute_word_vectors(inside, tokenizer, texts, "film").vectors, atol=1e-5)


def test_texts_without_the_word(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="text 2 does not contain the word 'film': 'A filmy thing'"):
        compute_word_vectors(loaded["BertModel"], tokenizer, ["A film", "A filmy thing"], "film")
    with pytest.raises(InputError, match="there are no texts"):
        compute_word_vectors(loaded["BertModel"], tokenizer, [], "film")


def test_the_two_banks(minilm: Path) -> None:
    """On a real checkpoint the last layers separate the senses; the embeddings do not."""
    columns = read_table(BANK, label="sense")
    assert len(columns["text"]) >= 12
    model, tokenizer = BertModel.from_pretrained(minilm), BertTokenizer.from_pretrained(minilm)
    same, different = compute_word_vectors(model, tokenizer, columns["text"], "bank").compare_senses(columns["label"])
    assert abs(same[0] - different[0]) < 0.005
    assert (same[-3:] - different[-3:] > 0.05).all()
