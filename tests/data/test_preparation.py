"""Shards: their content, that workers and interruptions do not change them, and messages about damage."""

import json
import pickle
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from corpora import make_corpus, read_files
from tokenizers import Tokenizer

from keras_bert_impl.data import TokenCorpus, prepare
from keras_bert_impl.data.corpus import UNIT
from keras_bert_impl.data.sentences import split_sentences
from keras_bert_impl.data.shards import MANIFEST, format_settings
from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer

SIZE = 1500  # Characters of a shard.


@pytest.fixture(scope="module")
def text(film_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two files of documents of 1 to 7 film snippets."""
    directory = tmp_path_factory.mktemp("corpus")
    lines = film_texts[:300]
    draw = np.random.default_rng(7)
    for name, part in {"a.txt": lines[:200], "b.txt": lines[200:]}.items():
        cuts = np.cumsum(draw.integers(1, 8, len(part)))
        documents = np.split(np.array(part, object), cuts[cuts < len(part)])
        (directory / name).write_text("\n\n".join("\n".join(document) for document in documents), encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def shards(text: Path, small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("prepared") / "shards"
    prepare([text], small_bert, output, shard_size=SIZE, workers=2)
    return output


def test_shards_contain_every_token_once(text: Path, small_bert: Path, shards: Path) -> None:
    """The shards contain the ids of the Rust library's own tokenizer for each sentence, in the order of the corpus."""
    reference = Tokenizer.from_file(str(shards / "tokenizer.json"))
    expected, sentences, documents = [], [0], [0]
    for name in ("a.txt", "b.txt"):
        for document in (text / name).read_text("utf-8").split("\n\n"):
            for line in document.split("\n"):
                for sentence in split_sentences(line, language="en"):
                    expected += reference.encode(sentence, add_special_tokens=False).ids
                    sentences.append(len(expected))
            documents.append(len(sentences) - 1)
    corpus = TokenCorpus(shards)
    assert len(corpus.manifest["shards"]) > 5
    np.testing.assert_array_equal(corpus.sentence_starts, sentences)
    np.testing.assert_array_equal(corpus.document_starts, documents)
    found = corpus.gather(corpus.sentence_starts[:-1], np.diff(corpus.sentence_starts))
    np.testing.assert_array_equal(found, expected)
    for name, count in {
        "tokens": len(expected),
        "sentences": len(sentences) - 1,
        "documents": len(documents) - 1,
    }.items():
        assert corpus.manifest[name] == count


def test_a_token_takes_two_bytes(shards: Path) -> None:
    tokens = json.loads((shards / MANIFEST).read_text())["tokens"]
    arrays = [safetensors.numpy.load_file(path) for path in shards.glob("0*.safetensors")]
    assert sum(part["tokens"].nbytes for part in arrays) == 2 * tokens


def test_the_number_of_workers_does_not_matter(text: Path, small_bert: Path, shards: Path, tmp_path: Path) -> None:
    for workers in (1, 3):
        prepare([text], small_bert, tmp_path / str(workers), shard_size=SIZE, workers=workers)
        assert read_files(tmp_path / str(workers)) == read_files(shards)


INTERRUPTED = """
import os, signal, sys
from keras_bert_impl.data import prepare
def stop(documents, tokens, read, total):
    if documents > 20:
        os.kill(os.getpid(), signal.{signal})
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ignored in what a shell runs in the background.
    prepare([sys.argv[1]], sys.argv[2], sys.argv[3], shard_size={size}, workers=1, progress=stop)
"""


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGINT"])
def test_a_second_run_continues(text: Path, small_bert: Path, shards: Path, tmp_path: Path, kind: str) -> None:
    script = tmp_path / "stopped.py"
    script.write_text(INTERRUPTED.format(signal=kind, size=SIZE))
    output = tmp_path / "shards"
    result = subprocess.run(
        [sys.executable, script, text, small_bert, output], capture_output=True, start_new_session=True
    )
    assert result.returncode
    work = tmp_path / ".shards.partial"
    assert not output.exists()
    done = {path: path.stat().st_mtime_ns for path in work.glob("*.safetensors")}
    assert done
    # A truncated one is made again.
    first, *others = sorted(done)
    first.write_bytes(first.read_bytes()[:-3])
    time.sleep(0.02)
    prepare([text], small_bert, output, shard_size=SIZE, workers=2)
    assert read_files(output) == read_files(shards)
    assert not work.exists()
    assert (output / first.name).stat().st_mtime_ns > done[first]
    assert all((output / path.name).stat().st_mtime_ns == done[path] for path in others)


def test_a_run_with_other_settings_is_not_continued(text: Path, small_bert: Path, tmp_path: Path) -> None:
    work = tmp_path / ".shards.partial"
    work.mkdir()
    (work / "settings.json").write_text("{}")
    (work / "00000-00000.safetensors").touch()
    with pytest.raises(InputError, match=r"contains shards of an interrupted preparation with another tokenizer"):
        prepare([text], small_bert, tmp_path / "shards")


def test_shards_of_changed_text_are_made_again(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A good film.\n\nA bad one.")
    prepare([tmp_path / "a.txt"], small_bert, tmp_path / "complete", workers=1)
    work = tmp_path / ".shards.partial"
    shutil.copytree(tmp_path / "complete", work)
    (tmp_path / "a.txt").write_text("A good film.\n\nA very bad one.")
    (work / MANIFEST).unlink()
    settings = format_settings(
        BertTokenizer.from_pretrained(small_bert), language="en", text_field="text", shard_size=UNIT
    )
    (work / "settings.json").write_text(settings)
    prepare([tmp_path / "a.txt"], small_bert, tmp_path / "shards", workers=1)
    before, after = (TokenCorpus(tmp_path / name).manifest["tokens"] for name in ("complete", "shards"))
    assert after == before + 1


def test_special_tokens_in_the_text_are_plain_text(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A [SEP] good [MASK] film [PAD].\n\nA bad one.")
    prepare([tmp_path / "a.txt"], small_bert, tmp_path / "shards", workers=1)
    corpus = TokenCorpus(tmp_path / "shards")
    ids = corpus.gather(corpus.sentence_starts[:-1], np.diff(corpus.sentence_starts))
    special = set(corpus.tokenizer.special_token_ids) - {corpus.tokenizer.unk_token_id}
    assert not special & set(ids.tolist())
    assert {"s", "##e", "##p"} < set(corpus.tokenizer.convert_ids_to_tokens(ids))


def test_a_script_without_a_main_guard(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A good film.\n\nA bad one.")
    script = tmp_path / "plain.py"
    script.write_text("import sys\nfrom keras_bert_impl.data import prepare\nprepare(*sys.argv[1:], workers=1)\n")
    command = [sys.executable, script, tmp_path / "a.txt", small_bert, tmp_path / "shards"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode
    assert "Put the call under `if __name__ == '__main__':`" in result.stderr
    assert not (tmp_path / "shards").exists()


def test_a_corpus_opens_its_files_in_other_processes(shards: Path) -> None:
    corpus = TokenCorpus(shards)
    packed = pickle.dumps(corpus)
    assert len(packed) < 300
    again = pickle.loads(packed)
    np.testing.assert_array_equal(again.sentence_starts, corpus.sentence_starts)


def test_workers_are_at_least_one(text: Path, small_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers is 0; an integer above 0"):
        prepare([text], small_bert, tmp_path / "shards", workers=0)


def test_a_corpus_in_another_encoding(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Der Käse.\nDie Tür.".encode("latin-1"))
    with pytest.warns(UserWarning, match="2 lines are not UTF-8"), pytest.raises(InputError, match="contains no text"):
        prepare([tmp_path / "a.txt"], small_bert, tmp_path / "shards", workers=1)


def test_a_warning_about_broken_lines(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"A good film.\n\nA bad one.\n\xff\n")
    with pytest.warns(UserWarning, match=r"1 line is not UTF-8 and was skipped\. Use strict"):
        manifest = prepare([tmp_path / "a.txt"], small_bert, tmp_path / "shards", workers=1)
    assert (manifest["documents"], manifest["broken_lines"]) == (2, 1)


@pytest.mark.parametrize("content", ["", "\n \n\n", "\u0007\n"])
def test_a_corpus_without_text(small_bert: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(InputError, match=r"a\.txt contains no text"):
        prepare([tmp_path / "a.txt"], small_bert, tmp_path / "new" / "shards", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_line_of_ten_megabytes(small_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("good " * 2_000_000 + "\n\nA bad one.")
    manifest = prepare([tmp_path / "a.txt"], small_bert, tmp_path / "shards", workers=1)
    assert manifest["documents"] == 2
    assert manifest["tokens"] == 2_000_004


def test_a_full_disk_keeps_finished_shards(text: Path, small_bert: Path, shards: Path, tmp_path: Path) -> None:
    """The disk is a file system of 64 kB in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        with pytest.raises(OSError, match=r"shards cannot be written: .*run the same command again"):
            prepare([text], small_bert, disk / "shards", shard_size=SIZE, workers=1)
        assert list((disk / ".shards.partial").glob("0*.safetensors"))
        subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
        prepare([text], small_bert, disk / "shards", shard_size=SIZE, workers=1)
        assert read_files(disk / "shards") == read_files(shards)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_at_once_leaves_nothing(text: Path, small_bert: Path, tmp_path: Path) -> None:
    """Files cannot grow beyond a kilobyte, in the workers too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"new/shards cannot be written: File too large\. Free some space there"):
            prepare([text], small_bert, tmp_path / "new" / "shards", shard_size=9 * SIZE, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


# ---- Reading.


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def damage(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_a_truncated_shard(copy: Path) -> None:
    path = copy / "00000-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"00000-00002\.safetensors has [\d,]+ bytes; the manifest says [\d,]+"):
        TokenCorpus(copy)


def test_an_altered_shard(copy: Path) -> None:
    damage(copy / "00000-00002.safetensors", -1)
    with pytest.raises(InputError, match=r"00000-00002\.safetensors was altered: its checksum is"):
        TokenCorpus(copy)


def test_a_missing_shard(copy: Path) -> None:
    (copy / "00000-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"00000-00002\.safetensors cannot be read: No such file"):
        TokenCorpus(copy)


def test_a_file_that_is_not_a_shard(copy: Path) -> None:
    (copy / "00000-00002.safetensors").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"00000-00002\.safetensors is truncated or damaged: .*Prepare the corpus"):
        TokenCorpus(copy, check=False)
    safetensors.numpy.save_file({"tokens": np.zeros(3, np.float32)}, copy / "00000-00002.safetensors")
    with pytest.raises(InputError, match=r"00000-00002\.safetensors is not a shard: .*Prepare the corpus again"):
        TokenCorpus(copy, check=False)


def test_another_tokenizer(copy: Path) -> None:
    vocabulary = BertTokenizer.from_pretrained(copy).vocabulary
    vocabulary[-1], vocabulary[-2] = vocabulary[-2], vocabulary[-1]
    BertTokenizer(vocabulary).save_pretrained(copy)
    with pytest.raises(InputError, match="made with another tokenizer than the one in this directory"):
        TokenCorpus(copy)


def test_another_directory_and_another_format(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no manifest\.json; a directory that `keras-bert prepare` wrote"):
        TokenCorpus(tmp_path)
    (copy / MANIFEST).write_text('{"format": 9}')
    with pytest.raises(InputError, match="has the format 9; 1 was expected"):
        TokenCorpus(copy)
    (copy / MANIFEST).write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"is not what `keras-bert prepare` writes \('shards'\)"):
        TokenCorpus(copy)


def test_held_out_documents(shards: Path) -> None:
    corpus = TokenCorpus(shards)
    train, held_out = corpus.split_documents(0.2, seed=3)
    assert len(held_out) == round(0.2 * corpus.documents)
    np.testing.assert_array_equal(np.sort(np.r_[train, held_out]), np.arange(corpus.documents))
    np.testing.assert_array_equal(held_out, corpus.split_documents(0.2, seed=3)[1])
    assert set(held_out) != set(corpus.split_documents(0.2, seed=4)[1])
    # As the model card says.
    first = np.random.default_rng(3).permutation(corpus.documents)[: len(held_out)]
    assert set(held_out) == set(first)
    with pytest.raises(InputError, match=r"of which 1\.0% are"):
        corpus.split_documents(0.01, seed=3)


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    """Each shard stays open: the limit is raised as far as the system allows, then there is an error."""
    make_corpus(tmp_path, documents=2, sentences=(2, 3), tokens=(3, 5), shards=90)
    code = f"""
import resource
from keras_bert_impl.data import TokenCorpus
from keras_bert_impl.errors import InputError
_, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, maximum))
print(TokenCorpus({str(tmp_path)!r}).documents)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    TokenCorpus({str(tmp_path)!r})
except InputError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    opened, refused = ran.stdout.splitlines()
    assert opened == "180"
    assert re.search(r"\.safetensors cannot be opened: Too many open files\. Raise the limit .*ulimit -n", refused)
