"""The options of verbs that train: where the training runs, what it takes, and how it is saved while it runs."""

import argparse
from typing import Any


def add_training_options(verb: argparse.ArgumentParser) -> None:
    """Adds them to a verb."""
    absent: dict[str, Any] = {"default": argparse.SUPPRESS}
    verb.add_argument("--precision", choices=["float32", "bfloat16", "float16"], help="default: float32", **absent)
    verb.add_argument(
        "--accumulate", type=int, metavar="N", help="parts of a batch, to spare memory (default: 1)", **absent
    )
    verb.add_argument("--remat", action="store_true", help="compute blocks twice, to spare memory", **absent)
    verb.add_argument("--seed", type=int, metavar="N", help="default: 1", **absent)
    where = verb.add_argument_group("several devices or machines")
    where.add_argument(
        "--strategy", metavar="NAME", help="mirrored: all GPUs here; multiworker: as TF_CONFIG says; data-parallel: JAX"
    )
    where.add_argument("--devices", type=int, metavar="N", help="how many here; a CPU is cut into N (default: all)")
    saving = verb.add_argument_group("saving while it runs")
    saving.add_argument("--resume", action="store_true", help="go on with a training that was ended, or begin")
    saving.add_argument(
        "--save-minutes", type=float, metavar="M", help="how often to save its state, 0: never (default: 5)"
    )
    saving.add_argument("--save-steps", type=int, metavar="N", help="how often as well, in steps (default: 0, never)")
    saving.add_argument("--keep-states", type=int, metavar="N", help="how many states stay on the disk (default: 2)")


def training_of(options: argparse.Namespace) -> dict[str, Any]:
    """What was given of the last two groups, as keywords for `finetune` and `pretrain`."""
    from keras_bert_impl.training import Saving

    given = {"minutes": options.save_minutes, "steps": options.save_steps, "keep": options.keep_states}
    saving = Saving(**{name: value for name, value in given.items() if value is not None})
    return {"saving": saving, "resume": options.resume, "strategy": options.strategy, "devices": options.devices}


def given_of(options: argparse.Namespace, kind: Any) -> dict[str, Any]:
    """The options that were given among the fields of a dataclass."""
    return {name: getattr(options, name) for name in kind.__dataclass_fields__ if hasattr(options, name)}
