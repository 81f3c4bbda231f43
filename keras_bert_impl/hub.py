"""Uploads checkpoints to the hub, with model cards whose metadata contains the metrics."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl import __version__
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json, read_text
from keras_bert_impl.sources import ADAPTER_CONFIG, ADAPTER_MODEL_CONFIG, Source

_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin", "adapter_model.*")
# The files of a checkpoint, of its tokenizer, and of its card. Others in the directory are not uploaded: they may be
# data, or contain paths of this machine.
_UPLOADED = (
    *_WEIGHTS,
    *("config.json", "*.index.json", ADAPTER_CONFIG, ADAPTER_MODEL_CONFIG, "adapter/*"),
    *("vocab.txt", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "*.model"),
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "[0-9]_*/*"),
    *("README.md", "learning_curve.png"),
)
_CARD = "README.md"
_RETRY = "Check the connection, and try again."
# The parts of a run's metrics.json that contain metrics, and their names in the card.
_EVALUATED = {"valid": "validation data", "test": "test data", "held_out": "held-out documents"}


def upload_checkpoint(
    directory: str | Path,
    repo_id: str,
    *,
    pipeline_tag: str | None = None,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    base_model: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload model",
    create_pr: bool = False,
) -> str:
    """Uploads the files of a checkpoint in one commit, so that the hub has all of them or none.

    The card is the ``README.md`` of the directory, or a short one that describes the model. The metrics are added to
    its metadata.

    Args:
        directory: the directory of a checkpoint or of a run.
        repo_id: the name on the hub, ``organization/name``. The repository is created if it does not exist.
        pipeline_tag: the hub's name of the task, such as ``text-classification``.
        metrics: the metrics by the name of the data; None: those of the run in the directory.
        base_model: the name of the checkpoint that the model was made from, for a card that is not there.
        private: whether a new repository is private; None: as the organization decides.
        revision: the branch, which is created if it does not exist; None: ``main``.
        token: the access token; None: that of ``HF_TOKEN`` or of ``hf auth login``.
        commit_message: the message of the commit.
        create_pr: whether to open a pull request instead of changing the branch.

    Returns:
        the address of the commit, or of the pull request.

    Raises:
        InputError: the directory contains no checkpoint; the name is not possible; there are no rights to write; or
            the hub cannot be reached.
    """
    # Imported here because the import takes a third of a second.
    from huggingface_hub import CommitOperationAdd, HfApi, constants, errors

    directory = Path(directory)
    files: dict[str, Any] = {path.relative_to(directory).as_posix(): path for path in _list_files(directory)}
    if not any(_match(name, _WEIGHTS) for name in files):
        raise InputError(
            f"{directory} contains no weights that can be uploaded ({', '.join(_WEIGHTS)}). Name the directory of a "
            f"checkpoint; convert one of another format first: keras-bert convert {directory} NEW."
        )
    name = repo_id.split("/")[-1]
    card = read_text(directory / _CARD) if _CARD in files else _make_card(directory, repo_id, metrics or {}, base_model)
    files[_CARD] = _add_metadata(card, name, pipeline_tag, _read_metrics(directory) if metrics is None else metrics)
    operations = [
        CommitOperationAdd(name, content.encode() if isinstance(content, str) else content)
        for name, content in files.items()
    ]
    api, hub = HfApi(token=token), constants.ENDPOINT
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None and not create_pr:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repo_id, operations, commit_message=commit_message, revision=revision, create_pr=create_pr
        )
    except errors.HFValidationError as error:
        raise InputError(f"{repo_id!r} cannot be the name of a model on {hub}: {error}") from error
    except errors.HfHubHTTPError as error:
        if error.response.status_code in (401, 403, 404):
            raise InputError(
                f"{hub} does not let you write to {repo_id}; nothing was uploaded. Log in with `hf auth login` as a "
                "member of its organization, or give a token with the right to write."
            ) from error
        raise InputError(f"{repo_id} cannot be uploaded to {hub}; nothing was uploaded: {error}. {_RETRY}") from error
    except (errors.HTTPError, OSError, RuntimeError, ValueError) as error:
        # Broken connections, and metadata of a card that the hub refuses.
        raise InputError(f"{repo_id} cannot be uploaded to {hub}; nothing was uploaded: {error}. {_RETRY}") from error
    return commit.pr_url or commit.commit_url


def _list_files(directory: Path) -> Iterator[Path]:
    """Yields the files to upload, sorted."""
    found = {path for pattern in _UPLOADED for path in directory.glob(pattern)}
    for path in sorted(found):
        if path.is_file() and not path.name.startswith("."):
            yield path


def _match(name: str, patterns: tuple[str, ...]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)


def _read_metrics(directory: Path) -> dict[str, dict[str, Any]]:
    """Returns the metrics of a run, by the name of the data; empty if the directory is not that of a run."""
    path = directory / "metrics.json"
    values = read_json(path) if path.is_file() else {}
    found = {title: values.get(part) for part, title in _EVALUATED.items()}
    return {title: part for title, part in found.items() if isinstance(part, dict)}


def _add_metadata(card: str, name: str, pipeline_tag: str | None, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Adds the task and the metrics to the metadata of a card, as the hub reads them (``model-index``)."""
    from huggingface_hub import EvalResult, ModelCard

    try:
        parsed = ModelCard(card)
    except Exception as error:  # Also the errors of YAML, which have no public name in the hub's library.
        raise InputError(
            f"the metadata at the start of {_CARD} cannot be read: {error}. Correct or remove it."
        ) from error
    results = [
        EvalResult(
            task_type=pipeline_tag or "other",
            dataset_type=re.sub(r"\W+", "-", title),
            dataset_name=title,
            metric_type=metric,
            metric_name=metric.replace("_", " "),
            metric_value=round(float(value), 6),
        )
        for title, values in metrics.items()
        for metric, value in values.items()
        if isinstance(value, float) and math.isfinite(value)
    ]
    if results:
        parsed.data.model_name, parsed.data.eval_results = name, results
    if pipeline_tag and not parsed.data.pipeline_tag:
        parsed.data.pipeline_tag = pipeline_tag
    return str(parsed)


def _make_card(directory: Path, repo_id: str, metrics: Mapping[str, Mapping[str, Any]], base_model: str | None) -> str:
    """Returns a short card for a checkpoint without one."""
    path = Source(str(directory), directory=directory).get_config()
    values = read_json(path)
    named = next(iter(values.get("architectures") or ()), "BERT")
    rows = "".join(
        f"| {title} | {metric.replace('_', ' ')} | {value:.4f} |\n"
        for title, part in metrics.items()
        for metric, value in part.items()
    )
    results = f"\n## Results\n\n| data | metric | value |\n|---|---|---|\n{rows}" if rows else ""
    base = f"base_model: {base_model}\n" if base_model else ""
    return f"""---
library_name: keras
tags:
- bert
- keras
{base}---

# {repo_id.split("/")[-1]}

A `{named}`{f" made from `{base_model}`" if base_model else ""}, written by keras_bert_impl {__version__}.
{results}
## Use

```python
from keras_bert_impl import AutoModel

model = AutoModel.from_pretrained("{repo_id}")
tokenizer = model.tokenizer
```

transformers can load this model too.
"""
