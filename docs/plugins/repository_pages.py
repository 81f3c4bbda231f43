"""mkdocs hook: pages of the site that stand elsewhere in the repository, and links between the two.

Links are written for readers of the repository, relative to the file. Here they lead to the page of the site. A
notebook is a page too, made of its script as the notebook is, without results.
"""

import posixpath
import re
import runpy
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.structure.files import File, Files

# File of the repository: page of the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "saved_models/README.md": "signatures.md",
}
EXAMPLES = Path(__file__).parents[2] / "examples"
MAKER = runpy.run_path(str(EXAMPLES / "make_notebooks.py"))
NOTEBOOKS = {f"examples/notebooks/{name}.ipynb": f"notebooks/{name}.md" for name in MAKER["NOTEBOOKS"]}
_LINK = re.compile(r"\]\((?![a-z]+:)(?P<path>[^)#\s]+)(?P<anchor>#[^)]*|)\)")
_ON_SITE = {**PAGES, **NOTEBOOKS}
_SOURCES = {page: source for source, page in _ON_SITE.items()}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for source, page in PAGES.items():
        root = posixpath.dirname(config.config_file_path)
        files.append(File.generated(config, page, abs_src_path=posixpath.join(root, source)))
    for source, page in NOTEBOOKS.items():
        files.append(File.generated(config, page, content=_notebook_page(source)))
    return files


def _notebook_page(source: str) -> str:
    """The cells of a notebook, and where it can be run."""
    cells = jupytext.read(EXAMPLES / f"{Path(source).stem}.py").cells
    shown = [cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```" for cell in cells]
    colab = f"https://colab.research.google.com/github/{MAKER['REPOSITORY']}/blob/main/{source}"
    return "\n\n".join([shown[0], f"[Run it in Colab]({colab})", *shown[1:]])


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites the links that go out of ``docs/`` or come from elsewhere."""
    here = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["path"]))
        target = _ON_SITE.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}{link['anchor']})"

    return _LINK.sub(on_site, markdown)
