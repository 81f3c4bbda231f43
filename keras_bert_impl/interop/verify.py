"""``verify``: the certificate of a conversion, this package beside transformers on torch, layer by layer."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_impl import __version__
from keras_bert_impl.checkpoints.matching import NO_SUCH_HEAD
from keras_bert_impl.checkpoints.report import LoadReport
from keras_bert_impl.interop import inputs
from keras_bert_impl.interop.certificate import Differences, Verification
from keras_bert_impl.models import BertModel, BertPreTrainedModel
from keras_bert_impl.models.heads import find_head_classes
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tokenization import BertTokenizer

# Class: its outputs, what the certificate calls them, and whether they are of each token.
_OUTPUTS: dict[str, dict[str, tuple[str, bool]]] = {
    "BertModel": {"pooler_output": ("pooler", False)},
    "BertForPreTraining": {
        "prediction_logits": ("masked-LM logits", True),
        "seq_relationship_logits": ("next-sentence logits", False),
    },
    "BertForMaskedLM": {"logits": ("masked-LM logits", True)},
    "BertForNextSentencePrediction": {"logits": ("next-sentence logits", False)},
    "BertForQuestionAnswering": {"start_logits": ("answer starts", True), "end_logits": ("answer ends", True)},
    "BertForSequenceClassification": {"logits": ("label logits", False)},
    "BertForTokenClassification": {"logits": ("label logits", True)},
    "BertForMultipleChoice": {"logits": ("choice logits", False)},
}

_POOLER = {"pooler.dense.weight", "pooler.dense.bias"}


def verify(source: str | Path, texts: Sequence[str] | None = None, *, revision: str | None = None) -> Verification:
    """Compares this package with transformers on torch, on one checkpoint that each reads with its own code.

    The backbone and every head that the checkpoint holds run on texts, on pairs of them and on rows of random ids, with
    padding; the same in transformers in float32 and float64.

    Args:
        source: a directory, a weights file, the name of a bundled model, or a hub name.
        texts: what to run; None takes film snippets that ship with this package and a few odd strings.
        revision: branch, tag or commit of a hub name.

    Raises:
        InputError: nothing usable at ``source``, transformers does not read its format, or it is not installed.

    >>> verification = verify("runs/sentiment")  # doctest: +SKIP
    >>> verification.passed, max(row.largest for row in verification.rows)  # doctest: +SKIP
    (True, 1.3e-05)
    """
    # Imported here because it starts torch.
    from keras_bert_impl.interop import reference

    opened = open_source(source, revision=revision)
    models = _models(opened)
    config = models[0].config
    batches = inputs.random_batches(config)
    fed = f"inputs: {inputs.count_tokens(batches):,} random ids"
    same, flaws = "token ids: none to compare, the source has no tokenizer", []
    if opened.file("tokenizer.json") or opened.file("vocab.txt"):
        tokenizer = BertTokenizer.from_pretrained(source, revision=revision)
        texts = inputs.snippets() if texts is None else texts
        encoded = inputs.encode(texts, ours=tokenizer, theirs=reference.tokenizer(opened), config=config)
        batches = encoded.batches + batches
        fed += f", {inputs.count_tokens(encoded.batches):,} tokens of {encoded.rows} texts and pairs"
        same = f"token ids: the same for {encoded.rows - len(encoded.differing)} of {encoded.rows} texts and pairs"
        flaws = [f"transformers has other token ids for {text!r}" for text in encoded.differing[:3]]

    measured: dict[str, Differences] = defaultdict(Differences)
    for model in models:
        _measure(model, reference.Reference(type(model).__name__, opened), batches, measured)
    tensors, left = _tensors([_report(model) for model in models])
    return Verification(
        title=f"{opened.name}: {', '.join(type(model).__name__ for model in models)} in keras_bert_impl {__version__} "
        f"(Keras {keras.__version__} on {keras.backend.backend()}) and in {reference.versions()}",
        rows=tuple(differences.row(name) for name, differences in measured.items()),
        inputs=fed,
        tokenizer=same,
        tensors=tensors,
        flaws=(*flaws, *left),
    )


def _models(source: Source) -> list[BertPreTrainedModel]:
    """The backbone, and a model for each head that the checkpoint holds."""
    backbone = BertModel.from_pretrained(source, output_hidden_states=True, dtype="float32")
    names = [entry.name for entry in _report(backbone).entries if entry.status != "newly initialised"]
    heads = find_head_classes(names, backbone.config.architectures)
    return [backbone, *(head.from_pretrained(source, dtype="float32") for head in heads)]


def _report(model: BertPreTrainedModel) -> LoadReport:
    assert model.load_report is not None
    return model.load_report


def _measure(
    model: BertPreTrainedModel, reference: Any, batches: list[inputs.Batch], measured: dict[str, Differences]
) -> None:
    """Runs the batches through a model and its reference, and adds what came out to what was measured."""
    for batch in batches:
        shaped = {name: ids[:, None] for name, ids in batch.items()} if model.input_rank == 3 else batch
        # As users run it: the traced graph, in which operations are fused.
        sides = (model.predict_on_batch(shaped), *reference(shaped))
        here, torch, exact = (_numbers(model, outputs, batch["attention_mask"]) for outputs in sides)
        for name in here:
            measured[name].add(here=here[name], torch=torch[name], exact=exact[name])


def _numbers(model: BertPreTrainedModel, outputs: dict[str, Any], mask: np.ndarray) -> dict[str, np.ndarray]:
    """What the certificate compares of a model's outputs, without those of padding."""
    real = mask.astype(bool)
    states = outputs["hidden_states"] if type(model) is BertModel else ()
    numbers = {f"layer {number}" if number else "embeddings": state[real] for number, state in enumerate(states)}
    for output, (name, each_token) in _OUTPUTS[type(model).__name__].items():
        numbers[name] = outputs[output][real] if each_token else outputs[output]
    if set(_report(model).names("newly initialised")) >= _POOLER:
        del numbers["pooler"]
    return numbers


def _tensors(reports: list[LoadReport]) -> tuple[str, list[str]]:
    """How many of the file's tensors some model took, and the flaws: those left over, those lacking."""
    entries = [entry for report in reports for entry in report.entries if entry.status != "newly initialised"]
    names = {entry.name for entry in entries}
    loaded = {entry.name for entry in entries if entry.status == "loaded"}
    reasons = {entry.name: entry.reason for entry in entries if entry.reason not in ("", NO_SUCH_HEAD)}
    lacking = {name for report in reports for name in report.names("newly initialised")} - _POOLER
    told = f"tensors: {len(loaded)} of {len(names)} compared"
    for reason, count in Counter(reasons[name] for name in sorted(reasons.keys() - loaded)).items():
        told += f"; {count} left out, {reason}"
    return told, [
        *(f"the file's {name} is in none of these models" for name in sorted(names - loaded - reasons.keys())),
        *(f"the file lacks {name}" for name in sorted(lacking)),
    ]
