"""Strings to compare tokenizers on: lines of files, and random strings of all kinds of Unicode characters."""

import random
import unicodedata
from collections.abc import Iterator

# Code points by script: first, last.
SCRIPTS = {
    "Latin": (0x41, 0x17F),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x4FF),
    "Hebrew": (0x591, 0x5F4),
    "Arabic": (0x600, 0x6FF),
    "Devanagari": (0x900, 0x97F),
    "Thai": (0xE01, 0xE5B),
    "Hiragana and katakana": (0x3041, 0x30FF),
    "Chinese": (0x4E00, 0x9FFF),
    "rare Chinese": (0x20000, 0x2A6DF),
    "Hangul": (0xAC00, 0xD7A3),
    "Jamo": (0x1100, 0x11FF),
    "combining marks": (0x300, 0x36F),
    "controls": (0x0, 0x20),
    "more controls": (0x7F, 0xA0),
    "spaces and format characters": (0x2000, 0x206F),
    "private use": (0xE000, 0xE0FF),
    "symbols": (0x2190, 0x23FF),
    "full width": (0xFF00, 0xFFEF),
    "mathematical letters": (0x1D400, 0x1D7FF),
    "emoji": (0x1F300, 0x1FAFF),
    "selectors": (0xFE00, 0xFE0F),
    "tags and unassigned": (0xE0000, 0xE01EF),
}
SNIPPETS = (
    *(
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "🇩🇪",
        "é",
        "e\u0301",
        "ﬁ",
        "İ",
        "ı",
        "ß",
        "ǅ",
        "ς",
        "한국어",
        "日本語",
        "ไทย",
        "العربية",
        "naïve",
    ),
    *("don't", "U.S.A.", "e-mail@x.org", "https://a.b/c?d=e", "3.14", "#tag", "##s", "...", "—", "“”", "¿"),
    *(
        "\u2028",
        "\u00ad",
        "\u200d",
        "\ufeff",
        "\ufffd",
        "\u3099",
        "\u1161",
        "unaffable",
        "internationalization",
        "[",
        "]",
    ),
)


def read_lines(paths: list[str]) -> Iterator[str]:
    """The lines of text files."""
    for path in paths:
        with open(path, encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in file)


def make_strings(count: int, *, seed: int, special: list[str]) -> Iterator[str]:
    """Random strings of many scripts, the same for the same seed.

    Args:
        count: number of strings.
        seed: seed of the generator.
        special: special tokens that some of the strings contain.
    """
    generator = random.Random(seed)
    for _ in range(count):
        kind = generator.randrange(8)
        if kind == 0:  # one character, in a word and alone
            letter = chr(_draw_code_point(generator))
            yield generator.choice([letter, f"a{letter}b", f"{letter}{letter}", f" {letter} the"])
        elif kind == 1:  # a word around the limit of 100 characters
            yield generator.choice("axé中한") * generator.choice([1, 17, 99, 100, 101, 250])
        elif kind == 2:  # a case that another form of Unicode spells differently
            yield unicodedata.normalize(
                generator.choice(["NFC", "NFD", "NFKC", "NFKD"]), _make_text(generator, 12, special)
            )
        elif kind == 3:
            yield "".join(generator.choices(special, k=generator.randrange(1, 5))) + _make_text(generator, 2, special)
        else:
            yield _make_text(generator, generator.choice([0, 1, 3, 10, 40]), special)


def make_invalid_utf8(count: int, *, seed: int) -> Iterator[bytes]:
    """``count`` byte strings, most of them not UTF-8."""
    generator = random.Random(seed)
    valid = "a é 中 한국 👍 the film".encode()
    for _ in range(count):
        if generator.random() < 0.5:
            yield generator.randbytes(generator.randrange(12))
        else:
            broken = bytearray(valid)
            for _ in range(generator.randrange(1, 5)):
                broken[generator.randrange(len(broken))] = generator.randrange(256)
            yield bytes(broken[generator.randrange(4) : generator.randrange(20, len(broken))])


def _draw_code_point(generator: random.Random) -> int:
    """A random code point that is not a surrogate."""
    point = generator.randrange(generator.choice([0x3000, 0x10000, 0x110000]))
    return point if not 0xD800 <= point < 0xE000 else 0x41


def _make_text(generator: random.Random, parts: int, special: list[str]) -> str:
    """A string of words of several scripts, snippets and special tokens, with and without spaces between."""
    pieces = []
    for _ in range(parts):
        choice = generator.random()
        if choice < 0.1:
            pieces.append(generator.choice(special))
        elif choice < 0.3:
            pieces.append(generator.choice(SNIPPETS))
        elif choice < 0.35:
            pieces.append(chr(_draw_code_point(generator)))
        else:
            first, last = generator.choice(list(SCRIPTS.values()))
            pieces.append("".join(chr(generator.randint(first, last)) for _ in range(generator.randrange(1, 9))))
        pieces.append(generator.choice(["", " ", "  ", "\t", "\n", "-"]))
    return "".join(pieces)
