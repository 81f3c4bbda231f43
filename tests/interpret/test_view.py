"""The page of attention and attributions, in a real browser: Debian's chromium, driven by playwright."""

import base64
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.view import Page, to_html, to_iframe

LAYERS, HEADS = 2, 3
TOKENS = ["[CLS]", "no", "##body", "like", "##d", "that", "[SEP]"]
WORDS = [("[CLS]", 0, 1), ("Nobody", 1, 3), ("liked", 3, 5), ("that", 5, 6), ("[SEP]", 6, 7)]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def make_attention(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns rows that sum to 1, uneven enough to distinguish any two of them."""
    return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.6), size=shape[:-1]).astype(np.float32)


def make_page(**changes: Any) -> Page:
    """Makes a page with all parts: 2 layers, 3 heads, 7 tokens, 5 words."""
    page = Page(
        title="Attention: Nobody liked that",
        model="BertForSequenceClassification, 2 layers, 3 heads",
        prediction=[("negative", 0.913), ("positive", 0.087)],
        prediction_title="Prediction",
        tokens=TOKENS,
        words=WORDS,
        segments=[0] * len(TOKENS),
        attentions=make_attention(LAYERS, HEADS, 7, 7),
        rollout=make_attention(LAYERS, 7, 7, seed=1),
        attributions=[
            ("logit of 'negative'", np.array([0.1, 2.5, -0.75, 0.0, 1.56]), 3.41, 3.42),
            ("logit of 'positive'", np.array([-0.2, -1.5, 0.5, 0.004, 123.4]), 122.2, -150.0),
        ],
    )
    return replace(page, **changes)


def make_long_page(size: int, layers: int, heads: int) -> Page:
    """Uniform attention in the first head; in the last one ``[CLS]`` attends to the word before the last."""
    tokens = ["[CLS]", *(f"word{number}" for number in range(size - 2)), "[SEP]"]
    attentions = np.full((layers, heads, size, size), 1 / size, np.float32)
    attentions[-1, -1, 0] = np.eye(size)[size - 2]
    words = [(token, place, place + 1) for place, token in enumerate(tokens)]
    return Page("A long text", "BertModel", [], "", tokens, words, [0] * size, attentions)


def compute_word_attention(attention: np.ndarray, words: list[tuple[str, int, int]]) -> np.ndarray:
    """Computes the attention between words, float64 ``[words, words]``."""
    belongs = np.zeros((attention.shape[-1], len(words)))
    for number, (_, start, end) in enumerate(words):
        belongs[start:end, number] = 1
    return (belongs / belongs.sum(0)).T @ attention.astype(np.float64) @ belongs


# ---- Without a browser.


def test_arrays_are_encoded_within_the_rounding_error() -> None:
    page = make_long_page(512, 2, 3)
    coded = dict(re.findall(r'<script type="text/plain" id="(\S+)">(\S+)</script>', to_html(page)))
    assert set(coded) == {"attention-0", "attention-1"}
    for layer, expected in enumerate(np.float64(page.attentions)):
        found = np.frombuffer(zlib.decompress(base64.b64decode(coded[f"attention-{layer}"])), np.uint8)
        # The root is rounded by at most half a step.
        errors = np.abs(np.square(found / 255).reshape(expected.shape) - expected)
        assert (errors <= np.sqrt(expected) / 255 + 1e-5).all()
        assert found.reshape(expected.shape)[0].min() == 11  # 1/512 is still there.


def test_data_is_json_that_cannot_end_its_element() -> None:
    page = make_page(
        words=[("</script><!--<script>&\u2028\ud800", *WORDS[0][1:]), *WORDS[1:]], title="{{page}} </title>"
    )
    text = to_html(page)
    (data,) = re.findall(r'<script type="application/json" id="page">(.*?)</script>', text)
    assert data.isascii()
    assert not re.search("[<>&]", data)
    facts = json.loads(data)
    assert facts["words"] == [list(word) for word in page.words]
    assert facts["title"] == "{{page}} </title>"
    assert "<title>{{page}} &lt;/title&gt;</title>" in text
    text.encode("utf-8")


def test_no_external_resource_is_named() -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", to_html(make_page()).split("// ----")[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": WORDS[:-1]}, r"words cover the tokens from .*; all 7 tokens in order were expected"),
        ({"words": [*WORDS[:2], ("liked", 3, 3), ("that", 3, 6), WORDS[-1]]}, "all 7 tokens in order"),
        ({"segments": [0]}, "segments has 1 numbers for 7 tokens"),
        (
            {"attentions": make_attention(2, 3, 7, 5)},
            r"attentions: the shape is \[2, 3, 7, 5\]; \[layers, heads, 7, 7\]",
        ),
        ({"attentions": make_attention(2, 7, 7)}, r"attentions: the shape is \[2, 7, 7\]"),
        ({"rollout": make_attention(3, 7, 7)}, r"rollout: the shape is \[3, 7, 7\]; \[2, 7, 7\] was expected"),
        ({"attentions": np.full((2, 3, 7, 7), np.nan)}, "attentions: the values range from nan to nan"),
        ({"attentions": np.full((2, 3, 7, 7), 2.0)}, "fractions from 0 to 1 were expected"),
        ({"attributions": [("logit", np.zeros(7), 0.0, 0.0)]}, r"attributions of logit: the shape is \[7\]; \[5\]"),
        ({"attributions": [("logit", np.zeros(5), np.inf, 0.0)]}, "sum and change of logit: .* finite numbers"),
    ],
)
def test_mismatched_parts_are_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_page(**changes)


# ---- In the browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed; on Debian: apt-get install chromium")
    root = ["--no-sandbox"] if os.getuid() == 0 else []
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=root)
        yield launched
        launched.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a document; checks at the end that it requested nothing else and that the console is empty."""
    messages, requests, contexts = [], [], []

    def open_page(document: Page | str, *, width: int = 1000, height: int = 800, dark: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.on("console", lambda message: messages.append(message.text))
        context.on("weberror", lambda error: messages.append(str(error.error)))
        context.on("request", lambda request: requests.append(request.url))
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(document if isinstance(document, str) else to_html(document), encoding="utf-8")
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(path.as_uri())
        if isinstance(document, Page):
            wait_for_maps(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert {url.rpartition("/")[2] for url in requests} <= {"data:,", *(path.name for path in tmp_path.iterdir())}


def wait_for_maps(page: Any) -> None:
    """Waits until all maps are painted, if there are any."""
    page.wait_for_selector("#attention[hidden], .maps:not([aria-busy])", state="attached")


def parse_percent(text: str) -> tuple[float, float]:
    """Returns a percentage in a text as a fraction, and half a unit of its last digit."""
    digits = re.search(r"(\d+(?:\.(\d+))?)\u00a0%", text)
    assert digits, text
    return float(digits[1]) / 100, 0.5 * 10.0 ** -(2 + len(digits[2] or ""))


def read_labels(page: Any, group: str) -> list[str]:
    return page.eval_on_selector_all(f"{group} button", "all => all.map(one => one.getAttribute('aria-label'))")


def check_text(page: Any, expected: np.ndarray) -> None:
    """Checks that the words' labels and colors show these fractions."""
    found = read_labels(page, "#attention .text")
    for label, (text, _, _), fraction in zip(found, WORDS, expected, strict=True):
        assert label.startswith(f"{text}: ")
        value, half = parse_percent(label)
        # In addition to rounding, the encoding may err by a third of a percent.
        assert value == pytest.approx(fraction, abs=half + 0.0035)
    colors = page.eval_on_selector_all(
        "#attention .text button", "all => all.map(one => +one.style.getPropertyValue('--fraction'))"
    )
    np.testing.assert_allclose(colors, np.sqrt(expected / expected.max()), atol=0.03)


# A canvas' size and colors, of a copy, because browsers warn if a canvas is read repeatedly.
_PIXELS = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    let text = '';
    for (const value of copy.getImageData(0, 0, canvas.width, canvas.height).data) text += String.fromCharCode(value);
    return [canvas.height, canvas.width, btoa(text)];
}"""


def read_pixels(page: Any, selector: str) -> np.ndarray:
    """A canvas, int64 ``[height, width, 4]``."""
    height, width, text = page.eval_on_selector(selector, _PIXELS)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4).astype(int)


def change_media(page: Any, query: str, **media: str) -> None:
    """Emulates a medium; returns when the page has painted for it: this listener is called after those of the page."""
    page.evaluate(
        "query => { window.changed = new Promise(done => matchMedia(query).addEventListener('change', () => done())) }",
        query,
    )
    page.emulate_media(**media)
    page.evaluate("window.changed")


def find_map(page: Any, layer: int, column: str) -> Any:
    return page.locator(f".maps [aria-label='layer {layer}, {column}']")


def test_initial_page(show: Callable[..., Any]) -> None:
    shown = make_page()
    page = show(shown)
    assert page.title() == page.text_content("h1") == shown.title
    assert page.text_content("#model") == shown.model
    assert page.get_attribute("html", "lang") == "en"
    cells = page.locator("#prediction .bars > *").all_text_contents()
    assert cells == ["negative", "", "91\u00a0%", "positive", "", "8.7\u00a0%"]
    bars = [page.locator("#prediction .bar").nth(place).get_attribute("style") for place in (0, 1)]
    assert bars == ["--fraction: 0.913;", "--fraction: 0.087;"]
    # The last layer, the mean of the heads, the attention of [CLS].
    check_text(page, compute_word_attention(shown.attentions[-1].mean(0), WORDS)[0])
    assert page.text_content("#caption").startswith("Layer 2, mean of the heads: [CLS] attends to ")
    assert page.locator("#attention .text [aria-pressed=true]").all_text_contents() == ["[CLS]"]
    # A word of several tokens lists them.
    assert re.fullmatch(r"Nobody: .* \(no ##body\)", read_labels(page, "#attention .text")[1])


def test_click_selects_a_word(show: Callable[..., Any]) -> None:
    shown = make_page()
    page = show(shown)
    expected = compute_word_attention(shown.attentions[-1].mean(0), WORDS)
    for word, (text, _, _) in enumerate(WORDS):
        page.locator("#attention .text button").nth(word).click()
        check_text(page, expected[word])
        assert f": {text} attends to " in page.text_content("#caption")
        best = WORDS[expected[word].argmax()][0]
        assert f"attends to {best}\u00a0" in page.text_content("#caption")
    page.locator(".from button").nth(1).click()
    check_text(page, expected[1])


def test_click_selects_a_map(show: Callable[..., Any]) -> None:
    shown = make_page()
    page = show(shown)
    for layer in range(LAYERS):
        for head in range(HEADS):
            find_map(page, layer + 1, f"head {head + 1}").click()
            page.wait_for_selector(f"text=Layer {layer + 1}, head {head + 1}: [CLS] attends to")
            check_text(page, compute_word_attention(shown.attentions[layer, head], WORDS)[0])
            assert page.input_value("#layer") == str(layer)
            assert page.input_value("#head") == str(head)
            assert page.locator(".maps [aria-pressed=true]").get_attribute("aria-label") == (
                f"layer {layer + 1}, head {head + 1}"
            )


def test_maps_show_the_arrays(show: Callable[..., Any]) -> None:
    shown = make_page()
    page = show(shown)
    columns = [*np.moveaxis(shown.attentions, 1, 0), shown.attentions.mean(1), shown.rollout]
    names = ["head 1", "head 2", "head 3", "mean of the heads", "rollout"]
    for column, name in zip(columns, names, strict=True):
        for layer in range(LAYERS):
            found = read_pixels(page, f".maps [aria-label='layer {layer + 1}, {name}'] canvas")
            assert found.shape == (7, 7, 4)
            # On white, larger weights are darker; pairs of pixels that the encoding may make equal are ignored.
            darkness = -found[..., :3].astype(float).sum(-1).ravel()
            roots = np.sqrt(np.float64(column[layer])).ravel()
            more = roots[:, None] > roots + 4 / 255
            assert more.sum() > 400
            assert (darkness[:, None] > darkness)[more].all()


def test_controls(show: Callable[..., Any]) -> None:
    shown = make_page()
    page = show(shown)
    page.select_option("#layer", label="1")
    page.select_option("#head", label="3")
    page.wait_for_selector("text=Layer 1, head 3: [CLS] attends to")
    check_text(page, compute_word_attention(shown.attentions[0, 2], WORDS)[0])
    page.check("#rollout")
    page.wait_for_selector("text=Rollout up to layer 1: [CLS] attends to")
    check_text(page, compute_word_attention(shown.rollout[0], WORDS)[0])
    assert page.is_disabled("#head")
    page.select_option("#layer", label="2")
    page.wait_for_selector("text=Rollout up to layer 2: [CLS] attends to")
    check_text(page, compute_word_attention(shown.rollout[1], WORDS)[0])
    page.uncheck("#rollout")
    page.wait_for_selector("text=Layer 2, head 3: [CLS] attends to")
    check_text(page, compute_word_attention(shown.attentions[1, 2], WORDS)[0])
    assert page.is_enabled("#head")


def test_keys(show: Callable[..., Any]) -> None:
    shown = make_page()
    page = show(shown)
    expected = compute_word_attention(shown.attentions[-1].mean(0), WORDS)

    def read_focus() -> str:
        return page.evaluate("document.activeElement.textContent || document.activeElement.ariaLabel")

    page.focus("#rollout")
    page.keyboard.press("Tab")
    assert read_focus() == "[CLS]"
    page.keyboard.press("ArrowLeft")
    assert read_focus() == "[CLS]"
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert read_focus() == "liked"
    # The focus is visible, and the tooltip shows its weight.
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.text_content(".tooltip") == read_labels(page, "#attention .text")[2]
    check_text(page, expected[0])
    page.keyboard.press("Enter")
    check_text(page, expected[2])
    page.keyboard.press("End")
    assert read_focus() == "[SEP]"
    page.keyboard.press(" ")
    check_text(page, expected[4])
    page.keyboard.press("Escape")
    assert page.is_hidden(".tooltip")
    # The tab key stops once in the text, and next at the selected map.
    page.keyboard.press("Tab")
    assert read_focus() == "layer 2, mean of the heads"
    page.keyboard.press("ArrowUp")
    page.wait_for_selector("text=Layer 1, mean of the heads: [SEP] attends to")
    check_text(page, compute_word_attention(shown.attentions[0].mean(0), WORDS)[4])
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("text=Layer 1, head 3: [SEP] attends to")
    check_text(page, compute_word_attention(shown.attentions[0, 2], WORDS)[4])
    # Back to the word that was left.
    page.keyboard.press("Shift+Tab")
    assert read_focus() == "[SEP]"


def test_pointer_shows_the_weight_of_a_word(show: Callable[..., Any]) -> None:
    page = show(make_page())
    assert page.is_hidden(".tooltip")
    page.hover("#attention .text button >> nth=3")
    assert page.text_content(".tooltip") == read_labels(page, "#attention .text")[3]
    box, word = page.locator(".tooltip").bounding_box(), page.locator("#attention .text button").nth(3).bounding_box()
    assert 0 <= box["y"] - word["y"] - word["height"] < 12
    assert abs(box["x"] - word["x"]) < 12
    find_map(page, 1, "head 2").hover()
    assert page.text_content(".tooltip") == "layer 1, head 2"
    page.hover("h1")
    assert page.is_hidden(".tooltip")


def test_lines(show: Callable[..., Any]) -> None:
    attentions = np.float32(0.05) + np.float32(0.65) * np.eye(7, dtype=np.float32)[None, None, [6, 5, 5, 0, 0, 3, 1]]
    shown = make_page(attentions=np.repeat(attentions, HEADS, axis=1), rollout=None)
    page = show(shown)
    expected = compute_word_attention(shown.attentions[0, 0], WORDS)

    def find_line_ends() -> list[list[int]]:
        """Finds the rows, on the left and on the right, where clearly painted lines end."""
        alpha = read_pixels(page, ".lines canvas")[..., 3]
        return [[row for row in range(5) if alpha[22 * row + 11, column] > 100] for column in (2, -3)]

    # Initially the largest weights: each word has one; that of 'that' goes to the first piece of 'liked'.
    assert page.locator("#line-count").text_content().startswith(f"{(expected >= 0.1).sum()} of 25 lines;")
    page.select_option("#min-weight", label="50\u00a0%")
    assert page.locator("#line-count").text_content().startswith("5 of 25 lines;")
    assert find_line_ends() == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    # Only the lines of one word; the words at the other ends are colored, and the label has their weights.
    page.hover(".from button >> nth=3")
    assert find_line_ends() == [[3], [2]]
    assert page.text_content(".tooltip").startswith("that attends to liked\u00a0")
    value, half = parse_percent(page.text_content(".tooltip"))
    assert value == pytest.approx(expected[3, 2], abs=half + 0.0035)
    strengths = page.eval_on_selector_all(
        ".to button", "all => all.map(one => +one.style.getPropertyValue('--fraction'))"
    )
    np.testing.assert_allclose(strengths, np.sqrt(expected[3] / expected[3].max()), atol=0.03)
    page.hover(".to button >> nth=0")
    assert find_line_ends() == [[2], [0]]
    assert page.text_content(".tooltip").startswith("[CLS] is attended to by liked\u00a0")
    page.hover("h1")
    assert find_line_ends() == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    # The keyboard does the same.
    page.focus("#min-weight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert find_line_ends() == [[1], [3]]


def test_attributions(show: Callable[..., Any]) -> None:
    page = show(make_page())
    assert page.text_content("#completeness") == (
        "Sum over the words 3.41, change of the logit 3.42 (difference: 0.3\u00a0%)."
    )
    rows = page.locator("#attributions .bars > *").all_text_contents()
    assert rows[::3] == ["Nobody", "[SEP]", "liked", "[CLS]", "that"]
    assert rows[2::3] == ["+2.50", "+1.56", "\u22120.75", "+0.10", "0.00"]
    assert read_labels(page, "#attributions .text")[1:3] == [
        "Nobody: +2.50 (no ##body)",
        "liked: \u22120.75 (like ##d)",
    ]
    page.hover("#attributions .text button >> nth=2")
    assert page.text_content(".tooltip") == "liked: \u22120.75 (like ##d)"
    # Blue is positive, orange negative.
    background = "all => all.map(one => getComputedStyle(one).backgroundColor)"
    red, green, blue = np.array(
        [
            [float(value) for value in re.findall(r"[\d.]+", text.removeprefix("color(srgb"))][:3]
            for text in page.eval_on_selector_all("#attributions .text button", background)
        ]
    ).T
    assert blue[1] > green[1] > red[1]
    assert red[2] > green[2] > blue[2]
    assert red[3] == green[3] == blue[3] == 1
    halves = page.eval_on_selector_all("#attributions .bar", "all => all.map(one => one.className.trim())")
    assert halves == ["bar positive", "bar positive", "bar negative", "bar positive", "bar positive"]
    page.select_option("#target", label="logit of 'positive'")
    assert page.text_content("#completeness") == (
        "Sum over the words 122, change of the logit \u2212150 (difference: 181.5\u00a0%)."
    )
    rows = page.locator("#attributions .bars > *").all_text_contents()
    assert rows[2::3] == ["+123", "\u22121.50", "+0.50", "\u22120.20", "+0.0040"]
    assert page.text_content("#target-name") == "logit of 'positive'"


def test_many_words_are_listed_on_demand(show: Callable[..., Any]) -> None:
    page = make_long_page(31, 1, 1)
    scores = np.linspace(-1, 2, 31)
    shown = show(replace(page, attributions=[("logit", scores, float(scores.sum()), 0.0)]))
    assert shown.locator("#attributions .bar").count() == 10
    assert shown.text_content("#completeness") == "Sum over the words 15.50, change of the logit 0.00."
    shown.click("text=Show all 31 words")
    assert shown.locator("#attributions .bar").count() == 31
    assert shown.locator(".more").is_hidden()


@pytest.mark.parametrize(
    ("changes", "sections"),
    [
        ({}, ["prediction", "attributions", "attention"]),
        ({"prediction": []}, ["attributions", "attention"]),
        ({"attributions": []}, ["prediction", "attention"]),
        ({"attentions": None, "rollout": None}, ["prediction", "attributions"]),
        ({"attentions": None, "rollout": None, "attributions": [], "prediction": []}, []),
        ({"attentions": None}, ["prediction", "attributions", "attention"]),
    ],
)
def test_given_parts_are_shown(show: Callable[..., Any], changes: dict[str, Any], sections: list[str]) -> None:
    page = show(make_page(**changes))
    found = page.eval_on_selector_all("section", "all => all.filter(one => one.offsetHeight).map(one => one.id)")
    assert found == sections
    if changes == {"attentions": None}:
        check_text(page, compute_word_attention(make_page().rollout[-1], WORDS)[0])
        assert not page.is_visible("#head")
        assert not page.is_visible("#rollout")


def test_without_probabilities(show: Callable[..., Any]) -> None:
    page = show(make_page(prediction=[("4.412", None)]))
    assert page.locator("#prediction .bars > *").all_text_contents() == ["4.412"]


def test_one_layer_and_head(show: Callable[..., Any]) -> None:
    attentions = make_attention(1, 1, 3, 3)
    words = [("[CLS]", 0, 1), ("x" * 400, 1, 2), ("[SEP]", 2, 3)]
    page = show(Page("Tiny", "BertModel", [], "", ["[CLS]", "[UNK]", "[SEP]"], words, [0, 0, 0], attentions), width=360)
    assert page.locator(".maps button").count() == 1
    assert parse_percent(read_labels(page, "#attention .text")[1])[0] == pytest.approx(attentions[0, 0, 0, 1], abs=0.01)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_512_tokens(show: Callable[..., Any]) -> None:
    page = show(make_long_page(512, 2, 3))
    assert page.locator("#attention .text button").count() == 512
    # Uniform attention: 1/512 is preserved.
    find_map(page, 1, "head 1").click()
    page.wait_for_selector("text=Layer 1, head 1")
    assert read_labels(page, "#attention .text")[200] == "word199: 0.20\u00a0%"
    # One large weight, in a map that has a pixel for four tokens.
    find_map(page, 2, "head 3").click()
    page.wait_for_selector("text=Layer 2, head 3")
    assert read_labels(page, "#attention .text")[510] == "word509: 100\u00a0%"
    found = read_pixels(page, ".maps [aria-label='layer 2, head 3'] canvas")[..., :3].sum(-1)
    assert found.shape == (128, 128)
    assert np.unravel_index(found.argmin(), found.shape) == (0, 127)
    # The lines scroll in their own box, and are drawn in its visible part.
    box = page.locator(".lines")
    assert box.bounding_box()["height"] < 600
    page.locator(".to button").nth(510).scroll_into_view_if_needed()
    page.locator(".to button").nth(510).hover()
    assert page.text_content(".tooltip").startswith("word509 is attended to by [CLS]\u00a0100\u00a0%")
    assert box.evaluate("box => box.scrollTop") > 5000
    alpha = read_pixels(page, ".lines canvas")[..., 3]
    assert (alpha > 200).any(1).sum() > 300  # The line comes from above, where [CLS] is.
    page.locator("#attention .text button").nth(511).click()
    assert read_labels(page, "#attention .text")[3] == "word2: 0.20\u00a0%"


@pytest.mark.slow
def test_512_tokens_of_a_base_model(show: Callable[..., Any]) -> None:
    shown = make_long_page(512, 12, 12)
    shown.attentions[:, :, :, :] = make_attention(1, 12, 512, 512)
    page = show(shown)
    find_map(page, 7, "head 8").click()
    page.wait_for_selector("text=Layer 7, head 8")
    word = int(shown.attentions[6, 7, 0].argmax())
    assert f"[CLS] attends to {shown.words[word][0]}\u00a0" in page.text_content("#caption")


EVIL = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "</script><script>window.hacked = 3</script>",
    "<!--\u2028&amp;{{arrays}}",
    '" onmouseover="window.hacked = 4',
    "</title><svg onload=window.hacked=5>",
    "\u202e\0\ud800</iframe>",
]


@pytest.mark.parametrize("in_frame", [False, True])
def test_text_is_never_markup(show: Callable[..., Any], in_frame: bool) -> None:
    everything = "".join(EVIL)
    words = [(text, place, place + 1) for place, text in enumerate(EVIL)]
    shown = make_page(
        title=everything,
        model=everything,
        prediction=[(everything, 0.5)],
        prediction_title=everything,
        tokens=EVIL,
        words=words,
        attributions=[(everything, np.arange(7.0), 1.0, 1.0)],
    )
    page = show(f"<!doctype html><meta charset='utf-8'>{to_iframe(shown)}") if in_frame else show(shown)
    inside = page.frames[-1]
    wait_for_maps(inside)
    for group in ("#attention .text", "#attributions .text", ".from", ".to"):
        assert inside.locator(f"{group} button").all_text_contents() == EVIL
    inside.hover("#attention .text button >> nth=1")
    inside.click("#attention .text button >> nth=2")
    assert inside.evaluate("[window.hacked, document.images.length, document.querySelectorAll('svg').length]") == [
        None, 0, 0
    ]  # fmt: skip
    arrays = LAYERS + LAYERS
    assert inside.locator("script").count() == arrays + 2
    assert page.evaluate("window.hacked") is None


def test_the_policy_refuses_requests(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(to_html(make_page()), encoding="utf-8")
    context = browser.new_context()
    # Any request would be answered.
    context.route("http://**", lambda route: route.fulfill(body="", headers={"Access-Control-Allow-Origin": "*"}))
    page = context.new_page()
    ask = "fetch('http://example.org/').then(() => 'sent', () => 'refused')"
    page.goto("data:text/html,")
    assert page.evaluate(ask) == "sent"
    page.goto(path.as_uri())
    assert page.evaluate(ask) == "refused"
    context.close()


# For each element that has its own text: the text, its color and the background, as red, green and blue.
_COLORS = """() => {
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const channels = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return Array.from(context.getImageData(0, 0, 1, 1).data);
    };
    const behind = (element) => {
        const color = channels(getComputedStyle(element).backgroundColor);
        return color[3] === 255 ? color : behind(element.parentElement);
    };
    return [...document.querySelectorAll('main *, .tooltip')]
        .filter((element) => element.checkVisibility() && element.tagName !== 'OPTION')
        .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
        .map((element) => [element.textContent, channels(getComputedStyle(element).color), behind(element)]);
}"""


def compute_luminance(color: list[int]) -> float:
    """Computes the relative luminance of WCAG 2."""
    channels = np.array(color[:3]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(show: Callable[..., Any], dark: bool) -> None:
    page = show(make_page(), dark=dark)
    page.hover("#attention .text button >> nth=1")
    found = page.evaluate(_COLORS)
    assert len(found) > 50
    for text, color, behind in found:
        low, high = sorted([compute_luminance(color), compute_luminance(behind)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, color, behind)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (compute_luminance([int(value) for value in re.findall(r"\d+", paper)]) < 0.05) == dark


def test_maps_follow_the_color_scheme_and_print(show: Callable[..., Any]) -> None:
    page = show(make_page())
    selector = ".maps [aria-label='layer 1, head 1'] canvas"
    light = read_pixels(page, selector)
    change_media(page, "(prefers-color-scheme: dark)", color_scheme="dark")
    dark = read_pixels(page, selector)
    # The darkest pixel is now the lightest.
    assert light.sum(-1).argmin() == dark.sum(-1).argmax()
    assert dark.mean() < light.mean()
    change_media(page, "print", media="print")
    assert (read_pixels(page, selector) == light).all()
    assert not page.is_visible("#layer")


def test_narrow_screen(show: Callable[..., Any]) -> None:
    many = make_page(
        attentions=make_attention(LAYERS, 16, 7, 7), title="Attention: " + 30 * "nobody liked " + 300 * "x"
    )
    page = show(many, width=360, height=700)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("#attention .text button").nth(4).click()
    # Nothing is wider than the screen, except the maps, which scroll in their own box.
    outside = page.eval_on_selector_all(
        "main *:not(.maps, .maps *)", "all => all.filter((one) => one.getBoundingClientRect().right > 360).length"
    )
    assert outside == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_right_to_left(show: Callable[..., Any]) -> None:
    texts = ["[CLS]", "كان", "فيلما", "Titanic", "رائعا", "جدا", "[SEP]"]
    words = [(text, place, place + 1) for place, text in enumerate(texts)]
    page = show(make_page(tokens=texts, words=words, attributions=[]))
    assert page.get_attribute("#attention .text", "dir") == "rtl"
    lefts = [page.locator("#attention .text button").nth(place).bounding_box()["x"] for place in range(7)]
    assert lefts == sorted(lefts, reverse=True)
    page.locator("#attention .text button").first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "كان"
    chinese = ["[CLS]", "电", "影", "很", "好", "看", "[SEP]"]
    words = [(text, place, place + 1) for place, text in enumerate(chinese)]
    page = show(make_page(tokens=chinese, words=words, attributions=[]))
    assert page.get_attribute("#attention .text", "dir") == "ltr"
    assert page.locator("#attention .text button").all_text_contents() == chinese


def test_two_texts_are_two_paragraphs(show: Callable[..., Any]) -> None:
    page = show(make_page(segments=[0, 0, 0, 1, 1, 1, 1]))
    assert page.locator("#attention .text p").all_text_contents() == ["[CLS]Nobody", "likedthat[SEP]"]


def test_in_a_notebook(show: Callable[..., Any]) -> None:
    shown = make_page()
    host = "<!doctype html><title>Notebook</title><style>body { color: rgb(1, 2, 3) } h1 { display: none }</style>"
    page = show(f"{host}<p>A cell</p>{to_iframe(shown, height=432)}<p>Another</p>")
    frame = page.frames[-1]
    wait_for_maps(frame)
    assert page.locator("iframe").bounding_box()["height"] == 432
    assert page.get_attribute("iframe", "title") == shown.title
    # The styles of the page and the frame do not mix.
    assert frame.is_visible("h1")
    assert frame.evaluate("getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(1, 2, 3)"
    frame.click("#attention .text button >> nth=2")
    check_text(frame, compute_word_attention(shown.attentions[-1].mean(0), WORDS)[2])
    # Scripts cannot reach the page: the frame has its own origin.
    assert frame.evaluate("() => { try { return parent.document.title } catch { return 'refused' } }") == "refused"
