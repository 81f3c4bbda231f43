"""Hard negatives, compared with those of sentence-transformers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentence_models
import small
from torch_process import run_in_torch_process

from keras_bert_impl import BertForSentenceEmbedding, machine
from keras_bert_impl.cli.main import main
from keras_bert_impl.data.tables import Columns, to_columns
from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import MiningSettings, Reranker, mine_file, mine_hard_negatives

PROMPTS = {"query": "find a film: ", "document": "film: "}


@run_in_torch_process
def mine_with_sentence_transformers(
    directory: Path, pairs: dict[str, list[str]], corpus: list[str], reranker: Path | None, options: dict[str, Any]
) -> dict[str, list[Any]]:
    """The columns of sentence-transformers, which needs the library ``datasets`` only to hold them."""
    import contextlib
    import io
    import sys
    import types
    import warnings
    from collections import Counter

    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.util import hard_negatives

    warnings.simplefilter("ignore")

    class Dataset(dict):
        column_names = property(list)
        from_dict = classmethod(lambda cls, columns: cls(columns))

        def __len__(self) -> int:
            return len(next(iter(self.values())))

        def to_pandas(self) -> types.SimpleNamespace:
            # Of pandas: groupby(first).count().to_dict()[second].values()
            counts = Counter(self["text"])
            frame = types.SimpleNamespace(count=lambda: frame, to_dict=lambda: {"positive": counts})
            return types.SimpleNamespace(groupby=lambda name: frame)

    model = SentenceTransformer(str(directory), device="cpu")
    cross_encoder = None if reranker is None else CrossEncoder(str(reranker), device="cpu")
    hard_negatives.is_datasets_available = lambda: True
    known = sys.modules.get("datasets")
    sys.modules["datasets"] = types.SimpleNamespace(Dataset=Dataset)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            mined = hard_negatives.mine_hard_negatives(
                Dataset(pairs), model, corpus=corpus, cross_encoder=cross_encoder, verbose=False, **options
            )
    finally:
        del sys.modules["datasets"]
        if known is not None:
            sys.modules["datasets"] = known
    return dict(mined)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    return small.write_embedder(tmp_path_factory.mktemp("embedders") / "model", small_bert, prompts=PROMPTS)


@pytest.fixture(scope="module")
def model(directory: Path) -> BertForSentenceEmbedding:
    return BertForSentenceEmbedding.from_pretrained(directory)


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    directory = tmp_path_factory.mktemp("cross_encoders") / "model"
    sentence_models.save_cross_encoder("identity", small_bert, directory, max_length=131)
    return directory


@pytest.fixture(scope="module")
def reranker(cross_encoder: Path) -> Reranker:
    return Reranker(cross_encoder)


@pytest.fixture(scope="module")
def pairs(film_texts: list[str]) -> Columns:
    """11 queries with one, two or three positives, the first of which occurs in two places."""
    texts = [text[:60] for text in film_texts[:40]]
    queries = [*texts[:11], *texts[:4], texts[0], texts[7]]
    return {"text": queries, "positive": texts[11:28]}


@pytest.fixture(scope="module")
def corpus(film_texts: list[str], pairs: Columns) -> list[str]:
    """Distinct documents, of which two are positives as well."""
    return [*(text[:60] for text in film_texts[60:97]), pairs["positive"][3], pairs["positive"][15]]


def to_rows(columns: Columns) -> list[Any]:
    """The examples in the form of sentence-transformers: a query, a document, and negatives or a label."""
    if "label" in columns:
        return list(zip(columns["text"], columns["text_pair"], map(int, columns["label"]), strict=True))
    return [(text, positive, *negatives) for text, positive, negatives in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_negatives": 5, "range_min": 3, "output_format": "n-tuple"},
        {"num_negatives": 2, "range_max": 7, "output_format": "labeled-pair"},
        {"num_negatives": 2, "max_score": 0.97},
        {"min_score": 0.8, "output_format": "n-tuple"},
        {"absolute_margin": 0.05, "output_format": "labeled-pair"},
        {"relative_margin": 0.02, "range_min": 1},
        {"num_negatives": 100, "range_min": 20},
    ],
)
def test_the_examples_are_those_of_sentence_transformers(
    directory: Path, model: BertForSentenceEmbedding, pairs: Columns, corpus: list[str], options: dict[str, Any]
) -> None:
    mined = mine_hard_negatives(model, pairs, corpus=corpus, settings=MiningSettings(**options))
    expected = mine_with_sentence_transformers(directory, pairs, corpus, None, options)
    assert to_rows(mined) == list(zip(*expected.values(), strict=True))
    assert mined["text"]


@pytest.mark.parametrize(
    "options",
    [
        {"num_negatives": 2, "max_score": 0.5, "range_min": 2},
        {"min_score": -1.0, "output_format": "labeled-pair"},
        {"absolute_margin": -0.5, "relative_margin": -0.1, "output_format": "n-tuple"},
    ],
)
def test_a_reranker_computes_the_scores(
    directory: Path,
    cross_encoder: Path,
    model: BertForSentenceEmbedding,
    reranker: Reranker,
    pairs: Columns,
    corpus: list[str],
    options: dict[str, Any],
) -> None:
    settings = MiningSettings(**options)
    mined = mine_hard_negatives(model, pairs, corpus=corpus, reranker=reranker, settings=settings)
    expected = mine_with_sentence_transformers(directory, pairs, corpus, cross_encoder, options)
    assert to_rows(mined) == list(zip(*expected.values(), strict=True))
    without = mine_hard_negatives(model, pairs, corpus=corpus, settings=settings)
    assert to_rows(mined) != to_rows(without)
    with pytest.raises(InputError, match="a reranker was given, but nothing to compare its scores with"):
        mine_hard_negatives(model, pairs, reranker=reranker)


def test_a_random_choice_among_the_candidates(
    model: BertForSentenceEmbedding, pairs: Columns, corpus: list[str]
) -> None:
    def mine(**options: Any) -> list[list[str]]:
        settings = MiningSettings(range_min=2, output_format="n-tuple", **options)
        return mine_hard_negatives(model, pairs, corpus=corpus, settings=settings)["negatives"]

    everything = mine(num_negatives=9)
    chosen = mine(num_negatives=4, range_max=11, sampling_strategy="random")
    assert len(chosen) == len(everything) == 17
    for texts, candidates in zip(chosen, everything, strict=True):
        assert len(set(texts)) == 4
        assert texts == [text for text in candidates if text in texts]  # The most similar first.
    assert chosen == mine(num_negatives=4, range_max=11, sampling_strategy="random")
    assert chosen != mine(num_negatives=4, range_max=11, sampling_strategy="random", seed=2)
    assert len({everything[i].index(texts[0]) for i, texts in enumerate(chosen)}) > 1


def test_a_query_is_not_its_own_negative(model: BertForSentenceEmbedding) -> None:
    """As a document it is the most similar one. sentence-transformers takes it."""
    pairs = {"text": ["a film", "dull"], "positive": ["dull", "a film"]}
    settings = MiningSettings(output_format="n-tuple", num_negatives=1)
    mined = mine_hard_negatives(model, pairs, corpus=["a film", "good", "dull"], settings=settings)
    assert mined == {**pairs, "negatives": [["good"], ["good"]]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_negatives": 0}, "num_negatives is 0; an integer above 0 was expected"),
        ({"range_min": -1}, "range_min is -1; an integer from 0 was expected"),
        ({"range_min": 5, "range_max": 7}, "range_max is 7; at least range_min \\+ num_negatives, which is 8, was exp"),
        ({"max_score": float("nan")}, "max_score is nan; a finite number was expected"),
        ({"sampling_strategy": "best"}, "sampling_strategy is 'best'; top or random was expected"),
        ({"output_format": "csv"}, "output_format is 'csv'; triplet, n-tuple or labeled-pair was expected"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MiningSettings(**options)


def test_columns_that_are_not_pairs(model: BertForSentenceEmbedding) -> None:
    with pytest.raises(InputError, match=r"without scores, were expected; the columns are 'text', 'label'"):
        mine_hard_negatives(model, {"text": ["a"], "label": ["b"]})
    with pytest.raises(InputError, match=r"example 2: positive is 5; a string was expected"):
        mine_hard_negatives(model, {"text": ["a", "b"], "positive": ["b", 5]})
    with pytest.raises(InputError, match=r"corpus, text 2: the text is missing; a string was expected"):
        mine_hard_negatives(model, {"text": ["a"], "positive": ["b"]}, corpus=["b", None])
    with pytest.raises(InputError, match=r"the texts of the corpus are one string, 'abc'; a list of strings was exp"):
        mine_hard_negatives(model, {"text": ["a"], "positive": ["b"]}, corpus="abc")


@pytest.fixture
def files(tmp_path: Path, pairs: Columns, corpus: list[str]) -> Path:
    rows = [f"{text}\t{positive}" for text, positive in zip(pairs["text"], pairs["positive"], strict=True)]
    (tmp_path / "pairs.tsv").write_text("\n".join(["query\tanswer", *rows]), encoding="utf-8")
    lines = [json.dumps({"passage": text}) for text in corpus]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("output_format", ["triplet", "n-tuple"])
@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_files(
    model: BertForSentenceEmbedding, files: Path, pairs: Columns, corpus: list[str], output_format: str, suffix: str
) -> None:
    """The file that is written has the columns that fine-tuning reads."""
    settings = MiningSettings(num_negatives=2, output_format=output_format)
    output = files / f"mined{suffix}"
    options: dict[str, Any] = {"corpus": files / "corpus.jsonl", "corpus_column": "passage", "settings": settings}
    mine_file(model, files / "pairs.tsv", output, **options)
    (columns,) = to_columns(iterate_text_columns(output))
    del columns["location"]
    assert columns == mine_hard_negatives(model, pairs, corpus=corpus, settings=settings)


def run_command(directory: Path, files: Path, *options: str) -> int:
    arguments = ["--pairs", str(files / "pairs.tsv"), "--corpus", str(files / "corpus.jsonl")]
    return main(["mine-negatives", str(directory), *arguments, "--corpus-column", "passage", *options])


def test_the_command(
    directory: Path,
    cross_encoder: Path,
    model: BertForSentenceEmbedding,
    reranker: Reranker,
    files: Path,
    pairs: Columns,
    corpus: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = files / "mined.tsv"
    given = ["--output", str(output), "--num-negatives", "2", "--max-score", "0.1", "--format", "labeled-pair"]
    assert run_command(directory, files, *given, "--reranker", str(cross_encoder)) == 0
    settings = MiningSettings(num_negatives=2, max_score=0.1, output_format="labeled-pair")
    mined = mine_hard_negatives(model, pairs, corpus=corpus, reranker=reranker, settings=settings)
    rows = [line.split("\t") for line in output.read_text(encoding="utf-8").splitlines()]
    assert rows == [["text", "text_pair", "label"], *map(list, zip(*mined.values(), strict=True))]
    counts = [
        sum(text == query and label == "0" for text, label in zip(mined["text"], mined["label"], strict=True))
        for query in dict.fromkeys(pairs["text"])
    ]
    names = {2: "2 negatives", 1: "1 negative", 0: "0 negatives"}
    lines = [f"{counts.count(k):6} with {name}" for k, name in names.items() if k in counts]
    assert capsys.readouterr().out.splitlines() == [f"11 queries; examples written to {output}", *lines]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "x.csv"], r"x\.csv: the file name must end in \.tsv or \.jsonl"),
        (
            ["--output", "x.tsv", "--max-score", "-1.5"],
            r"of 11 queries\. Add documents, or relax max_score -1\.5\.",
        ),
        (["--output", "x.tsv", "--min-score", "1.5"], r"of 11 queries\. Add documents, or relax min_score 1\.5\."),
        (["--output", "x.tsv", "--range-max", "2"], r"range_max is 2; at least range_min \+ num_negatives, which is 3"),
        (["--output", "absent.txt/x.tsv", "--num-negatives", "1"], r"absent\.txt/x\.tsv cannot be written: "),
    ],
)
def test_bad_input(
    directory: Path,
    files: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    (files / "absent.txt").touch()
    before = {path.name for path in files.iterdir()}
    assert run_command(directory, files, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("keras-bert: error: ")
    assert re.search(message, line), line
    assert {path.name for path in files.iterdir()} == before


def test_more_documents_than_memory(
    directory: Path, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before any text is embedded; queries count, too."""
    monkeypatch.setattr(machine, "count_free_memory", lambda: 10_000)
    monkeypatch.setattr(BertForSentenceEmbedding, "encode_query", None)
    assert run_command(directory, files, "--output", str(files / "mined.tsv")) == 2
    message = r"the vectors of 65 texts need .* of memory, and .* are free\. Use a part of the texts\."
    assert re.fullmatch(rf"keras-bert: error: {message}\n", capsys.readouterr().err)
    assert not (files / "mined.tsv").exists()
