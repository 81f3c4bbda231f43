"""The job of ``finetune.py`` in transformers on torch.

Random batches with dynamic padding, as the data collator of transformers makes them; AdamW without weight decay for
biases and layer norms, linear warm-up and decay, gradient clipping. It runs in its own process, so that time and memory
are measured separately.

    python benchmarks/finetune_torch.py CHECKPOINT DATA_DIRECTORY --seed 1 --precision float32

Prints one JSON object: seconds of training, peak memory in MB above that of the imports, tokens with padding per real
token, and for validation and test the accuracy and which rows are right.
"""

import argparse
import csv
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch_adamw import make_torch_adamw
from transformers import AutoTokenizer, BertForSequenceClassification, get_linear_schedule_with_warmup

LABELS = ["negative", "positive"]


def read_peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--limit", type=int, help="number of training rows, from the first")
    arguments = parser.parse_args()

    floor = read_peak_megabytes()
    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    model = BertForSequenceClassification.from_pretrained(arguments.checkpoint, num_labels=2)
    train = read_rows(arguments.data / "train.tsv")[: arguments.limit]
    ids = tokenizer([row["text"] for row in train], truncation=True, max_length=128)["input_ids"]
    labels = torch.tensor([LABELS.index(row["label"]) for row in train])

    def pad(rows_of_ids):
        padded = tokenizer.pad({"input_ids": rows_of_ids}, padding="longest", return_tensors="pt")
        return {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]}

    optimizer = make_torch_adamw(model, learning_rate=arguments.learning_rate, fused=False)
    steps = arguments.epochs * -(-len(ids) // arguments.batch_size)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    generator = np.random.default_rng(arguments.seed)
    real = padded = 0
    model.train()
    start = time.perf_counter()
    for _ in range(arguments.epochs):
        order = generator.permutation(len(ids))
        for chosen in np.array_split(order, range(arguments.batch_size, len(ids), arguments.batch_size)):
            inputs = pad([ids[i] for i in chosen])
            real += int(inputs["attention_mask"].sum())
            padded += inputs["attention_mask"].numel()
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bfloat16"):
                loss = model(**inputs, labels=labels[chosen]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - start
    memory = read_peak_megabytes() - floor

    model.eval()
    result = {"seconds": seconds, "megabytes": memory, "padded_per_real": padded / real, "seed": arguments.seed}
    for split in ("valid", "test"):
        held_out = read_rows(arguments.data / f"{split}.tsv")
        encoded = tokenizer([row["text"] for row in held_out], truncation=True, max_length=128)["input_ids"]
        predicted = []
        with torch.inference_mode():
            for first in range(0, len(encoded), 64):
                predicted += model(**pad(encoded[first : first + 64])).logits.argmax(-1).tolist()
        right = [int(LABELS[p] == row["label"]) for p, row in zip(predicted, held_out, strict=True)]
        result[split] = {"accuracy": float(np.mean(right)), "right": right}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
