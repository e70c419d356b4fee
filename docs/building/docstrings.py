"""Docstrings of the package, as the site shows them: what Sphinx knows and Markdown does not becomes code."""

import re
from typing import Any

from griffe import Extension

_ROLE = re.compile(r':(?:class|func|meth|mod|attr):`~?\.?([^`]+)`')
_TABLE = re.compile(r'^(=+ +=+)\n.+\n\1\n(?:.+\n)+?\1$', re.MULTILINE)


def to_markdown(docstring: str) -> str:
    """Roles (`:func:`) as code, tables between lines of `===` as they are typed."""
    return _TABLE.sub(r'```text\n\g<0>\n```', _ROLE.sub(r'`\1`', docstring))


class MarkdownDocstrings(Extension):
    """What mkdocstrings calls."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Griffe does so for every module, class, function and attribute it has read."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
