"""Examples of data sets that TensorFlow Datasets has, by name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError

# NAME may hold colons before a version, SPLIT inside brackets: tfds:glue/sst2:2.0.0:train[:10%]
_SPEC = re.compile(r"tfds:(?P<name>.+):(?P<split>\w+(\[[^\[\]]*\])?)")


def is_tfds(path: str | Path) -> bool:
    """Whether this names a data set, not a file."""
    return str(path).startswith("tfds:")


def tfds_records(spec: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields for each example where it stands and its features, as plain Python values; classes by their names.

    Args:
        spec: ``tfds:NAME:SPLIT``, as in ``tfds:glue/sst2:train``. The data set is downloaded if need be.

    Raises:
        InputError: the spec cannot be read, TensorFlow Datasets is not installed, or it has no such data set or split.
    """
    parts = _SPEC.fullmatch(spec)
    if parts is None:
        raise InputError(f"{spec} is not understood; tfds:NAME:SPLIT was expected, as in tfds:glue/sst2:train.")
    try:
        import tensorflow_datasets as tfds

        builder = tfds.builder(parts["name"])
        builder.download_and_prepare()
    except ImportError as error:
        needed = "pip install tensorflow tensorflow-datasets importlib_resources"
        raise InputError(f"{spec} needs TensorFlow Datasets ({error}): {needed}") from error
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(f"{spec}: TensorFlow Datasets has no data set {parts['name']!r}.") from error
    split = re.match(r"\w+", parts["split"])[0]  # type: ignore[index]
    if split not in builder.info.splits:
        raise InputError(f"{spec}: there is no split {split!r}; there are {', '.join(builder.info.splits)}.")
    features = builder.info.features
    for number, example in enumerate(tfds.as_numpy(builder.as_dataset(split=parts["split"])), 1):
        yield f"{spec}, example {number}", _plain(example, features)


def _plain(value: Any, feature: Any) -> Any:
    """NumPy values as Python's own, following the data set's description of its features."""
    if isinstance(value, dict):
        # A sequence of dictionaries arrives as a dictionary of sequences; its description has a level more.
        described = feature.feature if hasattr(feature, "feature") else feature
        return {name: _plain(part, described[name]) for name, part in value.items()}
    if getattr(value, "ndim", 0):
        return [_plain(part, getattr(feature, "feature", feature)) for part in value]
    if hasattr(feature, "int2str"):
        # Hidden labels of test splits are -1.
        return feature.int2str(int(value)) if value >= 0 else ""
    if not isinstance(value, bytes):
        return value.item()
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value  # Such as a picture. Where it is to be a text, the reader of texts says what is wrong.
