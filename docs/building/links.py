"""Links of the site's pages that leave `docs/`.

READMEs of the repository are pages of the site: a page of `docs/` includes the whole file. A link to such a file is a
link to its page; a link to any other file of the repository becomes plain text, for the site has no copy of it.
"""

import os
import re
from pathlib import Path

_INCLUDE = re.compile(r'\{%\s*include-markdown\s+"([^"]+)"\s*%\}')
_FENCE = re.compile(r'^( *)(```+|~~~+).*?^ *\2[^\n]*$', re.DOTALL | re.MULTILINE)
_LINK = re.compile(r'(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\((?!\w+:|#|/)([^()\s#]+)(#[^()\s]*)?\)')


def included_pages(docs: Path) -> dict[Path, Path]:
    """Which page shows the whole of a file, by the file; a page that includes a part of one does not count."""
    return {
        (page.parent / name).resolve(): page.resolve()
        for page in sorted(docs.rglob('*.md'))
        for name in _INCLUDE.findall(page.read_text(encoding='utf-8'))
    }


def resolve_links(markdown: str, page: Path, docs: Path, pages: dict[Path, Path]) -> tuple[str, list[str]]:
    """A page with its links to files outside of `docs/` put right.

    Args:
        markdown: Text of the page, files included. Fenced code stays as it is.
        page: File of the page.
        docs: Folder of the pages, in the root of the repository.
        pages: See `included_pages`; the repository's README is `index.md` unless it says otherwise.

    Returns:
        The text, and targets that are not in the repository.
    """
    page, docs = page.resolve(), docs.resolve()
    pages = {docs.parent / 'README.md': docs / 'index.md', **pages}
    dead: list[str] = []

    def put_right(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ''
        file = (page.parent / target).resolve()
        if file.is_relative_to(docs):
            return match[0]
        if file in pages:
            return f'[{text}]({Path(os.path.relpath(pages[file], page.parent)).as_posix()}{anchor})'
        if not file.exists() or not file.is_relative_to(docs.parent):
            dead.append(target)
        return text

    done, start = [], 0
    for fence in _FENCE.finditer(markdown):
        done += [_LINK.sub(put_right, markdown[start : fence.start()]), fence[0]]
        start = fence.end()
    return ''.join([*done, _LINK.sub(put_right, markdown[start:])]), dead
