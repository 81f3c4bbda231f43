"""``verify`` compares this package with transformers on torch, layer by layer: the certificate of a conversion.

A model of sentence-transformers is also compared with that library: the vectors of texts, or the scores of pairs.
"""

import dataclasses
import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_impl import __version__
from keras_bert_impl.checkpoints.matching import NO_SUCH_HEAD, LoadReport
from keras_bert_impl.checkpoints.sentence_modules import MODULES_FILE, is_sentence_directory
from keras_bert_impl.errors import InputError
from keras_bert_impl.interop import inputs
from keras_bert_impl.interop.certificate import MAX_RESULT_DIFFERENCE, ComparedOutput, Differences, Verification
from keras_bert_impl.keras_formats import is_preset
from keras_bert_impl.models import (
    BertForSentenceEmbedding,
    BertForSequenceClassification,
    BertModel,
    BertPreTrainedModel,
)
from keras_bert_impl.models.heads import HEADS, find_head_classes
from keras_bert_impl.python_process import ProcessDiedError, PythonProcess
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tasks import get_task, open_task
from keras_bert_impl.tasks.windows import WINDOWS_KEY
from keras_bert_impl.tokenization import BertTokenizer

# The modules that run in the other process.
_REFERENCE = "keras_bert_impl.interop.reference"
_SENTENCE_REFERENCE = "keras_bert_impl.interop.sentence_reference"

_POOLER = {"pooler.dense.weight", "pooler.dense.bias"}


def verify(
    source: str | Path | Source, texts: Sequence[str] | None = None, *, revision: str | None = None
) -> Verification:
    """Compares this package with transformers on torch, on one checkpoint; each reads the files with its own code.

    The backbone and every head in the checkpoint run on texts, on pairs of texts and on rows of random ids, with
    padding. transformers runs them in float32 and in float64, in another process. For a sentence embedding model, the
    vectors of texts with each of its prompts are also compared with those of sentence-transformers; for a
    cross-encoder, the scores of pairs. Some of these texts are longer than the model reads. An adapter is merged into
    its base by this package; transformers runs the merged weights.

    Args:
        source: a directory, a weights file, the name of a bundled model, or a hub name.
        texts: the texts; None takes film snippets that ship with this package and a few hard strings.
        revision: branch, tag or commit of a hub name.

    Raises:
        InputError: ``source`` cannot be used, transformers cannot read its format, lacks the class of one of its heads
            or is not installed, or its process died; sentence-transformers is needed and not installed.

    >>> verification = verify("runs/sentiment")  # doctest: +SKIP
    >>> verification.passed, max(row.largest for row in verification.rows)  # doctest: +SKIP
    (True, 1.3e-05)
    """
    opened = open_source(source, revision=revision)
    if is_preset(opened):
        raise InputError(
            f"{opened.name} is a preset of KerasHub, which transformers cannot read. Run `keras-bert convert` and "
            "verify its output; this checks everything except reading the original files."
        )
    models = _load_models(opened)
    # A file of weights alone is not a model of sentence-transformers. An adapter is compared as a merged BERT.
    embedder = None
    if opened.weights is None and opened.base is None and is_sentence_directory(opened):
        embedder = BertForSentenceEmbedding.from_pretrained(opened, dtype="float32")
    with PythonProcess() as process:
        try:
            return _compare(opened, models, embedder, texts, process.call)
        except ProcessDiedError as error:
            raise InputError(
                f"the process that runs transformers on torch died: {error}. Check that it has enough memory, and that "
                '`python -c "import torch, transformers"` works.'
            ) from error


def _compare(
    source: Source,
    models: list[BertPreTrainedModel],
    embedder: BertForSentenceEmbedding | None,
    texts: Sequence[str] | None,
    call: Callable[..., Any],
) -> Verification:
    """Compares the models with the references.

    Args:
        source: the checkpoint.
        models: the backbone and the models with heads.
        embedder: the sentence embedding model, if the checkpoint is one.
        texts: the texts; None takes those of the package.
        call: runs a function of a module in the other process.
    """
    reference = functools.partial(call, _REFERENCE)
    sentence_reference = functools.partial(call, _SENTENCE_REFERENCE)
    texts = inputs.read_snippets() if texts is None else texts
    loaded = [*models, *([embedder] if embedder else [])]
    reference("require_classes", [type(model).__name__ for model in models])
    if embedder:
        sentence_reference("get_version")  # Says that the library is missing before the long comparison.
    config = models[0].config
    batches = inputs.draw_batches(config)
    described = f"inputs: {inputs.count_tokens(batches):,} random ids"
    same_ids, flaws = "token ids: nothing to compare, the source has no tokenizer", []
    has_tokenizer = False
    if source.find_file("tokenizer.json") or source.find_file("vocab.txt"):
        encoded = inputs.encode(
            texts,
            tokenizer=BertTokenizer.from_pretrained(source),
            reference=functools.partial(reference, "tokenize", source, max_length=config.max_position_embeddings),
            config=config,
        )
        batches = encoded.batches + batches
        described += f", {inputs.count_tokens(encoded.batches):,} tokens of {encoded.rows} texts and pairs"
        same_ids = f"token ids: equal for {encoded.rows - len(encoded.differing)} of {encoded.rows} texts and pairs"
        has_tokenizer = True
        flaws = [f"transformers has other token ids for {text!r}" for text in encoded.differing[:3]]

    differences: dict[str, Differences] = defaultdict(Differences)
    for model in models:
        _measure(model, functools.partial(reference, "run", type(model).__name__, source), batches, differences)
    rows = [difference.make_row(name) for name, difference in differences.items()]
    libraries = reference("list_versions")
    if has_tokenizer:
        results = [
            *(_compare_vectors(embedder, source, texts, sentence_reference) if embedder else ()),
            *_compare_scores(source, models, texts, sentence_reference),
        ]
        rows += results
        libraries += f" and in {sentence_reference('get_version')}" if results else ""
    tensors, tensor_flaws = _check_tensors([_get_report(model) for model in loaded])
    return Verification(
        title=f"{source.name}: {', '.join(type(model).__name__ for model in loaded)} in keras_bert_impl {__version__} "
        f"(Keras {keras.__version__} on {keras.backend.backend()}) and in {libraries}",
        rows=tuple(rows),
        inputs=described,
        tokenizer=same_ids,
        tensors=tensors,
        flaws=(*flaws, *tensor_flaws),
    )


def _load_models(source: Source) -> list[BertPreTrainedModel]:
    """Loads the backbone, and a model for each head in the checkpoint."""
    backbone = BertModel.from_pretrained(source, output_hidden_states=True, dtype="float32")
    names = [entry.name for entry in _get_report(backbone).entries if entry.status != "newly initialized"]
    heads = find_head_classes(names, backbone.config.architectures)
    return [backbone, *(head.from_pretrained(source, dtype="float32") for head in heads)]


def _get_report(model: BertPreTrainedModel) -> LoadReport:
    assert model.load_report is not None
    return model.load_report


def _measure(
    model: BertPreTrainedModel,
    reference: Callable[[inputs.Batch], tuple[Any, Any]],
    batches: list[inputs.Batch],
    differences: dict[str, Differences],
) -> None:
    """Runs the batches through a model and its reference, and adds the outputs to ``differences``."""
    for batch in batches:
        shaped = {name: ids[:, None] for name, ids in batch.items()} if model.input_rank == 3 else batch
        # Users run the traced graph with fused operations; `predict_on_batch` does too.
        results = (model.predict_on_batch(shaped), *reference(shaped))
        ours, torch, exact = (_select_outputs(model, outputs, batch["attention_mask"]) for outputs in results)
        for name in ours:
            differences[name].add(ours=ours[name], torch=torch[name], exact=exact[name])


def _compare_vectors(
    model: BertForSentenceEmbedding, source: Source, texts: Sequence[str], reference: Callable[..., Any]
) -> Iterator[ComparedOutput]:
    """Compares the vectors of texts without a prompt, and with each prompt."""
    modules = source.find_file(MODULES_FILE)
    assert modules is not None
    texts = [*texts, *inputs.make_long_texts(texts, model.max_seq_length)]
    named = {f"embedding ({name})": prompt for name, prompt in model.settings.prompts.items() if prompt}
    for title, prompt in {"sentence embedding": "", **named}.items():
        torch, exact = reference("encode", modules.parent, texts, prompt=prompt)
        differences = Differences(MAX_RESULT_DIFFERENCE)
        differences.add(ours=model.encode(texts, prompt=prompt, show_progress_bar=False), torch=torch, exact=exact)
        yield differences.make_row(title)


def _compare_scores(
    source: Source, models: list[BertPreTrainedModel], texts: Sequence[str], reference: Callable[..., Any]
) -> Iterator[ComparedOutput]:
    """Compares the scores of pairs of texts if the source is a cross-encoder; otherwise yields nothing."""
    classifier = next((model for model in models if isinstance(model, BertForSequenceClassification)), None)
    if classifier is None or source.weights is not None or source.base is not None:
        return
    task = get_task("reranking")
    _, config, tokenizer = open_task(source, task)
    if not task.fits(config):
        return
    # sentence-transformers truncates long pairs.
    config = dataclasses.replace(config, extra={**config.extra, WINDOWS_KEY: None})
    max_length = task.resolve_max_length(config, tokenizer, None)
    first = [*texts, *inputs.make_long_texts(texts, max_length)]
    columns = task.from_texts(first, first[::-1])
    features = task.encode(columns, tokenizer, config, max_length=max_length)
    predictions = task.predict(classifier.predict_on_batch, features, columns, config=config)
    torch, exact = reference("predict", source.get_config().parent, list(zip(first, first[::-1], strict=True)))
    differences = Differences(MAX_RESULT_DIFFERENCE)
    ours = np.array([prediction["score"] for prediction in predictions])
    differences.add(ours=ours, torch=torch, exact=exact)
    yield differences.make_row("score")


def _select_outputs(model: BertPreTrainedModel, outputs: dict[str, Any], mask: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the outputs that the certificate compares, without those of padding, by their names in the table."""
    is_token = mask.astype(bool)
    states = outputs["hidden_states"] if type(model) is BertModel else ()
    selected = {f"layer {number}" if number else "embeddings": state[is_token] for number, state in enumerate(states)}
    for name, output in HEADS[type(model).__name__].outputs.items():
        selected[output.title] = outputs[name][is_token] if output.per_token else outputs[name]
    if set(_get_report(model).list_names("newly initialized")) >= _POOLER:
        del selected[HEADS["BertModel"].outputs["pooler_output"].title]
    return selected


def _check_tensors(reports: list[LoadReport]) -> tuple[str, list[str]]:
    """How many of the file's tensors were compared, and the flaws: tensors that no model used, and missing ones."""
    entries = [entry for report in reports for entry in report.entries if entry.status != "newly initialized"]
    names = {entry.name for entry in entries}
    loaded = {entry.name for entry in entries if entry.status == "loaded"}
    reasons = {entry.name: entry.reason for entry in entries if entry.reason not in ("", NO_SUCH_HEAD)}
    missing = {name for report in reports for name in report.list_names("newly initialized")} - _POOLER
    compared = f"tensors: {len(loaded)} of {len(names)} compared"
    for reason, count in Counter(reasons[name] for name in sorted(reasons.keys() - loaded)).items():
        compared += f"; {count} not compared: {reason}"
    return compared, [
        *(f"no model uses the file's tensor {name}" for name in sorted(names - loaded - reasons.keys())),
        *(f"the file has no tensor {name}" for name in sorted(missing)),
    ]
