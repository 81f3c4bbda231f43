"""Texts to vectors with a `BertForSentenceEmbedding`: one text, lists and streams."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from keras_bert_impl.data.tables import check_text
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction.encoder import MAX_TOKENS, EncodeOptions, Encoder
from keras_bert_impl.prediction.predictor import CHUNK_SIZE
from keras_bert_impl.prediction.quantization import PRECISIONS, check_precision, needs_ranges, quantize_embeddings

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding

# What `encode` can return per text: the output of the model, or the last hidden states of its tokens.
_OUTPUTS = ("sentence_embedding", "token_embeddings")
# The precisions of `encode`: those of vectors, and bfloat16 for the computation.
ENCODE_PRECISIONS = ("float32", "bfloat16", *(name for name in PRECISIONS if name != "float32"))


def encode(
    model: "BertForSentenceEmbedding",
    inputs: str | Iterable[str],
    *,
    prompt_name: str | None = None,
    prompt: str | None = None,
    batch_size: int | None = None,
    max_tokens: int = MAX_TOKENS,
    show_progress_bar: bool | None = None,
    output_value: str = "sentence_embedding",
    precision: str = "float32",
    normalize_embeddings: bool = False,
    truncate_dim: int | None = None,
) -> Any:
    """Computes the vectors of texts, as ``encode`` of sentence-transformers does.

    Rows of similar length are in the same batch; the vector of a text does not depend on the other texts. Texts that
    are longer than the model's ``max_seq_length`` are truncated.

    Args:
        model: the model, with its tokenizer. It is compiled at the first call.
        inputs: a text, or any iterable of texts, such as a list or a generator.
        prompt_name: the name of a prompt of the model, which is put before each text; None: the model's default prompt,
            if it has one.
        prompt: the text of a prompt; it takes precedence over ``prompt_name``.
        batch_size: the number of texts in a batch; None fills batches by tokens, which is faster.
        max_tokens: the maximum number of tokens in a batch, padding included, if ``batch_size`` is None.
        show_progress_bar: whether standard error shows the progress; None: if it is a terminal and the job takes more
            than a second.
        output_value: ``sentence_embedding``, or ``token_embeddings`` for the last hidden states of the tokens.
        precision: ``float32``; ``bfloat16`` computes in bfloat16 and returns float32; ``int8``, ``uint8``, ``binary``
            and ``ubinary`` quantize the vectors: see `quantize_embeddings`.
        normalize_embeddings: whether vectors are divided by their L2 norms.
        truncate_dim: the number of dimensions to keep (Matryoshka), before normalization; None: as the model says,
            otherwise all.

    Returns:
        float32 ``[texts, dimensions]``, or in the dtype of ``precision``; ``[dimensions]`` for one text. For
        ``token_embeddings`` a list with float32 ``[tokens, hidden_size]`` per text; one such array for one text.

    Raises:
        InputError: a text is not a string; the model has no such prompt, or no tokenizer; an argument has another
            value than those above; or a vector is not finite.

    >>> model = BertForSentenceEmbedding.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> encode(model, ["A sentence.", "Another one."]).shape  # doctest: +SKIP
    (2, 384)
    """
    check_precision(precision, ENCODE_PRECISIONS)
    if output_value not in _OUTPUTS:
        raise InputError(f"output_value is {output_value!r}; {' or '.join(_OUTPUTS)} was expected.")
    computed, stored = split_precision(precision)
    encoder = Encoder.create(
        model,
        prompt_name=prompt_name,
        prompt=prompt,
        batch_size=batch_size,
        max_tokens=max_tokens,
        compute_dtype=computed,
        normalize_embeddings=normalize_embeddings,
        truncate_dim=truncate_dim,
        output=output_value,
    )
    is_one = isinstance(inputs, str)
    if isinstance(inputs, str):
        check_text(inputs, name="the text", location="text 1")
        chunks = [encoder.compute(encoder.tokenize([inputs]))]
    else:
        chunks = list(encoder.iterate(inputs, show_progress_bar=show_progress_bar))
    if output_value == "token_embeddings":
        states = [row for chunk in chunks for row in chunk]
        return states[0] if is_one else states
    vectors = quantize_embeddings(np.concatenate([np.empty((0, encoder.dimensions), np.float32), *chunks]), stored)
    return vectors[0] if is_one else vectors


def encode_query(model: "BertForSentenceEmbedding", inputs: str | Iterable[str], **options: Any) -> Any:
    """Computes the vectors of queries: `encode` with the model's prompt ``query``, unless another is given."""
    return encode(model, inputs, **(options if _has_prompt(options) else {**options, "prompt_name": "query"}))


def encode_document(model: "BertForSentenceEmbedding", inputs: str | Iterable[str], **options: Any) -> Any:
    """Computes the vectors of documents: `encode` with the model's prompt ``document``, unless another is given.

    As in sentence-transformers, it is empty if the model's files do not define it.

    Warns:
        UserWarning: ``document`` is empty, but the model has a prompt ``passage`` or ``corpus``.
    """
    if not _has_prompt(options):
        advice = "Pass the name of the prompt as prompt_name to use it, or prompt_name='document' to use none."
        options = {**options, "prompt": model.settings.get_document_prompt(advice)}
    return encode(model, inputs, **options)


def _has_prompt(options: Mapping[str, Any]) -> bool:
    return any(options.get(name) is not None for name in ("prompt", "prompt_name"))


def iterate_vectors(
    model: "BertForSentenceEmbedding",
    texts: Iterable[str],
    *,
    size: int = CHUNK_SIZE,
    show_progress_bar: bool | None = False,
    precision: str = "float32",
    **options: Unpack[EncodeOptions],
) -> Iterator[np.ndarray]:
    """Computes the vectors of texts in chunks, in their order; the texts may need more memory than there is.

    Args:
        model: the model, with its tokenizer.
        texts: any iterable of texts.
        size: the number of texts in a chunk; they are sorted by length together. The next chunk is read and tokenized
            while the model computes this one.
        show_progress_bar: see `encode`.
        precision: see `encode`, without ``int8`` and ``uint8``, which need the ranges of all vectors.
        options: ``prompt_name``, ``prompt``, ``batch_size``, ``max_tokens``, ``normalize_embeddings`` and
            ``truncate_dim`` of `encode`.

    Yields:
        ``[texts, dimensions]`` as `encode` returns them; the last chunk may have fewer texts.

    Raises:
        InputError: see `encode`.
    """
    check_precision(precision, [name for name in ENCODE_PRECISIONS if not needs_ranges(name)])
    computed, stored = split_precision(precision)
    encoder = Encoder.create(model, compute_dtype=computed, **options)
    chunks = encoder.iterate(texts, show_progress_bar=show_progress_bar, chunk_size=size)
    return (quantize_embeddings(chunk, stored) for chunk in chunks)


def split_precision(precision: str) -> tuple[str, str]:
    """Returns the dtype of the computation and the precision of the vectors for a precision of `encode`."""
    return ("bfloat16", "float32") if precision == "bfloat16" else ("float32", precision)
