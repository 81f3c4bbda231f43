"""Uploads models to a hub in this process, and opens them from there. Each client is a separate process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from hub_server import Hub, make_environment, serve

from keras_bert_impl import BertConfig, BertForSequenceClassification
from keras_bert_impl.checkpoints import read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json
from keras_bert_impl.hub import upload_checkpoint
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.recipes.push import push
from keras_bert_impl.sources import open_source

WRITER, READER = "hf_writer", "hf_reader"


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    with serve(Hub({}, tokens={WRITER: True, READER: False}, root=tmp_path / "hub")) as hub:
        yield hub


def run_command(hub: Hub, home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keras_bert_impl.cli.main", *arguments],
        env=make_environment(hub, home, **environment),
        capture_output=True,
        text=True,
    )


# Prints the labels and the sum of all tensors of a source, or the error. It needs no framework.
READ = """
import json, sys
from keras_bert_impl import BertConfig
from keras_bert_impl.checkpoints import read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source
try:
    source = open_source(sys.argv[1], **json.loads(sys.argv[2]))
    total = sum(float(array.sum()) for array in read_tensors(source).values())
    print(json.dumps([list(BertConfig.from_pretrained(source).id2label.values()), total]))
except InputError as error:
    print(json.dumps(str(error)))
"""


def read_on_hub(hub: Hub, home: Path, name: str, **options: Any) -> Any:
    command = [sys.executable, "-c", READ, name, json.dumps(options)]
    client = subprocess.run(command, env=make_environment(hub, home), capture_output=True, text=True)
    assert client.returncode == 0, client.stderr
    return json.loads(client.stdout)


def read_locally(directory: Path) -> list[Any]:
    total = sum(float(array.sum()) for array in read_tensors(open_source(directory)).values())
    return [list(BertConfig.from_pretrained(directory).id2label.values()), total]


def list_files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_a_run_is_uploaded_and_opened_by_its_name(hub: Hub, sentiment_run: Path, tmp_path: Path) -> None:
    """To a new private repository; it is then read with a token, and not without."""
    before = {name: (sentiment_run / name).read_bytes() for name in list_files(sentiment_run)}
    pushed = run_command(hub, tmp_path, "push", str(sentiment_run), "org/sentiment", "--private", "--token", WRITER)
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.startswith(f"uploaded: {hub.endpoint}/org/sentiment/commit/")
    assert {name: (sentiment_run / name).read_bytes() for name in list_files(sentiment_run)} == before

    uploaded = hub.models["org/sentiment"]["main"]
    # metrics.json contains paths of this machine.
    assert list_files(uploaded) == list_files(sentiment_run) - {"metrics.json"}
    assert (uploaded / "model.safetensors").read_bytes() == (sentiment_run / "model.safetensors").read_bytes()
    card = huggingface_hub.ModelCard.load(uploaded / "README.md")
    metrics = read_json(sentiment_run / "metrics.json")
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert found == {
        (title, name): pytest.approx(value, abs=1e-6)
        for part, title in (("valid", "validation data"), ("test", "test data"))
        for name, value in metrics[part].items()
    }
    assert (card.data.model_name, card.data.pipeline_tag) == ("sentiment", "text-classification")
    assert card.text == huggingface_hub.ModelCard.load(sentiment_run / "README.md").text

    cache = tmp_path / "cache"
    answers = read_on_hub(hub, tmp_path, "org/sentiment", token=READER, cache_dir=str(cache))
    assert answers == read_locally(sentiment_run)
    assert (cache / "models--org--sentiment").is_dir()
    assert not (tmp_path / "hub" / "models--org--sentiment").exists()
    without = read_on_hub(hub, tmp_path, "org/sentiment")
    assert "if it is private, log in with `hf auth login`, or give a token." in without


def test_uploads_without_rights(hub: Hub, sentiment_run: Path, tmp_path: Path) -> None:
    hub.models["org/other"] = {"main": tmp_path / "other"}
    (tmp_path / "other").mkdir()
    for name in ("org/new", "org/other"):
        for options in ([], ["--token", READER]):
            pushed = run_command(hub, tmp_path, "push", str(sentiment_run), name, *options)
            assert pushed.returncode == 2
            assert pushed.stderr == (
                f"keras-bert: error: {hub.endpoint} does not let you write to {name}; nothing was uploaded. Log in "
                "with `hf auth login` as a member of its organization, or give a token with the right to write.\n"
            )
            assert not pushed.stdout
    assert hub.models.keys() == {"org/other"}
    assert not hub.blobs
    assert list_files(tmp_path / "other") == set()


def test_a_commit_that_fails_leaves_the_old_files(hub: Hub, sentiment_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    hub.models["org/other"], hub.refused = {"main": other}, "README.md"
    pushed = run_command(hub, tmp_path, "push", str(sentiment_run), "org/other", HF_TOKEN=WRITER)
    assert pushed.returncode == 2
    assert f"org/other cannot be uploaded to {hub.endpoint}; nothing was uploaded: " in pushed.stderr
    assert "The disk is full." in pushed.stderr
    assert list_files(other) == {"config.json"}


CLIENT = """
import json, sys
import numpy as np
from keras_bert_impl import AutoModel, AutoTokenizer, BertConfig
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.sources import open_source
directory, token = sys.argv[1:]
model = AutoModel.from_pretrained(directory)
answers = [model.push_to_hub("org/model", metrics={"accuracy": 0.75}, revision="v2", token=token)]
where = {"revision": "v2", "token": token}
again = AutoModel.from_pretrained("org/model", **where)
answers.append(type(again).__name__)
equal = [np.array_equal(array, again.state_dict()[name]) for name, array in model.state_dict().items()]
answers.append(all(equal))
answers.append(AutoTokenizer.from_pretrained("org/model", **where).vocabulary == model.tokenizer.vocabulary)
answers.append(BertConfig.from_pretrained("org/model", **where) == BertConfig.from_pretrained(directory))
source = open_source("org/model", **where)
answers += [repr(token) in repr(source), str(source)]
answers.append(Predictor(source).predict_texts(["Great."]) == Predictor(directory).predict_texts(["Great."]))
print(json.dumps(answers))
"""


def test_push_to_hub(hub: Hub, sentiment_run: Path, tmp_path: Path) -> None:
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, str(sentiment_run), WRITER],
        env=make_environment(hub, tmp_path),
        capture_output=True,
        text=True,
    )
    assert client.returncode == 0, client.stderr
    address, name, *answers = json.loads(client.stdout)
    assert address.startswith(f"{hub.endpoint}/org/model/commit/")
    assert name == "BertForSequenceClassification"
    assert answers == [True, True, True, False, "org/model", True]
    assert hub.models["org/model"].keys() == {"main", "v2"}
    assert list_files(hub.models["org/model"]["main"]) == set()
    uploaded = hub.models["org/model"]["v2"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "README.md"} < list_files(uploaded)
    card = huggingface_hub.ModelCard.load(uploaded / "README.md")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, card.data.model_name) == ("accuracy", 0.75, "model")
    assert (card.data.pipeline_tag, card.data.base_model) == ("text-classification", sentiment_run.name)
    assert "| evaluation data | accuracy | 0.7500 |" in card.text
    assert 'AutoModel.from_pretrained("org/model")' in card.text


def test_adapters_on_the_hub(small_bert: Path, tmp_path: Path) -> None:
    """An adapter in a repository, and one in a folder of a private repository; the base is on the hub too."""
    labels = {0: "bad", 1: "fair", 2: "good"}
    model = BertForSequenceClassification.from_pretrained(small_bert, id2label=labels)
    model.enable_lora(2)
    for layer in model.encoder.layer:
        kernel = layer.attention.self.query.lora_kernel_b
        kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    for name in ("one", "several/two"):
        model.save_adapter(tmp_path / name, base="org/base")
    model.save_pretrained(tmp_path / "merged")
    assert model.tokenizer is not None
    model.tokenizer.save_pretrained(tmp_path / "merged")
    names, total = read_locally(tmp_path / "merged")
    repositories = {"org/base": small_bert, "org/adapter": tmp_path / "one", "org/adapters": tmp_path / "several"}
    models = {name: {"main": directory} for name, directory in repositories.items()}
    with serve(Hub(models, private=("org/adapters",), tokens={READER: False})) as hub:
        assert read_on_hub(hub, tmp_path, "org/adapter") == [names, pytest.approx(total, rel=1e-5)]
        options = ["--subfolder", "two", "--token", READER]
        predicted = run_command(hub, tmp_path, "predict", "org/adapters", "A film.", *options)
    (expected,) = Predictor(tmp_path / "merged").predict_texts(["A film."])
    assert json.loads(predicted.stdout)["scores"] == pytest.approx(expected["scores"], abs=1e-5)


def test_an_adapter_whose_base_cannot_be_opened(tmp_path: Path) -> None:
    adapter = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 2}
    for name, base in {"path": {"base_model_name_or_path": "/home/someone/bert"}, "none": {}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({**adapter, **base}))
    with serve(Hub({f"org/{name}": {"main": tmp_path / name} for name in ("path", "none")})) as hub:
        messages = [read_on_hub(hub, tmp_path / "home", f"org/{name}") for name in ("path", "none")]
    assert "names a base model that cannot be opened: /home/someone/bert: no such file" in messages[0]
    assert "does not name a base model. Merge it with its base: keras-bert convert org/none" in messages[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [("org/a/b", "'org/a/b' cannot be the name of a model"), ("-x", "'-x' cannot be the name of a model")],
)
def test_invalid_names(sentiment_run: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        push(sentiment_run, name)


def test_what_is_not_a_checkpoint(small_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a directory"):
        push(tmp_path / "missing", "org/x")
    (tmp_path / "config.json").write_bytes((small_bert / "config.json").read_bytes())
    with pytest.raises(InputError, match="contains no weights that can be uploaded"):
        push(tmp_path, "org/x")
    with pytest.raises(InputError, match="contains no weights that can be uploaded"):
        upload_checkpoint(tmp_path, "org/x")
