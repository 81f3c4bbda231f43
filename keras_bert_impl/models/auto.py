"""``AutoModel``: picks the class of a model by its files."""

from pathlib import Path
from typing import Any

from keras_bert_impl.checkpoints.sentence_modules import is_sentence_directory
from keras_bert_impl.config import BertConfig
from keras_bert_impl.models.base import BertPreTrainedModel
from keras_bert_impl.models.heads import find_model_class, find_named_class
from keras_bert_impl.sources import Source, open_source


class AutoModel:
    """Opens a checkpoint with the class that its files ask for, head included.

    The class is the one that ``architectures`` in ``config.json`` names. Without it, the class is that of the first
    head in the weights. A directory of sentence-transformers is a ``BertForSentenceEmbedding``. In transformers,
    ``AutoModel`` always returns the backbone; here, that is ``BertModel``.

    >>> type(AutoModel.from_pretrained("bert-tiny-novels")).__name__
    'BertForPreTraining'
    """

    @staticmethod
    def from_pretrained(
        source: str | Path | Source,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        **options: Any,
    ) -> BertPreTrainedModel:
        """Creates the model of a checkpoint and loads its weights.

        Args:
            source: a directory, a weights file, the name of a bundled model, or a hub name, tried in this order.
            revision: branch, tag or commit of a hub name.
            subfolder: the folder of the files in a directory or in a repository of the hub.
            token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
            cache_dir: the directory of downloads; None: the cache of huggingface_hub.
            **options: see ``BertPreTrainedModel.from_pretrained``.

        Raises:
            InputError: ``source`` does not exist, is damaged, contradicts itself or is not supported.
        """
        opened = open_source(source, revision, subfolder=subfolder, token=token, cache_dir=cache_dir)
        return _find_class(opened).from_pretrained(opened, **options)


def _find_class(source: Source) -> type[BertPreTrainedModel]:
    """Returns the class that a configuration names, or that the tensors ask for."""
    named = find_named_class(BertConfig.from_pretrained(source).architectures)
    return find_model_class(source) if named is None or is_sentence_directory(source) else named
