"""The model that pretraining starts from: new weights, or a checkpoint, with more tokens if the shards have more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Objective
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.heads import find_model_with
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tasks import Task
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training.settings import PRECISIONS, PretrainingSettings


def count_old_tokens(tokenizer: BertTokenizer, init: str | Path | Source) -> int:
    """Returns how many tokens of the shards the checkpoint has: all, or all but those that were added to them.

    Raises:
        InputError: the tokenizers are different.
    """
    own = BertTokenizer.from_pretrained(init)
    if not tokenizer.extends(own):
        raise InputError(
            f"{init} and the shards have different tokenizers. Prepare the corpus with --tokenizer {init}, or with the "
            "tokenizer of a checkpoint that 'keras-bert grow-vocab' made from it."
        )
    return own.vocab_size


def make_model(
    task: Task,
    tokenizer: BertTokenizer,
    preset: str,
    init: str | Path | Source | None,
    *,
    objective: Objective,
    settings: PretrainingSettings,
    old_tokens: int,
    log: Callable[[str], None],
) -> Any:
    """Returns the model that is saved: it has the heads of the task, and those of the checkpoint with them."""
    policy = PRECISIONS[settings.precision]
    changes: dict[str, Any] = settings.make_config_changes()
    if init is None:
        config = BertConfig.preset(
            preset,
            vocab_size=tokenizer.vocab_size,
            pad_token_id=tokenizer.pad_token_id,
            max_position_embeddings=max(512, objective.max_length),
            **changes,
        )
        return task.model_class(config, dtype=policy)
    opened = open_source(init)
    model = find_model_with(task.model_class, opened).from_pretrained(opened, dtype=policy, **changes)
    log(str(model.load_report))
    if model.config.max_position_embeddings < objective.max_length:
        raise InputError(
            f"max_length is {objective.max_length}, but {init} has {model.config.max_position_embeddings} positions. "
            "Choose a smaller max_length."
        )
    model.config.check_tokenizer(old_tokens)
    if len(tokenizer) > old_tokens:
        size = max(len(tokenizer), model.config.vocab_size)
        model = model.resize_token_embeddings(size, pieces=tokenizer.find_pieces(old_tokens))
        log(f"{len(tokenizer) - old_tokens:,} tokens of the shards are new to the checkpoint")
    model.raise_new_tokens()
    return model


def select_heads(saved: Any, task: Task) -> Any:
    """Returns a model with the heads of the task alone: a copy if the checkpoint has more, else the model itself."""
    if type(saved) is task.model_class:
        return saved
    model = task.model_class(saved.config, dtype=saved.dtype_policy)
    copy_weights(saved, model)
    return model


def copy_weights(source: Any, target: Any) -> None:
    """Assigns to a model the weights of another one that it has too."""
    weights = source.find_checkpoint_variables()
    for path, variable in target.find_checkpoint_variables().items():
        if path in weights:
            variable.assign(weights[path].value)
