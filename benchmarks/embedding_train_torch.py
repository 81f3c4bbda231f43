"""The jobs of ``embedding_train.py`` in sentence-transformers, with its trainer.

    python benchmarks/embedding_train_torch.py CHECKPOINT --job sts --sts DIRECTORY --questions xquad.en.json --seed 1

Needs ``pip install "sentence-transformers[train]"``. Prints one JSON object: seconds of training, peak memory in MB
above that of the imports, steps, the loss of the last epoch's steps, and the scores on the development data.
"""

import argparse
import json
import resource
import tempfile
import time

import torch
from datasets import Dataset
from embedding_data import TRAIN_ARTICLES, make_peer_evaluator, read_questions, read_sts
from embedding_train import add_job_options
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_job_options(parser)
    arguments = parser.parse_args()
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.manual_seed(arguments.seed)
    model = SentenceTransformer(
        str(arguments.checkpoint), device="cpu", model_kwargs={"attn_implementation": "sdpa", "dtype": "float32"}
    )
    if arguments.job == "sts":
        firsts, seconds, scores = read_sts(arguments.sts / "stsb-en-train.csv")
        columns = {"sentence1": firsts, "sentence2": seconds, "score": scores}
        loss, sampler = CoSENTLoss(model), BatchSamplers.BATCH_SAMPLER
        evaluator = EmbeddingSimilarityEvaluator(*read_sts(arguments.sts / "stsb-en-dev.csv"), write_csv=False)
        names = {"spearman": "spearman_cosine", "pearson": "pearson_cosine"}
    else:
        data = read_questions(arguments.questions, slice(TRAIN_ARTICLES))
        columns = {"anchor": data.questions, "positive": [data.paragraphs[number] for number in data.answers]}
        loss, sampler = MultipleNegativesRankingLoss(model), BatchSamplers.NO_DUPLICATES
        evaluator = make_peer_evaluator(read_questions(arguments.questions, slice(TRAIN_ARTICLES, None)))
        names = {"mrr@10": "cosine_mrr@10", "ndcg@10": "cosine_ndcg@10"}
    rows = Dataset.from_dict({name: values[: arguments.limit] for name, values in columns.items()})
    steps = arguments.epochs * -(-len(rows) // arguments.batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        settings = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=steps // 10,
            weight_decay=0.01,
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            batch_sampler=sampler,
            seed=arguments.seed,
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="epoch",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = SentenceTransformerTrainer(model, settings, rows, loss=loss)
        start = time.perf_counter()
        trainer.train()
        duration = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor) / 1024
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    scores = evaluator(model.eval())
    result = {
        "seconds": duration,
        "megabytes": memory,
        "steps": trainer.state.global_step,
        "loss": losses[-1],
        "scores": {name: float(scores[theirs]) for name, theirs in names.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
