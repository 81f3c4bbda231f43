"""Batches for pretraining: pairs of segments with masked words, made from a corpus when they are asked for."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_bert_impl.data.masking import choose, replace
from keras_bert_impl.data.packing import pack
from keras_bert_impl.data.pairs import Pairs, PairSampler
from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.errors import InputError, check_field

# [CLS] a [SEP] b [SEP]
_SPECIAL = 3
_SHORTEST_ROW = 8
# A packed row holds at most one sequence for so many tokens: the shortest pairs have five.
_PACKED_SEQUENCE = 8
# Packed batches draw so many times the tokens that they hold; what finds no place is left out.
_SPARE = 1.1
# Pairs that tell the mean length.
_SAMPLED = 4096


@dataclasses.dataclass(frozen=True)
class Objective:
    """What pretraining examples are like; the defaults are the paper's.

    Args:
        max_length: tokens of a row, special tokens included.
        masked_share: share of the tokens that are to be predicted.
        max_predictions: the most of a row; None: the share of ``max_length``, rounded up.
        whole_words: whether all pieces of a word are masked together.
        short_share: share of the pairs that are shorter, by chance from 2 tokens on.
        packing: whether several sequences share a row, each seen alone.

    Raises:
        InputError: a setting is out of its range.
    """

    max_length: int = 128
    masked_share: float = 0.15
    max_predictions: int | None = None
    whole_words: bool = True
    short_share: float = 0.1
    packing: bool = False

    def __post_init__(self) -> None:
        if self.max_length < _SHORTEST_ROW:
            raise InputError(
                f"max_length is {self.max_length}; a pair needs at least {_SHORTEST_ROW} tokens, [CLS] and two [SEP] "
                "among them."
            )
        for name in ("masked_share", "short_share"):
            check_field(self, name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        most = self.max_predictions
        check_field(self, "max_predictions", most is None or 1 <= most <= self.max_length, "1 to max_length")

    @property
    def predictions(self) -> int:
        """The most predictions of a row."""
        return self.max_predictions or max(1, math.ceil(self.max_length * self.masked_share))

    @property
    def sequences(self) -> int:
        """The most sequences of a row."""
        return max(1, self.max_length // _PACKED_SEQUENCE) if self.packing else 1


class PretrainingBatches:
    """Batches as a random-access source: batch ``k`` depends on ``seed`` and ``k`` only, in every process.

    Every epoch takes the chunks of all documents (see `PairSampler`) in another order; which words are masked, and
    which pairs are real, is drawn anew each time. Packed rows leave out some pairs that find no room, by chance.

    Args:
        corpus: the corpus.
        documents: the numbers of those to draw from; None for all.
        batch_size: rows in a batch.
        objective: what examples are like.
        seed: of all chances.
        steps: how many batches there are.

    Item ``k``:
        ``(inputs, labels, weights)``, dictionaries of arrays under the names of `BertForPreTraining`:
        ``input_ids``, ``token_type_ids``, ``attention_mask`` ``[batch_size, max_length]`` and ``masked_lm_positions``
        ``[batch_size, predictions]``; for packed rows also ``position_ids``, ``sequence_ids`` and
        ``next_sentence_positions`` ``[batch_size, sequences]``. Labels are the ids that were masked, and 0 for real
        next segments or 1; weights are 1 where there is something to predict, else 0.

    Attributes:
        per_epoch: batches that take every chunk once.
        pairable: the share of chunks that can be pairs of a sentence and the next.

    Raises:
        InputError: too few documents, or fewer chunks than a batch takes.
    """

    def __init__(
        self,
        corpus: TokenCorpus,
        *,
        documents: np.ndarray | None = None,
        batch_size: int,
        objective: Objective | None = None,
        seed: int = 1,
        steps: int,
    ) -> None:
        self.corpus = corpus
        self.batch_size = batch_size
        self.objective = objective = objective or Objective()
        self.seed = seed
        self.steps = steps
        documents = np.arange(corpus.documents) if documents is None else documents
        self._sampler = PairSampler(corpus, documents, tokens=objective.max_length - _SPECIAL)
        self._drawn = self._chunks_of_batch()
        self.per_epoch = len(self._sampler) // self._drawn
        if not self.per_epoch:
            raise InputError(
                f"{corpus.directory}: {len(documents):,} documents give {len(self._sampler):,} pairs of "
                f"{objective.max_length} tokens; a batch takes {self._drawn:,}. Choose smaller batches, or more text."
            )
        self.pairable = self._sampler.pairable
        tokenizer = corpus.tokenizer
        special = tokenizer.special_token_ids
        self._cls, self._sep, self._mask = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id
        self._pad = tokenizer.pad_token_id
        self._is_word = ~np.isin(np.arange(tokenizer.vocab_size), special)
        self._others = np.setdiff1d(np.arange(tokenizer.vocab_size), special).astype(np.int32)
        continues = [token.startswith("##") for token in tokenizer.vocabulary]
        self._begins = ~np.array(continues) if objective.whole_words else np.ones(tokenizer.vocab_size, bool)
        self._epoch: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        return f"PretrainingBatches({self.corpus!r}, batch_size={self.batch_size}, seed={self.seed})"

    def _chunks_of_batch(self) -> int:
        """How many chunks a batch draws: one a row, or as many as fill packed rows."""
        if not self.objective.packing:
            return self.batch_size
        every = max(1, len(self._sampler) // _SAMPLED)
        drawn = self._sampler.draw(
            np.random.default_rng(0), np.arange(0, len(self._sampler), every), short=self.objective.short_share
        )
        mean = drawn.length.sum() / len(drawn) + _SPECIAL
        return math.ceil(self.batch_size * min(self.objective.sequences, self.objective.max_length / mean * _SPARE))

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
        if not 0 <= k < self.steps:
            raise IndexError(f"batch {k} of {self.steps}")
        objective = self.objective
        generator = np.random.default_rng((self.seed, k, 1))
        pairs = self._sampler.draw(generator, self._chunks(k), short=objective.short_share)
        row = np.arange(len(pairs))
        if objective.packing:
            lengths = pairs.length.sum(axis=0) + _SPECIAL
            placed, row, room = pack(lengths, rows=self.batch_size, room=objective.max_length, most=objective.sequences)
            pairs = pairs.take(placed).cut(generator, room - _SPECIAL)
        rows = _Rows(self, pairs, row)
        chosen = choose(
            generator,
            rows.is_text & self._is_word[rows.ids],
            self._begins[rows.ids],
            share=objective.masked_share,
            most=objective.predictions,
        )
        # Chosen places first, in their order.
        positions = np.argsort(~chosen, axis=1, kind="stable")[:, : objective.predictions].astype(np.int32)
        is_prediction = np.take_along_axis(chosen, positions, axis=1)
        seen = replace(generator, rows.ids, chosen, mask_id=self._mask, others=self._others)
        inputs = {
            "input_ids": seen,
            "token_type_ids": rows.types,
            "attention_mask": (rows.sequence > 0).astype(np.int32),
            "masked_lm_positions": np.where(is_prediction, positions, 0),
        }
        labels = {
            "prediction_logits": np.where(is_prediction, np.take_along_axis(rows.ids, positions, axis=1), 0),
            "seq_relationship_logits": rows.label,
        }
        weights = {
            "prediction_logits": is_prediction.astype(np.float32),
            "seq_relationship_logits": rows.is_sequence.astype(np.float32),
        }
        if objective.packing:
            inputs |= {
                "position_ids": rows.position,
                "sequence_ids": rows.sequence,
                "next_sentence_positions": rows.cls_position,
            }
        else:
            labels["seq_relationship_logits"] = rows.label[:, 0]
            weights["seq_relationship_logits"] = weights["seq_relationship_logits"][:, 0]
        return inputs, labels, weights

    def _chunks(self, k: int) -> np.ndarray:
        """The chunks of batch ``k``."""
        epoch, number = divmod(k, self.per_epoch)
        kept_epoch, order = self._epoch
        if kept_epoch != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self._sampler))
            # Assigned at once, so that threads may do this side by side.
            self._epoch = (epoch, order)
        return order[number * self._drawn : (number + 1) * self._drawn]

    def spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches."""
        return tuple({name: (value.shape, value.dtype) for name, value in part.items()} for part in self[0])


class _Rows:
    """Sequences ``[CLS] a [SEP] b [SEP]`` laid into rows, ``[rows, length]``.

    Args:
        batches: whose tokens and sizes count.
        pairs: what the sequences hold.
        row: ``[pairs]``, ascending, the row of each.
    """

    def __init__(self, batches: PretrainingBatches, pairs: Pairs, row: np.ndarray) -> None:
        rows, room = batches.batch_size, batches.objective.max_length
        first, second = pairs.length
        total = first + second + _SPECIAL
        ends = np.cumsum(total)
        # Where each sequence begins in its row, and its number there.
        row_start = np.searchsorted(row, np.arange(rows))
        begin = (ends - total) - (ends - total)[row_start[row]]
        number = np.arange(len(pairs)) - row_start[row]

        of = np.repeat(np.arange(len(pairs)), total)
        position = np.arange(len(of)) - (ends - total)[of]
        is_second = position > first[of] + 1
        is_separator = (position == first[of] + 1) | (position == total[of] - 1)
        is_text = (position > 0) & ~is_separator
        ids = np.where(is_separator, batches._sep, batches._cls).astype(np.int32)
        ids[is_text] = batches.corpus.gather(pairs.start.T.reshape(-1), pairs.length.T.reshape(-1))

        place = row[of] * room + begin[of] + position

        def laid(values: np.ndarray, filling: int = 0) -> np.ndarray:
            flat = np.full(rows * room, filling, values.dtype)
            flat[place] = values
            return flat.reshape(rows, room)

        self.ids = laid(ids, batches._pad)
        self.types = laid(is_second.astype(np.int32))
        self.is_text = laid(is_text)
        self.position = laid(position.astype(np.int32))
        self.sequence = laid((number[of] + 1).astype(np.int32))
        sequences = batches.objective.sequences
        self.label, self.cls_position = np.zeros((2, rows, sequences), np.int32)
        self.is_sequence = np.zeros((rows, sequences), bool)
        self.label[row, number] = pairs.label
        self.cls_position[row, number] = begin
        self.is_sequence[row, number] = True
