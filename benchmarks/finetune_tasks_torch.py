"""A job of ``finetune_tasks.py`` in transformers on torch, with the losses of its models.

    python benchmarks/finetune_tasks_torch.py CHECKPOINT DATA --job tagging --seed 1

Prints one JSON object: seconds of training, peak memory in MB above that of the imports, steps, the mean loss of the
last epoch, and the scores on the development data.
"""

import json
import time

import numpy as np
import torch
import transformers
from finetune_tasks import parse_job, prepare
from finetune_torch import read_peak_megabytes
from torch_adamw import make_torch_adamw


def main():
    arguments = parse_job()
    floor = read_peak_megabytes()
    prepared = prepare(arguments)
    job, rows = prepared.job, prepared.train
    torch.manual_seed(arguments.seed)
    labels = {"id2label": prepared.config.id2label, "problem_type": prepared.config.problem_type}
    model = getattr(transformers, prepared.spec.model_name).from_pretrained(arguments.checkpoint, **labels)
    optimizer = make_torch_adamw(model, learning_rate=job.learning_rate, fused=True)
    steps = job.epochs * -(-len(rows) // job.batch_size)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    generator = np.random.default_rng(arguments.seed)
    model.train()
    start = time.perf_counter()
    for _ in range(job.epochs):
        losses = []
        order = generator.permutation(len(rows))
        for chosen in np.split(order, range(job.batch_size, len(rows), job.batch_size)):
            inputs, *targets = rows.batch(chosen, length=rows.lengths[chosen].max())
            loss = model(**to_tensors(inputs), **make_labels(*targets)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    seconds = time.perf_counter() - start
    memory = read_peak_megabytes() - floor
    model.eval()

    def run(inputs):
        with torch.inference_mode():
            outputs = model(**to_tensors(inputs))
        return {name: value.numpy() for name, value in outputs.items()}

    result = {
        "seconds": seconds,
        "megabytes": memory,
        "steps": steps,
        "loss": float(np.mean(losses)),
        "scores": prepared.score(run),
    }
    print(json.dumps(result))


def to_tensors(arrays):
    """Integers as int64, which transformers expects."""
    return {name: torch.from_numpy(np.asarray(values, np.int64)) for name, values in arrays.items()}


def make_labels(labels, weights=None):
    """The labels as arguments of the models of transformers, which leave out tokens with the label -100."""
    if "start_logits" in labels:
        return to_tensors({"start_positions": labels["start_logits"], "end_positions": labels["end_logits"]})
    values = labels["logits"]
    if not np.issubdtype(values.dtype, np.integer):
        return {"labels": torch.from_numpy(values)}
    return to_tensors({"labels": values if weights is None else np.where(weights["logits"] > 0, values, -100)})


if __name__ == "__main__":
    main()
