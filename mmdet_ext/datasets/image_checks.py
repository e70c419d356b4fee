"""Checks of image files: missing, empty, truncated, of another size than annotated."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from .problems import Problem, listing

ImageScope = Literal['sample', 'all', 'none']

SMALL_SET = 1000
"""Up to so many images a sample is the whole set: a few seconds."""

Size = tuple[float, float]


def check_images(
    sizes: Mapping[str, Size | None],
    img_dir: str,
    images: ImageScope = 'sample',
    num_images: int = 200,
    where: str = '',
) -> list[Problem]:
    """Check that the images of a data set are there, readable and as large as annotated.

    Presence is looked up for all images, by listing each folder once. Opening and decoding costs milliseconds per image
    (in threads; JPEG at 1/8 scale, which still reads every byte), so a large set is sampled evenly.

    Args:
        sizes: Annotated (width, height) per file name relative to `img_dir`; None where nothing is annotated.
        img_dir: Image folder.
        images: 'sample' decodes `num_images` images, or all of a set of at most `SMALL_SET`; 'all' decodes all; 'none'
            checks nothing.
        num_images: Size of the sample.
        where: The annotation file, named in the sentences.
    """
    if images == 'none' or not sizes:
        return []
    if not os.path.isdir(img_dir or '.'):
        message = f'its image folder {img_dir!r} does not exist; correct `data_root` or `data_prefix`'
        return [Problem('error', where, message)]
    names = list(sizes)
    present = _present(names, img_dir)
    missing = [name for name in names if name not in present]
    problems = []
    if missing:
        message = (
            f'{len(missing)} of {len(names)} images do not exist below {img_dir!r}: {listing(missing)}; correct '
            '`data_root`, `data_prefix` or `file_name`, or put the files there'
        )
        problems.append(Problem('error', where, message))
    chosen = [name for name in names if name in present]
    if images == 'sample' and len(chosen) > SMALL_SET:
        chosen = [chosen[i] for i in np.unique(np.linspace(0, len(chosen) - 1, num_images).astype(int))]
    # Decoding releases the GIL.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        faults = list(pool.map(lambda name: image_fault(os.path.join(img_dir, name), sizes[name]), chosen))
    by_kind: dict[str, list[str]] = {}
    for name, fault in zip(chosen, faults, strict=True):
        if fault is not None:
            by_kind.setdefault(fault[0], []).append(f'{name!r}{fault[1]}')
    for kind, bad in by_kind.items():
        more = f' and {len(bad) - 5} more' if len(bad) > 5 else ''
        message = (
            f'{len(bad)} of the {len(chosen)} images read below {img_dir!r} {kind}: {", ".join(bad[:5])}{more}; '
            'replace the files or correct the annotation'
        )
        problems.append(Problem('error', where, message))
    return problems


def image_fault(path: str, size: Size | None) -> tuple[str, str] | None:
    """Open and decode one image.

    Args:
        path: Image file.
        size: Annotated (width, height), or None.

    Returns:
        What is wrong, as the end of a sentence about several images, and a detail about this one; None if nothing is.
    """
    try:
        if os.path.getsize(path) == 0:
            return 'are empty files', ''
        with Image.open(path) as image:
            actual = upright_size(image)
            image.draft('L', (1, 1))
            image.load()
    except UnidentifiedImageError:
        pixels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if pixels is None:
            return 'are in no known image format', ''
        actual = (pixels.shape[1], pixels.shape[0])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises all of these
        return 'are damaged or truncated', f' ({error})'
    if size is None or actual == size:
        return None
    return 'are not as large as annotated', f' (annotated {size[0]:g}x{size[1]:g}, file {actual[0]:g}x{actual[1]:g})'


def _present(names: Sequence[str], img_dir: str) -> set[str]:
    """Names that exist, by listing each folder once."""
    listed: dict[str, set[str]] = {}
    for folder in {os.path.dirname(name) for name in names}:
        path = os.path.join(img_dir, folder)
        listed[folder] = set(os.listdir(path)) if os.path.isdir(path) else set()
    return {name for name in names if os.path.basename(name) in listed[os.path.dirname(name)]}


def upright_size(image: Image.Image) -> Size:
    """Width and height as OpenCV reads the image: turned by the EXIF orientation."""
    width, height = image.size
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)
