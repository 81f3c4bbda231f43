"""Reading a data set of TensorFlow Datasets that the test makes, in a process of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keras_bert_impl.data import read_table
from keras_bert_impl.errors import InputError

DATA_SET = """
import numpy as np
import tensorflow_datasets as tfds

features = tfds.features


class TinySet(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        answer = {"text": features.Text(), "answer_start": np.int32}
        return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
            "id": features.Text(), "question": features.Text(), "context": features.Text(),
            "answers": features.Sequence(answer),
            "sentence": features.Text(), "label": features.ClassLabel(names=["bad", "good"]),
            "tokens": features.Sequence(features.Text()),
            "tags": features.Sequence(features.ClassLabel(names=["O", "B-hat"])),
        }))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(5)), "test": self._generate_examples([5, 6])}

    def _generate_examples(self, numbers):
        for i in numbers:
            yield i, {
                "id": f"q{i}", "question": "Who?", "context": "Caf\\u00e9 Ada",
                "answers": [{"text": "Ada", "answer_start": 5}] * (i % 3),
                "sentence": f"caf\\u00e9 {i}", "label": i % 2 if i < 5 else -1, "tokens": ["a", "hat"], "tags": [0, 1],
            }
"""

SCRIPT = """
import json
import tiny_set
from keras_bert_impl.data import find_parts, read_conll, read_documents, read_squad, read_table
from keras_bert_impl.errors import InputError

def message(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except InputError as error:
        return str(error)

(part,) = find_parts(["tfds:tiny_set:test"])
print(json.dumps({
    "documents": list(read_documents(part, text_field="sentence")),
    "no such field": message(lambda: list(read_documents(part, text_field="body"))),
    "table": read_table("tfds:tiny_set:train[:80%]", text="sentence"),
    "conll": read_conll("tfds:tiny_set:test"),
    "squad": read_squad("tfds:tiny_set:1.0.0:train"),
    "split": message(read_table, "tfds:tiny_set:valid"),
    "name": message(read_table, "tfds:there_is_no_such_set:train"),
    "column": message(read_table, "tfds:tiny_set:train"),
    "hidden label": message(read_table, "tfds:tiny_set:test", text="sentence"),
}))
"""


def test_data_sets_by_name(tmp_path: Path) -> None:
    (tmp_path / "tiny_set.py").write_text(DATA_SET)
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "sets"), "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    examples = sorted(zip(found["table"]["text"], found["table"]["label"], strict=True))
    assert len(examples) == 4
    assert all(label == ("bad", "good")[int(text[-1]) % 2] for text, label in examples)
    assert examples[0][0].startswith("café ")
    assert found["conll"]["words"] == [["a", "hat"]] * 2
    assert found["conll"]["label"] == [["O", "B-hat"]] * 2
    assert sorted(len(answers["text"]) for answers in found["squad"]["answers"]) == [0, 0, 1, 1, 2]
    assert {"text": ["Ada"], "answer_start": [5]} in found["squad"]["answers"]
    assert sorted(found["documents"]) == [["café 5"], ["café 6"]]
    assert re.match(r"tfds:tiny_set:test, example 1 has no field 'body', but .*'sentence'", found["no such field"])
    assert found["split"] == "tfds:tiny_set:valid: there is no split 'valid'; the splits are train, test."
    assert found["name"].endswith("TensorFlow Datasets has no data set 'there_is_no_such_set'. Check the name.")
    assert "there is no column 'text'; the columns are 'answers', 'context', 'id'" in found["column"]
    assert "the label in column 'label' is empty" in found["hidden label"]


def test_an_invalid_name() -> None:
    with pytest.raises(InputError, match=r"tfds:glue: tfds:NAME:SPLIT was expected"):
        read_table("tfds:glue")


def test_the_message_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"pip install 'keras_bert_impl\[tfds\]'"):
        read_table("tfds:glue/sst2:train", text="sentence")
