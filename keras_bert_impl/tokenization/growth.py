"""More tokens for a tokenizer: tokens that are found in text, and words of the language."""

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken

from keras_bert_impl.errors import InputError


class GrowthMixin:
    """The methods of `BertTokenizer` that add tokens."""

    # What the class that is mixed with defines.
    vocabulary: list[str]
    backend_tokenizer: Any
    unk_token_id: int
    vocab_size: Any
    settings: Any
    special_token_ids: Any
    encode_ragged: Any
    __init__: Any

    def add_tokens(
        self, new_tokens: str | AddedToken | Iterable[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Adds tokens that are found in a text before it is split into words, as in transformers.

        They get the ids after all others: give the model rows for them (`resize_token_embeddings`). They are found
        inside of words as well: with ``"art"``, *party* becomes three tokens. To add words of the language, use
        `add_words`.

        Args:
            new_tokens: the tokens; an ``AddedToken`` of the tokenizers library says more precisely where it is found.
            special_tokens: whether they are special tokens, which are found before the text is normalized, and which
                decoding omits.

        Returns:
            the number of added tokens.

        Raises:
            InputError: a token is empty, is in the vocabulary already, or occurs twice; then none is added.

        >>> from keras_bert_impl import BertTokenizer
        >>> tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "york"])
        >>> tokenizer.add_tokens(["New York"])
        1
        >>> tokenizer.tokenize("New York, new york")
        ['New York', '[UNK]', 'New York']
        """
        given = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        tokens = [
            AddedToken(token, special=special_tokens, normalized=not special_tokens)
            if isinstance(token, str)
            else token
            for token in given
        ]
        self._check_new([token.content for token in tokens])
        self._replace(self._get_pieces(), [*self._get_added_tokens().values(), *tokens])
        return len(tokens)

    def add_words(self, words: str | Iterable[str]) -> int:
        """Adds words to the WordPiece vocabulary, with the ids after all others.

        A text without words that begin with one of them keeps its ids. A longer word that begins with one is split
        after it: with ``film``, *filmed* can become ``film ##ed``. All files of the tokenizer contain the words,
        ``vocab.txt`` too.

        Args:
            words: words as this tokenizer sees them: lower-cased and without accents if it does that.

        Returns:
            the number of added words.

        Raises:
            InputError: a word is empty, is in the vocabulary already, occurs twice, or is not one word; the tokenizer
                is not one of words; or it has tokens of `add_tokens` after its vocabulary. Then none is added.

        >>> from keras_bert_impl import BertTokenizer
        >>> tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fi", "##lm", "##ed"])
        >>> tokenizer.add_words(["film"])
        1
        >>> tokenizer.tokenize("Film filmed")
        ['film', 'film', '##ed']
        """
        words = [words] if isinstance(words, str) else list(words)
        self._check_new(words)
        self.check_new_words()
        pieces = self._get_pieces()
        for word in words:
            if (found := self._read_word(word)) != [word]:
                raise InputError(
                    f"{word!r} is not a word of this tokenizer, which reads it as {' '.join(found)!r}. Add it as it is "
                    "read if that is one word, or use add_tokens."
                )
        if len(pieces) < self.vocab_size:
            count = self.vocab_size - len(pieces)
            raise InputError(
                f"the tokenizer has {count} {'token' if count == 1 else 'tokens'} after its vocabulary, such as "
                f"{self.vocabulary[-1]!r}, whose id would change. Add words before such tokens."
            )
        self._replace([*pieces, *words], list(self._get_added_tokens().values()))
        return len(words)

    def split_words(self, text: str) -> list[str]:
        """Splits a text into the words that become tokens of WordPiece, normalized and lower-cased as they are.

        >>> from keras_bert_impl import BertTokenizer
        >>> BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]).split_words("Déjà vu!")
        ['deja', 'vu', '!']
        """
        backend = self.backend_tokenizer
        return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))]

    def check_new_words(self) -> None:
        """Raises ``InputError`` if the tokenizer has no vocabulary of words, so that none can be added."""

    def find_pieces(self, first: int) -> dict[int, list[int]]:
        """Returns, for each token from the id ``first`` on, the ids of the pieces that the tokens before it give.

        `resize_token_embeddings` makes the embeddings of new tokens of them. A token has no pieces if one is unknown.

        >>> from keras_bert_impl import BertTokenizer
        >>> tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fi", "##lm"])
        >>> before, _ = len(tokenizer), tokenizer.add_words(["film", "?"])
        >>> tokenizer.find_pieces(before)
        {7: [5, 6], 8: []}
        """
        added = [token for id, token in self._get_added_tokens().items() if id < first]
        before = type(self)(self._get_pieces()[:first], added_tokens=added, **self.settings)
        texts = self.vocabulary[first:]
        rows = before.encode_ragged(texts, truncation=False)["input_ids"]
        pieces = [row[1:-1].tolist() for row in rows]
        return {id: [] if self.unk_token_id in row else row for id, row in enumerate(pieces, first)}

    def extends(self, other: "GrowthMixin") -> bool:
        """Whether it is the other tokenizer with the same or more tokens: all ids of the other are the same here."""
        ours, theirs = ({**each.settings, "model_max_length": None} for each in (self, other))
        added = {id: repr(token) for id, token in self._get_added_tokens().items()}
        return (
            ours == theirs
            and self.vocabulary[: other.vocab_size] == other.vocabulary
            and {id: repr(token) for id, token in other._get_added_tokens().items()}.items() <= added.items()
        )

    def _read_word(self, word: str) -> list[str]:
        """Returns what a word of a text becomes before WordPiece: itself, if it is spelled as the vocabulary is."""
        return self.split_words(word)

    def _check_new(self, tokens: list[str]) -> None:
        """Raises ``InputError`` for tokens that cannot be added."""
        if not tokens:
            raise InputError("there are no tokens to add; one or more were expected.")
        special = self.special_token_ids
        for number, token in enumerate(tokens):
            if not token.strip():
                raise InputError(f"the added token {token!r} is empty; characters other than spaces were expected.")
            if token in tokens[:number]:
                raise InputError(f"{token!r} is added twice. Omit one of them.")
            id = self.backend_tokenizer.token_to_id(token)
            if id is not None:
                kind = "a special token" if id in special else "in the vocabulary"
                raise InputError(f"{token!r} is already {kind}, with the id {id}. Omit it.")

    def _get_pieces(self) -> list[str]:
        """Returns the tokens of WordPiece: those that were not added after the vocabulary."""
        return self.vocabulary[: self.backend_tokenizer.get_vocab_size(with_added_tokens=False)]

    def _get_added_tokens(self) -> dict[int, AddedToken]:
        return dict(sorted(self.backend_tokenizer.get_added_tokens_decoder().items()))

    def _replace(self, vocabulary: list[str], added_tokens: list[AddedToken]) -> None:
        """Replaces the vocabulary and the added tokens."""
        self.__dict__.update(type(self)(vocabulary, added_tokens=added_tokens, **self.settings).__dict__)
