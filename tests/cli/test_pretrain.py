"""The five verbs of pretraining, run one after the other."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keras_bert_impl.cli.main import main

Run = Callable[..., Any]
TRAIN = "--steps 6 --report-every 4 --batch-size 8 --max-length 32 --held-out 0.2 --learning-rate 1e-3"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> Path:
    """A directory with a corpus, a vocabulary, shards and a model, made by the commands."""
    place = tmp_path_factory.mktemp("pretraining")
    lines = film_texts[:800]
    texts = ["\n".join(lines[begin : begin + 6]) for begin in range(0, len(lines), 6)]
    (place / "corpus").mkdir()
    (place / "corpus" / "a.txt.gz").write_bytes(gzip.compress("\n\n".join(texts[:60]).encode()))
    (place / "corpus" / "b.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts[60:]))
    for command in (
        "train-vocab corpus --size 900 --output vocabulary",
        "prepare corpus --tokenizer vocabulary --output shards",
        f"pretrain shards --preset tiny --output model {TRAIN}",
    ):
        arguments = [str(place / part) if (place / part).exists() else part for part in command.split()]
        index = arguments.index("--output") + 1
        arguments[index] = str(place / arguments[index])
        assert main(arguments) == 0
    return place


def test_files_that_the_commands_write(place: Path) -> None:
    assert {path.name for path in place.iterdir()} == {"corpus", "vocabulary", "shards", "model"}
    assert len((place / "vocabulary" / "vocab.txt").read_text("utf-8").split("\n")) == 901
    assert json.loads((place / "shards" / "manifest.json").read_text())["documents"] == 134
    metrics = json.loads((place / "model" / "metrics.json").read_text())
    assert metrics["command"].startswith(f"keras-bert pretrain {place / 'shards'} --preset tiny")
    assert metrics["command"] in (place / "model" / "README.md").read_text("utf-8")
    assert (metrics["steps"], metrics["settings"]["batch_size"], metrics["objective"]["max_length"]) == (6, 8, 32)


@pytest.mark.slow
def test_lines_that_pretrain_prints(run: Run, place: Path, tmp_path: Path) -> None:
    options = "--steps 1 --batch-size 4 --max-length 24 --held-out 0.2 --packing --no-whole-words --optimizer lamb"
    ran = run("pretrain", place / "shards", "--init", place / "model", "--output", tmp_path / "next", *options.split())
    assert (ran.code, ran.err) == (0, "")
    report, weights, rest = re.split(r"^([\d,]+ weights; [\d,]+ tokens)$", ran.out, flags=re.MULTILINE)
    assert report.startswith(str(place / "model"))  # The report on the checkpoint's tensors.
    lines = [weights, *rest.splitlines()[1:]]
    assert lines[1] == "107 documents for training, 27 held out"
    assert len(lines) == 6
    assert max(map(len, lines[:-1])) <= 80
    objective = json.loads((tmp_path / "next" / "metrics.json").read_text())["objective"]
    assert (objective["packing"], objective["whole_words"], objective["max_length"]) == (True, False, 24)


@pytest.mark.slow
def test_options_override_a_recipe(run: Run, place: Path, tmp_path: Path) -> None:
    options = "--recipe lamb-2 --steps 1 --batch-size 4 --max-length 24 --held-out 0.2"
    assert run("pretrain", place / "shards", "--output", tmp_path / "run", *options.split()).code == 0
    settings = json.loads((tmp_path / "run" / "metrics.json").read_text())["settings"]
    assert (settings["optimizer"], settings["learning_rate"], settings["batch_size"]) == ("lamb", 4e-3, 4)


def test_a_checkpoint_with_more_words_is_adapted(run: Run, place: Path, tmp_path: Path, film_texts: list[str]) -> None:
    """``grow-vocab``, ``prepare``, ``pretrain --objective mlm`` and ``evaluate``."""
    (tmp_path / "lines.txt").write_text("\n".join(film_texts[800:900]), encoding="utf-8")
    arguments = ["--corpus", tmp_path / "lines.txt", "--size", "12", "--min-count", "3"]
    ran = run("grow-vocab", place / "model", *arguments, "--output", tmp_path / "grown")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert re.fullmatch(r" +\d+ × \w+  \(\w+( ##\w+)+\)", lines[0])
    assert re.fullmatch(r"12 words, which save \d+ tokens in these texts, written to \S+grown", lines[-1])
    assert len(lines) == 12
    (tmp_path / "words.txt").write_text("zygomorphic\nsitcoms\n", encoding="utf-8")
    ran = run("grow-vocab", place / "model", "--words", tmp_path / "words.txt", "--output", tmp_path / "given")
    assert (ran.code, ran.out) == (0, f"2 words written to {tmp_path / 'given'}\n")
    vocabulary = (tmp_path / "given" / "vocab.txt").read_text("utf-8").split("\n")
    assert vocabulary[900:] == ["zygomorphic", "sitcoms", ""]
    options = ["--line-by-line", "--workers", "1", "--tokenizer", tmp_path / "grown"]
    ran = run("prepare", tmp_path / "lines.txt", *options, "--output", tmp_path / "shards")
    assert ran.out.startswith("100 documents, ")
    ran = run(
        "pretrain", tmp_path / "shards", "--init", tmp_path / "grown", "--objective", "mlm", "--steps", "1",
        "--batch-size", "4", "--max-length", "32", "--held-out", "0.3", "--output", tmp_path / "run",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["objective"]["packing"] is True
    settings = metrics["settings"]
    assert (settings["learning_rate"], settings["warmup"], settings["dropout"]) == (5e-5, 0.1, None)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["vocab_size"], config["architectures"]) == (912, ["BertForPreTraining"])
    data = ["--task", "masked-lm", "--data", tmp_path / "lines.txt"]
    first, again, other = (run("evaluate", tmp_path / "run", *data, "--mask-seed", seed).out for seed in "778")
    assert first == again != other
    assert json.loads(first).keys() == {"examples", "accuracy", "loss", "perplexity"}
    # Shards with fewer words than the checkpoint has.
    ran = run("pretrain", place / "shards", "--init", tmp_path / "run", "--objective", "mlm", "--steps", "1",
              "--output", tmp_path / "none")  # fmt: skip
    assert ran.code == 2
    assert re.fullmatch(r"keras-bert: error: \S+run and the shards have different tokenizers\. .*\n", ran.err)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("lines.txt", "words.txt", "grown", "given", "shards", "run")
    }


def test_fill_mask(run: Run, place: Path) -> None:
    ran = run("fill-mask", place / "model", "a [MASK] film with a [MASK] story", "--top-k", "3")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line for line in lines if line.startswith("[MASK]")] == ["[MASK] 1", "[MASK] 2"]
    scores = [re.fullmatch(r" +(\d+\.\d)%  (\S+)", line) for line in lines if "%" in line]
    assert len(scores) == 6
    assert all(scores)
    assert len(run("fill-mask", place / "model", "a [MASK] film").out.splitlines()) == 5


def test_next_sentence(run: Run, place: Path) -> None:
    ran = run("next-sentence", place / "model", "a good film .", "it is long .")
    assert re.fullmatch(r"\d+\.\d%: the second text follows the first\n", ran.out)


@pytest.mark.filterwarnings("default")
def test_prepare_warns_of_broken_lines(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a good film\n\nbad \xff\n\na bad film")
    arguments = ["prepare", tmp_path / "a.txt", "--tokenizer", place / "vocabulary", "--workers", "1"]
    ran = run(*arguments, "--output", tmp_path / "shards")
    assert ran.err.startswith("keras-bert: warning: 1 line is not UTF-8 and was skipped. Use strict (--strict)")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [f"2 documents, 2 sentences, 6 tokens written to {tmp_path / 'shards'}"],
    )
    ran = run(*arguments, "--output", tmp_path / "others", "--strict")
    assert ran.code == 2
    assert "a.txt is not UTF-8: byte 4, in line 3, is 0xff" in ran.err
    assert not (tmp_path / "others").exists()


def test_prepare_with_the_tokenizer_of_a_subfolder(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a good film\n\na bad film", "utf-8")
    for output, tokenizer in (("one", [place, "--subfolder", "vocabulary"]), ("two", [place / "vocabulary"])):
        arguments = ["prepare", tmp_path / "a.txt", "--workers", "1", "--output", tmp_path / output]
        assert run(*arguments, "--tokenizer", *tokenizer).code == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) > 3
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
