"""Invalid input of all kinds: one clear line, exit code 2, and no files left."""

import contextlib
import io
import json
import os
import pickle
import re
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
import small

Edit = Callable[[bytes], bytes]

# Valid commands and data, which each case makes invalid.
FINETUNE = "finetune bert --train train.tsv --valid valid.tsv --output new/run --epochs 1 --max-length 29"
QUICKSTART = "quickstart --checkpoint bert --epochs 1 --output new/run --export new/model/1"


class Case(NamedTuple):
    """Files that are created or changed, the command line, and its message."""

    name: str
    arguments: str | list[str]
    message: str
    files: dict[str, bytes | str | Edit | None] = {}  # noqa: RUF012  # None removes a file
    stdin: bytes = b""


def change_config(**changes: Any) -> Edit:
    """Changes keys of a ``config.json``; None removes one."""

    def edit(content: bytes) -> bytes:
        values = {**json.loads(content), **changes}
        return json.dumps({key: value for key, value in values.items() if value is not None}).encode()

    return edit


def change_tensors(change: Callable[[dict[str, np.ndarray]], Any]) -> Edit:
    """Changes the tensors of a safetensors file."""

    def edit(content: bytes) -> bytes:
        arrays = safetensors.numpy.load(content)
        change(arrays)
        return safetensors.numpy.save(arrays, metadata={"format": "pt"})

    return edit


def change_header(change: Callable[[dict[str, Any]], Any]) -> Edit:
    """Changes the header of a safetensors file, but not its tensors."""

    def edit(content: bytes) -> bytes:
        end = 8 + int.from_bytes(content[:8], "little")
        values = json.loads(content[8:end])
        change(values)
        text = json.dumps(values).encode()
        return len(text).to_bytes(8, "little") + text + content[end:]

    return edit


def replace_first_lines(*changed: str) -> Edit:
    """A ``vocab.txt`` whose first tokens are replaced."""
    return lambda content: "\n".join([*changed, *content.decode().split("\n")[len(changed) :]]).encode()


def make_malicious_bin() -> bytes:
    """A ``.bin`` that would make the directory ``harm`` if it were unpickled."""

    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, ("harm",)

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"weight": Harm()}, protocol=2))
    return archive.getvalue()


WORDS = "embeddings.word_embeddings.weight"
NORM = "embeddings.LayerNorm.bias"
QUERY = "encoder.layer.1.attention.self.query.weight"
QA_HEAD = change_tensors(
    lambda arrays: arrays.update({"qa_outputs.weight": np.zeros((2, 32)), "qa_outputs.bias": np.zeros(2)})
)
TABLE = "text\tlabel\n"
EMBEDDER = {
    "bert/modules.json": json.dumps(
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ]
    ),
    "bert/1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
}
MODULE = ', {"path": "2_LayerNorm", "type": "sentence_transformers.models.LayerNorm"}]'

CASES = [
    # Corpora, shards and pretraining.
    Case("corpus: absent", "prepare absent.txt --tokenizer bert --output new/shards", r"absent\.txt: no such file"),
    Case("corpus: empty directory", "train-vocab empty --output new/vocab", r"empty contains no text; files ending in"),
    Case(
        "corpus: empty",
        "prepare a.txt --tokenizer bert --output new/shards --workers 1",
        r"a\.txt contains no text",
        {"a.txt": "\n \n"},
    ),
    Case(
        "corpus: not UTF-8",
        "prepare a.txt --tokenizer bert --output new/shards --workers 1 --strict",
        r"a\.txt is not UTF-8: byte 0, in line 2, is 0xff",
        {"a.txt": b"good\n\xff\n"},
    ),
    Case(
        "corpus: no field",
        "prepare a.jsonl --tokenizer bert --output new/shards --workers 1",
        r"a\.jsonl, line 1 has no field 'text', but 'body'",
        {"a.jsonl": '{"body": "good"}\n'},
    ),
    Case(
        "more words: none that are frequent",
        "grow-vocab bert --corpus a.txt --output new/bert",
        r"no word occurs at least 5 times in the texts and has several pieces",
        {"a.txt": "zygomorphic\n" * 4},
    ),
    Case(
        "more words: no size",
        "grow-vocab bert --corpus a.txt --output new/bert --size 0",
        r"size is 0; an integer above 0 was expected",
        {"a.txt": "zygomorphic\n" * 9},
    ),
    Case(
        "more words: other content",
        "grow-vocab bert --corpus a.txt --output new",
        r"new exists and is not empty",
        {"a.txt": "zygomorphic\n" * 9, "new/kept": ""},
    ),
    *(
        Case(
            f"more words: {name}",
            "grow-vocab bert --words words.txt --output new/bert",
            message,
            {"words.txt": f"zygomorphic\n{word}\n"},
        )
        for name, word, message in (
            ("there already", "good", r"'good' is already in the vocabulary, with the id \d+\. Omit it"),
            ("special", "[MASK]", r"'\[MASK\]' is already a special token, with the id 4"),
            ("empty", " ", r"the added token '' is empty"),
            ("twice", "zygomorphic", r"'zygomorphic' is added twice"),
            ("several", "two words", r"'two words' is not a word of this tokenizer, which reads it as 'two words'"),
        )
    ),
    Case(
        "pretrain: distillation without a teacher",
        "pretrain shards --output new --steps 1 --alpha 0.5",
        r"--alpha is an option of distillation, which needs a teacher",
    ),
    Case(
        "evaluate: masks of another task",
        "evaluate run --data valid.tsv --each-token",
        r"the model is for classification; masks are options of the task masked-lm\. Omit them",
    ),
    Case(
        "vocabulary: too small",
        "train-vocab a.txt --size 50 --output new",
        r"size is 50; more than 104",
        {"a.txt": "x"},
    ),
    Case(
        "tokenizer: no [MASK]",
        "prepare a.txt --tokenizer bert --output new/shards --workers 1",
        r"lacks mask_token '\[MASK\]'",
        {"a.txt": "good", "bert/vocab.txt": replace_first_lines("[PAD]", "[UNK]", "[CLS]", "[SEP]", "masked")},
    ),
    Case("shards: another directory", "pretrain bert --steps 1 --output new/run", r"bert has no manifest\.json"),
    Case(
        "finetune: curves inside the run",
        f"{FINETUNE} --tensorboard new/run/logs",
        r"--tensorboard new/run/logs is inside --output new/run, which does not exist until",
    ),
    Case(
        "finetune: curves in a file",
        f"{FINETUNE} --tensorboard train.tsv/logs",
        r"train\.tsv is a file; a directory for TensorBoard was expected",
    ),
    Case("finetune: a power of a cosine", f"{FINETUNE} --schedule cosine --power 2", r"only linear has a power"),
    Case("pretrain: no duration", "pretrain bert --output new/run", r"give --steps N, --minutes M or --recipe NAME"),
    Case(
        "pretrain: too short rows",
        "pretrain bert --steps 1 --max-length 5 --output new/run",
        r"max_length is 5; a pair needs",
    ),
    Case(
        "fill-mask: no head",
        ["fill-mask", "bert", "a [MASK]"],
        r"bert lacks cls\..*: it was not trained as BertForMaskedLM",
    ),
    Case("fill-mask: no mask", ["fill-mask", "bert-tiny-novels", "a film"], r"'a film' has no \[MASK\]"),
    Case(
        "next-sentence: no head",
        ["next-sentence", "bert", "a", "b"],
        r"bert lacks cls\..*: it was not trained as BertForNext",
    ),
    # The checkpoint's location and its configuration.
    Case("no such path", "convert ./absent new", r"\./absent: no such file or directory"),
    Case("no checkpoint", "convert empty new", r"empty has neither config\.json nor bert_config\.json"),
    Case("not a weights file", "convert train.tsv new", r"train\.tsv is not a weights file"),
    Case(
        "config: not JSON",
        "convert bert new",
        r"bert/config\.json is not JSON: line 1, column 2",
        {"bert/config.json": "{"},
    ),
    Case("config: a list", "convert bert new", r"bert/config\.json contains a JSON list", {"bert/config.json": "[]"}),
    Case("config: not UTF-8", "convert bert new", r"bert/config\.json is not UTF-8", {"bert/config.json": b"{\xff}"}),
    Case(
        "config: lacks a size",
        "convert bert new",
        r"bert/config\.json: the configuration lacks hidden_size",
        {"bert/config.json": change_config(hidden_size=None)},
    ),
    Case(
        "config: wrong type",
        "convert bert new",
        r"bert/config\.json: num_hidden_layers is '2'; an integer above 0",
        {"bert/config.json": change_config(num_hidden_layers="2")},
    ),
    Case(
        "config: heads do not divide",
        "convert bert new",
        r"bert/config\.json: hidden_size 32 is not a multiple of num_attention_heads 5",
        {"bert/config.json": change_config(num_attention_heads=5)},
    ),
    Case(
        "config: another vocabulary",
        "convert bert new",
        r"embeddings\.word_embeddings\.weight has the shape \[997, 32\]; the configuration needs \[996, 32\]",
        {"bert/config.json": change_config(vocab_size=996)},
    ),
    Case(
        "config: another architecture",
        "convert bert new",
        r"bert/config\.json: model_type 'roberta' is not supported",
        {"bert/config.json": change_config(model_type="roberta")},
    ),
    Case(
        "config: relative positions",
        "convert bert new",
        r"position_embedding_type 'relative_key' is not supported",
        {"bert/config.json": change_config(position_embedding_type="relative_key")},
    ),
    Case(
        "config: unknown activation",
        "convert bert new",
        r"hidden_act.*'swoosh'",
        {"bert/config.json": change_config(hidden_act="swoosh")},
    ),
    # Weights.
    Case(
        "weights: absent",
        "convert bert new",
        r"bert has no weights: looked for model",
        {"bert/model.safetensors": None},
    ),
    Case("weights: empty", "convert bert new", r"model\.safetensors is empty", {"bert/model.safetensors": b""}),
    Case(
        "weights: truncated",
        "convert bert new",
        r"model\.safetensors is truncated or damaged",
        {"bert/model.safetensors": lambda content: content[:-1000]},
    ),
    Case(
        "weights: a header longer than the file",
        "convert bert new",
        r"model\.safetensors is truncated or damaged",
        {"bert/model.safetensors": lambda content: (10**12).to_bytes(8, "little") + content[8:]},
    ),
    Case(
        "weights: a header with a wrong shape",
        "convert bert new",
        r"model\.safetensors is truncated or damaged",
        {"bert/model.safetensors": change_header(lambda values: values[WORDS].update(shape=[998, 32]))},
    ),
    Case(
        "weights: a header with a wrong offset",
        "convert bert new",
        r"model\.safetensors is truncated or damaged",
        {"bert/model.safetensors": change_header(lambda values: values[WORDS].update(data_offsets=[0, 10**9]))},
    ),
    Case(
        "weights: an unsupported type",
        "convert bert new",
        r"the tensor 'embeddings\.LayerNorm\.bias' is F8_E4M3; supported are F64",
        {"bert/model.safetensors": change_header(lambda values: values[NORM].update(dtype="F8_E4M3", shape=[128]))},
    ),
    Case(
        "weights: a wrong shape",
        "convert bert new",
        r"query\.weight has the shape \[32, 31\]; the configuration needs \[32, 32\]",
        {
            "bert/model.safetensors": change_tensors(
                lambda arrays: arrays.update({QUERY: np.zeros((32, 31), np.float32)})
            )
        },
    ),
    Case(
        "weights: no embeddings",
        "convert bert new",
        r"bert lacks embeddings\.word_embeddings\.weight",
        {"bert/model.safetensors": change_tensors(lambda arrays: arrays.pop(WORDS))},
    ),
    Case(
        "weights: no query",
        "convert bert new",
        r"bert lacks encoder\.layer\.1\.attention\.self\.query\.weight",
        {"bert/model.safetensors": change_tensors(lambda arrays: arrays.pop(QUERY))},
    ),
    Case(
        "weights: one too many, strictly",
        "convert bert new --strict",
        r"bert has unexpected tensors: encoder\.layer\.2\.bias",
        {"bert/model.safetensors": change_tensors(lambda arrays: arrays.update({"encoder.layer.2.bias": np.zeros(3)}))},
    ),
    Case(
        "weights: a .bin that runs code",
        "convert bert new",
        r"pytorch_model\.bin",
        {"bert/model.safetensors": None, "bert/pytorch_model.bin": make_malicious_bin()},
    ),
    Case(
        "weights: a .bin that is text",
        "convert bert new",
        r"pytorch_model\.bin",
        {"bert/model.safetensors": None, "bert/pytorch_model.bin": "<!DOCTYPE html>"},
    ),
    Case(
        "weights: a shard that is missing",
        "convert bert new",
        r"names the shard model-2\.safetensors, which is missing",
        {
            "bert/model.safetensors": None,
            "bert/model.safetensors.index.json": json.dumps({"weight_map": {WORDS: "model-2.safetensors"}}),
        },
    ),
    # Vocabulary.
    Case(
        "vocabulary: a token twice",
        "convert bert new",
        r"bert/vocab\.txt has '\[UNK\]' on line 2 and on line 6",
        {"bert/vocab.txt": replace_first_lines("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")},
    ),
    Case(
        "vocabulary: no special tokens",
        "convert bert new",
        r"bert: .*cls_token '\[CLS\]', sep_token '\[SEP\]'",
        {"bert/vocab.txt": replace_first_lines("[PAD]", "[UNK]", "x1", "x2", "[MASK]")},
    ),
    Case(
        "vocabulary: not UTF-8",
        "convert bert new",
        r"bert/vocab\.txt is not UTF-8: byte 0",
        {"bert/vocab.txt": b"\xff\n"},
    ),
    Case("vocabulary: empty", "convert bert new", r"bert/vocab\.txt is empty", {"bert/vocab.txt": ""}),
    Case("vocabulary: absent", FINETUNE, r"bert has neither tokenizer\.json nor vocab\.txt", {"bert/vocab.txt": None}),
    Case(
        "vocabulary: larger than the model's",
        FINETUNE,
        r"the tokenizer has 998 tokens, but the model's vocabulary has 997",
        {"bert/vocab.txt": lambda content: content + b"[more]\n"},
    ),
    # The output directory.
    Case("output: other content", "convert bert empty", r"empty exists and is not empty", {"empty/kept.txt": "kept"}),
    Case("output: a file", "convert bert train.tsv", r"train\.tsv exists and is not a directory"),
    Case("output: in a file", "convert bert train.tsv/new", r"train\.tsv/new cannot be created: Not a directory"),
    Case("output: in /proc", "convert bert /proc/new", r"/proc/new cannot be created: No such file or directory"),
    Case("output: of a run", FINETUNE, r"new/run exists and is not empty", {"new/run/metrics.json": "{}"}),
    Case("output: of an export", "export run old/1", r"old/1 exists and is not empty", {"old/1/saved_model.pb": b""}),
    Case("export: no version", "export run model/v1", r"model/v1 ends in 'v1', but TF Serving expects an integer"),
    # Data for training.
    Case("data: absent", FINETUNE, r"train\.tsv cannot be read: No such file or directory", {"train.tsv": None}),
    Case(
        "data: a directory",
        f"{FINETUNE} --test empty.tsv",
        r"empty\.tsv cannot be read: Is a directory",
        {"empty.tsv/x": ""},
    ),
    Case("data: empty", FINETUNE, r"train\.tsv is empty; examples were expected", {"train.tsv": ""}),
    Case(
        "data: only column names",
        FINETUNE,
        r"train\.tsv contains only the line of column names; examples were expected",
        {"train.tsv": TABLE},
    ),
    Case(
        "data: no label column",
        FINETUNE,
        r"valid\.tsv, line 2: there is no column 'label'",
        {"valid.tsv": "text\tkind\na\t1\n"},
    ),
    Case("data: no text column", f"{FINETUNE} --text-column film", r"train\.tsv, line 2: there is no column 'film'"),
    Case(
        "data: an unknown ending",
        f"{FINETUNE} --test a.xlsx",
        r"a\.xlsx: the file name must end in one of",
        {"a.xlsx": "x"},
    ),
    Case(
        "data: a missing field",
        FINETUNE,
        r"train\.tsv, line 3 has 1 fields; the first line has 2",
        {"train.tsv": TABLE + "a\t1\nb\n"},
    ),
    Case("data: NUL", FINETUNE, r"train\.tsv, line 3 contains a NUL byte", {"train.tsv": TABLE + "a\t1\n\0\t0\n"}),
    Case(
        "data: not UTF-8",
        FINETUNE,
        r"train\.tsv is not UTF-8: byte 15, in line 3",
        {"train.tsv": b"text\tlabel\na\t1\n\xe9\t0\n"},
    ),
    Case(
        "data: one label", FINETUNE, r"train\.tsv, line 2: .* have the label '1'", {"train.tsv": TABLE + "a\t1\nb\t1\n"}
    ),
    Case(
        "data: an empty label",
        FINETUNE,
        r"train\.tsv, line 3: the label in column 'label' is empty",
        {"train.tsv": TABLE + "a\t1\nb\t\n"},
    ),
    Case(
        "data: unknown in valid",
        FINETUNE,
        r"valid\.tsv, line 3: the label 'neutral' was not in the",
        {"valid.tsv": TABLE + "a\tpositive\nb\tneutral\n"},
    ),
    Case(
        "data: unknown in test",
        f"{FINETUNE} --test test.csv",
        r"test\.csv, line 2: the label 'good' was not in the training data; the model knows 'negative', 'positive'",
        {"test.csv": "text,label\na,good\n"},
    ),
    Case("data: not JSON", f"{FINETUNE} --test t.jsonl", r"t\.jsonl, line 1 is not JSON", {"t.jsonl": "{text: 1}\n"}),
    Case(
        "data: not a number",
        f"{FINETUNE} --task regression",
        r"train\.tsv, line 2: the label 'x' is not a finite number",
        {"train.tsv": TABLE + "a\tx\n"},
    ),
    Case(
        "data: unknown of several labels",
        f"{FINETUNE} --task multi-label-classification",
        r"valid\.tsv, line 3: the label 'c' was not in the training data; the model knows 'a', 'b'",
        {"train.tsv": TABLE + "x\ta,b\ny\t\n", "valid.tsv": TABLE + "x\tb\ny\ta,c\n"},
    ),
    Case(
        "data: no label at all",
        f"{FINETUNE} --task multi-label-classification",
        r"train\.tsv, line 2: this example and all after it have no label",
        {"train.tsv": TABLE + "x\t\ny\t\n"},
    ),
    Case(
        "data: a negative weight",
        f"{FINETUNE} --weight-column w",
        r"train\.tsv, line 3: the weight in column 'w' is '-2'; a finite number from 0 was expected",
        {"train.tsv": "text\tlabel\tw\na\t1\t0.5\nb\t0\t-2\n"},
    ),
    Case(
        "class weight: unknown",
        f"{FINETUNE} --class-weight neutral=2",
        r"class_weight has a weight for 'neutral', which is not a label .* are 'negative', 'positive'",
    ),
    Case(
        "class weight: of another task",
        f"{FINETUNE} --task regression --class-weight balanced",
        r"--class-weight is an option of the tasks classification and tagging; the task is regression",
    ),
    Case(
        "thresholds: unknown label",
        "predict run text",
        r"run: label_thresholds in config\.json has the label 'x', which the model does not have; its labels",
        {"run/config.json": change_config(problem_type="multi_label_classification", label_thresholds={"x": 0.5})},
    ),
    Case(
        "data: no tags",
        f"{FINETUNE} --task tagging",
        r"train\.tsv, line 1: the word 'word' has no tag",
        {"train.tsv": "word\n"},
    ),
    Case(
        "data: a label above 1",
        f"{FINETUNE} --task reranking",
        r"train\.tsv, line 3: the label '4\.5' is not from 0 to 1\. .* with --label-scale",
        dict.fromkeys(("train.tsv", "valid.tsv"), "text\ttext_pair\tlabel\na\tb\t1\na\tb\t4.5\n"),
    ),
    Case("data: no questions", f"{FINETUNE} --task question-answering", r"train\.tsv is not JSON: line 1"),
    Case(
        "data: an answer elsewhere",
        f"{FINETUNE} --task question-answering --train q.json",
        r"q\.json: 6 of 6 answers are not at their answer_start\. .* data\[0\]\.paragraphs\[0\]\.qas\[0\]",
        {"q.json": re.sub(r'"answer_start": (\d+)', r'"answer_start": 1\1', json.dumps(small.QUESTIONS))},
    ),
    Case(
        "data: no named columns",
        f"{FINETUNE} --task tagging --text-column x",
        r"train\.tsv: CoNLL files have no named columns; omit text",
    ),
    Case(
        "data: spans that overlap",
        f"{FINETUNE} --task tagging --train s.jsonl",
        r"s\.jsonl, line 2: a span of 'a' and a span of 'b' have the word 'film' in common",
        {"s.jsonl": '{"text": "a film", "label": []}\n{"text": "a film", "label": [[0, 6, "a"], [2, 6, "b"]]}\n'},
    ),
    Case(
        "data: a fraction and a file",
        f"{FINETUNE} --valid-fraction 0.2",
        r"--valid and --valid-fraction were given; only one of them was expected",
    ),
    Case(
        "data: too few rows to split",
        "finetune bert --train x.tsv --output new/run",
        r"the training data has 2 examples with 1 different values of 'text', too few to split off a fraction of 0\.1",
        {"x.tsv": TABLE + "a\t0\na\t1\n"},
    ),
    # Settings.
    Case(
        "settings: beyond the positions",
        f"{FINETUNE} --max-length 132",
        r"max_length is 132, but the model has 131 positions",
    ),
    Case("settings: no room", f"{FINETUNE} --max-length 1", r"max_length=1 has no space"),
    Case("settings: no epochs", f"{FINETUNE} --epochs 0", r"epochs is 0; an integer above 0 was expected"),
    Case("settings: a rate", f"{FINETUNE} --learning-rate nan", r"learning_rate is nan; a number above 0 was expected"),
    Case("settings: a seed", f"{FINETUNE} --seed -1", r"seed is -1; an integer from 0"),
    # Use of fine-tuned models.
    Case("predict: no such model", "predict ./absent text", r"\./absent: no such file or directory"),
    Case(
        "predict: no head",
        "predict bert text --task classification",
        r"bert lacks classifier\.weight, classifier\.bias",
    ),
    Case(
        "predict: an export of another program",
        "predict old/1 text",
        r"old/1 has a saved_model\.pb, but no assets\.extra/config\.json",
        {"old/1/saved_model.pb": ""},
    ),
    Case("predict: some pairs", ["predict", "run", "a\tb", "c"], r"the lines have different numbers of TABs"),
    Case("predict: triples", ["predict", "run", "a\tb\tc"], r"the lines have different numbers of TABs, or several"),
    Case(
        "predict: texts and a file",
        "predict run text --file train.tsv",
        r"texts and --file train\.tsv were given; only one of them was expected",
    ),
    Case(
        "predict: broken UTF-8",
        "predict run",
        r"standard input, line 2 is not UTF-8: byte 1 is invalid",
        stdin=b"a\nb\xe9\n",
    ),
    Case(
        "predict: a broken argument",
        ["predict", "run", "good", os.fsdecode(b"b\xe9")],
        r"text\[1\] contains half of a surrogate pair",
    ),
    Case(
        "predict: beyond the positions",
        "predict run text --max-length 132",
        r"max_length is 132, but the model has 131",
    ),
    Case("predict: no length", "predict run text --max-length 0", r"max_length=0 has no space"),
    Case("predict: no file", "predict run --file absent.tsv", r"absent\.tsv cannot be read: No such file"),
    *(
        Case(
            f"{verb}: a head that is not in the file",
            arguments,
            r"run lacks qa_outputs\.weight, qa_outputs\.bias: it was not trained as BertForQuestionAnswering",
            {"run/config.json": change_config(architectures=["BertForQuestionAnswering"])},
        )
        for verb, arguments in (("predict", ["predict", "run", "Who?\tShe."]), ("export", "export run model/1"))
    ),
    Case(
        "predict: a question alone",
        "predict run Who?",
        r"a question needs a context: give two texts",
        {
            "run/config.json": change_config(architectures=["BertForQuestionAnswering"]),
            "run/model.safetensors": QA_HEAD,
        },
    ),
    Case(
        "predict: weights of another head",
        "predict run text",
        r"classifier\.bias has the shape \[2\]; the configuration needs \[3\]",
        {"run/config.json": change_config(id2label={"0": "a", "1": "b", "2": "c"})},
    ),
    Case(
        "evaluate: unknown label",
        "evaluate run --data x.tsv",
        r"x\.tsv, line 2: the label '7' was not in",
        {"x.tsv": TABLE + "a\t7\n"},
    ),
    Case(
        "evaluate: no labels",
        "evaluate run --data x.tsv",
        r"x\.tsv, line 2: there is no column 'label'",
        {"x.tsv": "text\na\n"},
    ),
    Case(
        "evaluate: no second text",
        "evaluate bert --data x.tsv",
        r"x\.tsv, line 2: there is no second text; pairs \(text and text_pair\), .* with --pair-column\.",
        {**EMBEDDER, "x.tsv": "text\na\n"},
    ),
    Case(
        "evaluate: scores that are not numbers",
        "evaluate bert --data x.tsv",
        r"x\.tsv, line 3: the label 'x' is not a finite number, which embedding needs",
        {**EMBEDDER, "x.tsv": "text\ttext_pair\tscore\na\tb\t1\na\tb\tx\n"},
    ),
    Case(
        "evaluate: no corpus", "evaluate bert --data empty", r"empty has no corpus\.jsonl; BEIR's layout", {**EMBEDDER}
    ),
    Case(
        "evaluate: a document that is not in the corpus",
        "evaluate bert --data beir",
        r"beir/qrels/test\.tsv, line 2: the document 'd9' is not in corpus\.jsonl, which has 1 lines",
        {
            **EMBEDDER,
            "beir/corpus.jsonl": '{"_id": "d1", "text": "a"}',
            "beir/queries.jsonl": '{"_id": "q1", "text": "a"}',
            "beir/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td9\t1\n",
        },
    ),
    Case(
        "embedder: a module that is not supported",
        "embed bert good",
        r"bert/modules\.json: module 2 is a LayerNorm \(.*LayerNorm\), which is not supported",
        {**EMBEDDER, "bert/modules.json": EMBEDDER["bert/modules.json"].replace("]", MODULE)},
    ),
    Case(
        "embedder: a pooling of another size",
        "embed bert good",
        r"1_Pooling/config\.json: the embedding dimension is 384, but the model's hidden size is 32\.",
        {**EMBEDDER, "bert/1_Pooling/config.json": '{"word_embedding_dimension": 384}'},
    ),
    Case(
        "embedder: a batch of one",
        f"{FINETUNE} --task embedding --batch-size 1",
        r"batch_size is 1; in-batch negatives need at least 2 pairs in a batch\. Choose a larger batch_size",
        {**EMBEDDER, **dict.fromkeys(("train.tsv", "valid.tsv"), "anchor\tpositive\na\tb\nc\td\n")},
    ),
    Case(
        "rank: two labels",
        "rank run good --file train.tsv",
        "run has 2 labels; reranking needs a cross-encoder",
    ),
    Case(
        "rank: no passages", "rank run good --file train.tsv --top-k 0", r"--top-k is 0; a number above 0 was expected"
    ),
    Case("rank: no candidates", "rank run good --file train.tsv --top 0", r"--top is 0; a number above 0 was expected"),
    Case("rank: nothing to choose", "rank run good --file train.tsv --top 9", r"--top 9 is for --embedder, which was"),
    Case(
        "mine-negatives: no second text",
        "mine-negatives bert --pairs x.tsv --output new.tsv",
        r"x\.tsv, line 2: there is no second text; pairs \(text and text_pair\), .* with --pair-column\.",
        {**EMBEDDER, "x.tsv": "text\na\n"},
    ),
    Case(
        "mine-negatives: scores",
        "mine-negatives bert --pairs x.tsv --output new.tsv",
        r"x\.tsv, line 2: pairs of a text and a positive one, without scores, were expected; the columns are 'text'",
        {**EMBEDDER, "x.tsv": "text\ttext_pair\tscore\na\tb\t1\n"},
    ),
    Case(
        "mine-negatives: a TAB",
        "mine-negatives bert --pairs x.jsonl --output new.tsv",
        r"x\.jsonl, line 1: the text 'a\\tb' contains a TAB, a line break or NUL, .* Name the output new\.jsonl\.",
        {**EMBEDDER, "x.jsonl": '{"text": "a\\tb", "text_pair": "c"}'},
    ),
    Case("verify: no such path", "verify ./absent", r"\./absent: no such file or directory"),
    Case("verify: no weights", "verify bert", r"bert has no weights: looked for", {"bert/model.safetensors": None}),
    # Long jobs check their arguments before they start.
    Case("quickstart: no version", f"{QUICKSTART} --export new/model", r"new/model ends in 'model', but TF Serving"),
    Case("quickstart: other content", QUICKSTART, r"new/run exists and is not empty", {"new/run/kept": ""}),
    Case("quickstart: no checkpoint", f"{QUICKSTART} --checkpoint ./absent", r"\./absent: no such file or directory"),
]


@pytest.fixture
def place(
    tmp_path: Path, small_bert: Path, sentiment_run: Path, snippets: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current directory, with ``bert``, a ``run`` of it, data, and an ``empty`` directory."""
    shutil.copytree(small_bert, tmp_path / "bert")
    shutil.copytree(sentiment_run, tmp_path / "run")
    for name in ("train.tsv", "valid.tsv"):
        shutil.copyfile(snippets / name, tmp_path / name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def list_files(directory: Path) -> dict[str, int]:
    """All paths below a directory, with the sizes of files."""
    return {str(path): path.stat().st_size if path.is_file() else 0 for path in directory.rglob("*")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_clear_line_and_no_files_left(
    case: Case, place: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in case.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stdin)))
    before = list_files(place)

    ran = run(*(case.arguments.split() if isinstance(case.arguments, str) else case.arguments))

    assert ran.code == 2
    assert ran.err.startswith("keras-bert: error: ")
    assert ran.err.count("\n") == 1, ran.err
    assert re.search(case.message, ran.err), ran.err
    assert list_files(place) == before


@pytest.mark.filterwarnings("default")
def test_a_contradiction_about_labels_only_warns(place: Path, run: Callable[..., Any]) -> None:
    edit = change_config(architectures=["BertForSequenceClassification"], num_labels=3, id2label={"0": "a", "1": "b"})
    (place / "bert" / "config.json").write_bytes(edit((place / "bert" / "config.json").read_bytes()))
    ran = run("convert", "bert", "new")
    assert ran.code == 0
    warning = "keras-bert: warning: num_labels is 3, but id2label has 2 labels: 3 labels are used"
    assert ran.err.startswith(warning)
    assert ran.err.count("\n") == 1


def test_a_loss_that_is_not_finite_ends_training(place: Path, run: Callable[..., Any]) -> None:
    before = list_files(place)
    ran = run(*FINETUNE.split(), "--learning-rate", "1e30", "--batch-size", "8", "--epochs", "3")
    assert ran.code == 2
    assert re.fullmatch(
        r"keras-bert: error: the loss became (nan|inf) in step \d of epoch \d: .* Choose a lower learning_rate\.\n",
        ran.err,
    )
    assert list_files(place) == before


@contextlib.contextmanager
def limit_file_size() -> Iterator[None]:
    """Limits files to 30 kB, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "arguments", ["convert bert new/bert", FINETUNE, pytest.param("export run new/model/1", marks=pytest.mark.slow)]
)
def test_a_full_disk(place: Path, run: Callable[..., Any], arguments: str) -> None:
    before = list_files(place)
    with limit_file_size():
        ran = run(*arguments.split())
    assert ran.code == 2
    assert ran.err.startswith("keras-bert: error: ")
    assert ran.err.count("\n") == 1, ran.err
    assert re.search(r"new/\S+ cannot be written: .*File too large", ran.err), ran.err
    assert list_files(place) == before
