"""mkdocs hook that adds pages from outside ``docs/`` to the site and rewrites the links between the two.

In the repository links are relative to the file. The hook turns them into links to pages of the site.
A notebook becomes a page too, made from its script and without outputs.
"""

import posixpath
import re
import runpy
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
REPORTS = sorted(path.name for path in (ROOT / "benchmarks" / "reports").iterdir())
# File of the repository: page of the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "saved_models/README.md": "signatures.md",
    **{f"benchmarks/reports/{name}": f"reports/{name}" for name in REPORTS},
}
EXAMPLES = ROOT / "examples"
MAKER = runpy.run_path(str(EXAMPLES / "make_notebooks.py"))
NOTEBOOKS = {f"examples/notebooks/{name}.ipynb": f"notebooks/{name}.md" for name in MAKER["NOTEBOOKS"]}
_LINK = re.compile(r"\]\((?![a-z]+:)(?P<path>[^)#\s]+)(?P<anchor>#[^)]*|)\)")
_ON_SITE = {**PAGES, **NOTEBOOKS}
_SOURCES = {page: source for source, page in _ON_SITE.items()}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for source, page in NOTEBOOKS.items():
        files.append(File.generated(config, page, content=_notebook_page(source)))
    return files


def _notebook_page(source: str) -> str:
    """The cells of a notebook as Markdown, with a link that opens it in Colab."""
    cells = jupytext.read(EXAMPLES / f"{Path(source).stem}.py").cells
    shown = [cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```" for cell in cells]
    colab = f"https://colab.research.google.com/github/{MAKER['REPOSITORY']}/blob/main/{source}"
    return "\n\n".join([shown[0], f"[Run it in Colab]({colab})", *shown[1:]])


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites the links of a page that leave ``docs/``, and the links of pages from outside."""
    here = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["path"]))
        target = _ON_SITE.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}{link['anchor']})"

    return _LINK.sub(on_site, markdown)
