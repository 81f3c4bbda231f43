"""How large the page of attention is, how soon it is there, and how soon it answers a click.

    python benchmarks/attention_view.py        # two minutes on two cores

Attention of BERT-base's size, 12 layers, 12 heads, 128 tokens, and for comparison 512. It is noise, which compresses
worse than any real one. Debian's chromium opens the file again in each round; the times are of the page's own clock. A
click's time ends when the colours that it asks for are painted.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from report import table, write

from keras_bert_impl.interpret.view import Page, to_html

LAYERS, HEADS, LENGTHS = 12, 12, (128, 512)
# What must be reached with the first length.
MEGABYTES, OPEN, CLICK = 5.0, 1.0, 0.1
# Seconds from a click until its changes are painted.
_ANSWER = """async ([selector, nth]) => {
    const target = document.querySelectorAll(selector)[nth], caption = document.querySelector("#caption");
    const start = performance.now();
    const changed = new Promise((done) => new MutationObserver(done).observe(caption, { childList: true }));
    target.click();
    await changed;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return (performance.now() - start) / 1000;
}"""
_MARK = "name => performance.getEntriesByName(name)[0].startTime / 1000"


def a_page(length: int) -> Page:
    """Softmax of noise, sharper from head to head."""
    noise = np.random.default_rng(0).normal(size=(LAYERS, HEADS, length, length)).astype(np.float32)
    noise *= np.linspace(0.5, 4, HEADS, dtype=np.float32)[:, None, None]
    attentions = np.exp(noise)
    attentions /= attentions.sum(-1, keepdims=True)
    tokens = ["[CLS]", *(f"word{number}" for number in range(length - 2)), "[SEP]"]
    words = [(token, place, place + 1) for place, token in enumerate(tokens)]
    return Page("A text", "BertModel, 12 layers, 12 heads", [], "", tokens, words, [0] * length, attentions)


def one_round(browser: Any, path: Path, length: int, number: int) -> dict[str, float]:
    """Measures everything once."""
    page = browser.new_page()
    page.goto(path.as_uri(), timeout=300_000)
    page.wait_for_selector(".maps:not([aria-busy])", timeout=300_000)
    figures = {
        "open: words, lines": page.evaluate(_MARK, "shown"),
        "open: all maps": page.evaluate(_MARK, "drawn"),
        "click on a word": page.evaluate(_ANSWER, ["#attention .text button", (7 * number + 5) % length]),
        "click on a map": page.evaluate(_ANSWER, [".maps button", 13 * number % (LAYERS * HEADS)]),
    }
    page.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()

    from playwright.sync_api import sync_playwright

    others = psutil.cpu_percent(interval=5) / 100
    rows, medians, megabytes = [], {}, {}
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for length in LENGTHS:
            page, path = a_page(length), Path(directory) / f"{length}.html"
            start = time.perf_counter()
            path.write_text(to_html(page), encoding="utf-8")
            made, megabytes[length] = time.perf_counter() - start, path.stat().st_size / 1e6
            one_round(browser, path, length, 0)  # fills the page cache
            rounds = [one_round(browser, path, length, number) for number in range(arguments.rounds)]
            for name in rounds[0]:
                values = [each[name] * 1e3 for each in rounds]
                medians[length, name] = statistics.median(values)
                figures = (medians[length, name], min(values), max(values))
                rows.append((f"{length} tokens, {name}", *(f"{value:.0f}" for value in figures)))
            rows.append((f"{length} tokens, made by to_html", f"{made * 1e3:.0f}", "", ""))
        version = browser.version
        browser.close()

    first = LENGTHS[0]
    targets = [
        (f"the file under {MEGABYTES:.0f} MB", megabytes[first], MEGABYTES, "MB"),
        (f"open, all maps drawn, in under {OPEN:.0f} s", medians[first, "open: all maps"] / 1e3, OPEN, "s"),
        (f"a click on a word under {CLICK} s", medians[first, "click on a word"] / 1e3, CLICK, "s"),
        (f"a click on a map under {CLICK} s", medians[first, "click on a map"] / 1e3, CLICK, "s"),
    ]
    verdicts = [
        f"- {first} tokens: {name}: {found:.3f} {unit} – {'reached' if found < most else '**missed**'}"
        for name, found, most, unit in targets
    ]
    write(
        "The page of attention: 12 layers, 12 heads",
        "\n".join(verdicts),
        f"Chromium {version}. The file of 512 tokens has {megabytes[512]:.1f} MB. Other processes took {others:.0%} of "
        "the machine before the first round.",
        table(("what", "ms, median", "least", "most"), rows),
    )


if __name__ == "__main__":
    main()
