"""The size of the attention page, the time to open it, and the time of a click.

    python benchmarks/attention_view.py        # two minutes on two cores

The attention has BERT-base's 12 layers and 12 heads, with 128 tokens and, for comparison, 512. It is random, which
compresses worse than the attention of a model. Debian's chromium opens the file again in each round, and the page's own
clock measures the times. The time of a click ends when the new colors are painted.
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
from report import make_table, write

from keras_bert_impl.interpret.view import Page, to_html

LAYERS, HEADS, LENGTHS = 12, 12, (128, 512)
# Limits for the first length.
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


def make_page(length: int) -> Page:
    """A page with the softmax of random numbers, sharper from head to head."""
    noise = np.random.default_rng(0).normal(size=(LAYERS, HEADS, length, length)).astype(np.float32)
    noise *= np.linspace(0.5, 4, HEADS, dtype=np.float32)[:, None, None]
    attentions = np.exp(noise)
    attentions /= attentions.sum(-1, keepdims=True)
    tokens = ["[CLS]", *(f"word{number}" for number in range(length - 2)), "[SEP]"]
    words = [(token, place, place + 1) for place, token in enumerate(tokens)]
    return Page("A text", "BertModel, 12 layers, 12 heads", [], "", tokens, words, [0] * length, attentions)


def measure_round(browser: Any, path: Path, length: int, number: int) -> dict[str, float]:
    """Opens the page and clicks; the seconds of each, by name."""
    page = browser.new_page()
    page.goto(path.as_uri(), timeout=300_000)
    page.wait_for_selector(".maps:not([aria-busy])", timeout=300_000)
    seconds = {
        "open: words, lines": page.evaluate(_MARK, "shown"),
        "open: all maps": page.evaluate(_MARK, "drawn"),
        "click on a word": page.evaluate(_ANSWER, ["#attention .text button", (7 * number + 5) % length]),
        "click on a map": page.evaluate(_ANSWER, [".maps button", 13 * number % (LAYERS * HEADS)]),
    }
    page.close()
    return seconds


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
            page, path = make_page(length), Path(directory) / f"{length}.html"
            start = time.perf_counter()
            path.write_text(to_html(page), encoding="utf-8")
            writing, megabytes[length] = time.perf_counter() - start, path.stat().st_size / 1e6
            measure_round(browser, path, length, 0)  # fills the page cache
            rounds = [measure_round(browser, path, length, number) for number in range(arguments.rounds)]
            for name in rounds[0]:
                values = [each[name] * 1e3 for each in rounds]
                medians[length, name] = statistics.median(values)
                shown = (medians[length, name], min(values), max(values))
                rows.append((f"{length} tokens, {name}", *(f"{value:.0f}" for value in shown)))
            rows.append((f"{length} tokens, written by to_html", f"{writing * 1e3:.0f}", "", ""))
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
        f"- {first} tokens: {name}: {value:.3f} {unit} – {'reached' if value < limit else '**missed**'}"
        for name, value, limit, unit in targets
    ]
    write(
        "The attention page: 12 layers, 12 heads",
        "\n".join(verdicts),
        f"Chromium {version}. The file of 512 tokens has {megabytes[512]:.1f} MB. Other processes took {others:.0%} of "
        "the machine before the first round.",
        make_table(("what", "ms, median", "min.", "max."), rows),
    )


if __name__ == "__main__":
    main()
