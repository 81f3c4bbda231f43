"""What is derived from a model, such as a compiled function, and kept with it."""

import threading
from collections.abc import Callable
from typing import Any

# The attribute of a model. `BertPreTrainedModel` hides it from Keras, which would save the models in it.
CACHE = "_cached_objects"
_lock = threading.RLock()


def cached_on(model: Any, name: str, make: Callable[[], Any]) -> Any:
    """Returns what ``make()`` returned for this name and model, and caches it on the model.

    The cache is not tracked by Keras, and is not used after the model's variables were replaced, as by LoRA or
    quantization. Only one thread at a time makes something.
    """
    with _lock:
        cache = vars(model).setdefault(CACHE, {})
        key = (name, *(variable.path for variable in model.variables))
        if key not in cache:
            cache[key] = make()
        return cache[key]
