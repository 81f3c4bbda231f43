"""BERT's tokenizer: converts text to token ids and back."""

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, overload

import numpy as np
from tokenizers import AddedToken, Tokenizer, normalizers

from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tokenization import batching, encoding, pretrained
from keras_bert_impl.tokenization.encoding import EncodedRows, FlatTokens, build_backend, encode, list_texts
from keras_bert_impl.tokenization.growth import GrowthMixin
from keras_bert_impl.tokenization.pretrained import looks_cased, sort_by_id

Texts = str | Sequence[str] | Sequence[Sequence[str]]
Truncation = Literal["longest_first", "only_first", "only_second"] | bool
Padding = Literal["longest", "max_length"] | bool


class BertTokenizer(GrowthMixin):
    """BERT's tokenizer: clean-up, splitting into words, WordPiece, special tokens, truncation and padding.

    It returns the same ids as transformers for the same vocabulary and settings. Only `add_tokens` and `add_words`
    change it, so several threads can use one tokenizer.

    Args:
        vocabulary: tokens in id order, or a dictionary from token to id.
        do_lower_case: whether text is lower-cased.
        strip_accents: whether accents are removed; None: if text is lower-cased, as in the original BERT.
        tokenize_chinese_chars: whether each Chinese character is a word.
        pad_token, unk_token, cls_token, sep_token, mask_token: how the vocabulary spells the special tokens.
        added_tokens: additional tokens, which are matched in text before it is split into words. Tokens that are not in
            the vocabulary get the ids after it.
        model_max_length: the maximum number of tokens that the model takes, special tokens included.

    Attributes:
        vocabulary: all tokens in id order, added ones included.
        pad_token_id, unk_token_id, cls_token_id, sep_token_id, mask_token_id: ids of the special tokens.
        backend_tokenizer: the ``tokenizers.Tokenizer`` that is used. Do not change it.

    Raises:
        InputError: a token or an id occurs twice, ids have gaps, special tokens are missing, or a setting has a wrong
            type.

    Example:
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "##s", "?"]
        >>> tokenizer = BertTokenizer(words)
        >>> tokenizer(["Good films", "A film?"])["input_ids"]
        array([[2, 6, 7, 8, 3],
               [2, 5, 7, 9, 3]], dtype=int32)
        >>> tokenizer.decode([2, 6, 7, 8, 9, 3])
        'good films?'
    """

    # The settings, which are arguments of the constructor, and their types.
    setting_types: ClassVar[Mapping[str, Any]] = pretrained.TYPES
    # The special tokens around texts.
    template = batching.BERT
    # Whether the Rust library tokenizes, so that ``tokenizer.json`` is complete.
    is_rust: ClassVar[bool] = True
    # Why the tokenizer cannot be part of a TensorFlow graph; empty if it can.
    not_in_graph: ClassVar[str] = ""

    def __init__(
        self,
        vocabulary: Sequence[str] | Mapping[str, int],
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        pad_token: str = "[PAD]",
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        mask_token: str = "[MASK]",
        added_tokens: Iterable[str | AddedToken] = (),
        model_max_length: int = 512,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.pad_token = pad_token
        self.unk_token = unk_token
        self.cls_token = cls_token
        self.sep_token = sep_token
        self.mask_token = mask_token
        self.model_max_length = model_max_length
        pretrained.check_types(self.settings, self.setting_types)
        backend = build_backend(
            sort_by_id(vocabulary),
            special={name: self.settings[name] for name in pretrained.SPECIAL_TOKENS},
            added_tokens=[AddedToken(token) if isinstance(token, str) else token for token in added_tokens],
            normalizer=self._make_normalizer(),
        )
        self._set_backend(backend)

    def _make_normalizer(self) -> normalizers.Normalizer:
        """Returns what changes the characters of a text before it is split into words."""
        return normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )

    def _set_backend(self, backend: Tokenizer) -> None:
        """Sets the Rust tokenizer, and what is derived from it."""
        self.backend_tokenizer = backend
        self.vocabulary = sort_by_id(backend.get_vocab())
        self.unk_token_id = cast(int, backend.token_to_id(self.unk_token))
        self.pad_token_id = self.convert_tokens_to_ids(self.pad_token)
        self.cls_token_id = self.convert_tokens_to_ids(self.cls_token)
        self.sep_token_id = self.convert_tokens_to_ids(self.sep_token)
        self.mask_token_id = self.convert_tokens_to_ids(self.mask_token)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Source,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        **overrides: Any,
    ) -> Self:
        """Reads the tokenizer of a checkpoint.

        ``BertTokenizer.from_pretrained`` returns the tokenizer of the class that the files name: a
        `BertJapaneseTokenizer`, or a `UnigramTokenizer` for the tokenizers of multilingual models. The following
        describes the others.

        It reads ``tokenizer.json``, or ``vocab.txt`` if there is none. A setting is read from the first of these that
        contains it: the overrides, ``tokenizer_config.json``, ``tokenizer.json``, the constructor's defaults. So a bare
        ``vocab.txt`` (as Google published them) is treated as uncased: pass ``do_lower_case=False`` for a cased one. A
        warning is shown if its tokens look cased. Padding and truncation in files are ignored.

        Args:
            source: a directory, the name of a bundled model, a hub name, or an opened source.
            revision: branch, tag or commit of a hub name.
            subfolder: the folder of the files in a directory or in a repository of the hub.
            token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
            cache_dir: the directory of downloads; None: the cache of huggingface_hub.
            **overrides: arguments of the constructor, which take precedence over the files.

        Raises:
            InputError: the source has neither file, or one that cannot be used.
        """
        opened = open_source(source, revision, subfolder=subfolder, token=token, cache_dir=cache_dir)
        if cls is BertTokenizer:
            from keras_bert_impl.tokenization.classes import find_tokenizer_class

            if (named := find_tokenizer_class(opened)) is not BertTokenizer:
                return cast(Self, named.from_pretrained(opened, **overrides))
        arguments = cls._read_arguments(opened) | overrides
        try:
            tokenizer = cls(**arguments)
        except InputError as error:
            raise InputError(f"{opened.name}: {error}") from error
        if "do_lower_case" not in arguments and tokenizer.do_lower_case and looks_cased(tokenizer.vocabulary):
            warnings.warn(
                f"{opened.name} does not say whether it is cased, so text will be lower-cased, but many tokens of its "
                "vocab.txt have capitals. Pass do_lower_case=False if it is cased, True if it is not (on the command "
                "line: keras-bert convert with --cased or --no-cased).",
                stacklevel=2,
            )
        return tokenizer

    @classmethod
    def _read_arguments(cls, source: Source) -> dict[str, Any]:
        """Reads the constructor's arguments from the files of a tokenizer."""
        return pretrained.read_arguments(source)

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes ``vocab.txt``, ``tokenizer.json``, ``tokenizer_config.json`` and ``special_tokens_map.json``.

        transformers' ``AutoTokenizer`` and `from_pretrained` read the same tokenizer from them. Tokens added after the
        vocabulary are in ``tokenizer.json`` only.

        Args:
            directory: created if needed; files with these names are replaced, each completely or not at all.
        """
        pretrained.write_files(
            Path(directory),
            backend_json=self.backend_tokenizer.to_str(pretty=True),
            vocabulary=self._get_pieces(),
            settings=self.settings,
        )

    def _get_pieces(self) -> list[str]:
        """Returns the vocabulary without the tokens that were added after it."""
        return self.vocabulary[: self.backend_tokenizer.get_vocab_size(with_added_tokens=False)]

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Sequence[str]],
        text_pair: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        *,
        padding: Padding = "longest",
        truncation: Truncation = True,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        is_split_into_words: bool = False,
        return_offsets: bool = False,
        return_text_ids: bool = False,
        return_overflowing: bool = False,
    ) -> dict[str, Any]:
        """Encodes texts, or pairs of texts, as a model's input.

        Args:
            text: a string or a list of strings; with ``is_split_into_words`` a list of words or a list of such lists.
            text_pair: the second texts of pairs, of the same form and number.
            padding: ``"longest"`` or ``True`` pads to the longest row, ``"max_length"`` to at least ``max_length``;
                ``False`` does not pad.
            truncation: ``"longest_first"`` or ``True`` shortens the longer text of a pair until both have the same
                length, then both; ``"only_first"`` and ``"only_second"`` shorten one text; ``False`` none.
            max_length: the maximum number of tokens of a row, special tokens included; default ``model_max_length``.
            stride: with ``return_overflowing``, how many tokens of the previous row each row repeats.
            pad_to_multiple_of: rounds the padded length up; a divisor of ``max_length`` if text is truncated.
            is_split_into_words: whether texts are lists of words.
            return_offsets: whether to add ``offset_mapping``.
            return_text_ids: whether to add ``text_ids``.
            return_overflowing: whether the tokens that truncation removes become rows of their own.

        Returns:
            int32 arrays; a single text is a batch of one. With ``padding=False``, lists with one such array per row.

            - ``input_ids`` ``[rows, length]``: ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``, then padding;
            - ``token_type_ids`` ``[rows, length]``: 1 for ``b [SEP]``, otherwise 0;
            - ``attention_mask`` ``[rows, length]``: 0 for padding, otherwise 1;
            - ``offset_mapping`` ``[rows, length, 2]``: the first character of a token and the one after its last, in
              the original text (in the original word, if texts are lists of words); 0 0 for special tokens;
            - ``text_ids`` ``[rows, length]``, with ``return_text_ids``: 0 for tokens of the first text, 1 for those of
              the second, -1 for special tokens;
            - ``word_ids`` ``[rows, length]``, if texts are lists of words: the word's number, -1 for special tokens;
            - ``overflow_to_sample_mapping`` ``[rows]``, with ``return_overflowing``: the number of the text or pair.

        Raises:
            InputError: an argument is not a text (the message names the first), ``max_length`` is too small, or the
                options contradict each other.

        Example:
            >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "##se", "?", "her", "##s"]
            >>> batch = BertTokenizer(words)("Whose?", "Hers", return_offsets=True, pad_to_multiple_of=8)
            >>> batch["token_type_ids"]
            array([[0, 0, 0, 0, 0, 1, 1, 1]], dtype=int32)
            >>> batch["offset_mapping"][0, 2].tolist()
            [3, 5]
        """
        if padding not in (True, False, "longest", "max_length"):
            raise InputError(f"padding={padding!r} is unknown; supported: 'longest' or True, 'max_length', False.")
        length = self.model_max_length if max_length is None else max_length
        multiple = 1 if pad_to_multiple_of is None else pad_to_multiple_of
        if multiple < 1 or (truncation and length % multiple):
            raise InputError(f"pad_to_multiple_of={multiple} does not divide max_length={length}; pass a divisor.")
        encoded = self._encode(
            text,
            text_pair,
            truncation=truncation,
            max_length=length,
            stride=stride,
            are_words=is_split_into_words,
            with_offsets=return_offsets,
            with_text_ids=return_text_ids,
            with_overflow=return_overflowing,
        )
        min_length = length if padding == "max_length" else 0
        result: dict[str, Any] = (
            encoded.to_padded(min_length, multiple=multiple, pad_id=self.pad_token_id)
            if padding
            else encoded.to_lists()
        )
        if return_overflowing:
            result["overflow_to_sample_mapping"] = encoded.sample.astype(np.int32)
        return result

    def encode_ragged(
        self,
        text: Sequence[str],
        text_pair: Sequence[str] | None = None,
        *,
        truncation: Truncation = True,
        max_length: int | None = None,
    ) -> dict[str, list[np.ndarray]]:
        """Encodes many texts for a data pipeline that pads them later.

        Args:
            text: any number of texts.
            text_pair: the same number of second texts, or None.
            truncation: see `__call__`.
            max_length: the maximum number of tokens of a row, special tokens included; default ``model_max_length``.

        Returns:
            ``input_ids`` and ``token_type_ids``, each a list with one int32 array ``[length]`` per text or pair; the
            arrays are views of one.
        """
        length = self.model_max_length if max_length is None else max_length
        columns = self._encode(text, text_pair, truncation=truncation, max_length=length).to_lists()
        return {key: columns[key] for key in ("input_ids", "token_type_ids")}

    def _encode(self, text: Any, text_pair: Any, **options: Any) -> EncodedRows:
        options |= {"template": self.template, "cls_id": self.cls_token_id, "sep_id": self.sep_token_id}
        return encode(self.tokenize_batch, text, text_pair, **options)

    def tokenize(self, text: str) -> list[str]:
        """Returns the tokens of one text, without special tokens around them."""
        texts, _ = list_texts([text])
        return self.convert_ids_to_tokens(self.tokenize_batch(texts).ids)

    def tokenize_batch(self, texts: Sequence, *, are_words: bool = False, with_offsets: bool = False) -> FlatTokens:
        """Returns the tokens of texts, concatenated, without special tokens around them.

        Args:
            texts: strings, or lists of words.
            are_words: whether texts are lists of words.
            with_offsets: whether to return ``offsets`` and ``word_ids``, which takes time.
        """
        return encoding.tokenize(self.backend_tokenizer, texts, are_words=are_words, with_offsets=with_offsets)

    def ignore_special_tokens(self) -> Self:
        """Returns a copy that does not match special tokens: ``[SEP]`` in a text is tokenized like other text."""
        tokenizer = copy.copy(self)
        tokenizer._set_backend(encoding.without_special_token_matching(self.backend_tokenizer))
        return tokenizer

    def make_graph_text(self, text: str) -> str:
        """Returns a text as an export of this tokenizer takes it."""
        return text

    def check_in_graph(self, *, are_words: bool = False) -> None:
        """Raises ``InputError`` if the tokenizer cannot be part of a TensorFlow graph.

        Args:
            are_words: whether the graph takes text that is split into words already.
        """
        if self.not_in_graph and not (are_words and self._takes_words):
            ways = "--inputs words or --inputs ids" if self._takes_words else "--inputs ids"
            raise InputError(
                f"A {type(self).__name__} cannot be part of a TensorFlow graph: {self.not_in_graph}. Export with "
                f"{ways}, and tokenize in the program that calls the model."
            )

    @property
    def _takes_words(self) -> bool:
        """Whether a graph can compute the ids of words."""
        return not self.not_in_graph

    def continues_word(self, token: str) -> bool:
        """Whether a token continues a word, and does not begin one."""
        return token.startswith("##")

    def decode(self, ids: Sequence[int] | np.ndarray, *, skip_special_tokens: bool = True) -> str:
        """Returns the text of one row of ids: word pieces are joined, spaces before punctuation are removed.

        Args:
            ids: integers ``[length]``.
            skip_special_tokens: whether to omit ``[CLS]`` and the other special tokens.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        return self.backend_tokenizer.decode(self._check_ids(ids), skip_special_tokens=skip_special_tokens)

    @overload
    def convert_ids_to_tokens(self, ids: int) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Sequence[int] | np.ndarray) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Sequence[int] | np.ndarray) -> str | list[str]:
        """Returns the token of an id, or the tokens of a row of ids.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        if isinstance(ids, int | np.integer):
            return self.convert_ids_to_tokens([int(ids)])[0]
        return [self.vocabulary[id] for id in self._check_ids(ids)]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | list[int]:
        """Returns the id of a token, or the ids of a list; ``unk_token_id`` for tokens not in the vocabulary."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        id = self.backend_tokenizer.token_to_id(tokens)
        return self.unk_token_id if id is None else id

    def _check_ids(self, ids: Sequence[int] | np.ndarray) -> list[int]:
        numbers = np.asarray(ids).tolist()
        for number in numbers:
            if type(number) is not int or not 0 <= number < self.vocab_size:
                raise InputError(f"{number!r} is not an id; integers from 0 to {self.vocab_size - 1} were expected.")
        return numbers

    @property
    def vocab_size(self) -> int:
        """The number of tokens, added ones included; also ``len(tokenizer)``."""
        return len(self.vocabulary)

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def special_token_ids(self) -> list[int]:
        """The ids of the special tokens, including special added tokens, ascending."""
        return [id for id, token in self._get_added_tokens().items() if token.special]

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the vocabulary and the added tokens."""
        return {name: getattr(self, name) for name in self.setting_types}

    @property
    def rules(self) -> dict[str, Any]:
        """What determines the ids of a text, besides the vocabulary and the added tokens."""
        return {name: value for name, value in self.settings.items() if name != "model_max_length"}

    def __repr__(self) -> str:
        shown = self.setting_types.keys() - pretrained.COMMON.keys()
        settings = [f", {name}={value!r}" for name, value in self.settings.items() if name in shown]
        return f"{type(self).__name__}({self.vocab_size} tokens{''.join(settings)})"
