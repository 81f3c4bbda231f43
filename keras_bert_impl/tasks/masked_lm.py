"""Masked language modeling: the words at ``[MASK]``."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features, Ragged
from keras_bert_impl.data.masking import choose_masked, mask_tokens
from keras_bert_impl.data.tables import Columns, iterate_table, read_lines
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import (
    NO_SUMMARY,
    Outputs,
    PredictFunction,
    Prediction,
    Serving,
    Summary,
    TargetLogit,
    Task,
)
from keras_bert_impl.tasks.encoding import check_fit, make_model_inputs, softmax, truncate
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

# The fraction of the tokens that is masked for training and evaluation, as in the paper.
MASKED_FRACTION = 0.15


@dataclasses.dataclass(frozen=True)
class MaskedFeatures(Features):
    """Rows with positions to predict.

    Args:
        vocabulary: the tokens by id, with empty strings for ids that only the model has.
        counts: int32 ``[rows]``, the number of predicted positions of each row.
    """

    vocabulary: Sequence[str] = ()
    counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))


class MaskedLM(Task):
    """Masked language modeling: predicts the tokens at ``[MASK]``. Fine-tuning adapts a model to a domain.

    A file is a ``.txt`` with one text per line, or a table with a column of texts. For training and evaluation the
    column ``label`` contains the complete texts, and 15 % of their tokens are masked as in the paper; the same ``seed``
    gives the same masks. Texts longer than ``max_length`` are split; for prediction they are truncated.

    Args:
        top_k: the number of tokens predicted for each ``[MASK]``.
        seed: the seed of the masks.
        each_token: whether each token is masked in turn instead, the others unchanged, for the pseudo-perplexity.

    Sources: https://arxiv.org/abs/1810.04805, section 3.1, and https://arxiv.org/abs/1910.14659 for pseudo-perplexity.
    """

    name: ClassVar[str] = "masked-lm"
    model_name: ClassVar[str] = "BertForMaskedLM"
    main_metric: ClassVar[str] = "accuracy"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"loss", "perplexity", "pseudo_perplexity"})
    graph: ClassVar[str] = "masks"
    pipeline_tag: ClassVar[str | None] = "fill-mask"
    file_columns: ClassVar[tuple[str, ...]] = ("text",)
    text_columns: ClassVar[tuple[str, ...]] = ("text",)
    labels_are_texts: ClassVar[bool] = True
    has_large_outputs: ClassVar[bool] = True
    # The output with the logits over the vocabulary.
    output: ClassVar[str] = "logits"

    def __init__(self, top_k: int = 5, *, seed: int = 1, each_token: bool = False) -> None:
        if top_k < 1:
            raise InputError(f"top_k is {top_k}; an integer above 0 was expected.")
        if seed < 0:
            raise InputError(f"the seed of masks is {seed}; an integer from 0 was expected.")
        self.top_k = top_k
        self.seed = seed
        self.each_token = each_token

    def choose_masks(self, *, seed: int | None = None, each_token: bool = False) -> Self:
        """Returns the task with other masks, see the class."""
        return type(self)(self.top_k, seed=self.seed if seed is None else seed, each_token=each_token)

    def list_label_names(self, config: BertConfig) -> Sequence[str]:
        """Returns no names: the logits are those of tokens."""
        return ()

    def make_config_changes(self, labels: list[str]) -> dict[str, Any]:
        """Returns no fields: the head has no labels."""
        return {}

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns no labels: the model predicts tokens.

        Raises:
            InputError: the column ``label`` is missing.
        """
        if "label" not in columns:
            raise InputError(
                "the column 'label' is missing; for masked-lm it contains the texts, as the column 'text'."
            )
        return []

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a ``.txt`` file with a text per line (empty lines are skipped), or a table with a column of texts."""
        if Path(str(path)).suffix.lower() == ".txt":
            lines = read_lines(path)
            rows = ({"location": f"{path}, line {number}", "text": line} for number, line in lines if line.strip())
        else:
            rows = (
                {key: row[key] for key in ("location", "text")} for row in iterate_table(path, labeled=False, **columns)
            )
        for row in rows:
            yield {**row, "label": row["text"]} if labeled else row

    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns for texts with ``[MASK]`` in them.

        Raises:
            InputError: there are second texts.
        """
        if text_pairs is not None:
            raise InputError("this task predicts masked words of single texts; omit the second texts.")
        return {"text": list(texts)}

    def encode(
        self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int
    ) -> MaskedFeatures:
        """Encodes texts with the positions to predict: each ``[MASK]``, or with labels the masks that are drawn.

        The input ``masked_lm_positions``, the labels and the weights are ``[rows, predictions]``; unused entries have
        weight 0.

        Raises:
            InputError: ``max_length`` exceeds the model's positions.
        """
        pairs = columns.get("text_pair")
        check_fit(tokenizer, config, max_length=max_length, pairs=pairs is not None)
        vocabulary = _pad_vocabulary(tokenizer, config)
        if "label" in columns:
            return self._draw_masks(columns["label"], tokenizer, vocabulary, max_length)
        rows, truncated = truncate(tokenizer, columns["text"], pairs, max_length=max_length)
        inputs = make_model_inputs(rows, tokenizer)
        is_mask = Ragged(inputs["input_ids"].flat == tokenizer.mask_token_id, inputs["input_ids"].offsets)
        positions, counts = _find_positions(is_mask)
        return MaskedFeatures(
            {**inputs, "masked_lm_positions": positions},
            {},
            {},
            example=np.arange(len(positions), dtype=np.int32),
            truncated=truncated,
            vocabulary=vocabulary,
            counts=counts,
        )

    def _draw_masks(
        self, texts: Sequence[str], tokenizer: BertTokenizer, vocabulary: Sequence[str], max_length: int
    ) -> MaskedFeatures:
        rows = tokenizer(list(texts), padding=False, max_length=max_length, return_overflowing=True)
        if self.each_token:
            return self._mask_each_token(rows, tokenizer, vocabulary)
        inputs = make_model_inputs(rows, tokenizer)
        ids = inputs["input_ids"]
        special = tokenizer.special_token_ids
        generator = np.random.default_rng(self.seed)
        padded = ids.to_padded(np.arange(len(ids)), length=int(ids.lengths.max()))
        chosen = choose_masked(
            generator,
            ~np.isin(padded, special),
            np.ones(padded.shape, bool),
            fraction=MASKED_FRACTION,
            max_predictions=max(1, round(MASKED_FRACTION * max_length)),
        )
        random_ids = np.setdiff1d(np.arange(tokenizer.vocab_size), special)
        masked = mask_tokens(generator, padded, chosen, mask_id=tokenizer.mask_token_id, random_ids=random_ids)
        is_token = np.arange(padded.shape[1]) < ids.lengths[:, None]
        positions, counts = _find_positions(Ragged(chosen[is_token], ids.offsets))
        is_prediction = np.arange(positions.shape[1]) < counts[:, None]
        true = np.where(is_prediction, np.take_along_axis(padded, positions, axis=1), 0).astype(np.int32)
        inputs["input_ids"] = Ragged(masked[is_token].astype(np.int32), ids.offsets, ids.pad)
        return MaskedFeatures(
            {**inputs, "masked_lm_positions": positions},
            {self.output: true},
            {self.output: is_prediction.astype(np.float32)},
            example=np.asarray(rows["overflow_to_sample_mapping"]),
            vocabulary=vocabulary,
            counts=counts,
        )

    def _mask_each_token(
        self, rows: Mapping[str, Any], tokenizer: BertTokenizer, vocabulary: Sequence[str]
    ) -> MaskedFeatures:
        """Makes a row for each token of the rows that is not special, with ``[MASK]`` in its place."""
        special = tokenizer.special_token_ids
        places = [(row, i) for row, ids in enumerate(rows["input_ids"]) for i in np.flatnonzero(~np.isin(ids, special))]
        masked = []
        for row, i in places:
            ids = rows["input_ids"][row].copy()
            ids[i] = tokenizer.mask_token_id
            masked.append(ids)
        types = [rows["token_type_ids"][row] for row, _ in places]
        true = np.array([rows["input_ids"][row][i] for row, i in places], np.int32).reshape(-1, 1)
        positions = np.array([i for _, i in places], np.int32).reshape(-1, 1)
        inputs = make_model_inputs({"input_ids": masked, "token_type_ids": types}, tokenizer)
        return MaskedFeatures(
            {**inputs, "masked_lm_positions": positions},
            {self.output: true},
            {self.output: np.ones(true.shape, np.float32)},
            example=np.asarray(rows["overflow_to_sample_mapping"])[[row for row, _ in places]],
            vocabulary=vocabulary,
            counts=np.ones(len(places), np.int32),
        )

    def make_loss(self) -> dict[str, Any]:
        """Returns the mean cross entropy over the masked tokens."""
        from keras_bert_impl.tasks.losses import MeanCrossEntropy

        return {self.output: MeanCrossEntropy()}

    def make_metrics(self) -> dict[str, Any]:
        """Perplexity, and the fraction of correct tokens."""
        from keras_bert_impl.tasks.losses import Perplexity, make_accuracy

        return {self.output: [Perplexity(), make_accuracy()]}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of the tokens."""
        from keras_bert_impl.tasks.losses import SoftenedKLDivergence

        return {self.output: SoftenedKLDivergence(temperature)}

    def reduce(
        self, outputs: Outputs, inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """Keeps the most likely tokens and their probabilities, and the log probability of the labels."""
        probabilities = softmax(np.asarray(outputs[self.output]))  # [rows, predictions, vocabulary]
        top = min(self.top_k, probabilities.shape[-1])
        ids = np.sort(np.argpartition(-probabilities, top - 1, axis=-1)[..., :top], axis=-1)
        order = np.argsort(-np.take_along_axis(probabilities, ids, axis=-1), axis=-1, kind="stable")
        ids = np.take_along_axis(ids, order, axis=-1)
        reduced = {"tokens": ids, "scores": np.take_along_axis(probabilities, ids, axis=-1)}
        if labels:
            true = np.take_along_axis(probabilities, labels[self.output][..., None], axis=-1)[..., 0]
            reduced["log_probability"] = np.log(np.maximum(true, np.finfo(np.float64).tiny))
        return reduced

    def wrap_export(self, run: PredictFunction) -> PredictFunction:
        """Selects the predicted positions: an export's function of ids returns the logits of all tokens."""

        def run_at_positions(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
            positions = inputs["masked_lm_positions"]
            outputs = run({name: values for name, values in inputs.items() if name != "masked_lm_positions"})
            logits = np.take_along_axis(np.asarray(outputs[self.output]), positions[:, :, None], axis=1)
            return {**outputs, self.output: logits}

        return run_at_positions

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example ``masks``: for each masked token its most likely ``tokens`` and their ``scores``, probabilities.

        With labels each also has the ``label``, the masked token, and its ``log_probability``.
        """
        assert isinstance(features, MaskedFeatures)
        predictions: list[Prediction] = [{"masks": []} for _ in columns["text"]]
        words = features.vocabulary
        for row, example in enumerate(features.example):
            for k in range(features.counts[row]):
                mask: Prediction = {
                    "tokens": [words[token] for token in outputs["tokens"][row, k]],
                    "scores": outputs["scores"][row, k].tolist(),
                }
                if features.labels:
                    label = features.labels[self.output][row][k]
                    mask |= {"label": words[label], "log_probability": float(outputs["log_probability"][row, k])}
                predictions[example]["masks"].append(mask)
        return predictions

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """``accuracy``, the fraction of masked tokens predicted first; ``loss``, their cross entropy; ``perplexity``.

        If each token is masked in turn, the latter is ``pseudo_perplexity``.

        Raises:
            InputError: the texts have no tokens that could be masked.
        """
        masks = [mask for prediction in predictions for mask in prediction["masks"]]
        if not masks:
            raise InputError("none of the texts has a word that could be masked; give texts with words.")
        loss = -float(np.mean([mask["log_probability"] for mask in masks]))
        accuracy = float(np.mean([mask["tokens"][0] == mask["label"] for mask in masks]))
        name = "pseudo_perplexity" if self.each_token else "perplexity"
        return {"accuracy": accuracy, "loss": loss, name: float(np.exp(loss))}

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``tokens``, strings ``[batch, masks, k]``, most likely first, and ``scores``, their probabilities."""
        from keras import ops

        words = _pad_vocabulary(serving.tokenizer, serving.config)
        probabilities = ops.softmax(outputs[self.output])
        scores, best = ops.top_k(probabilities, k=min(self.top_k, serving.config.vocab_size))
        return {"tokens": serving.gather(words, best), "scores": scores}

    def make_view_inputs(self, inputs: Mapping[str, np.ndarray], tokenizer: BertTokenizer) -> dict[str, np.ndarray]:
        """Adds the positions of ``[MASK]``; the first position if there is none."""
        masks = np.flatnonzero(inputs["input_ids"][0] == tokenizer.mask_token_id)
        positions = masks if masks.size else np.zeros(1)
        return {**inputs, "masked_lm_positions": positions[None].astype(np.int32)}

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the most likely tokens of the first ``[MASK]``."""
        masks = prediction["masks"]
        if not masks:
            return NO_SUMMARY
        which = "first " if len(masks) > 1 else ""
        return Summary(
            f"Most likely words for the {which}[MASK]", list(zip(masks[0]["tokens"], masks[0]["scores"], strict=True))
        )

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logit of the token ``target``, or of the most likely, at each ``[MASK]``."""
        positions = np.flatnonzero(row.inputs["input_ids"][0] == tokenizer.mask_token_id).tolist()
        if not positions:
            raise InputError(
                f"{row.text!r:.60} has no {tokenizer.mask_token}; put it where a word should be predicted."
            )
        if target is not None and target not in tokenizer.vocabulary:
            raise InputError(f"{target!r} is not a token of the vocabulary. Name a token of vocab.txt.")
        targets = []
        for number, position in enumerate(positions):
            best = int(outputs[self.output][0, number].argmax())
            token = best if target is None else tokenizer.convert_tokens_to_ids(target)
            suffix = f" at position {position}" if len(positions) > 1 else ""
            name = f"logit of {tokenizer.vocabulary[token]!r}{suffix}"
            targets.append(TargetLogit(name, self.output, token, position))
        return targets


def _pad_vocabulary(tokenizer: BertTokenizer, config: BertConfig) -> list[str]:
    """Returns the tokens by id, with empty strings for ids that only the model has."""
    return [*tokenizer.vocabulary, *[""] * (config.vocab_size - tokenizer.vocab_size)]


def _find_positions(is_predicted: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the true entries, int32 ``[rows, predictions]``, padded with 0; and their number per row."""
    counts = np.add.reduceat(is_predicted.flat, is_predicted.offsets[:-1], dtype=np.int32)
    flat = np.flatnonzero(is_predicted.flat)
    row = np.repeat(np.arange(len(counts)), counts)
    positions = np.zeros((len(counts), max(1, counts.max())), np.int32)
    positions[np.arange(positions.shape[1]) < counts[:, None]] = flat - is_predicted.offsets[row]
    return positions, counts
