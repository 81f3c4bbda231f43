"""mkdocs hook: pages of the site that stand elsewhere in the repository, and links between the two.

Links are written for readers of the repository, relative to the file. Here they lead to the page of the site, and those
to notebooks, which the site does not have, to Colab.
"""

import posixpath
import re
from typing import Any

from mkdocs.structure.files import File, Files

# File of the repository: page of the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "saved_models/README.md": "signatures.md",
}
# Colab's address of the repository's root.
COLAB = "https://colab.research.google.com/github/keras-bert-impl/keras_bert_impl/blob/main"
_LINK = re.compile(r"\]\((?![a-z]+:)(?P<path>[^)#\s]+)(?P<anchor>#[^)]*|)\)")
_SOURCES = {page: source for source, page in PAGES.items()}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for source, page in PAGES.items():
        root = posixpath.dirname(config.config_file_path)
        files.append(File.generated(config, page, abs_src_path=posixpath.join(root, source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites the links that go out of ``docs/`` or come from elsewhere."""
    here = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["path"]))
        if target.endswith(".ipynb"):
            return f"]({COLAB}/{target}{link['anchor']})"
        target = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}{link['anchor']})"

    return _LINK.sub(on_site, markdown)
