"""Lists of images that a training leaves out, each with its reasons: `screened.json`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet_ext.utils.json_file import write_json

from .checks import load_object

FORMAT = 1


def listed_image(image: Mapping[str, Any], reasons: Sequence[str]) -> dict[str, Any]:
    """Entry of a list: id and name of an image as in its annotation file, and why it is there."""
    return {'image_id': image['id'], 'file_name': str(image['file_name']), 'reasons': list(reasons)}


def write_screened_list(path: str | Path, images: Iterable[Mapping[str, Any]], **facts: Any) -> Path:
    """Write a list.

    Args:
        path: File, `.json`; missing folders are made.
        images: See `listed_image`.
        facts: Anything to keep beside it, plain JSON values.

    Returns:
        The path written.
    """
    return write_json(path, {'format': FORMAT, **facts, 'images': list(images)}, indent=1)


def read_screened_list(path: str | Path) -> dict[str, Any]:
    """Read a list.

    Returns:
        `images`, see `listed_image`, and the facts beside it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such list.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'There is no list of screened images {path} (looked from {Path.cwd()}); '
            'tools/analysis_tools/screen_images.py writes one.'
        )
    content, fault = load_object(str(path), 'the path', 'list of screened images')
    images = content.get('images')
    whole = isinstance(images, list) and all(
        isinstance(i, dict) and {'image_id', 'file_name'} <= set(i) for i in images
    )
    if fault is None and (content.get('format') != FORMAT or not whole):
        fault = (
            f'is no list of screened images of format {FORMAT}; give the screened.json of '
            'tools/analysis_tools/screen_images.py'
        )
    if fault is not None:
        raise ValueError(f'{path} {fault}')
    return content
