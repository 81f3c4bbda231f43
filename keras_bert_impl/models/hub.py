"""``push_to_hub`` of the models."""

import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_bert_impl.hub import upload_checkpoint
from keras_bert_impl.sources import find_public_name
from keras_bert_impl.tasks import find_pipeline_tag

if TYPE_CHECKING:
    from keras import Model as _Base
else:
    _Base = object  # See `models/multi_worker.py`.


class HubMixin(_Base):
    """Mixin for models that can be uploaded."""

    if TYPE_CHECKING:  # What the class that is mixed with defines.
        _source: Any

        def _has_tokenizer(self) -> bool: ...

    def push_to_hub(
        self,
        repo_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        dtype: str = "float32",
        private: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload model",
        create_pr: bool = False,
    ) -> str:
        """Uploads the model, its tokenizer and a model card to the hub, in one commit.

        `keras_bert_impl.recipes.push` uploads the directory of a run, with its own card and metrics.

        Args:
            repo_id: the name on the hub, ``organization/name``. The repository is created if it does not exist.
            metrics: the metrics on your data, such as ``accuracy``, for the card and its metadata.
            dtype: the dtype of the weights in the file, see `save_pretrained`.
            private: whether a new repository is private; None: as the organization decides.
            revision: the branch, which is created if it does not exist; None: ``main``.
            token: the access token; None: that of ``HF_TOKEN`` or of ``hf auth login``.
            commit_message: the message of the commit.
            create_pr: whether to open a pull request instead of changing the branch.

        Returns:
            the address of the commit, or of the pull request.

        Raises:
            InputError: the model cannot be saved; the name is not possible; there are no rights to write; or the hub
                cannot be reached.

        >>> model.push_to_hub("my-organization/sentiment", metrics={"accuracy": 0.93})  # doctest: +SKIP
        """
        source = self._source
        with tempfile.TemporaryDirectory() as directory:
            self.save_pretrained(directory, dtype=dtype)
            if self._has_tokenizer():
                self.tokenizer.save_pretrained(directory)
            return upload_checkpoint(
                directory,
                repo_id,
                pipeline_tag=find_pipeline_tag(self.config, [type(self).__name__]),
                metrics={"evaluation data": {name: float(value) for name, value in (metrics or {}).items()}},
                base_model=find_public_name(source) if source else None,
                private=private,
                revision=revision,
                token=token,
                commit_message=commit_message,
                create_pr=create_pr,
            )
