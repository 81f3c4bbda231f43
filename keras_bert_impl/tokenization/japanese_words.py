"""Splits Japanese text into words: by MeCab, by Sudachi, or at spaces."""

import importlib
import inspect
import threading
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_bert_impl.errors import InputError, join_names, make_missing_error
from keras_bert_impl.tokenization.alignment import AlignedText, CharacterTable, Form

# The dictionaries of MeCab that are Python packages, which have the variable DICDIR.
MECAB_DICTIONARIES = ("ipadic", "unidic_lite", "unidic")

# A word: its spelling, and its first character and the one after its last in the text that was split.
Word = tuple[str, int, int]


class WordSplitter(NamedTuple):
    """How text is split into words.

    Attributes:
        split: returns the words of a normalized text.
        form: the normal form in which text is split; None: text is split as it is.
        table: the characters that are replaced before that; None: none.
    """

    split: Callable[[str], list[Word]]
    form: Form | None = None
    table: CharacterTable | None = None

    def normalize(self, text: str) -> str:
        """Returns the text that is split."""
        text = text if self.table is None else text.translate(self.table)
        return text if self.form is None else unicodedata.normalize(self.form, text)

    def align(self, text: str) -> AlignedText:
        """Returns the text that is split, aligned with the original."""
        aligned = AlignedText.from_original(text)
        aligned = aligned if self.table is None else aligned.translate(self.table)
        return aligned if self.form is None else aligned.normalize(self.form)


def make_splitter(kind: str, options: Mapping[str, Any]) -> WordSplitter:
    """Returns how a tokenizer splits text into words.

    Args:
        kind: ``mecab``, ``sudachi`` or ``basic``.
        options: ``mecab_kwargs`` or ``sudachi_kwargs`` of the tokenizer.

    Raises:
        InputError: the kind or an option is unknown, or a library or a dictionary is not installed.
    """
    makers: dict[str, Callable[..., WordSplitter]] = {
        "mecab": _make_mecab,
        "sudachi": _make_sudachi,
        "basic": _make_basic,
    }
    if kind not in makers:
        raise InputError(
            f"word_tokenizer_type is {kind!r}; {join_names(makers)} was expected. Split the texts into words with "
            "another program, join them by spaces, and open the tokenizer with word_tokenizer_type='basic'."
        )
    expected = inspect.signature(makers[kind]).parameters
    if unknown := sorted(options.keys() - expected.keys()):
        raise InputError(f"{kind}_kwargs has {unknown[0]!r}; one of {join_names(expected)} was expected.")
    return makers[kind](**options)


def _make_basic() -> WordSplitter:
    """Splits at spaces, as `BertTokenizer` does before it splits off punctuation."""

    def split(text: str) -> list[Word]:
        words = []
        end = 0
        for word in text.split():
            begin = text.index(word, end)
            end = begin + len(word)
            words.append((word, begin, end))
        return words

    return WordSplitter(split, form="NFC", table=_CLEAN_UP)


def _make_mecab(
    normalize_text: bool = True, mecab_dic: str | None = "ipadic", mecab_option: str | None = None
) -> WordSplitter:
    """Splits by MeCab, with the package of a dictionary; None: the options name the dictionary."""
    fugashi = _import("fugashi", "japanese", user="a tokenizer that splits words by MeCab")
    options = mecab_option or ""
    if mecab_dic is not None:
        if mecab_dic not in MECAB_DICTIONARIES:
            raise InputError(
                f"mecab_kwargs has the dictionary {mecab_dic!r}; {join_names(MECAB_DICTIONARIES)} was expected, or "
                "None and the options of MeCab that name one, in mecab_option."
            )
        folder = Path(_import(mecab_dic, "japanese", user=f"a tokenizer whose mecab_dic is {mecab_dic!r}").DICDIR)
        if not folder.is_dir():  # The package unidic downloads its dictionary.
            raise InputError(
                f"{folder}, the dictionary {mecab_dic}, does not exist. Run: python -m {mecab_dic} download"
            )
        options = f'-d "{folder}" -r "{folder / "mecabrc"}" {options}'
    try:
        tagger = fugashi.GenericTagger(options)
    except RuntimeError as error:
        raise InputError(
            f"MeCab cannot be started with the options {options!r}: {error}. Correct mecab_kwargs of the tokenizer."
        ) from error
    lock = threading.Lock()  # A tagger has memory for one sentence.

    def split(text: str) -> list[Word]:
        with lock:
            surfaces = [node.surface for node in tagger(text)]
        words = []
        end = 0
        for surface in surfaces:  # MeCab omits spaces between words.
            begin = text.index(surface, end)
            end = begin + len(surface)
            words.append((surface, begin, end))
        return words

    return WordSplitter(split, form="NFKC" if normalize_text else None)


def _make_sudachi(
    normalize_text: bool = True,
    trim_whitespace: bool = False,
    sudachi_split_mode: str = "A",
    sudachi_config_path: str | None = None,
    sudachi_resource_dir: str | None = None,
    sudachi_dict_type: str | None = "core",
    sudachi_projection: str | None = None,
) -> WordSplitter:
    """Splits by Sudachi."""
    user = "a tokenizer that splits words by Sudachi"
    sudachi = _import("sudachipy", "sudachi", user=user)
    if sudachi_split_mode not in ("A", "B", "C"):
        raise InputError(f"sudachi_kwargs has the sudachi_split_mode {sudachi_split_mode!r}; A, B or C was expected.")
    try:
        dictionary = sudachi.Dictionary(
            config_path=sudachi_config_path, resource_dir=sudachi_resource_dir, dict=sudachi_dict_type
        )
        create = getattr(dictionary, "tokenizer", None) or dictionary.create  # The second name is that of old versions.
        tagger = create(getattr(sudachi.SplitMode, sudachi_split_mode), projection=sudachi_projection)
    except Exception as error:  # The library raises no narrower class, also if the dictionary is not installed.
        raise InputError(
            f"Sudachi cannot be started with the sudachi_kwargs of the tokenizer: {error}. Correct them, or install "
            "the dictionary: pip install 'keras_bert_impl[sudachi]'."
        ) from error
    lock = threading.Lock()

    def split(text: str) -> list[Word]:
        with lock:
            words = [(word.surface(), word.begin(), word.end()) for word in tagger.tokenize(text)]
        return [_trim(*word) for word in words if word[0].strip()] if trim_whitespace else words

    return WordSplitter(split, form="NFKC" if normalize_text else None)


def _clean(letter: str) -> str | None:
    """Returns what BERT replaces a character by: a space for all kinds of spaces, None for control characters."""
    category = unicodedata.category(letter)
    if letter in "\t\n\r" or category == "Zs":
        return " "
    return None if category[0] == "C" or letter == "\ufffd" else letter


_CLEAN_UP = CharacterTable(_clean)


def _trim(text: str, begin: int, end: int) -> Word:
    """Removes spaces at the ends of a word."""
    return text.strip(), begin + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def _import(name: str, extra: str, *, user: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if name == "unidic":  # Not in the extra: a second command downloads its dictionary.
            raise InputError(
                f"{name} is not installed, which {user} needs ({error}). Run: pip install {name}, then python -m "
                f"{name} download."
            ) from error
        raise make_missing_error(error, extra, user=user) from error
