"""Texts in other languages, and small vocabularies for them."""

import json
import random
import unicodedata
from collections import Counter
from pathlib import Path

# The first sentences of novels by Natsume Soseki, in the public domain, and a film with letters that NFKC changes.
JAPANESE = [
    "吾輩は猫である。名前はまだ無い。",
    "どこで生れたかとんと見当がつかぬ。",
    "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。",
    "親譲りの無鉄砲で小供の時から損ばかりしている。",
    "山路を登りながら、こう考えた。",
    "智に働けば角が立つ。情に棹させば流される。意地を通せば窮屈だ。",
    "ＤＶＤで①本の映画を㍻の終わりにみた。ｶﾞｯｶﾘした！",
    "New Yorkと[MASK]でABCを見た。か\u3099っこう",
]
# The first articles of the Universal Declaration of Human Rights.
CHINESE = [
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "人人有资格享有本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教、政治或其他见解、国籍或社会出身、"
    "财产、出生或其他身分等任何区别。",
    "人人有权享有生命、自由和人身安全。",
    "任何人不得使为奴隶或奴役；一切形式的奴隶制度和奴隶买卖，均应予以禁止。",
    "任何人不得加以酷刑，或施以残忍的、不人道的或侮辱性的待遇或刑罚。",
    "法律之前人人平等，并有权享受法律的平等保护，不受任何歧视。",
]
KOREAN = [
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
    "모든 사람은 인종, 피부색, 성, 언어, 종교, 정치적 또는 기타의 견해, 민족적 또는 사회적 출신, 재산, 출생 또는 "
    "기타의 신분과 같은 어떠한 종류의 차별이 없이, 이 선언에 규정된 모든 권리와 자유를 향유할 자격이 있다.",
    "모든 사람은 생명과 신체의 자유와 안전에 대한 권리를 가진다.",
    "어느 누구도 노예상태 또는 예속상태에 놓여지지 아니한다.",
    "모든 사람은 법 앞에 평등하며 어떠한 차별도 없이 법의 동등한 보호를 받을 권리를 가진다.",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def read_japanese_sentences(shared_data: Path) -> list[str]:
    """Returns the 2,400 sentences of JNLI, and 600 of them with characters that normalization changes."""
    lines = (shared_data / "jnli" / "part.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [row[name] for row in map(json.loads, lines) for name in ("sentence1", "sentence2")]
    generator = random.Random(7)
    return texts + [_change(generator, text) for text in texts[:600]]


def _change(generator: random.Random, text: str) -> str:
    """Returns a sentence in another form of Unicode, or with other characters or special tokens inside."""
    i = generator.randrange(len(text))
    wide = {point: point + 0xFEE0 for point in range(0x21, 0x7F)}
    inserted = [
        "[MASK]",
        "　",
        "\n\u200d",
        "か\u3099",
        "ﾊﾟﾝﾀﾞ",
        "㍿㋿⑩℃",
        "ＤＶＤ！？",
        "Naïve İSTANBUL",
        "𠮷野家👍🏽",
        "\x00",
    ]
    return generator.choice(
        [
            unicodedata.normalize("NFD", text),
            text.translate(wide) + "ｶﾞ",
            text[:i] + generator.choice(inserted) + text[i:] + generator.choice(inserted),
            "".join(generator.sample(text, len(text))),
        ]
    )


def make_japanese_vocabulary(texts: list[str], *, words: int = 0) -> list[str]:
    """Returns special tokens, the normalized characters of texts, alone and inside words, and their frequent parts."""
    normalized = [unicodedata.normalize("NFKC", text) for text in texts]
    letters = sorted({letter for text in normalized for letter in text if not letter.isspace()})
    parts = Counter(text[i : i + size] for text in normalized for size in (2, 3) for i in range(len(text) - size))
    frequent = [part for part, _ in parts.most_common(words) if part.isalnum()]
    return list(dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *frequent]))
