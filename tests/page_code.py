"""The code that a page of Markdown shows: commands, indented by four spaces, and fenced blocks."""

import re
import shlex


def commands(text: str, program: str = "keras-bert") -> list[list[str]]:
    """The arguments of each command that starts the program, as a shell reads them: without quotes and comments."""
    lines = re.findall(rf"^    {re.escape(program)} (.*)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def blocks(text: str, language: str = "python") -> list[str]:
    """The fenced blocks of a language without a title."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
