"""Tokenizers of multilingual BERTs: SentencePiece's Unigram model, in the Rust library."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer, models, normalizers

from keras_bert_impl import files
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization import batching, pretrained
from keras_bert_impl.tokenization.batching import Template
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer
from keras_bert_impl.tokenization.encoding import FlatTokens

# The files of SentencePiece itself.
SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
# The special tokens around texts that a model can be given.
_TEMPLATES = tuple(Template(separators, type) for separators in (1, 2) for type in (0, 1))


class UnigramTokenizer(BertTokenizer):
    """A Unigram tokenizer, as SentencePiece trains them: that of XLM-R, which many multilingual BERTs have.

    It returns the same ids as transformers for the same ``tokenizer.json``. The file says which special tokens are
    around texts: ``<s> a </s>`` and ``<s> a </s></s> b </s>`` without segments, or those of BERT. Use it like a
    `BertTokenizer`; only ``add_tokens`` and ``add_words`` raise an error.

    Args:
        tokenizer_json: the content of ``tokenizer.json``.
        do_lower_case: whether text is lower-cased before the rules of the file apply.
        pad_token, unk_token, cls_token, sep_token, mask_token: how the vocabulary spells the special tokens.
        model_max_length: the maximum number of tokens that the model takes, special tokens included.

    Attributes: see `BertTokenizer`.

    Raises:
        InputError: the file cannot be read, is not a Unigram tokenizer, or has other special tokens around texts.

    >>> from tokenizers import models, pre_tokenizers, processors
    >>> vocabulary = [("<s>", 0), ("<pad>", 0), ("</s>", 0), ("<unk>", 0), ("<mask>", 0), ("▁film", -3), ("s", -4)]
    >>> backend = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    >>> backend.pre_tokenizer = pre_tokenizers.Metaspace()
    >>> backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    >>> UnigramTokenizer(backend.to_str())("films", "film")["input_ids"]
    array([[0, 5, 6, 2, 2, 5, 2]], dtype=int32)
    """

    setting_types: ClassVar[Mapping[str, Any]] = {"do_lower_case": bool, **pretrained.COMMON}
    not_in_graph: ClassVar[str] = "the Unigram model is not made of TensorFlow operations"

    def __init__(
        self,
        tokenizer_json: str,
        *,
        do_lower_case: bool = False,
        pad_token: str = "<pad>",
        unk_token: str = "<unk>",
        cls_token: str = "<s>",
        sep_token: str = "</s>",
        mask_token: str = "<mask>",
        model_max_length: int = 512,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.pad_token = pad_token
        self.unk_token = unk_token
        self.cls_token = cls_token
        self.sep_token = sep_token
        self.mask_token = mask_token
        self.model_max_length = model_max_length
        pretrained.check_types(self.settings, self.setting_types)
        self._set_backend(self._open(tokenizer_json))
        self.template = self._find_template()

    def _open(self, tokenizer_json: str) -> Tokenizer:
        """Makes the Rust tokenizer; it neither pads nor truncates, and matches special tokens in text."""
        try:
            backend = Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # The library raises no narrower class.
            raise InputError(f"tokenizer.json is not a file that the tokenizers library can read: {error}.") from error
        if not isinstance(backend.model, models.Unigram):
            raise InputError(
                f"tokenizer.json has a {type(backend.model).__name__} model; Unigram was expected. Open the tokenizer "
                "in transformers, and give the model its ids."
            )
        missing = [name for name in pretrained.SPECIAL_TOKENS if backend.token_to_id(getattr(self, name)) is None]
        if missing:
            spellings = ", ".join(f"{name} {getattr(self, name)!r}" for name in missing)
            raise InputError(
                f"The vocabulary of {backend.get_vocab_size()} tokens lacks {spellings}. If it has other spellings, "
                f"pass {missing[0]}=…"
            )
        backend.no_padding()
        backend.no_truncation()
        added = {token.content for token in backend.get_added_tokens_decoder().values()}
        special = dict.fromkeys(getattr(self, name) for name in pretrained.SPECIAL_TOKENS)
        backend.add_special_tokens([token for token in special if token not in added])
        if self.do_lower_case and not _lower_cases(tokenizer_json):
            others = [] if backend.normalizer is None else [backend.normalizer]
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])
        return backend

    def _find_template(self) -> Template:
        """Finds the special tokens that the file puts around texts."""
        expected = self.backend_tokenizer.encode("a", "a")
        for template in _TEMPLATES:
            self.template = template
            found = self("a", "a")
            if (
                found["input_ids"][0].tolist() == expected.ids
                and found["token_type_ids"][0].tolist() == expected.type_ids
            ):
                return template
        raise InputError(
            f"for the pair of texts 'a' and 'a', tokenizer.json gives the tokens {' '.join(expected.tokens)} with the "
            f"types {expected.type_ids}; {self.cls_token} a {self.sep_token} a {self.sep_token} was expected, with one "
            f"or two {self.sep_token} between the texts. Open the tokenizer in transformers, and give the model its "
            "ids."
        )

    def _set_backend(self, backend: Tokenizer) -> None:
        super()._set_backend(backend)
        self._added = {token.content for token in backend.get_added_tokens_decoder().values()}

    def _check_new(self, tokens: list[str]) -> None:
        self.check_new_words()

    def check_new_words(self) -> None:
        """Raises ``InputError``."""
        raise InputError(
            "a UnigramTokenizer cannot get new tokens, because each piece of its model has a probability. Add them "
            "with transformers, and open the tokenizer.json that it writes."
        )

    @classmethod
    def _read_arguments(cls, source: Source) -> dict[str, Any]:
        path = source.find_file("tokenizer.json")
        if path is None:
            found = next((f"{name}, but " for name in SENTENCEPIECE_FILES if source.find_file(name)), "")
            raise InputError(
                f"{source.name} has {found}no tokenizer.json, which is read. Write it with transformers: "
                "AutoTokenizer.from_pretrained(SOURCE).save_pretrained(DIRECTORY)."
            )
        return {"tokenizer_json": files.read_text(path), **pretrained.read_settings(source, cls.setting_types)}

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes ``tokenizer.json``, ``tokenizer_config.json`` and ``special_tokens_map.json``, for transformers too.

        Args:
            directory: created if needed; files with these names are replaced, each completely or not at all.
        """
        pretrained.write_files(
            Path(directory),
            backend_json=self.backend_tokenizer.to_str(pretty=True),
            settings=self.settings,
            tokenizer_class="PreTrainedTokenizerFast",
        )

    def tokenize_batch(self, texts: Sequence, *, are_words: bool = False, with_offsets: bool = False) -> FlatTokens:
        """See `BertTokenizer.tokenize_batch`; the offsets of a token do not contain the space before it."""
        tokens = super().tokenize_batch(texts, are_words=are_words, with_offsets=with_offsets)
        if tokens.offsets is not None and not are_words:
            for text, offsets in zip(texts, batching.split(tokens.offsets, tokens.lengths), strict=True):
                skip_spaces(text, offsets)
        return tokens

    def continues_word(self, token: str) -> bool:
        """Whether a token continues a word, and does not begin one."""
        return not token.startswith("▁") and token not in self._added

    @property
    def rules(self) -> dict[str, Any]:
        """See `BertTokenizer.rules`."""
        return {**super().rules, "tokenizer_json": self.backend_tokenizer.to_str()}


def skip_spaces(text: str, offsets: np.ndarray) -> None:
    """Moves the first character of each token behind spaces, in place.

    Args:
        text: the text.
        offsets: int32 ``[tokens, 2]``, the first character of a token and the one after its last.
    """
    size = len(text)
    positions = np.array([size if letter.isspace() else i for i, letter in enumerate(text)] + [size], np.int32)
    following = np.minimum.accumulate(positions[::-1])[::-1]
    offsets[:, 0] = np.minimum(following[offsets[:, 0]], offsets[:, 1])


def is_unigram(source: Source) -> bool:
    """Whether a source has a Unigram tokenizer."""
    if path := source.find_file("tokenizer.json"):
        model = files.read_json(path).get("model")
        return isinstance(model, dict) and model.get("type") == "Unigram"
    return source.find_file("vocab.txt") is None and any(map(source.find_file, SENTENCEPIECE_FILES))


def _lower_cases(tokenizer_json: str) -> bool:
    """Whether the first normalizer of a ``tokenizer.json`` lower-cases text."""
    normalizer = json.loads(tokenizer_json).get("normalizer") or {}
    return {"type": "Lowercase"} in [normalizer, *normalizer.get("normalizers", [])[:1]]
