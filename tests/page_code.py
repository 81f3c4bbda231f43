"""Extracts code from a Markdown page: commands that are indented by four spaces, and fenced blocks."""

import re
import shlex


def extract_commands(text: str, program: str = "keras-bert") -> list[list[str]]:
    """Returns the arguments of each command of the program, parsed as a shell does, without comments."""
    text = re.sub(r" \\\n +", " ", text)
    lines = re.findall(rf"^    {re.escape(program)} (.*)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def extract_commands_with_variables(text: str, program: str = "keras-bert") -> list[tuple[dict[str, str], list[str]]]:
    """Returns the commands that set environment variables: the variables and the arguments of each."""
    text = re.sub(r" \\\n +", " ", text)
    result = []
    for line in re.findall(rf"^    ([A-Z_]+=.* {re.escape(program)} .*)$", text, flags=re.MULTILINE):
        words = shlex.split(line)
        index = words.index(program)
        result.append((dict(word.split("=", 1) for word in words[:index]), words[index + 1 :]))
    return result


def extract_blocks(text: str, language: str = "python") -> list[str]:
    """Returns the fenced blocks of a language that have no title."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
