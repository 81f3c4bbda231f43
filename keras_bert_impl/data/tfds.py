"""Reads data sets of TensorFlow Datasets by their names."""

import re
from collections.abc import Iterator
from typing import Any

from keras_bert_impl.data.in_memory import to_python
from keras_bert_impl.errors import InputError, make_missing_error

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
        raise make_missing_error(error, "tfds", user=spec) from error
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(f"{spec}: TensorFlow Datasets has no data set {parts['name']!r}. Check the name.") from error
    split = re.match(r"\w+", parts["split"])[0]  # type: ignore[index]
    if split not in builder.info.splits:
        raise InputError(f"{spec}: there is no split {split!r}; the splits are {', '.join(builder.info.splits)}.")
    features = builder.info.features
    for number, example in enumerate(tfds.as_numpy(builder.as_dataset(split=parts["split"])), 1):
        yield f"{spec}, example {number}", to_python(example, features)
