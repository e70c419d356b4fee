"""Code of Markdown files as the tests look at it: fenced blocks, commands, what a tool makes of its arguments."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]


class Block(NamedTuple):
    """Code, and where it stands: the line of its first line, from 1 on."""

    file: Path
    line: int
    text: str


def fenced_blocks(file: Path, language: str) -> list[Block]:
    """Blocks between fences of a language, also those inside of lists."""
    tokens = MarkdownIt().parse(file.read_text(encoding='utf-8'))
    return [
        Block(file, token.map[0] + 2, token.content)
        for token in tokens
        if token.type == 'fence' and token.info.strip() == language
    ]


def inline_code(file: Path) -> list[str]:
    """Code within lines, tables included."""
    tokens = MarkdownIt().enable('table').parse(file.read_text(encoding='utf-8'))
    children = [child for token in tokens for child in token.children or ()]
    return [child.content for child in children if child.type == 'code_inline']


def shell_commands(text: str) -> list[list[str]]:
    """Words of every simple command, without assignments in front of it, comments and the words of loops."""
    commands = []
    for line in re.sub(r'\\\n', ' ', text).splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars=';&|')
        reader.whitespace_split = True
        command: list[str] = []
        for word in [*reader, ';']:
            if word.strip(';&|'):
                command.append(word)
                continue
            while command and (command[0] in ('do', 'done') or re.match(r'\w+=', command[0])):
                del command[0]
            if command and command[0] != 'for':
                commands.append(command)
            command = []
    return commands


class _ParsedError(BaseException):
    """Thrown where a tool has read its command line, so that it does nothing else."""


def check_arguments(tool: Path, arguments: list[str]) -> None:
    """Let a Python tool read a command line, and stop it there.

    Raises:
        AssertionError: The tool refuses the arguments, or never reads them; with what it says.
    """
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *args: object) -> None:
        parse_args(parser, *args)
        raise _ParsedError

    def fail(parser: argparse.ArgumentParser, message: str) -> None:
        raise AssertionError(f'{shlex.join([tool.name, *arguments])}: {message}')

    with (
        mock.patch.object(sys, 'argv', [str(tool), *arguments]),
        mock.patch.object(sys, 'path', [str(tool.parent), *sys.path]),
        mock.patch.object(argparse.ArgumentParser, 'parse_args', parse_and_stop),
        mock.patch.object(argparse.ArgumentParser, 'error', fail),
    ):
        try:
            runpy.run_path(str(tool), run_name='__main__')
        except _ParsedError:
            return
    raise AssertionError(f'{tool} has not read its arguments')
