"""Reports as one self-contained HTML page: it opens from disk, without network and without files beside it.

A report is a template below `templates/` that extends `base.html.j2` and fills its blocks; `macros.html.j2` has the
parts that reports share (tables with bars, figures, legends, key figures).
"""

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def data_uri(picture: str | Path) -> str:
    """A picture file as a `data:` address, so that a page carries it along.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: Its suffix is not that of a picture.
    """
    path = Path(picture)
    kind = mimetypes.guess_type(path.name)[0] or ''
    if not kind.startswith('image/'):
        raise ValueError(f'{path} is no picture by its suffix; a report takes .png, .jpg, .svg and the like')
    return f'data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}'


def format_number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A number for a table, with a real minus; a dash where there is none."""
    if value is None:
        return '–'
    return f'{value:{"+" if sign else ""}.{digits}f}'.replace('-', '−')


def render_report(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of this package.

    Args:
        template: Name below `templates/`, such as `'demo.html.j2'`.
        context: What the template reads; text is escaped, a name that is missing is an error.

    Returns:
        The page.
    """
    environment = Environment(
        loader=PackageLoader('mmdet_ext.analysis'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {'data_uri': data_uri, 'number': format_number}
    return environment.get_template(template).render(**context)


def write_report(out: str | Path, template: str, context: Mapping[str, Any]) -> Path:
    """Fill a template and write the page, see `render_report`.

    Returns:
        The path written.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_report(template, context), encoding='utf-8')
    return out
