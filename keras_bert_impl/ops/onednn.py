"""Operations that TensorFlow has for x86 processors, by oneDNN, and that have no public function."""

from collections.abc import Callable, Sequence
from typing import Any


def emit(operation: str, inputs: Sequence[Any], dtype: Any, **attributes: Any) -> Any:
    """Adds an operation to the graph that is being traced; returns its output, of this dtype.

    Args:
        operation: the name of the operation.
        inputs: its inputs, lists of inputs one after the other.
        dtype: the dtype of its output.
        **attributes: booleans, numbers, strings, dtypes, and lists of strings or dtypes.
    """
    import tensorflow as tf

    attrs = {name: _to_attribute(value) for name, value in attributes.items()}
    graph = tf.compat.v1.get_default_graph()
    return graph.create_op(operation, list(inputs), [dtype], name=operation.strip("_"), attrs=attrs).outputs[0]


def is_enabled() -> bool:
    """Whether TensorFlow computes by oneDNN: by itself if the processor is made for it, and as users set it.

    Without it the fused products lack most fusions, and TensorFlow logs each one that it cannot do.
    """
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled  # No public function tells.

    return IsMklEnabled()


def can_run(function: Callable[..., Any], *inputs: Any) -> bool:
    """Whether this TensorFlow and this machine run a function that emits operations; it is traced and called once.

    They do not if TensorFlow was built without oneDNN or uses a GPU, or if the processor is not supported.

    Args:
        function: what to call.
        *inputs: its arguments, NumPy arrays or tensors. Operations of constants would be folded, by other kernels than
            those of oneDNN.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return False
    with tf.init_scope():  # Outside of the graph that is being traced.
        try:
            tf.function(function, autograph=False)(*map(tf.convert_to_tensor, inputs))
        # In this order: TensorFlow lacks the operation, or the processor is not supported. Other errors are faults of
        # the caller.
        except (RuntimeError, tf.errors.OpError):
            return False
    return True


def _to_attribute(value: Any) -> Any:
    import tensorflow as tf

    if isinstance(value, list):
        key = "s" if value and isinstance(value[0], str) else "type"
        entries = [entry.encode() if key == "s" else entry.as_datatype_enum for entry in value]
        return tf.compat.v1.AttrValue(list=tf.compat.v1.AttrValue.ListValue(**{key: entries}))
    keys = {bool: "b", int: "i", float: "f", str: "s"}
    if type(value) in keys:
        return tf.compat.v1.AttrValue(**{keys[type(value)]: value.encode() if isinstance(value, str) else value})
    return tf.compat.v1.AttrValue(type=value.as_datatype_enum)
