"""Uploads the directory of a run or of a checkpoint to the hub."""

from pathlib import Path

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.hub import upload_checkpoint
from keras_bert_impl.sources import open_source
from keras_bert_impl.tasks import find_pipeline_tag


def push(
    directory: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload model",
    create_pr: bool = False,
) -> str:
    """Uploads the model, the tokenizer and the card in a directory, in one commit.

    The metrics of a run become metadata of the card (``model-index``), which the hub shows next to it. Only the files
    of the model, the tokenizer and the card are uploaded.

    Args:
        directory: the directory of a run, of a checkpoint or of an adapter.
        repo_id: the name on the hub, ``organization/name``. The repository is created if it does not exist.
        private: whether a new repository is private; None: as the organization decides.
        revision: the branch, which is created if it does not exist; None: ``main``.
        token: the access token; None: that of ``HF_TOKEN`` or of ``hf auth login``.
        commit_message: the message of the commit.
        create_pr: whether to open a pull request instead of changing the branch.

    Returns:
        the address of the commit, or of the pull request.

    Raises:
        InputError: the directory contains no checkpoint; the name is not possible; there are no rights to write; or
            the hub cannot be reached.

    >>> push("runs/sentiment", "my-organization/sentiment")  # doctest: +SKIP
    """
    if not Path(directory).is_dir():
        raise InputError(f"{directory} is not a directory; the directory of a run or of a checkpoint was expected.")
    config = BertConfig.from_pretrained(open_source(Path(directory)))
    return upload_checkpoint(
        directory,
        repo_id,
        pipeline_tag=find_pipeline_tag(config),
        private=private,
        revision=revision,
        token=token,
        commit_message=commit_message,
        create_pr=create_pr,
    )
