"""Cache of the objects that are derived from a model, such as compiled functions."""

import threading
from collections.abc import Callable
from typing import Any

# The attribute of a model. `BertPreTrainedModel` hides it from Keras, which would save the models in it.
CACHE = "_cached_objects"
# The key of the layers that LoRA and quantization can change.
_LAYERS = "layers"
_lock = threading.RLock()


def cached_on(model: Any, name: str, make: Callable[[], Any]) -> Any:
    """Returns what ``make()`` returned for this name and model, and caches it on the model.

    The cache is not tracked by Keras, and is not used after LoRA or quantization changed the variables of a layer.
    Only one thread at a time calls ``make``.
    """
    with _lock:
        cache = vars(model).setdefault(CACHE, {})
        # Collecting layers, or the paths of variables, takes several percent of the time of a single text.
        if _LAYERS not in cache:
            cache[_LAYERS] = [layer for layer in model._flatten_layers() if hasattr(layer, "lora_enabled")]
        key = (name, *[(layer.dtype_policy.name, layer.lora_enabled) for layer in cache[_LAYERS]])
        if key not in cache:
            cache[key] = make()
        return cache[key]
