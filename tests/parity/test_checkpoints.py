"""The real checkpoints compared with transformers on torch: hidden states, pooler, heads; pairs, padding."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models
from keras import ops

from keras_bert_impl import BertTokenizer, models

TEXTS = [
    "By turns very dark and very funny.",
    'Café Müller, 1925: "naïve", they said – twice!',
    "A compendium of Solondz's own worst instincts in under 90 minutes.",
    "",
    "😀 日本語",
]
PAIRS = ["It's good.", "Who directed it?", "", "Rome", "unaffable"]
# Reactions for the chemistry vocabulary, with spaces between tokens so that BERT's own rules find them.
REACTIONS = ["N c 1 c c c c 2 c n c c c 1 2 . O = C", "C C ( = O ) O >> C C ( = O ) N", "Br c 1 c c", "[ C ]", "F . Cl"]

# Fixture, directory in it, class, and the warning about its configuration.
CASES = [
    ("minilm", ".", "BertModel", None),
    ("rxn", "bert_pretrained", "BertForPreTraining", None),
    pytest.param("rxn", "bert_ft", "BertModel", None, marks=pytest.mark.slow),
    pytest.param(
        *("rxn", "bert_ft_10k_25s", "BertForSequenceClassification", "num_labels is 50, but id2label has 2 labels"),
        marks=pytest.mark.slow,
    ),
    ("tiny_cassette", ".", "BertForMaskedLM", None),
]
LIMIT = 2e-5


@pytest.mark.parametrize(("fixture", "folder", "name", "warning"), CASES)
def test_outputs(fixture: str, folder: str, name: str, warning: str | None, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(fixture) / folder
    with pytest.warns(UserWarning, match=warning) if warning else nullcontext():
        ours = getattr(models, name).from_pretrained(directory, output_hidden_states=True)
    lower = {"do_lower_case": False} if fixture == "rxn" else {}
    texts = REACTIONS if fixture == "rxn" else TEXTS
    tokenizer = BertTokenizer.from_pretrained(directory, **lower)
    for inputs in (tokenizer(texts), tokenizer(texts, texts[::-1] if fixture == "rxn" else PAIRS)):
        check(
            ours.predict_on_batch(inputs),
            transformers_models.compute_outputs(name, directory, inputs, output_hidden_states=True),
            inputs["attention_mask"].astype(bool),
        )


def check(ours: dict[str, Any], theirs: dict[str, Any], tokens: np.ndarray) -> None:
    """Differences are within the limit, or relative to the RMS of the values if that exceeds 1."""
    for state, expected in zip(ours.pop("hidden_states"), theirs["hidden_states"], strict=True):
        np.testing.assert_allclose(state[tokens], expected[tokens], rtol=0, atol=LIMIT)
    for name, value in ours.items():
        each_token = name in ("last_hidden_state", "prediction_logits") or value.shape[:2] == tokens.shape
        value, expected = (array[tokens] if each_token else array for array in (value, theirs[name]))
        size = max(1.0, float(np.sqrt(np.mean(np.square(expected)))))
        np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=0, atol=LIMIT * size, err_msg=name)
