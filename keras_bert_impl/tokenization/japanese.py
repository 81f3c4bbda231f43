"""The tokenizer of Japanese BERTs: MeCab or Sudachi splits a text into words."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, normalizers

from keras_bert_impl.errors import InputError, join_names
from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization import pretrained
from keras_bert_impl.tokenization.alignment import AlignedText, CharacterTable
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer
from keras_bert_impl.tokenization.encoding import FlatTokens
from keras_bert_impl.tokenization.japanese_words import WordSplitter, make_splitter

# How words become tokens.
SUBWORD_TYPES = ("wordpiece", "character")
# The number of different words whose tokens are kept in memory, and their max. length: without MeCab, a word can be a
# complete text.
_CACHED_WORDS = 1 << 16
_LONGEST_CACHED = 64
_NO_ACCENTS = CharacterTable(lambda letter: None if unicodedata.category(letter) == "Mn" else letter)
# Without splitting, a text is one word.
_WHOLE_TEXT = WordSplitter(lambda text: [(text, 0, len(text))])


class Pieces(NamedTuple):
    """The tokens of a word: their ids, and the first character of each and the one after its last, in the word."""

    ids: list[int]
    begins: list[int]
    ends: list[int]


class BertJapaneseTokenizer(BertTokenizer):
    """The tokenizer of Japanese BERTs: NFKC, words by MeCab or Sudachi, then WordPiece or characters.

    It returns the same ids as the class of that name in transformers, and also offsets, which are characters of the
    original text. The extra ``japanese`` installs MeCab with the dictionaries ipadic and unidic-lite, the extra
    ``sudachi`` installs Sudachi. Use it like a `BertTokenizer`.

    Args:
        vocabulary: tokens in id order, or a dictionary from token to id.
        do_lower_case: whether words are lower-cased; ``basic`` then also removes accents.
        do_word_tokenize: whether text is split into words.
        do_subword_tokenize: whether words are split into tokens; otherwise each word is a token.
        word_tokenizer_type: ``mecab``, ``sudachi``, or ``basic``, which splits at spaces and punctuation.
        subword_tokenizer_type: ``wordpiece`` or ``character``.
        never_split: words that are not lower-cased, and which ``basic`` does not split.
        mecab_kwargs: ``mecab_dic`` (``ipadic``, ``unidic_lite`` or ``unidic``), ``mecab_option`` and
            ``normalize_text``. Without ``mecab_dic``, it is ``ipadic``, with which the first Japanese BERTs were
            trained.
        sudachi_kwargs: the arguments of transformers' ``SudachiTokenizer``.
        pad_token, unk_token, cls_token, sep_token, mask_token: how the vocabulary spells the special tokens.
        added_tokens: additional tokens, which are matched in text before it is split into words.
        model_max_length: the maximum number of tokens that the model takes, special tokens included.

    Attributes: see `BertTokenizer`. ``backend_tokenizer`` contains the vocabulary; it does not split text into words.

    Raises:
        InputError: the vocabulary or a setting cannot be used, or MeCab or a dictionary is not installed.

    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "平成", "の", "時", "##計"]
    >>> tokenizer = BertJapaneseTokenizer(words, word_tokenizer_type="mecab")
    >>> batch = tokenizer("㍻の時計", return_offsets=True)
    >>> tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    ['[CLS]', '平成', 'の', '時', '##計', '[SEP]']
    >>> batch["offset_mapping"][0].tolist()
    [[0, 0], [0, 1], [1, 2], [2, 3], [3, 4], [0, 0]]
    """

    setting_types: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": bool,
        "do_word_tokenize": bool,
        "do_subword_tokenize": bool,
        "word_tokenizer_type": str,
        "subword_tokenizer_type": str,
        "never_split": list | None,
        "mecab_kwargs": dict | None,
        "sudachi_kwargs": dict | None,
        **pretrained.COMMON,
    }
    is_rust: ClassVar[bool] = False
    not_in_graph: ClassVar[str] = "MeCab, Sudachi and the rules of this class are not TensorFlow operations"

    def __init__(
        self,
        vocabulary: Sequence[str] | Mapping[str, int],
        *,
        do_lower_case: bool = False,
        do_word_tokenize: bool = True,
        do_subword_tokenize: bool = True,
        word_tokenizer_type: str = "basic",
        subword_tokenizer_type: str = "wordpiece",
        never_split: list[str] | None = None,
        mecab_kwargs: dict[str, Any] | None = None,
        sudachi_kwargs: dict[str, Any] | None = None,
        pad_token: str = "[PAD]",
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        mask_token: str = "[MASK]",
        added_tokens: Iterable[str | AddedToken] = (),
        model_max_length: int = 512,
    ) -> None:
        self.do_word_tokenize = do_word_tokenize
        self.do_subword_tokenize = do_subword_tokenize
        self.word_tokenizer_type = word_tokenizer_type
        self.subword_tokenizer_type = subword_tokenizer_type
        self.never_split = never_split
        # Written down, because versions of transformers differ in the dictionary that they use without it.
        if word_tokenizer_type == "mecab" and isinstance(mecab_kwargs, dict | None):
            mecab_kwargs = {"mecab_dic": "ipadic", **(mecab_kwargs or {})}
        self.mecab_kwargs = mecab_kwargs
        self.sudachi_kwargs = sudachi_kwargs
        super().__init__(
            vocabulary,
            do_lower_case=do_lower_case,
            pad_token=pad_token,
            unk_token=unk_token,
            cls_token=cls_token,
            sep_token=sep_token,
            mask_token=mask_token,
            added_tokens=added_tokens,
            model_max_length=model_max_length,
        )

    def _make_normalizer(self) -> normalizers.Normalizer:
        """Returns what changes nothing: text is normalized before MeCab splits it."""
        return normalizers.Sequence([])

    def _set_backend(self, backend: Tokenizer) -> None:
        super()._set_backend(backend)
        self._start()

    def _start(self) -> None:
        """Sets what cannot be pickled: the library that splits words, and the cache of their tokens."""
        _check_subword_type(self.subword_tokenizer_type)
        kind = self.word_tokenizer_type if self.do_word_tokenize else ""
        self._is_basic = kind == "basic"
        self._splitter = make_splitter(kind, getattr(self, f"{kind}_kwargs", None) or {}) if kind else _WHOLE_TEXT
        added = self.backend_tokenizer.get_added_tokens_decoder()
        special = {token.content for token in added.values() if token.special}
        self._never_split = special.union(self.never_split or ())
        matched = [
            token for token in added.values() if not (token.special and self.backend_tokenizer.encode_special_tokens)
        ]
        patterns = [_make_pattern(token) for token in sorted(matched, key=lambda token: -len(token.content))]
        self._added = re.compile("|".join(patterns) or "(?!)")
        self._word_piece = self.backend_tokenizer.model
        self._find_cached = functools.lru_cache(_CACHED_WORDS)(self._split_word)

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_splitter", "_find_cached", "_word_piece")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @classmethod
    def _read_arguments(cls, source: Source) -> dict[str, Any]:
        settings = pretrained.read_settings(source, cls.setting_types)
        _check_subword_type(settings.get("subword_tokenizer_type", SUBWORD_TYPES[0]))
        path = source.find_file("vocab.txt")
        if path is None:
            raise InputError(
                f"{source.name} has no vocab.txt, which a {cls.__name__} needs. Copy the vocab.txt of the model there."
            )
        return pretrained.read_vocabulary_arguments(source, path) | settings

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes ``vocab.txt``, ``tokenizer_config.json`` and ``special_tokens_map.json``, which transformers reads.

        Args:
            directory: created if needed; files with these names are replaced, each completely or not at all.
        """
        pretrained.write_files(
            Path(directory),
            vocabulary=self._get_pieces(),
            settings=self.settings,
            tokenizer_class=type(self).__name__,
            added_tokens=self.backend_tokenizer.get_added_tokens_decoder(),
        )

    def tokenize_batch(self, texts: Sequence, *, are_words: bool = False, with_offsets: bool = False) -> FlatTokens:
        """See `BertTokenizer.tokenize_batch`; ``word_ids`` are those of lists of words."""
        parts = [[part] for part in texts] if not are_words else texts
        offsets: list[tuple[int, int]] | None = [] if with_offsets else None
        tokens = [[self._tokenize_part(part, offsets) for part in words] for words in parts]
        lengths = np.array([sum(map(len, words)) for words in tokens], np.int64)
        total = int(lengths.sum())
        ids = np.fromiter(chain.from_iterable(chain.from_iterable(tokens)), np.int32, total)
        if offsets is None:
            return FlatTokens(lengths, ids)
        words = [np.repeat(np.arange(len(words)), [len(word) for word in words]) for words in tokens]
        return FlatTokens(
            lengths,
            ids,
            offsets=np.fromiter(chain.from_iterable(offsets), np.int32, 2 * total).reshape(total, 2),
            word_ids=np.concatenate([np.zeros(0, np.int64), *words]).astype(np.int32),
        )

    def _tokenize_part(self, text: str, offsets: list[tuple[int, int]] | None) -> list[int]:
        """Returns the ids of a text, or of a given word; appends their offsets to a list."""
        ids: list[int] = []
        for begin, part, added in self._split_at_added_tokens(text):
            if added is not None:
                ids.append(added)
                if offsets is not None:
                    offsets.append((begin, begin + len(part)))
            elif offsets is None:
                for word, _, _ in self._splitter.split(self._splitter.normalize(part)):
                    ids += self._find_pieces(word).ids
            else:
                aligned = self._splitter.align(part)
                for word, first, last in self._splitter.split(aligned.text):
                    pieces = self._find_pieces(word)
                    ids += pieces.ids
                    # Sudachi can give a word another spelling, as a whole.
                    whole = len(word) != last - first
                    for start, stop in zip(pieces.begins, pieces.ends, strict=True):
                        start, stop = (first, last) if whole else (first + start, first + stop)
                        offsets.append((begin + aligned.begins[start], begin + aligned.ends[stop - 1]))
        return ids

    def _split_at_added_tokens(self, text: str) -> Iterator[tuple[int, str, int | None]]:
        """Yields the parts of a text: the first character, the part, and the id if it is an added token."""
        end = 0
        for match in self._added.finditer(text):
            if end < match.start():
                yield end, text[end : match.start()], None
            token = match.lastindex or 0
            yield match.start(token), match[token], self.backend_tokenizer.token_to_id(match[token])
            end = match.end()
        if end < len(text):
            yield end, text[end:], None

    def split_words(self, text: str) -> list[str]:
        """Splits a text into the words that become tokens of WordPiece, normalized and lower-cased as they are.

        Joined by spaces, they are the input of an export that takes words.
        """
        words: list[str] = []
        for _, part, added in self._split_at_added_tokens(text):
            if added is not None:
                words.append(part)
            else:
                for word, _, _ in self._splitter.split(self._splitter.normalize(part)):
                    words += self._split_at_spaces(word)
        return words

    def check_new_words(self) -> None:
        """Raises ``InputError`` for a tokenizer of characters."""
        if self.do_subword_tokenize and self.subword_tokenizer_type == "character":
            raise InputError(
                "the tokens of this tokenizer are characters (subword_tokenizer_type), so words cannot be added. Use "
                "add_tokens, whose tokens are found before a text is split."
            )

    def _read_word(self, word: str) -> list[str]:
        """See `BertTokenizer`; MeCab may split a word that stands alone otherwise than in its sentence."""
        return self._split_at_spaces(self._splitter.normalize(word))

    def _split_at_spaces(self, word: str) -> list[str]:
        return [each for part in self._find_parts(word) for each in part.text.split()]

    def make_graph_text(self, text: str) -> str:
        """See `BertTokenizer.make_graph_text`: words, with a space after each."""
        return "".join(f"{word} " for word in self.split_words(text))

    @property
    def _takes_words(self) -> bool:
        return self.do_subword_tokenize and self.subword_tokenizer_type == "wordpiece"

    def _find_parts(self, word: str) -> list[AlignedText]:
        """Returns a word as it is split into tokens: lower-cased, and without punctuation around it."""
        aligned = AlignedText.from_original(word)
        if word in self._never_split:
            return [aligned]
        if self.do_lower_case and self.do_word_tokenize:
            aligned = aligned.lower()
            aligned = aligned.normalize("NFD").translate(_NO_ACCENTS) if self._is_basic else aligned
        return list(_split_at_punctuation(aligned)) if self._is_basic else [aligned]

    def _find_pieces(self, word: str) -> Pieces:
        """Returns the tokens of a word."""
        return self._find_cached(word) if len(word) <= _LONGEST_CACHED else self._split_word(word)

    def _split_word(self, word: str) -> Pieces:
        """Splits a word into tokens."""
        pieces = Pieces([], [], [])
        for part in self._find_parts(word):
            for id, begin, end in self._split_part(part):
                pieces.ids.append(id)
                pieces.begins.append(begin)
                pieces.ends.append(end)
        return pieces

    def _split_part(self, part: AlignedText) -> Iterator[tuple[int, int, int]]:
        """Yields the tokens of a word without punctuation: id, and position in the word."""
        if not self.do_subword_tokenize:
            if part.text:
                yield self.convert_tokens_to_ids(part.text), part.begins[0], part.ends[-1]
        elif self.subword_tokenizer_type == "character":
            part = part.normalize("NFKC")
            for letter, begin, end in zip(part.text, part.begins, part.ends, strict=True):
                yield self.convert_tokens_to_ids(letter), begin, end
        else:
            for match in re.finditer(r"\S+", part.text):
                begin = match.start()
                tokens = self._word_piece.tokenize(match[0])
                for token in tokens:
                    # A single token is the complete word, or the unknown token. All but the first begin with ##.
                    size = len(token.value) - 2 * (begin > match.start())
                    end = match.end() if len(tokens) == 1 else begin + size
                    yield token.id, part.begins[begin], part.ends[end - 1]
                    begin = end


def _check_subword_type(kind: Any) -> None:
    if kind not in SUBWORD_TYPES:
        raise InputError(
            f"subword_tokenizer_type is {kind!r}; {join_names(SUBWORD_TYPES)} was expected. Open the tokenizer in "
            "transformers, and give the model its ids."
        )


def _make_pattern(token: AddedToken) -> str:
    """Returns the expression that finds an added token in a text; its group is the token."""
    before, after = (r"(?<![^ ])", r"(?![^ ])") if token.single_word else ("", "")
    left, right = (r"\s*" if strip else "" for strip in (token.lstrip, token.rstrip))
    return f"{left}{before}({re.escape(token.content)}){after}{right}"


def _split_at_punctuation(word: AlignedText) -> Iterator[AlignedText]:
    """Yields the parts of a word between punctuation, and each punctuation character."""
    begin = 0
    for i, letter in enumerate(word.text):
        if _is_punctuation(letter):
            yield word.slice(begin, i)
            yield word.slice(i, i + 1)
            begin = i + 1
    yield word.slice(begin, len(word.text))


def _is_punctuation(letter: str) -> bool:
    is_symbol = "!" <= letter <= "~" and not letter.isalnum()
    return is_symbol or unicodedata.category(letter).startswith("P")
