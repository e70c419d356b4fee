"""Runs a file of tools/analysis_tools as a script, with the function it calls replaced."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'


def make_runner(
    monkeypatch: pytest.MonkeyPatch, name: str, module: ModuleType, function: str
) -> Callable[..., dict[str, Any]]:
    """A function that runs the tool.

    It takes the words of the command line, and by keyword `error` (raised by the replaced function) or `result`
    (returned by it). It gives the arguments of the call as `args` and `kwargs`; a dict `seen` has them even where the
    tool ends in SystemExit.

    Args:
        monkeypatch: Of the test.
        name: File of the tool.
        module: Where it imports its function from.
        function: Name of that function.
    """

    def call(
        *arguments: str, error: Exception | None = None, result: Any = None, seen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        seen = {} if seen is None else seen

        def stub(*args: Any, **kwargs: Any) -> Any:
            seen.update(args=args, kwargs=kwargs)
            if error is not None:
                raise error
            return result

        tool = str(TOOLS / name)
        monkeypatch.setattr(module, function, stub)
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        runpy.run_path(tool, run_name='__main__')
        return seen

    return call
