"""Masked LM alone from a checkpoint: compared with torch; heads that are kept, tokenizers, teachers, bad input."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from corpora import make_corpus
from safetensors.numpy import load_file
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForMaskedLM, BertForPreTraining, BertModel
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import DistillationSettings, PretrainingSettings, pretrain
from keras_bert_impl.training.distillation import DistilledTask
from keras_bert_impl.training.pretraining import make_held_out_batches

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 61,
    "initializer_range": 0.2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
OBJECTIVE = Objective(kind="mlm", max_length=37)
SETTINGS = PretrainingSettings(batch_size=8, learning_rate=1e-3, warmup=0.0, dropout=None, held_out=0.2, report_every=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    return make_corpus(tmp_path_factory.mktemp("made"), documents=40, sentences=(1, 9), tokens=(3, 11))


def write_checkpoint(directory: Path, model_class: Any, tokenizer: BertTokenizer, **changes: Any) -> Path:
    keras.utils.set_random_seed(5)
    model_class(BertConfig(vocab_size=len(tokenizer), **{**SIZES, **changes})).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@run_in_torch_process
def continue_with_torch(
    directory: Path, batches: list[Any], held_out: list[Any], learning_rate: float
) -> tuple[dict[str, np.ndarray], float]:
    """The weights after training on the batches, and the loss on others, of transformers' model and torch's AdamW."""
    from typing import Any

    import torch
    import transformers

    model = transformers.BertForMaskedLM.from_pretrained(directory)
    decayed = transformers.trainer_pt_utils.get_parameter_names(model, [torch.nn.LayerNorm], ["bias"])
    groups = [
        {"params": [p for name, p in model.named_parameters() if (name in decayed) == decays], "weight_decay": decay}
        for decays, decay in ((True, 0.01), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, len(batches))

    def compute_loss(inputs: Any, labels: Any, weights: Any) -> Any:
        positions = torch.tensor(inputs["masked_lm_positions"]).long()
        names = ("input_ids", "token_type_ids", "attention_mask")
        logits = model(**{name: torch.tensor(inputs[name]).long() for name in names}).logits
        logits = torch.take_along_dim(logits, positions[:, :, None], 1)[torch.tensor(weights["logits"]) > 0]
        return torch.nn.functional.cross_entropy(logits, torch.tensor(labels["logits"][weights["logits"] > 0]).long())

    for k, batch in enumerate(batches):
        for group in optimizer.param_groups:  # Keras adds epsilon before the bias correction, torch after it.
            group["eps"] = 1e-8 / (1 - 0.999 ** (k + 1)) ** 0.5
        optimizer.zero_grad()
        compute_loss(*batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        counts = [weights["logits"].sum() for _, _, weights in held_out]
        loss = sum(compute_loss(*batch).item() * n for batch, n in zip(held_out, counts, strict=True)) / sum(counts)
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}, float(loss)


def test_steps_equal_those_of_torch_and_both_heads_are_kept(corpus: TokenCorpus, tmp_path: Path) -> None:
    init = write_checkpoint(tmp_path / "init", BertForPreTraining, corpus.tokenizer)
    lines: list[str] = []
    arguments: dict[str, Any] = {"init": init, "objective": OBJECTIVE, "settings": SETTINGS, "log": lines.append}
    metrics = pretrain(corpus.directory, output=tmp_path / "run", steps=6, **arguments)
    train, held_out = corpus.split_documents(SETTINGS.held_out, seed=1)
    batches = PretrainingBatches(corpus, documents=train, batch_size=8, objective=OBJECTIVE, seed=1, steps=6)
    others = make_held_out_batches(corpus, held_out, batch_size=8, objective=OBJECTIVE, seed=1)
    theirs, loss = continue_with_torch(
        init, [batches[k] for k in range(6)], [others[k] for k in range(len(others))], SETTINGS.learning_rate
    )
    before, after = (load_file(path / "model.safetensors") for path in (init, tmp_path / "run"))
    assert before.keys() == after.keys()
    kept = {name for name in before if "pooler" in name or "seq_relationship" in name}
    assert len(kept) == 4
    for name, array in before.items():
        if name in kept:
            np.testing.assert_array_equal(after[name], array, err_msg=name)
        elif not name.endswith("key.bias"):  # Softmax makes its gradient zero.
            change = theirs[name] - array
            assert np.square(after[name] - theirs[name]).mean() < 1e-4 * np.square(change).mean(), name
    assert metrics["held_out"]["masked_loss"] == pytest.approx(loss, rel=1e-4)

    assert json.loads((tmp_path / "run" / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert metrics["objective"]["kind"] == "mlm"
    assert metrics["held_out"].keys() == {"documents", "masked_loss", "perplexity", "masked_accuracy"}
    assert [line.split()[0] for line in lines[-2:]] == ["3", "6"]
    assert lines[-3].split() == ["step", "minutes", "epochs", "masked", "masked", "acc."]
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert "A BERT from `init`, pretrained on masked words for 6 steps" in card
    assert "next" not in card
    # A complete run is not trained again.
    assert pretrain(corpus.directory, output=tmp_path / "run", steps=6, resume=True, **arguments) == metrics


def test_a_new_head_and_shards_with_more_tokens(corpus: TokenCorpus, tmp_path: Path) -> None:
    """The vocabulary of the checkpoint is the beginning of that of the shards."""
    init = write_checkpoint(tmp_path / "init", BertModel, BertTokenizer(corpus.tokenizer.vocabulary[:-13]))
    lines: list[str] = []
    objective = dataclasses.replace(OBJECTIVE, packing=True)
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-12)
    arguments: dict[str, Any] = {"objective": objective, "settings": settings, "log": lines.append}
    pretrain(corpus.directory, output=tmp_path / "run", init=init, steps=1, **arguments)
    assert "5 newly initialized: not in the file\n    cls.predictions.bias" in lines[0]
    assert lines[1] == "13 tokens of the shards are new to the checkpoint"
    config = BertConfig.from_pretrained(tmp_path / "run")
    assert (config.architectures, config.vocab_size) == (("BertForMaskedLM",), len(corpus.tokenizer))
    assert BertTokenizer.from_pretrained(tmp_path / "run").vocabulary == corpus.tokenizer.vocabulary
    before, after = (load_file(path / "model.safetensors") for path in (init, tmp_path / "run"))
    words = after["bert.embeddings.word_embeddings.weight"][:-13]
    np.testing.assert_allclose(words, before["embeddings.word_embeddings.weight"], atol=1e-9)
    np.testing.assert_allclose(after["cls.predictions.bias"], 0, atol=1e-5)  # Training starts without low biases.
    assert "low_bias_tokens" not in config.extra
    # The other way round, the checkpoint has tokens that the shards lack.
    smaller = make_smaller_shards(corpus, tmp_path / "smaller")
    with pytest.raises(InputError, match=r"run and the shards have different tokenizers\. Prepare the corpus with"):
        pretrain(smaller, output=tmp_path / "other", init=tmp_path / "run", steps=1, **arguments)
    assert not (tmp_path / "other").exists()


def make_smaller_shards(corpus: TokenCorpus, directory: Path) -> Path:
    """Shards with the vocabulary of the corpus without its last token."""
    from keras_bert_impl.data.shards import MANIFEST, fingerprint

    shutil.copytree(corpus.directory, directory)
    tokenizer = BertTokenizer(corpus.tokenizer.vocabulary[:-1])
    tokenizer.save_pretrained(directory)
    manifest = {**corpus.manifest, "tokenizer": fingerprint(tokenizer)}
    (directory / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return directory


def test_defaults_that_suit_a_checkpoint() -> None:
    from keras_bert_impl.training.published import choose_defaults

    adapted, new = choose_defaults("mlm", "bert").settings, choose_defaults("mlm", None).settings
    assert (adapted.learning_rate, adapted.warmup, adapted.dropout) == (5e-5, 0.1, None)
    assert new == choose_defaults("mlm-nsp", "bert").settings == PretrainingSettings()


@pytest.mark.parametrize("kind", [pytest.param("mlm", marks=pytest.mark.slow), "mlm-nsp"])
def test_a_teacher_of_pretraining(corpus: TokenCorpus, tmp_path: Path, kind: str) -> None:
    """The labels of a batch are the outputs of the teacher; its hidden states have the weights of the tokens."""
    task = TASKS[Objective(kind=kind).task]
    teacher = write_checkpoint(tmp_path / "teacher", task.model_class, corpus.tokenizer, num_hidden_layers=2)
    model = task.model_class.from_pretrained(teacher)
    taught = DistilledTask(task, teacher, DistillationSettings(hidden_weight=0.5))
    objective = Objective(kind=kind, max_length=37, packing=True)
    plain = PretrainingBatches(corpus, batch_size=4, objective=objective, steps=2)
    batches = taught.teach_batches(plain, model.config)
    student = taught.make_student(model, task.make_loss())
    student.compile("sgd", **taught.make_compile_arguments())
    inputs, labels, weights = batches[1]
    outputs = model.with_outputs(output_hidden_states=True)(inputs)
    for name in plain[1][1]:
        np.testing.assert_array_equal(labels[name], plain[1][1][name])
        np.testing.assert_allclose(labels[f"teacher_{name}"], outputs[name], atol=1e-5)
        np.testing.assert_array_equal(weights[f"teacher_{name}"], plain[1][2][name])
    np.testing.assert_allclose(labels["hidden_states"], np.concatenate(outputs["hidden_states"], axis=-1), atol=1e-5)
    np.testing.assert_array_equal(weights["hidden_states"], inputs["attention_mask"])
    # Of a student that is equal to the teacher, only the loss of the labels remains.
    logs = student.test_on_batch(inputs, labels, weights, return_dict=True)
    own = sum(logs[f"{name}_loss"] for name in plain[1][1])
    assert logs["loss"] == pytest.approx(0.5 * own, rel=1e-4)


@pytest.mark.slow
def test_a_run_with_a_teacher(corpus: TokenCorpus, tmp_path: Path) -> None:
    teacher = write_checkpoint(tmp_path / "teacher", BertForMaskedLM, corpus.tokenizer, num_hidden_layers=2)
    lines: list[str] = []
    arguments: dict[str, Any] = {"objective": OBJECTIVE, "settings": SETTINGS, "log": lines.append, "steps": 3}
    init = write_checkpoint(tmp_path / "init", BertForMaskedLM, corpus.tokenizer)
    lesson = DistillationSettings(alpha=0.7)
    metrics = pretrain(
        corpus.directory, output=tmp_path / "run", init=init, teacher=teacher, distillation=lesson, **arguments
    )
    assert metrics["distillation"] == {"teacher": str(teacher), **dataclasses.asdict(lesson)}
    assert "the teacher `teacher` (knowledge distillation)" in (tmp_path / "run" / "README.md").read_text("utf-8")
    assert BertForMaskedLM.from_pretrained(tmp_path / "run").config.num_hidden_layers == 1
    plain = pretrain(corpus.directory, output=tmp_path / "plain", init=init, **arguments)
    assert plain["held_out"] != metrics["held_out"]


def test_teachers_that_cannot_be_used(corpus: TokenCorpus, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "objective": OBJECTIVE,
        "settings": SETTINGS,
        "log": lambda _: None,
        "steps": 3,
        "output": tmp_path / "run",
    }
    other = BertTokenizer([*corpus.tokenizer.vocabulary[:-1], "other"])
    foreign = write_checkpoint(tmp_path / "foreign", BertForMaskedLM, other)
    backbone = write_checkpoint(tmp_path / "backbone", BertModel, corpus.tokenizer)
    for source, message in (
        (foreign, "foreign has another vocabulary or tokenizer than the student"),
        (backbone, "backbone lacks cls\\.predictions\\.bias, .* it was not trained as BertForMaskedLM"),
    ):
        with pytest.raises(InputError, match=message):
            pretrain(corpus.directory, teacher=source, **arguments)
    with pytest.raises(InputError, match="there are settings of distillation, but no teacher"):
        pretrain(corpus.directory, distillation=DistillationSettings(), **arguments)
    assert not (tmp_path / "run").exists()
