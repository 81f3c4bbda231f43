"""Griffe extension that turns docstring sections outside Google's style into Markdown.

``Inputs:``, ``Outputs:``, ``Call arguments:`` and similar sections become definition lists, and examples code blocks.
"""

import re
from typing import Any

import griffe

# Sections that griffe reads itself, to add the types of the signature.
_GRIFFE = ("Args", "Attributes", "Raises", "Warns")
_SECTION = re.compile(r"^(?P<name>[A-Z][a-z]+(?: [a-z]+)?(?: ``\w+``)?)(?P<more>, [^:]+)?:(?P<text> .*)?$")
_ITEM = re.compile(r"^(?P<names>[a-z_*][\w, `]*): (?P<text>.*)$")
_FLAG = re.compile(r" *# doctest: .*$", flags=re.MULTILINE)


class Sections(griffe.Extension):
    """Rewrites each docstring before griffe parses it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Converts all of a docstring but Google's sections to Markdown."""
    lines, result = docstring.splitlines(), []
    while lines:
        line = lines.pop(0)
        match = _SECTION.match(line)
        if line.startswith(">>> "):
            result += ["", *_code_block([line, *_take_while(lines, lambda later: bool(later.strip()))])]
        elif match and (lines[:1] and lines[0].startswith("    ")):
            inner = _take_while(lines, lambda later: later.startswith("    ") or not later.strip())
            if match["name"] in _GRIFFE and not match["text"]:
                result += [line, *inner]
            else:
                title = f"**{match['name']}**{match['more'] or ''}:{match['text'] or ''}"
                result += ["", title, "", *_convert_section(inner), ""]
        elif match and match["text"] and match["name"] in (*_GRIFFE, "Inputs", "Outputs"):
            result += ["", f"**{match['name']}**:{match['text']}"]
        else:
            result.append(line)
    return "\n".join(result)


def _take_while(lines: list[str], belongs: Any) -> list[str]:
    """Removes and returns the lines before the first one that does not belong."""
    result = []
    while lines and belongs(lines[0]):
        result.append(lines.pop(0))
    return result


def _convert_section(indented: list[str]) -> list[str]:
    """Converts the indented lines of a section: names with their definitions, paragraphs, lists, code."""
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


def _code_block(lines: list[str]) -> list[str]:
    return ["```pycon", *_FLAG.sub("", "\n".join(lines)).splitlines(), "```"]
