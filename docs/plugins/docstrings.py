"""Extension of griffe: what docstrings have beside Google's sections, as Markdown.

``Inputs:``, ``Outputs:``, ``Call arguments:`` and the like become lists of definitions, examples become blocks of code.
"""

import re
from typing import Any

import griffe

# Sections of items that griffe reads itself, to set them beside the signature's types.
_GRIFFE = ("Args", "Attributes", "Raises", "Warns")
_SECTION = re.compile(r"^(?P<name>[A-Z][a-z]+(?: [a-z]+)?(?: ``\w+``)?)(?P<more>, [^:]+)?:(?P<text> .*)?$")
_ITEM = re.compile(r"^(?P<names>[a-z_*][\w, `]*): (?P<text>.*)$")
_FLAG = re.compile(r" *# doctest: .*$", flags=re.MULTILINE)


class Sections(griffe.Extension):
    """Rewrites each docstring before it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """A docstring of which all but Google's sections is Markdown."""
    lines, result = docstring.splitlines(), []
    while lines:
        line = lines.pop(0)
        match = _SECTION.match(line)
        if line.startswith(">>> "):
            result += ["", *_code([line, *_taken(lines, lambda later: bool(later.strip()))])]
        elif match and (lines[:1] and lines[0].startswith("    ")):
            inner = _taken(lines, lambda later: later.startswith("    ") or not later.strip())
            if match["name"] in _GRIFFE and not match["text"]:
                result += [line, *inner]
            else:
                title = f"**{match['name']}**{match['more'] or ''}:{match['text'] or ''}"
                result += ["", title, "", *_items(inner), ""]
        elif match and match["text"] and match["name"] in (*_GRIFFE, "Inputs", "Outputs"):
            result += ["", f"**{match['name']}**:{match['text']}"]
        else:
            result.append(line)
    return "\n".join(result)


def _taken(lines: list[str], belongs: Any) -> list[str]:
    """The lines up to the first that does not belong; they are taken out."""
    taken = []
    while lines and belongs(lines[0]):
        taken.append(lines.pop(0))
    return taken


def _items(indented: list[str]) -> list[str]:
    """The content of a section: names with their definitions, paragraphs, lists, code."""
    indent = min(len(line) - len(line.lstrip()) for line in indented if line.strip())
    lines = [line[indent:] for line in indented]
    if not any(_ITEM.match(line) for line in lines):
        return as_markdown("\n".join(lines)).splitlines()
    result = []
    for line in lines:
        if match := _ITEM.match(line):
            names = ", ".join(f"`{name.strip(' `')}`" for name in match["names"].split(","))
            result += ["", names, "", f":   {match['text']}"]
        else:
            result.append(f"    {line.strip()}" if line.strip() else "")
    return result


def _code(lines: list[str]) -> list[str]:
    return ["```pycon", *_FLAG.sub("", "\n".join(lines)).splitlines(), "```"]
