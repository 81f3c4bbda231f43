"""How texts become vectors: prompt, tokens, batches of similar length, the compiled model, normalization."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypedDict

import numpy as np

from keras_bert_impl.data.batches import Features, LengthBatches, Ragged, restore_order
from keras_bert_impl.data.feed import get_batch_lengths
from keras_bert_impl.data.tables import check_text, check_texts, iterate_chunks
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction.predictor import CHUNK_SIZE
from keras_bert_impl.progress import ProgressBar
from keras_bert_impl.tasks.base import PredictFunction
from keras_bert_impl.tasks.encoding import POOLING_MASK, check_finite, check_fit, count_prompt_tokens, make_pooling_mask
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.vectors.similarity import normalize

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding

# The maximum number of tokens in a batch. On a CPU, 1024 to 2048 are the fastest: 4096 take 6 % longer.
MAX_TOKENS = 2048


class EncodeOptions(TypedDict, total=False):
    """The options of `encode` that all functions for vectors have."""

    prompt_name: str | None
    prompt: str | None
    batch_size: int | None
    max_tokens: int
    normalize_embeddings: bool
    truncate_dim: int | None


def get_dimensions(model: "BertForSentenceEmbedding", truncate_dim: int | None = None) -> int:
    """Returns the number of dimensions of the vectors that `encode` returns with this ``truncate_dim``."""
    if truncate_dim is None:
        return model.get_sentence_embedding_dimension()
    dimensions = model.settings.count_dimensions(model.config.hidden_size)
    if truncate_dim < 1:
        raise InputError(f"truncate_dim is {truncate_dim}; a number of dimensions from 1 to {dimensions} was expected.")
    return min(dimensions, truncate_dim)


def resolve_prompt(prompts: Mapping[str, str], prompt: str | None, name: str | None, *, default: str | None) -> str:
    """Returns the text that is put before each text.

    Args:
        prompts: the model's prompts by name.
        prompt: a text, which takes precedence.
        name: the name of a prompt.
        default: the name of the prompt if neither is given; None: no prompt.

    Raises:
        InputError: the model has no prompt with this name.
    """
    name = default if name is None else name
    if prompt is not None or name is None:
        return prompt or ""
    if name not in prompts:
        raise InputError(
            f"the model has no prompt {name!r}; its prompts are {', '.join(map(repr, prompts))}. Name one of them, or "
            "pass the text of a prompt."
        )
    return prompts[name]


@dataclass(frozen=True)
class Encoder:
    """A compiled embedding model, with its tokenizer and the options of `encode`.

    Attributes:
        run: the model.
        output: the output that is returned: ``output_value`` of `encode`.
        dimensions: the number of dimensions that are returned.
        tokenizer: the tokenizer.
        prompt: the text before each text.
        excluded: the number of tokens at the start of each row that the pooling leaves out.
        max_length: the maximum length of a row in tokens.
        lengths: the lengths that batches may be padded to; empty for any.
        batch_size: rows per batch; None: by tokens.
        max_tokens: the maximum number of tokens of a batch, padding included.
        normalize: whether vectors are divided by their L2 norms.
    """

    run: PredictFunction
    output: str
    dimensions: int
    tokenizer: BertTokenizer
    prompt: str
    excluded: int
    max_length: int
    lengths: tuple[int, ...]
    batch_size: int | None
    max_tokens: int
    normalize: bool

    @classmethod
    def create(
        cls,
        model: "BertForSentenceEmbedding",
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        max_tokens: int = MAX_TOKENS,
        compute_dtype: str = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        output: str = "sentence_embedding",
    ) -> Self:
        """Checks the arguments of `encode`, and compiles the model at the first call."""
        for name, value in {"batch_size": batch_size, "max_tokens": max_tokens}.items():
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; a positive number was expected.")
        tokenizer, settings = model.tokenizer, model.settings
        if tokenizer is None:
            raise InputError(
                "this model has no tokenizer. Assign one to model.tokenizer, such as BertTokenizer.from_pretrained(…)."
            )
        max_length = settings.resolve_max_length(model.config, tokenizer.model_max_length)
        check_fit(tokenizer, model.config, max_length=max_length, pairs=False)
        text = resolve_prompt(settings.prompts, prompt, prompt_name, default=settings.default_prompt_name)
        excluded = 0 if settings.include_prompt else count_prompt_tokens(tokenizer, text, max_length)
        return cls(
            run=_get_function(_get_model(model, compute_dtype), output),
            output=output,
            dimensions=get_dimensions(model, truncate_dim),
            tokenizer=tokenizer,
            prompt=text,
            excluded=excluded,
            max_length=max_length,
            lengths=get_batch_lengths(),
            batch_size=batch_size,
            max_tokens=max_tokens,
            normalize=normalize_embeddings,
        )

    def iterate(
        self, texts: Iterable[str], *, show_progress_bar: bool | None, chunk_size: int = CHUNK_SIZE
    ) -> Iterator[Any]:
        """Yields the vectors, or the states of tokens, of each chunk of texts."""
        check_texts(texts, name="texts")
        total = len(texts) if isinstance(texts, Sized) else None
        bar = ProgressBar("texts", total, is_shown=show_progress_bar)
        # Another thread costs a millisecond, and a single chunk leaves nothing to do ahead.
        map_chunks = map if total is not None and total <= chunk_size else _map_ahead
        done = 0
        try:
            for features in map_chunks(self.tokenize, _read_chunks(texts, chunk_size)):
                yield self.compute(features, first=done, count=bar.add)
                done += len(features)
        finally:
            bar.end()

    def tokenize(self, texts: Sequence[str]) -> Features:
        """Tokenizes texts with the prompt."""
        tokens = self.tokenizer.encode_ragged([self.prompt + text for text in texts], max_length=self.max_length)
        rows = tokens["input_ids"]
        ids = Ragged.from_rows(rows, dtype=np.int32, pad=self.tokenizer.pad_token_id)
        inputs = {"input_ids": ids, "attention_mask": Ragged(np.broadcast_to(np.int32(1), ids.flat.shape), ids.offsets)}
        if self.excluded:
            inputs[POOLING_MASK] = make_pooling_mask(ids, self.excluded)
        return Features(inputs, {}, {}, example=np.arange(len(rows), dtype=np.int32))

    def compute(self, features: Features, *, first: int = 0, count: Callable[[int], None] = lambda rows: None) -> Any:
        """Computes the vectors ``[rows, dimensions]``, or a list of the states of tokens, in the order of the rows.

        Args:
            features: the rows.
            first: the number of texts before these, for messages.
            count: is called with the number of rows of each batch.
        """
        max_tokens = None if self.batch_size else self.max_tokens
        batches = LengthBatches(features, self.batch_size or 1, lengths=self.lengths, max_tokens=max_tokens)

        def run(k: int) -> dict[str, Any]:
            rows = batches.get_rows(k)
            (inputs,) = features.batch(rows, length=self._pad_length(int(features.lengths[rows[0]])))
            outputs = self.run(inputs)
            count(len(rows))
            return {"result": outputs[self.output]}

        is_per_token = self.output == "token_embeddings"
        result = restore_order(map(run, range(len(batches))), batches, per_token=is_per_token)["result"]
        if isinstance(result, Ragged):
            states = [np.asarray(result[row], np.float32) for row in range(len(result))]
            check_finite([np.isfinite(row).all() for row in states], first=first)
            return states
        vectors = np.asarray(result, np.float32)[:, : self.dimensions]
        check_finite(np.isfinite(vectors).all(axis=1), first=first)
        return normalize(vectors) if self.normalize else vectors

    def _pad_length(self, longest: int) -> int:
        """Returns the length of a batch with this longest row: on JAX one of a few lengths, also for a single text."""
        length = next((length for length in self.lengths if length >= longest), longest)
        return min(length, self.max_length)


def _read_chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yields lists of texts; raises ``InputError`` for what is not a text."""
    done = 0
    for chunk in iterate_chunks(texts, size):
        for number, text in enumerate(chunk, done + 1):
            check_text(text, name="the text", location=f"text {number}")
        yield chunk
        done += len(chunk)


def _map_ahead(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """``map`` that computes one result ahead in another thread; the items are read in this one.

    An error of ``items`` is raised after the results of the items before it.
    """
    with ThreadPoolExecutor(1) as executor:

        def submit() -> Iterator[Future[Any]]:
            try:
                for item in items:
                    yield executor.submit(function, item)
            except Exception as error:
                failed: Future[Any] = Future()
                failed.set_exception(error)
                yield failed

        futures = submit()
        ahead = next(futures, None)
        while ahead:
            current, ahead = ahead, next(futures, None)
            yield current.result()


def _get_model(model: "BertForSentenceEmbedding", dtype: str) -> "BertForSentenceEmbedding":
    """Returns the model, or if it computes in float32 and bfloat16 is wanted, a copy of it in bfloat16.

    The weights of the copy are assigned at each call, because those of the model may have changed.

    Raises:
        InputError: the model has other weights than its configuration says.
    """
    from keras_bert_impl.models.cache import cached_on

    if dtype == "float32" or model.compute_dtype != "float32":
        return model
    copy = cached_on(model, dtype, lambda: type(model)(model.config, dtype=dtype))
    sources = {variable.path: variable for variable in model.weights}
    targets = {variable.path: variable for variable in copy.weights}
    if others := sources.keys() ^ targets.keys():
        raise InputError(
            f"the model has other weights than its configuration says, such as {min(others)}, so it has no "
            f"copy in {dtype}. LoRA and quantization change weights; use the precision float32."
        )
    for path, target in targets.items():
        target.assign(sources[path])
    return copy


def _get_function(model: "BertForSentenceEmbedding", output: str) -> PredictFunction:
    """Returns the compiled model with the output ``sentence_embedding`` or ``token_embeddings``."""
    from keras_bert_impl.models.cache import cached_on
    from keras_bert_impl.ops.compiled import compile_inference

    def compile_model() -> PredictFunction:
        if output == "sentence_embedding":
            return compile_inference(model)
        run = compile_inference(model.with_outputs(output_hidden_states=True))
        return lambda inputs: {output: run(inputs)["hidden_states"][-1]}

    return cached_on(model, output, compile_model)
