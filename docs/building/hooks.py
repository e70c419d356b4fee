"""What MkDocs calls while it builds the site: links of included files, tables of benchmarks, formulas."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

from links import included_pages, resolve_links
from mathml import to_mathml
from speed import fill_speed_tables

LOG = logging.getLogger('mkdocs.hooks.docs')


@cache
def _pages(docs: Path) -> dict[Path, Path]:
    return included_pages(docs)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """After the includes: fill the tables, and point links out of `docs/` at pages of the site.

    A link to nowhere is a warning, which fails a strict build.
    """
    docs = Path(config.docs_dir)
    markdown = fill_speed_tables(markdown, docs.parent)
    markdown, dead = resolve_links(markdown, Path(page.file.abs_src_path), docs, _pages(docs))
    for target in dead:
        LOG.warning("%s links to '%s', which is not in the repository", page.file.src_uri, target)
    return markdown


def on_page_content(html: str, *, page: Any, config: Any, files: Any) -> str:
    """Formulas as MathML."""
    try:
        return to_mathml(html)
    except ValueError as error:
        LOG.warning('%s: %s', page.file.src_uri, error)
        return html
