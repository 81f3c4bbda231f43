"""The check that Keras runs on TensorFlow."""

from keras_bert_impl.errors import InputError


def require_tensorflow(user: str) -> None:
    """Raises ``InputError`` unless Keras runs on TensorFlow; ``user`` begins the message."""
    import keras  # Here, because it starts the backend.

    name = keras.backend.backend()
    if name != "tensorflow":
        raise InputError(f"{user} TensorFlow, but Keras uses the backend {name}. Set KERAS_BACKEND=tensorflow.")
