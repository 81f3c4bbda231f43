"""The code that a page of Markdown shows: commands, indented by four spaces, and fenced blocks."""

import re
import shlex


def commands(text: str, program: str = "keras-bert") -> list[list[str]]:
    """The arguments of each command that starts the program, as a shell reads them: without quotes and comments."""
    text = re.sub(r" \\\n +", " ", text)
    lines = re.findall(rf"^    {re.escape(program)} (.*)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def with_variables(text: str, program: str = "keras-bert") -> list[tuple[dict[str, str], list[str]]]:
    """The commands before which variables of the environment are set: these, and the arguments."""
    text = re.sub(r" \\\n +", " ", text)
    found = []
    for line in re.findall(rf"^    ([A-Z_]+=.* {re.escape(program)} .*)$", text, flags=re.MULTILINE):
        words = shlex.split(line)
        place = words.index(program)
        found.append((dict(word.split("=", 1) for word in words[:place]), words[place + 1 :]))
    return found


def blocks(text: str, language: str = "python") -> list[str]:
    """The fenced blocks of a language without a title."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
