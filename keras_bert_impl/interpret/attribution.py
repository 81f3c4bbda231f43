"""Attributions: integrated gradients over the embeddings, summed per word."""

import functools
import itertools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.gradients import compute_gradient
from keras_bert_impl.interpret.pages import TextView, describe_model, find_model_task, summarize
from keras_bert_impl.interpret.view import Page
from keras_bert_impl.models.cache import cached_on
from keras_bert_impl.ops.compiled import compile_function
from keras_bert_impl.tasks.base import Summary, TargetLogit
from keras_bert_impl.tasks.words import EncodedText, encode_row
from keras_bert_impl.tokenization import BertTokenizer

# The max. difference between the sum over the words and the change of the logit: relative and absolute.
TOLERANCE, ABSOLUTE_TOLERANCE = 0.01, 1e-3
_MAX_STEPS = 1000
# The number of steps is multiplied by this if the difference is larger.
_REFINEMENT = 4
# Max. tokens in one pass over all steps: more take memory, and are not faster on a CPU.
MAX_TOKENS = 4096


@dataclass(frozen=True)
class Target:
    """One explained logit, and the contribution of each word to it.

    Attributes:
        name: a description of the logit, such as ``logit of 'positive'``.
        scores: float64 ``[words]``, the contribution of each word. Special tokens have 0.
        change: the difference between the logit and that of the baseline, the same row with all words blank.
    """

    name: str
    scores: np.ndarray
    change: float

    @property
    def total(self) -> float:
        """The sum over the words, which approximates the change."""
        return float(self.scores.sum())

    @property
    def is_complete(self) -> bool:
        """Whether the sum equals the change within one percent (completeness)."""
        return abs(self.total - self.change) <= max(TOLERANCE * abs(self.change), ABSOLUTE_TOLERANCE)


@dataclass(frozen=True)
class Attribution(TextView):
    """A text, the model's prediction, and the contributions of the words. A notebook shows it as a page.

    Attributes:
        row, heading, prediction, model: see `TextView`.
        targets: the explained logits.
    """

    targets: tuple[Target, ...]

    @property
    def words(self) -> list[str]:
        """The words of `Target.scores`, special tokens included."""
        return [word.text for word in self.row.words]

    def format_table(self) -> str:
        """Returns the words with the largest contributions to each target, for a terminal."""
        lines = []
        for target in self.targets:
            lines.append(
                f"{target.name}: {target.change:+.2f} compared with blank words, sum over the words {target.total:+.2f}"
            )
            order = [n for n in np.argsort(-np.abs(target.scores)) if not self.row.words[n].is_special]
            lines += [f"  {target.scores[n]:+7.3f}  {self.words[n]}" for n in order[:10]]
        return "\n".join(lines)

    def make_page(self) -> Page:
        """Returns the content of the page."""
        attributions = [(target.name, target.scores, target.total, target.change) for target in self.targets]
        return self._make_page("Contributions of the words", attributions=attributions)


def attribute(
    model: Any,
    tokenizer: BertTokenizer,
    text: str,
    text_pair: str | None = None,
    *,
    target: str | None = None,
    steps: int = 50,
) -> Attribution:
    """Computes the contribution of each word of a text to a prediction; see `attribute_all`.

    >>> why = attribute(model, tokenizer, "It was a great movie.")  # doctest: +SKIP
    >>> print(why.format_table())  # doctest: +SKIP
    """
    pairs = None if text_pair is None else [text_pair]
    return attribute_all(model, tokenizer, [text], pairs, target=target, steps=steps)[0]


def attribute_all(
    model: Any,
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    target: str | None = None,
    steps: int = 50,
) -> list[Attribution]:
    """Integrated gradients for texts, or pairs: the contribution of each word to a logit.

    The gradient of a logit with respect to the embeddings is integrated along the straight line from the baseline, the
    row with ``[PAD]`` in place of all words, to the row itself, and summed over each word. In theory the words' sum
    equals the difference of the logit between both ends (completeness); if ``steps`` points do not reach it within one
    percent, four times as many are used.

    Args:
        model: a model with a head.
        tokenizer: its tokenizer.
        texts: the texts; for question answering the questions.
        text_pairs: the second texts, one for each text.
        target: what to explain. Classification: a label; None: the predicted one. Tagging: a word of the text, for its
            predicted tag; None: each word with a tag. Question answering: words of the context, as an answer; None: the
            most likely start and end. Masked words: a token; None: the most likely at each ``[MASK]``.
        steps: points of the integral (Gauss-Legendre).

    Raises:
        InputError: the task does not support explanations, the target is unknown, a text is too long or has no
            words, or there is nothing to explain, as in a text without ``[MASK]``.

    Warns:
        UserWarning: the sum still differs by more than one percent.

    Source: https://arxiv.org/abs/1703.01365
    """
    if not 1 <= steps <= _MAX_STEPS:
        raise InputError(f"steps is {steps}; an integer from 1 to {_MAX_STEPS} was expected.")
    if text_pairs is not None and len(texts) != len(text_pairs):
        raise InputError(
            f"there are {len(texts)} texts but {len(text_pairs)} second texts; the same number was expected."
        )
    pairs = text_pairs if text_pairs is not None else itertools.repeat(None)
    rows = [encode_row(tokenizer, model.config, *pair) for pair in zip(texts, pairs, strict=False)]
    task = find_model_task(model)
    task.require("explain")
    summaries: list[Summary] = []
    paths: list[_Path] = []
    for number, row in enumerate(rows):
        outputs = model.predict_on_batch(task.make_view_inputs(row.inputs, tokenizer))
        logits = task.find_targets(row, outputs, tokenizer, model.config, target)
        paths += [_Path(number, row, logit) for logit in logits]
        summaries.append(summarize(model, tokenizer, row, outputs))
    explained = cached_on(model, "explained model", lambda: task.get_explained_model(model))
    results = _integrate(explained, tokenizer, paths, steps)
    rough = [k for k, result in enumerate(results) if not result.is_complete]
    finer = _integrate(explained, tokenizer, [paths[k] for k in rough], _REFINEMENT * steps)
    for k, result in zip(rough, finer, strict=True):
        results[k] = result
    targets = defaultdict(list)
    for path, result in zip(paths, results, strict=True):
        targets[path.number].append(result)
        if not result.is_complete:
            warnings.warn(
                f"{path.row.text!r:.60}, {result.name}: the sum over the words is {result.total:.4f}, the change is "
                f"{result.change:.4f}. Use more steps than {steps}.",
                stacklevel=2,
            )
    return [
        Attribution(row, summary.heading, summary.predictions, describe_model(model), tuple(targets[number]))
        for number, (row, summary) in enumerate(zip(rows, summaries, strict=True))
    ]


@dataclass(frozen=True)
class _Path:
    """One integral: of one logit, from the baseline of a row to the row with this number."""

    number: int
    row: EncodedText
    logit: TargetLogit


def _integrate(model: Any, tokenizer: BertTokenizer, paths: Sequence[_Path], steps: int) -> list[Target]:
    """Computes the integrals from ``steps`` points each."""
    special = np.array(tokenizer.special_token_ids)
    positions, weights = np.polynomial.legendre.leggauss(steps)
    # From [-1, 1] to [0, 1].
    positions, weights = ((positions + 1) / 2).astype(np.float32), (weights / 2).astype(np.float32)
    results: dict[int, Target] = {}
    for chosen in _make_batches(paths, steps):
        batch = [paths[k] for k in chosen]
        output = batch[0].logit.output
        compute_change, compute_mean_gradient = cached_on(
            model, f"passes to {output}", functools.partial(_compile_passes, model, output)
        )
        rows = _pad_rows([path.row.inputs for path in batch])
        ids = rows["input_ids"]
        blanks = np.where(np.isin(ids, special), ids, tokenizer.pad_token_id).astype(np.int32)
        # In float32 whatever the model's precision, because many small terms are summed.
        states = [
            ops.cast(model.embeddings(values, token_type_ids=rows["token_type_ids"]), "float32")
            for values in (ids, blanks)
        ]
        rows["masked_lm_positions"] = np.array([[path.logit.position] for path in batch], np.int32)
        index = np.array([path.logit.index for path in batch], np.int32)
        others = (index, *(rows[name] for name in _list_other_inputs(model)))
        at_once = max(1, MAX_TOKENS // ids.size)
        scores = np.zeros(ids.shape)
        for begin in range(0, steps, at_once):
            part = slice(begin, begin + at_once)
            points = (positions[part], weights[part])
            scores += ops.convert_to_numpy(compute_mean_gradient(*states, *points, *others))
        changes = ops.convert_to_numpy(compute_change(*states, *others))
        for k, path, values, change in zip(chosen, batch, scores, changes, strict=True):
            results[k] = Target(path.logit.name, path.row.sum_per_word(values[: len(path.row)]), float(change))
    return [results[k] for k in range(len(paths))]


def _list_other_inputs(model: Any) -> list[str]:
    """Returns the inputs of a model in addition to the embeddings' output."""
    return [name for name in ("input_ids", "attention_mask", "masked_lm_positions") if name in model.input_names]


def _compile_passes(model: Any, output: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compiles two functions for one output: the change of the logit between both ends, and a part of the integral.

    They are cached, because compiling them is slower than explaining several texts.
    """
    names = _list_other_inputs(model)
    from_embeddings = model.from_embedding_output(*names)

    def compute_logit(states: Any, index: Any, *inputs: Any) -> Any:
        by_name = {"embedding_output": ops.cast(states, model.embeddings.compute_dtype)}
        logits = from_embeddings(by_name | dict(zip(names, inputs, strict=True)), training=False)[output]
        flat = ops.reshape(logits, (ops.shape(logits)[0], -1))
        return ops.take_along_axis(flat, index[:, None], axis=1)[:, 0]  # [rows]

    def compute_change(states: Any, baseline: Any, *others: Any) -> Any:
        return compute_logit(states, *others) - compute_logit(baseline, *others)

    def compute_mean_gradient(states: Any, baseline: Any, positions: Any, weights: Any, *others: Any) -> Any:
        """Returns the part of the integral at some positions between 0 and 1: ``[rows, tokens]``."""
        shape, count = ops.shape(states), ops.shape(positions)[0]
        line = states - baseline
        points = baseline[:, None] + positions[None, :, None, None] * line[:, None]  # [rows, positions, tokens, hidden]
        points = ops.reshape(points, (-1, *shape[1:]))
        repeated = [ops.repeat(values, count, axis=0) for values in others]
        gradients = compute_gradient(lambda point: compute_logit(point, *repeated), points)
        gradients = ops.reshape(gradients, (shape[0], count, *shape[1:]))
        mean = ops.sum(weights[None, :, None, None] * gradients, axis=1)  # [rows, tokens, hidden]
        return ops.sum(mean * line, axis=-1)

    return compile_function(compute_change, model), compile_function(compute_mean_gradient, model)


def _make_batches(paths: Sequence[_Path], steps: int) -> Iterator[list[int]]:
    """Batches of paths, by their numbers: with the same output and similar length, within `MAX_TOKENS`."""
    order = sorted(range(len(paths)), key=lambda k: (paths[k].logit.output, -len(paths[k].row)))
    for _, group in itertools.groupby(order, key=lambda k: paths[k].logit.output):
        numbers = list(group)
        while numbers:
            size = max(1, MAX_TOKENS // (len(paths[numbers[0]].row) * steps))
            yield numbers[:size]
            numbers = numbers[size:]


def _pad_rows(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows ``[1, tokens]`` as one batch, padded with zeros."""
    length = max(row["input_ids"].shape[1] for row in rows)
    return {
        name: np.concatenate([np.pad(row[name], ((0, 0), (0, length - row[name].shape[1]))) for row in rows])
        for name in rows[0]
    }
