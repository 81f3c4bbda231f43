"""Where the files of a checkpoint are: a directory, a weights file in one, a bundled model, or a model on the hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from keras_bert_impl.errors import InputError

BUNDLED = Path(__file__).with_name("assets") / "models"

# `.pt` and `.pth` are other people's names for what transformers calls `pytorch_model.bin`.
WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".safetensors.index.json", ".bin.index.json", ".index")

# A name that ends so was meant as a path. Hub names end in dots and digits too ("model-v1.5"), hence a list.
_PATH_SUFFIXES = (*WEIGHTS_SUFFIXES, ".ckpt", ".json", ".txt", ".h5", ".keras", ".msgpack", ".onnx", ".zip", ".gz")

# The hub's own rule: letters, digits, `-`, `_` and `.`, at most 96 in each part, `--` and `..` reserved.
_HUB_NAME = re.compile(r"(?!.*(--|\.\.))(\b[\w.-]{1,96}\b/)?\b[\w.-]{1,96}\b", re.ASCII)


@dataclass(frozen=True)
class Source:
    """The files of one checkpoint, wherever they are.

    Attributes:
        name: what the user wrote.
        directory: where the files are; ``None`` for a model on the hub, whose files are downloaded one by one.
        weights: the weights file, where the user named one (the ``.index`` file of a TensorFlow 1 checkpoint).
        revision: branch, tag or commit on the hub.
    """

    name: str
    directory: Path | None = None
    weights: Path | None = None
    revision: str | None = None

    def file(self, name: str) -> Path | None:
        """The local path of the file called ``name``, or ``None`` if the source lacks it.

        Raises:
            InputError: the hub has no such model or revision, does not grant access, or cannot be reached.
        """
        if self.directory is None:
            return _hub_file(self.name, name, self.revision)
        path = self.directory / name
        return path if path.is_file() else None

    def listing(self) -> list[str]:
        """The names of the files that are there, for messages; empty for the hub, which is not asked."""
        return [] if self.directory is None else sorted(path.name for path in self.directory.iterdir())


def open_source(source: str | Path, revision: str | None = None) -> Source:
    """Finds out what ``source`` names.

    Args:
        source: tried in this order: a directory; a weights file, or the prefix of a TensorFlow 1 checkpoint
            (``…/bert_model.ckpt``); the name of a bundled model; a hub name (``name`` or ``organisation/name``), unless
            given as a ``Path``.
        revision: branch, tag or commit, for hub names only.

    Returns:
        The source. Nothing is downloaded before ``Source.file`` is called.

    Raises:
        InputError: the path does not exist, is no weights file, or the text is no possible name; or a revision was
            given for files that have none.

    Example:
        >>> open_source("bert-base-uncased", revision="main")
        Source(name='bert-base-uncased', directory=None, weights=None, revision='main')
    """
    name = os.fspath(source)
    if not name:
        raise InputError("The source is empty. Give a directory, a weights file or the name of a model.")
    local = _local(name)
    if local is None and isinstance(source, Path):
        raise InputError(f"{name}: no such file or directory.")
    if local is None:
        return Source(name, revision=revision)
    if revision is not None:
        raise InputError(f"{name} is on this machine and has no revision {revision!r}. Leave the revision out.")
    return local


def _local(name: str) -> Source | None:
    """The source on this machine that ``name`` means, or ``None`` if it can only be a hub name."""
    path = Path(os.path.expanduser(name))
    index = Path(f"{path}.index")
    if os.path.isdir(path):
        return Source(name, directory=path)
    if os.path.isfile(path):
        if not path.name.endswith(WEIGHTS_SUFFIXES):
            raise InputError(
                f"{name} is no weights file (those end in {', '.join(WEIGHTS_SUFFIXES)}). Name the directory it is in."
            )
        return Source(name, directory=path.parent, weights=path)
    if os.path.isfile(index):
        return Source(name, directory=path.parent, weights=index)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(_PATH_SUFFIXES):
        raise InputError(f"{name}: no such file or directory.")
    if not _HUB_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is neither a file or directory here nor a possible name of a model: letters, digits, '-', '_' "
            "and '.', with at most one '/' between organisation and model."
        )
    return Source(name, directory=BUNDLED / name) if os.path.isdir(BUNDLED / name) else None


def _hub_file(model: str, name: str, revision: str | None) -> Path | None:
    """Downloads one file of a model on the hub into the hub's cache, or finds it there."""
    # Imported here because it takes a third of a second, and most sources are directories.
    from huggingface_hub import constants, errors, hf_hub_download

    hub = constants.ENDPOINT
    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        if _is_cached(model, revision):
            return None
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{hub} gave no answer ({error.__cause__})"
        raise InputError(
            f"{model} is no directory here, its {name} is not in the cache {constants.HF_HUB_CACHE}, and {reason}. "
            "Fetch it once while online, or name a directory."
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{model} has no revision {revision!r}. See {hub}/{model}/tree/main for those it has."
        ) from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"{model} is gated. Accept its terms at {hub}/{model}, then log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{model} is neither a directory here nor a model on {hub}. Check the spelling; if it is private, log in "
            "with `hf auth login`."
        ) from error
    except (errors.HTTPError, OSError) as error:
        # Whatever else the server answered, connections that broke off, a full disk.
        raise InputError(f"{name} of {model} cannot be downloaded from {hub}: {error}") from error


def _is_cached(model: str, revision: str | None) -> bool:
    """Whether the hub's cache holds this revision, so that a file which is absent there need not exist."""
    from huggingface_hub import errors, snapshot_download

    try:
        # No pattern, so that no particular file is required.
        snapshot_download(model, revision=revision, local_files_only=True, allow_patterns=[])
    except errors.LocalEntryNotFoundError:
        return False
    return True
