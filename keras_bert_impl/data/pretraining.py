"""Batches for pretraining: sequences with masked words, made from a corpus on request."""

import math
from typing import Any

import numpy as np

from keras_bert_impl.data.masking import choose_masked, mask_tokens
from keras_bert_impl.data.objective import Objective
from keras_bert_impl.data.packing import pack
from keras_bert_impl.data.pairs import ChunkSampler, Pairs, PairSampler
from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.errors import InputError

# Packed batches draw more tokens than they contain, by this factor; sequences that do not fit are omitted.
_SURPLUS = 1.1
# Sequences that the mean length is estimated from.
_SAMPLED_PAIRS = 4096


class PretrainingBatches:
    """Batches as a random-access source: batch ``k`` depends on ``seed`` and ``k`` only, in every process.

    Every epoch visits the chunks of all documents (see `PairSampler` and `ChunkSampler`) in another order. Which words
    are masked, and which pairs are consecutive, is drawn again each time. Packed rows omit some random sequences that
    do not fit.

    Args:
        corpus: the corpus.
        documents: the numbers of the documents to draw from; None for all.
        batch_size: rows per batch.
        objective: how examples are made.
        seed: the seed of all random choices.
        steps: the number of batches.

    Item ``k``:
        ``(inputs, labels, weights)``, dictionaries of arrays under the names of `BertForPreTraining`:
        ``input_ids``, ``token_type_ids``, ``attention_mask`` ``[batch_size, max_length]`` and ``masked_lm_positions``
        ``[batch_size, predictions]``; for packed rows also ``position_ids``, ``sequence_ids`` and
        ``next_sentence_positions`` ``[batch_size, sequences]``. Labels are the original ids of the masked tokens, and
        0 for consecutive segments or 1; weights are 1 where there is something to predict, otherwise 0. For masked LM
        alone, the names are those of `BertForMaskedLM`, without what belongs to the next sentence.

    Attributes:
        per_epoch: the number of batches that visit every chunk once.
        pairable: the fraction of chunks that can be pairs of consecutive segments; 1 if there are no pairs.

    Raises:
        InputError: there are too few documents, or fewer chunks than a batch needs.
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
        self._special = 3 if objective.has_pairs else 2  # [CLS] a [SEP] b [SEP], or [CLS] a [SEP]
        make_sampler = PairSampler if objective.has_pairs else ChunkSampler
        self._sampler = make_sampler(corpus, documents, tokens=objective.max_length - self._special)
        self._chunks_per_batch = self._count_chunks_per_batch()
        self.per_epoch = len(self._sampler) // self._chunks_per_batch
        if not self.per_epoch:
            raise InputError(
                f"{corpus.directory}: {len(documents):,} documents give {len(self._sampler):,} "
                f"{'pairs' if objective.has_pairs else 'chunks'} of {objective.max_length} tokens; a batch needs "
                f"{self._chunks_per_batch:,}. Choose smaller batches or more text."
            )
        self.pairable = self._sampler.pairable if isinstance(self._sampler, PairSampler) else 1.0
        tokenizer = corpus.tokenizer
        special = tokenizer.special_token_ids
        self._cls, self._sep, self._mask = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id
        self._pad = tokenizer.pad_token_id
        self._is_maskable = ~np.isin(np.arange(tokenizer.vocab_size), special)
        self._random_ids = np.setdiff1d(np.arange(tokenizer.vocab_size), special).astype(np.int32)
        continues = [tokenizer.continues_word(token) for token in tokenizer.vocabulary]
        self._is_word_start = ~np.array(continues) if objective.whole_words else np.ones(tokenizer.vocab_size, bool)
        self._epoch: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        return f"PretrainingBatches({self.corpus!r}, batch_size={self.batch_size}, seed={self.seed})"

    def _count_chunks_per_batch(self) -> int:
        """How many chunks a batch draws: one per row, or as many as fill packed rows."""
        if not self.objective.packing:
            return self.batch_size
        every = max(1, len(self._sampler) // _SAMPLED_PAIRS)
        drawn = self._sampler.draw(
            np.random.default_rng(0), np.arange(0, len(self._sampler), every), short=self.objective.short_fraction
        )
        mean = drawn.length.sum() / len(drawn) + self._special
        return math.ceil(self.batch_size * min(self.objective.sequences, self.objective.max_length / mean * _SURPLUS))

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
        if not 0 <= k < self.steps:
            raise IndexError(f"batch {k} does not exist; the batches are 0 to {self.steps - 1}")
        objective = self.objective
        generator = np.random.default_rng((self.seed, k, 1))
        pairs = self._sampler.draw(generator, self._select_chunks(k), short=objective.short_fraction)
        row = np.arange(len(pairs))
        if objective.packing:
            lengths = pairs.length.sum(axis=0) + self._special
            packed, row, length = pack(
                lengths, rows=self.batch_size, row_length=objective.max_length, max_sequences=objective.sequences
            )
            pairs = pairs.take(packed).truncate(generator, length - self._special)
        rows = _Rows(self, pairs, row)
        chosen = choose_masked(
            generator,
            rows.is_text & self._is_maskable[rows.ids],
            self._is_word_start[rows.ids],
            fraction=objective.masked_fraction,
            max_predictions=objective.predictions,
        )
        # The chosen positions first, in their order.
        positions = np.argsort(~chosen, axis=1, kind="stable")[:, : objective.predictions].astype(np.int32)
        is_prediction = np.take_along_axis(chosen, positions, axis=1)
        masked_ids = mask_tokens(generator, rows.ids, chosen, mask_id=self._mask, random_ids=self._random_ids)
        inputs = {
            "input_ids": masked_ids,
            "token_type_ids": rows.types,
            "attention_mask": (rows.sequence > 0).astype(np.int32),
            "masked_lm_positions": np.where(is_prediction, positions, 0),
        }
        masked = objective.masked_output
        labels = {masked: np.where(is_prediction, np.take_along_axis(rows.ids, positions, axis=1), 0)}
        weights = {masked: is_prediction.astype(np.float32)}
        if objective.packing:
            inputs |= {"position_ids": rows.position, "sequence_ids": rows.sequence}
        if objective.has_pairs:
            # One column if rows are not packed.
            sequences = slice(None) if objective.packing else 0
            labels["seq_relationship_logits"] = rows.label[:, sequences]
            weights["seq_relationship_logits"] = rows.is_sequence[:, sequences].astype(np.float32)
            if objective.packing:
                inputs["next_sentence_positions"] = rows.cls_position
        return inputs, labels, weights

    def _select_chunks(self, k: int) -> np.ndarray:
        """Returns the chunks of batch ``k``."""
        epoch, number = divmod(k, self.per_epoch)
        cached_epoch, order = self._epoch
        if cached_epoch != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self._sampler))
            # Both are assigned at once, so that several threads may do this.
            self._epoch = (epoch, order)
        return order[number * self._chunks_per_batch : (number + 1) * self._chunks_per_batch]

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches."""
        return tuple({name: (value.shape, value.dtype) for name, value in part.items()} for part in self[0])


class _Rows:
    """Sequences ``[CLS] a [SEP] b [SEP]`` or ``[CLS] a [SEP]`` arranged in rows.

    All arrays are ``[rows, length]`` or ``[rows, sequences]``.

    Args:
        batches: the batches, for their tokens and sizes.
        pairs: the pairs that become sequences.
        row: ``[pairs]``, ascending, the row of each.
    """

    def __init__(self, batches: PretrainingBatches, pairs: Pairs, row: np.ndarray) -> None:
        rows, row_length = batches.batch_size, batches.objective.max_length
        first = pairs.length[0]
        total = pairs.length.sum(axis=0) + batches._special
        ends = np.cumsum(total)
        # Where each sequence starts in its row, and its number in the row.
        row_start = np.searchsorted(row, np.arange(rows))
        begin = (ends - total) - (ends - total)[row_start[row]]
        number = np.arange(len(pairs)) - row_start[row]

        # For each token, the number of its sequence and its position there.
        of = np.repeat(np.arange(len(pairs)), total)
        position = np.arange(len(of)) - (ends - total)[of]
        is_second = position > first[of] + 1
        is_separator = (position == first[of] + 1) | (position == total[of] - 1)
        is_text = (position > 0) & ~is_separator
        ids = np.where(is_separator, batches._sep, batches._cls).astype(np.int32)
        ids[is_text] = batches.corpus.gather(pairs.start.T.reshape(-1), pairs.length.T.reshape(-1))

        index = row[of] * row_length + begin[of] + position

        def to_rows(values: np.ndarray, padding: int = 0) -> np.ndarray:
            flat = np.full(rows * row_length, padding, values.dtype)
            flat[index] = values
            return flat.reshape(rows, row_length)

        self.ids = to_rows(ids, batches._pad)
        self.types = to_rows(is_second.astype(np.int32))
        self.is_text = to_rows(is_text)
        self.position = to_rows(position.astype(np.int32))
        self.sequence = to_rows((number[of] + 1).astype(np.int32))
        sequences = batches.objective.sequences
        self.label, self.cls_position = np.zeros((2, rows, sequences), np.int32)
        self.is_sequence = np.zeros((rows, sequences), bool)
        self.label[row, number] = pairs.label
        self.cls_position[row, number] = begin
        self.is_sequence[row, number] = True
