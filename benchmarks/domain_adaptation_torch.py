"""The job of ``domain_adaptation.py`` in transformers on torch: what ``run_mlm.py`` does with one text per line."""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
import transformers
from domain_adaptation import CHECKPOINT, HELD_OUT, LENGTH, RATE, ROWS, WARMUP
from torch_adamw import make_torch_adamw
from transformers import BertForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from keras_bert_impl.data import TokenCorpus
from keras_bert_impl.data.pairs import ChunkSampler
from keras_bert_impl.sources import open_source


def make_instances(corpus: TokenCorpus, documents: np.ndarray) -> list[dict[str, list[int]]]:
    """The rows, one for each chunk of the corpus."""
    tokenizer = corpus.tokenizer
    sampler = ChunkSampler(corpus, documents, tokens=LENGTH - 2)
    chunks = sampler.draw(np.random.default_rng(0), np.arange(len(sampler)), short=0.0)
    rows = []
    for start, length in zip(chunks.start.T, chunks.length.T, strict=True):
        ids = [tokenizer.cls_token_id, *corpus.gather(start, length).tolist(), tokenizer.sep_token_id]
        # Without the mask, the collator computes it from the ids, row by row.
        rows.append({"input_ids": ids, "special_tokens_mask": [1, *[0] * int(length[0]), 1]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # No time is measured, and the machine may do other work.
    transformers.set_seed(arguments.seed)
    corpus = TokenCorpus(arguments.shards)
    documents, _ = corpus.split_documents(HELD_OUT, seed=arguments.seed)
    names = ("pad", "unk", "cls", "sep", "mask")
    spellings = {f"{name}_token": getattr(corpus.tokenizer, f"{name}_token") for name in names}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(arguments.shards / "tokenizer.json"), **spellings)
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    loader = torch.utils.data.DataLoader(
        make_instances(corpus, documents), batch_size=ROWS, shuffle=True, collate_fn=collate, drop_last=True
    )
    # Its weights are in float16.
    model = BertForMaskedLM.from_pretrained(open_source(CHECKPOINT).directory, dtype=torch.float32).train()
    optimizer = make_torch_adamw(model, learning_rate=RATE, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(WARMUP * arguments.steps), arguments.steps)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for batch in itertools.islice(batches, arguments.steps):
        labels = batch.pop("labels")
        is_masked = labels != -100
        # The loss of `BertForMaskedLM`, whose other logits are not needed.
        logits = model.cls(model.bert(**batch).last_hidden_state[is_masked])
        torch.nn.functional.cross_entropy(logits, labels[is_masked]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(arguments.output)
    corpus.tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
