"""Sentences of documents."""

from collections.abc import Iterator

# Longer ones are cut at a space, if there is one: text that no rule finds a sentence in.
_LONGEST = 4096


def split_sentences(line: str, *, language: str) -> Iterator[str]:
    """The sentences of a line, by the rules of the library sentencex for its language.

    Args:
        line: text.
        language: its code, as ``en``; rules of a related language are taken where a language has none.

    >>> list(split_sentences("“I will not,” said he. Mr. Brown went home.", language="en"))
    ['“I will not,” said he.', 'Mr. Brown went home.']
    """
    # Imported here, for only the preparation of corpora needs it.
    from sentencex import segment

    for found in segment(language, line):
        sentence, begin = found.strip(), 0
        while len(sentence) - begin > _LONGEST:
            end = sentence.rfind(" ", begin + 1, begin + _LONGEST)
            end = begin + _LONGEST if end < 0 else end
            yield sentence[begin:end]
            begin = end
            while sentence[begin].isspace():  # The last character is none.
                begin += 1
        if sentence:
            yield sentence[begin:]
