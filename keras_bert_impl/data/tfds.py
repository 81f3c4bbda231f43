"""Reads data sets of TensorFlow Datasets by their names."""

import re
from collections.abc import Iterator
from typing import Any

from keras_bert_impl.errors import InputError

# NAME may contain colons before a version, SPLIT inside brackets: tfds:glue/sst2:2.0.0:train[:10%]
_SPEC = re.compile(r"tfds:(?P<name>.+):(?P<split>\w+(\[[^\[\]]*\])?)")


def read_tfds(spec: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the location and the features of each example as plain Python values; classes are given by their names.

    Args:
        spec: ``tfds:NAME:SPLIT``, as in ``tfds:glue/sst2:train``. The data set is downloaded the first time.

    Raises:
        InputError: ``spec`` has another form, TensorFlow Datasets is not installed, or it has no such data set or
            split.
    """
    parts = _SPEC.fullmatch(spec)
    if parts is None:
        raise InputError(f"{spec}: tfds:NAME:SPLIT was expected, as in tfds:glue/sst2:train.")
    try:
        import tensorflow_datasets as tfds

        builder = tfds.builder(parts["name"])
        builder.download_and_prepare()
    except ImportError as error:
        needed = "pip install tensorflow tensorflow-datasets importlib_resources"
        raise InputError(f"{spec} needs TensorFlow Datasets ({error}). Run: {needed}") from error
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(f"{spec}: TensorFlow Datasets has no data set {parts['name']!r}. Check the name.") from error
    split = re.match(r"\w+", parts["split"])[0]  # type: ignore[index]
    if split not in builder.info.splits:
        raise InputError(f"{spec}: there is no split {split!r}; the splits are {', '.join(builder.info.splits)}.")
    features = builder.info.features
    for number, example in enumerate(tfds.as_numpy(builder.as_dataset(split=parts["split"])), 1):
        yield f"{spec}, example {number}", _to_python(example, features)


def _to_python(value: Any, feature: Any) -> Any:
    """Converts NumPy values to Python's own types, following the data set's description of its features."""
    if isinstance(value, dict):
        # A sequence of dictionaries arrives as a dictionary of sequences; its description has one more level.
        description = feature.feature if hasattr(feature, "feature") else feature
        return {name: _to_python(part, description[name]) for name, part in value.items()}
    if getattr(value, "ndim", 0):
        return [_to_python(part, getattr(feature, "feature", feature)) for part in value]
    if hasattr(feature, "int2str"):
        # Test splits hide their labels as -1.
        return feature.int2str(int(value)) if value >= 0 else ""
    if not isinstance(value, bytes):
        return value.item()
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value  # A picture, for example. Where a text is expected, its reader raises an error.
