"""Builds the documentation site and checks it: strict build, public names, links, nothing loaded from other hosts."""

import importlib
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import keras_bert_impl

ROOT = Path(__file__).parents[2]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a network: all requests go to a proxy that does not exist."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", directory]
    no_network = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **no_network, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return directory


class Page(HTMLParser):
    """The addresses that a browser loads when it opens a page, and the text of the page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        names = {"link": "href", "script": "src", "img": "src", "iframe": "src"}
        if tag in names and values.get(names[tag]):
            self.addresses.append(str(values[names[tag]]))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        addresses = Page(page).addresses
        assert addresses
        assert [address for address in addresses if re.match(r"(\w+:)?//", address)] == [], page
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//|@import", styles) == []


def test_the_reference_shows_every_public_name(site: Path) -> None:
    packages = [module.name for module in pkgutil.iter_modules(keras_bert_impl.__path__) if module.ispkg]
    expected = {
        f"keras_bert_impl.{package}.{name}"
        for package in packages
        for name in getattr(importlib.import_module(f"keras_bert_impl.{package}"), "__all__", ())
    }
    pages = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").rglob("*.html"))
    shown = set(re.findall(r'id="(keras_bert_impl\.[\w.]+)"', pages))
    assert len(expected) > 60
    assert expected - shown == set()


def test_sections_of_docstrings_are_lists_and_examples_are_code(site: Path) -> None:
    models = (site / "reference" / "models" / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<dt><code>seq_relationship_logits</code></dt>\s*<dd>", models)
    assert re.search(r"<dt><code>start_logits</code>, <code>end_logits</code></dt>\s*<dd>", models)
    for page in sorted((site / "reference").rglob("*.html")):
        text = Page(page).text
        html = page.read_text(encoding="utf-8")
        assert "<blockquote>" not in html, "an example was read as a quotation"
        assert "# doctest:" not in text
        assert "``" not in text


def test_pages_of_the_repository_are_linked(site: Path) -> None:
    """Links that leave docs/ lead to pages of the site."""
    serving = (site / "guides" / "serving" / "index.html").read_text(encoding="utf-8")
    assert 'href="../../signatures/"' in serving
    performance = (site / "performance" / "index.html").read_text(encoding="utf-8")
    reports = set(re.findall(r'href="\.\./(reports/[^"]+)"', performance))
    assert len(reports) > 10
    assert [report for report in reports if not (site / report / "index.html").is_file()] == []
    contributing = (site / "contributing" / "index.html").read_text(encoding="utf-8")
    assert 'href="../design/"' in contributing
    assert "Unreleased" in Page(site / "changelog" / "index.html").text


def test_notebooks_are_pages_that_open_in_colab(site: Path) -> None:
    maker = runpy.run_path(str(ROOT / "examples" / "make_notebooks.py"))
    index = (site / "notebooks" / "index.html").read_text(encoding="utf-8")
    article = index[index.index("<article") : index.index("</article>")]
    assert re.findall(r'href="(\w+)/"', article) == list(maker["NOTEBOOKS"])
    for name in maker["NOTEBOOKS"]:
        page = site / "notebooks" / name / "index.html"
        assert f"{maker['REPOSITORY']}/blob/main/examples/notebooks/{name}.ipynb" in page.read_text(encoding="utf-8")
        text = Page(page).text
        script = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        assert re.search(r"^# # (.*)$", script, re.MULTILINE)[1] in text
        assert "set_random_seed(1)" in text
