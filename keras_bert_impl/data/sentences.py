"""Splits text into sentences."""

from collections.abc import Iterator

# Longer sentences, where no rule found an end, are cut at a space if there is one.
_MAX_CHARACTERS = 4096


def split_sentences(line: str, *, language: str) -> Iterator[str]:
    """Splits a line into sentences by the rules of the library sentencex.

    Args:
        line: text.
        language: the code of its language, for example ``en``. For a language without rules the library uses those of
            a related one.

    >>> list(split_sentences("“I will not,” said he. Mr. Brown went home.", language="en"))
    ['“I will not,” said he.', 'Mr. Brown went home.']
    """
    # Imported here because only the preparation of corpora needs it.
    from sentencex import segment

    for segmented in segment(language, line):
        sentence, begin = segmented.strip(), 0
        while len(sentence) - begin > _MAX_CHARACTERS:
            end = sentence.rfind(" ", begin + 1, begin + _MAX_CHARACTERS)
            end = begin + _MAX_CHARACTERS if end < 0 else end
            yield sentence[begin:end]
            begin = end
            while sentence[begin].isspace():  # The last character is not a space.
                begin += 1
        if sentence:
            yield sentence[begin:]
