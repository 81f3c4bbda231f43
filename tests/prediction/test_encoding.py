"""Vectors of texts, compared with ``encode`` of sentence-transformers."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
from torch_process import run_in_torch_process

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import encode_file, iterate_vectors, quantize_embeddings
from keras_bert_impl.prediction.encoding import encode, encode_document, encode_query

TEXTS = ["A good film.", "", "😀 bad", "not a good film, and far too long " * 9, "good", "a  bad\tfilm", "東京 good"]
PROMPTS = {"query": "find a film: ", "document": "film: ", "other": "not "}


# Keywords of ``encode``; ``method`` is another method.
Options = dict[str, Any]


@run_in_torch_process
def encode_with_sentence_transformers(directory: Path, texts: Any, calls: list[dict[str, Any]]) -> list[Any]:
    """Returns the result of each call, with lists of arrays for states of tokens."""
    import warnings

    from sentence_transformers import SentenceTransformer

    warnings.simplefilter("ignore")  # About the old names of its modules, and about few vectors for ranges.
    model = SentenceTransformer(str(directory), device="cpu")
    results = []
    for options in calls:
        options = dict(options)
        vectors = getattr(model, options.pop("method", "encode"))(texts, **options)
        results.append([states.numpy() for states in vectors] if isinstance(vectors, list) else vectors)
    return results


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    """A model with prompts."""
    return small.write_embedder(tmp_path_factory.mktemp("embedders") / "model", small_bert, prompts=PROMPTS)


@pytest.fixture(scope="module")
def model(directory: Path) -> BertForSentenceEmbedding:
    return BertForSentenceEmbedding.from_pretrained(directory)


def test_vectors_are_those_of_sentence_transformers(model: BertForSentenceEmbedding, directory: Path) -> None:
    calls: list[Options] = [
        {},
        {"prompt_name": "other"},
        {"prompt": "a bad "},
        {"prompt": "a bad ", "prompt_name": "absent"},
        {"prompt": ""},
        {"truncate_dim": 13},
        {"truncate_dim": 13, "normalize_embeddings": True},
        {"truncate_dim": 41},
        {"batch_size": 2},
    ]
    for options, expected in zip(calls, encode_with_sentence_transformers(directory, TEXTS, calls), strict=True):
        found = encode(model, TEXTS, **options)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=str(options))
        one = encode(model, TEXTS[3], **options)
        assert one.shape == found[3].shape
        np.testing.assert_allclose(one, found[3], atol=2e-6, err_msg=str(options))


@pytest.mark.parametrize(("include_prompt", "default"), [(True, "other"), (False, None)])
def test_prompts(tmp_path: Path, small_bert: Path, include_prompt: bool, default: str | None) -> None:
    """Default prompts, the two methods, and prompts that the pooling leaves out; one is longer than a row."""
    prompts = {**PROMPTS, "query": "a film " * 40}
    settings = {"include_prompt": include_prompt, "prompts": prompts, "default_prompt_name": default}
    directory = small.write_embedder(tmp_path / "model", small_bert, **settings)
    model = BertForSentenceEmbedding.from_pretrained(directory)
    methods = {"encode": encode, "encode_query": encode_query, "encode_document": encode_document}
    names: list[Options] = [{}, {"prompt_name": "document"}, {"prompt": "bad"}]
    calls = [{"method": method, **options} for method in methods for options in names]
    for call, expected in zip(calls, encode_with_sentence_transformers(directory, TEXTS, calls), strict=True):
        found = methods[call.pop("method")](model, TEXTS, **call)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=str(call))


def test_a_document_prompt_of_another_name_is_not_used(tmp_path: Path, small_bert: Path) -> None:
    """As in sentence-transformers, which has an empty prompt ``document`` for every model."""
    prompts = {"query": "query: ", "passage": "a film: "}
    directory = small.write_embedder(tmp_path / "model", small_bert, prompts=prompts, default_prompt_name="passage")
    model = BertForSentenceEmbedding.from_pretrained(directory)
    with pytest.warns(UserWarning, match="the prompt 'passage' but no 'document', so documents get no prompt"):
        found = encode_document(model, TEXTS)
    (expected,) = encode_with_sentence_transformers(directory, TEXTS, [{"method": "encode_document"}])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(encode_document(model, TEXTS, prompt_name="passage") - found).max() > 0.01


def test_settings_of_the_directory(tmp_path: Path, small_bert: Path) -> None:
    """``truncate_dim`` of the file; an argument takes precedence."""
    directory = small.write_embedder(tmp_path / "model", small_bert, truncate_dim=17)
    model = BertForSentenceEmbedding.from_pretrained(directory)
    assert encode(model, []).shape == (0, 17)
    calls: list[Options] = [{}, {"truncate_dim": 11}, {"truncate_dim": 23, "normalize_embeddings": True}]
    for options, expected in zip(calls, encode_with_sentence_transformers(directory, TEXTS, calls), strict=True):
        np.testing.assert_allclose(encode(model, TEXTS, **options), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:the ranges")
@pytest.mark.parametrize(("precision", "size"), [("int8", 32), ("uint8", 32), ("binary", 4), ("ubinary", 4)])
def test_quantized(
    model: BertForSentenceEmbedding, directory: Path, film_texts: list[str], precision: str, size: int
) -> None:
    texts = film_texts[:101]
    found = encode(model, texts, precision=precision)
    (expected,) = encode_with_sentence_transformers(directory, texts, [{"precision": precision}])
    assert (found.shape, found.dtype) == ((101, size), expected.dtype)
    # Numbers at the border of two steps may differ, because the vectors differ by rounding.
    assert np.mean(found == expected) > 0.999
    assert np.array_equal(found, quantize_embeddings(encode(model, texts), precision))
    nothing = encode(model, [], precision=precision)
    assert (nothing.shape, nothing.dtype) == ((0, size), found.dtype)
    if "binary" in precision:
        assert np.array_equal(encode(model, texts[5], precision=precision), found[5])


def test_states_of_tokens(model: BertForSentenceEmbedding, directory: Path) -> None:
    options = {"output_value": "token_embeddings", "prompt_name": "document"}
    found = encode(model, TEXTS, **options)
    (expected,) = encode_with_sentence_transformers(directory, TEXTS, [options])
    assert [states.shape for states in found] == [states.shape for states in expected]
    for states, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(states, theirs, atol=1e-5)
    np.testing.assert_allclose(encode(model, TEXTS[3], **options), found[3], atol=2e-6)
    assert encode(model, [], output_value="token_embeddings") == []


def test_a_vector_does_not_depend_on_the_other_texts(model: BertForSentenceEmbedding, film_texts: list[str]) -> None:
    texts = film_texts[:301]
    expected = np.stack([encode(model, text) for text in texts])
    for options in ({}, {"max_tokens": 97}, {"batch_size": 7}, {"max_tokens": 1}):
        np.testing.assert_allclose(encode(model, texts, **options), expected, atol=2e-6)
    np.testing.assert_allclose(encode(model, texts[::-1])[::-1], expected, atol=2e-6)


def test_streams(model: BertForSentenceEmbedding, film_texts: list[str]) -> None:
    """A generator is read one chunk ahead, not to its end."""
    texts = film_texts[:53]
    read: list[str] = []

    def generate() -> Iterator[str]:
        for text in texts:
            read.append(text)
            yield text

    expected = encode(model, texts)
    chunks = iterate_vectors(model, generate(), size=10)
    first = next(chunks)
    assert len(read) == 20
    found = [first, *chunks]
    assert [len(chunk) for chunk in found] == [10, 10, 10, 10, 10, 3]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=2e-6)
    np.testing.assert_allclose(encode(model, generate()), expected, atol=2e-6)
    np.testing.assert_allclose(encode(model, np.array(texts)), expected, atol=2e-6)


def test_bfloat16_uses_the_current_weights(directory: Path) -> None:
    model = BertForSentenceEmbedding.from_pretrained(directory)
    expected = encode(model, TEXTS)

    def compare(found: np.ndarray, expected: np.ndarray) -> None:
        assert found.dtype == np.float32
        cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosines.min() > 0.999
        assert np.abs(found - expected).max() > 1e-4

    compare(encode(model, TEXTS, precision="bfloat16"), expected)
    native = BertForSentenceEmbedding.from_pretrained(directory, dtype="bfloat16")
    assert np.array_equal(encode(native, TEXTS), encode(model, TEXTS, precision="bfloat16"))
    assert np.array_equal(encode(native, TEXTS), encode(native, TEXTS, precision="bfloat16"))
    for weight in model.weights:
        if weight.path.endswith("LayerNorm/gamma"):
            weight.assign(weight * 1.5)
    changed = encode(model, TEXTS)
    assert np.abs(changed - expected).max() > 0.1
    compare(encode(model, TEXTS, precision="bfloat16"), changed)


def test_the_copy_in_bfloat16_is_not_saved(directory: Path, tmp_path: Path) -> None:
    """Keras saves what it finds in the attributes of a model, and expects it when it loads weights."""
    model = BertForSentenceEmbedding.from_pretrained(directory)
    model.save_weights(tmp_path / "before.weights.h5")
    model.save(tmp_path / "before.keras")
    expected = encode(model, TEXTS)
    encode(model, TEXTS, precision="bfloat16")
    model.save_weights(tmp_path / "after.weights.h5")
    model.save(tmp_path / "after.keras")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    for suffix in ("weights.h5", "keras"):
        assert sizes[f"after.{suffix}"] == pytest.approx(sizes[f"before.{suffix}"], rel=0.01)
    table = model.embeddings.word_embeddings.embeddings
    table.assign(np.array(table) + 1)
    model.load_weights(tmp_path / "before.weights.h5")
    assert np.array_equal(encode(model, TEXTS), expected)


def test_changed_layers(directory: Path) -> None:
    """The compiled model is not used after LoRA, whose weights a copy does not have."""
    model = BertForSentenceEmbedding.from_pretrained(directory)
    before = encode(model, TEXTS)
    dense = model.encoder.layer[0].intermediate.dense
    dense.enable_lora(3)
    np.testing.assert_allclose(encode(model, TEXTS), before, atol=2e-6)
    dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
    after = encode(model, TEXTS)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, model.predict_on_batch(make_inputs(model))["sentence_embedding"], atol=2e-6)
    with pytest.raises(InputError, match=r"^the model has other weights than its configuration says, .*/lora_kernel_a"):
        encode(model, TEXTS, precision="bfloat16")


def make_inputs(model: BertForSentenceEmbedding) -> dict[str, np.ndarray]:
    assert model.tokenizer is not None
    rows = model.tokenizer(TEXTS, padding=True, truncation=True, max_length=model.max_seq_length)
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.slow
def test_several_threads(model: BertForSentenceEmbedding, directory: Path, film_texts: list[str]) -> None:
    """Threads that compile the model at once."""
    parts = [film_texts[i : i + 41] for i in range(0, 164, 41)]
    expected = [encode(model, part) for part in parts]
    fresh = BertForSentenceEmbedding.from_pretrained(directory)
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i, part=part: found.update({i: encode(fresh, part)}))
        for i, part in enumerate(parts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, vectors in enumerate(expected):
        np.testing.assert_allclose(found[i], vectors, atol=2e-6)


def test_bad_input(model: BertForSentenceEmbedding, directory: Path) -> None:
    for inputs, message in [
        (["a", 5], "text 2: the text is 5; a string was expected"),
        (["a", "b", "\ud83d"], "text 3: the text contains half of a surrogate pair"),
        ("\ud83d", "text 1: the text contains half of a surrogate pair"),
        (5, r"the texts are 5 \(int\); a list of strings was expected"),
        (b"text", r"the texts are b'text' \(bytes\)"),
        ({"a": 1}, r"the texts are \{'a': 1\} \(dict\)"),
    ]:
        with pytest.raises(InputError, match=message):
            encode(model, inputs)
    for options, message in [
        ({"prompt_name": "q"}, r"the model has no prompt 'q'; its prompts are 'query', 'document', 'other'\. Name one"),
        ({"precision": "int4"}, "precision is 'int4'; float32, bfloat16, int8, uint8, binary or ubinary was expected"),
        ({"output_value": "cls"}, "output_value is 'cls'; sentence_embedding or token_embeddings was expected"),
        ({"batch_size": 0}, "batch_size is 0; a positive number was expected"),
        ({"max_tokens": -1}, "max_tokens is -1; a positive number was expected"),
        ({"truncate_dim": 0}, "truncate_dim is 0; a number of dimensions from 1 to 32 was expected"),
    ]:
        with pytest.raises(InputError, match=message):
            encode(model, TEXTS, **options)
    with pytest.raises(InputError, match="int8 needs the ranges of many vectors, and there is one"):
        encode(model, "good", precision="int8")
    with pytest.raises(InputError, match=r"this model has no tokenizer\. Assign one to model\.tokenizer, such as Bert"):
        encode(BertForSentenceEmbedding(model.config), TEXTS)
    with pytest.raises(InputError, match=r"the texts are one string, 'abc'; a list of strings was expected\. Put it"):
        list(iterate_vectors(model, "abc"))
    with pytest.raises(InputError, match=r"precision is 'int8'; float32, bfloat16, binary or ubinary was expected"):
        iterate_vectors(model, TEXTS, precision="int8")


def test_vectors_that_are_not_finite_are_refused(directory: Path) -> None:
    model = BertForSentenceEmbedding.from_pretrained(directory)
    table = model.embeddings.word_embeddings.embeddings
    values = np.array(table)
    (token,) = model.tokenizer.encode_ragged(["film"])["input_ids"][0][1:-1]
    values[token] = np.nan
    table.assign(values)
    for options in ({}, {"normalize_embeddings": True}, {"truncate_dim": 3}, {"output_value": "token_embeddings"}):
        with pytest.raises(InputError, match=r"^the vector of text 3 is not finite: the weights of the model are"):
            encode(model, ["good", "bad", "a film", "good"], **options)
    assert len(encode(model, ["good", "bad"])) == 2
    chunks = iterate_vectors(model, ["good"] * 5 + ["film"] + ["good"], size=2)
    assert len(next(chunks)) == 2
    with pytest.raises(InputError, match="the vector of text 6 is not finite"):
        list(chunks)


def test_the_chunks_before_an_error_are_computed(model: BertForSentenceEmbedding) -> None:
    texts: list[Any] = ["good", "bad", "a film", "good", "bad", 7]
    chunks = iterate_vectors(model, texts, size=2)
    found = [next(chunks), next(chunks)]
    np.testing.assert_allclose(np.concatenate(found), encode(model, texts[:4]), atol=2e-6)
    with pytest.raises(InputError, match="text 6: the text is 7"):
        next(chunks)


def write_table(path: Path, texts: list[str]) -> Path:
    rows = {
        ".txt": texts,
        ".tsv": ["id\tline", *(f"{i}\t{text}" for i, text in enumerate(texts))],
        ".csv": [f'{i},"{text}"' for i, text in enumerate(texts)],
        ".jsonl": [json.dumps({"line": text}) for text in texts],
    }
    path.write_text("\n".join(rows[path.suffix]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [("x.txt", {}), ("x.tsv", {"column": "line"}), ("x.csv", {"column": "1"}), ("x.jsonl", {"column": "line"})],
)
def test_files(model: BertForSentenceEmbedding, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    texts = [text.replace("\t", " ") for text in TEXTS]
    path = write_table(tmp_path / name, texts)
    (tmp_path / "vectors.npy").write_bytes(b"old")
    assert encode_file(model, path, tmp_path / "vectors.npy", prompt_name="other", **options) == (7, 32)
    found = np.load(tmp_path / "vectors.npy")
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    assert np.array_equal(found, encode(model, texts, prompt_name="other"))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, "vectors.npy"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8", "uint8", "binary", "ubinary"])
def test_files_of_quantized_vectors(
    model: BertForSentenceEmbedding, tmp_path: Path, film_texts: list[str], precision: str
) -> None:
    """The ranges are those of all chunks."""
    path = write_table(tmp_path / "x.txt", film_texts[:113])
    options: Options = {"precision": precision, "truncate_dim": 21}
    rows, size = encode_file(model, path, tmp_path / "vectors.npy", size=10, **options)
    found = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert found.shape == (rows, size) == (113, 3 if "binary" in precision else 21)
    expected = encode(model, film_texts[:113], **options)
    assert found.dtype == expected.dtype
    if precision in ("float32", "bfloat16"):
        np.testing.assert_allclose(found, expected, atol=2e-2 if precision == "bfloat16" else 2e-6)
    else:
        assert np.mean(found == expected) > 0.999


def test_files_that_fail_leave_nothing(model: BertForSentenceEmbedding, tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.txt", ["good"])
    with pytest.raises(InputError, match="int8 needs the ranges of many vectors"):
        encode_file(model, path, tmp_path / "vectors.npy", precision="int8")
    with pytest.raises(InputError, match=r"there is no column 'text'; the columns are 'id', 'line'"):
        encode_file(model, write_table(tmp_path / "x.tsv", TEXTS[:1]), tmp_path / "vectors.npy")
    with pytest.raises(InputError, match=r"vectors\.npy cannot be written: File exists"):
        encode_file(model, path, path / "vectors.npy")

    def read_texts() -> Iterator[str]:
        yield from TEXTS
        open(tmp_path / "absent.txt", encoding="utf-8").close()

    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):  # Not "vectors.npy cannot be written".
        encode_file(model, read_texts(), tmp_path / "vectors.npy")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.tsv", "x.txt"]


WRITE = """
import sys
import numpy as np
from keras_bert_impl.prediction.vector_files import _write_rows

empty = np.empty((0, 5), np.float32)
with open(sys.argv[1], "wb") as file:
    print(_write_rows(file, [np.ones((3, 5), np.float32), np.zeros((4, 5), np.float32)], empty))
"""


def test_files_are_complete_without_assertions(tmp_path: Path) -> None:
    """``python -O`` does not execute ``assert``."""
    path = tmp_path / "vectors.npy"
    subprocess.run([sys.executable, "-O", "-c", WRITE, str(path)], check=True)
    found = np.load(path)
    assert (found.shape, found.sum()) == ((7, 5), 15)


STREAM = """
import resource, sys
import numpy as np
from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.prediction import encode_file

model = BertForSentenceEmbedding.from_pretrained(sys.argv[1])
encode_file(model, sys.argv[2], sys.argv[3], precision=sys.argv[4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size, rows = encode_file(model, sys.argv[5], sys.argv[3], precision=sys.argv[4])[::-1]
print(rows, size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_memory_does_not_grow_with_the_file(directory: Path, tmp_path: Path, precision: str) -> None:
    """60 MB of text: the memory above that of a file with one chunk."""
    line = "good " + "x" * 995
    for name, rows in {"few": 4_200, "many": 60_000}.items():
        (tmp_path / f"{name}.txt").write_text(f"{line}\n" * rows, encoding="utf-8")
    files = [tmp_path / "few.txt", tmp_path / "v.npy", precision, tmp_path / "many.txt"]
    command = [sys.executable, "-W", "error::UserWarning", "-c", STREAM, directory, *files]
    output = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    rows, size, megabytes = map(int, output.split())
    assert (rows, size) == (60_000, 32)
    assert megabytes < 30
