"""The job of ``pretrain_curves.py`` in transformers on torch; prints its results as JSON."""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretrain_curves import LENGTH, RATE, ROWS, SEED, WARMUP, split_corpus
from torch_adamw import make_torch_adamw
from transformers import BertConfig, BertForPreTraining, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from keras_bert_impl.data import TokenCorpus
from keras_bert_impl.data.pairs import PairSampler

PARTS = 20
TINY = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}


def make_instances(corpus: TokenCorpus, documents: np.ndarray) -> list[dict[str, Any]]:
    """Segment pairs, one for each chunk of the corpus, padded."""
    tokenizer = corpus.tokenizer
    sampler = PairSampler(corpus, documents, tokens=LENGTH - 3)
    pairs = sampler.draw(np.random.default_rng(SEED), np.arange(len(sampler)), short=0.1)
    rows = []
    for start, length, label in zip(pairs.start.T, pairs.length.T, pairs.label, strict=True):
        a, b = (corpus.gather(start[i : i + 1], length[i : i + 1]).tolist() for i in (0, 1))
        ids = [tokenizer.cls_token_id, *a, tokenizer.sep_token_id, *b, tokenizer.sep_token_id]
        gap = LENGTH - len(ids)
        rows.append(
            {
                "input_ids": ids + [tokenizer.pad_token_id] * gap,
                "token_type_ids": [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * gap,
                "attention_mask": [1] * len(ids) + [0] * gap,
                # Without it, the collator computes it from the ids, row by row.
                "special_tokens_mask": [1, *[0] * len(a), 1, *[0] * len(b), 1, *[1] * gap],
                "next_sentence_label": int(label),
            }
        )
    return rows


def evaluate(model: Any, batches: Any) -> dict[str, float]:
    """The masked loss and both accuracies on the evaluation batches."""
    model.eval()
    loss = right = count = next_right = pairs = 0.0
    with torch.no_grad():
        for k in range(len(batches)):
            inputs, labels, weights = batches[k]
            names = ("input_ids", "token_type_ids", "attention_mask")
            outputs = model.bert(**{name: torch.from_numpy(inputs[name]).long() for name in names})
            row, slot = np.nonzero(weights["prediction_logits"])
            logits = model.cls.predictions(outputs.last_hidden_state[row, inputs["masked_lm_positions"][row, slot]])
            target = torch.from_numpy(labels["prediction_logits"][row, slot]).long()
            loss += torch.nn.functional.cross_entropy(logits, target, reduction="sum").item()
            right += (logits.argmax(-1) == target).sum().item()
            count += len(target)
            following = model.cls.seq_relationship(outputs.pooler_output).argmax(-1).numpy()
            following = following == labels["seq_relationship_logits"]
            next_right, pairs = next_right + following.sum(), pairs + len(following)
    model.train()
    return {
        "masked_loss": loss / count,
        "masked_accuracy": right / count,
        "next_sentence_accuracy": float(next_right / pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    corpus = TokenCorpus(arguments.shards)
    documents, evaluated = split_corpus(corpus)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(arguments.shards / "tokenizer.json"),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    loader = torch.utils.data.DataLoader(
        make_instances(corpus, documents), batch_size=ROWS, shuffle=True, collate_fn=collate, drop_last=True
    )
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=corpus.tokenizer.vocab_size, **TINY, **none, attn_implementation="sdpa")
    model = BertForPreTraining(config).train()
    optimizer = make_torch_adamw(model, learning_rate=RATE, fused=True)
    seconds, history, steps, begin = 60 * arguments.minutes, [], 0, time.perf_counter()
    for batch in itertools.chain.from_iterable(itertools.repeat(loader)):
        progress = min(1.0, (time.perf_counter() - begin) / seconds)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, progress / WARMUP) * min(1.0, (1 - progress) / (1 - WARMUP))
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        progress = min(1.0, (time.perf_counter() - begin) / seconds)
        if progress >= (len(history) + 1) / PARTS:
            pause = time.perf_counter()
            history.append({"minutes": progress * seconds / 60, **evaluate(model, evaluated)})
            begin += time.perf_counter() - pause
        if progress == 1:
            break
    print(json.dumps({"steps": steps, "history": history}))


if __name__ == "__main__":
    main()
