"""Part boxes from masks: label maps, one folder of binary masks per part, or COCO annotations."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools.coco import COCO
from tqdm import tqdm

from ..image_checks import Size, image_fault
from ..problems import listing, nearest

Masks = dict[str, NDArray[np.bool_]]
PartBoxes = dict[str, dict[str, list[int]]]
_LOSSLESS = {'.png', '.bmp', '.tif', '.tiff', '.gif'}


def masks_to_parts(
    masks: str | Path,
    out: str | Path,
    labels: Mapping[int, str] | None = None,
    images: str | Path | None = None,
    min_area: int = 1,
    progress: bool = True,
) -> PartBoxes:
    """Write a part file with the box of the largest connected piece of every mask.

    Args:
        masks: A folder of label maps (with `labels`), a folder that has one folder of binary masks per part, named like
            the part, or a COCO json whose categories are the parts (polygons or RLE; several annotations of one part
            in an image count as one mask). Pictures of masks have one channel and are stored without loss.
        out: Json file to write, `{file_name: {part: [x, y, w, h]}}`.
        labels: Part of each pixel value of label maps; other values are not used.
        images: Folder of the images. Keys are then their paths below it (a mask belongs to the image of the same path,
            extension aside), and masks must be as large as they are. Without, keys are the paths of the masks, or the
            `file_name` of the COCO json.
        min_area: A part whose largest piece has fewer pixels is left out.
        progress: Whether to show a progress bar.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: `masks` or `images` does not exist.
        ValueError: There are no masks, one cannot be read or has another size than its image or belongs to none, or a
            label never occurs.
    """
    source = Path(masks)
    if not source.exists():
        raise FileNotFoundError(f'{source} does not exist: give a folder of masks or a COCO json')
    if source.is_file() and labels:
        raise ValueError(f'--labels are for label maps; the parts in {source} are its categories')
    if source.is_file():
        total, stream = _coco_masks(source)
    else:
        total, stream = _label_maps(source, labels) if labels else _binary_masks(source)
    root = None if images is None else Path(images)
    known = {} if root is None else _image_files(root)
    parts: PartBoxes = {}
    for name, size, found in tqdm(stream, total=total, desc='masks', unit='image', disable=not progress):
        key = name if root is None else _image_of(name, size, known, root)
        if key in parts:
            raise ValueError(f'{source} has several masks for the image {key}; keep one of them')
        boxes = {part: _largest_box(mask, min_area) for part, mask in found.items()}
        parts[key] = {part: box for part, box in boxes.items() if box}
    names = list(dict.fromkeys([*(labels or {}).values(), *(part for entry in parts.values() for part in entry)]))
    absent = [name for name in names if not any(name in entry for entry in parts.values())]
    if absent or not names:
        what = f'no mask of {listing(absent)}' if absent else 'no mask'
        raise ValueError(f'{source} has {what} of at least {min_area} pixels; correct --labels or --min-area')
    bare = sum(map(len, known.values())) - len(parts)
    if bare > 0:
        print_log(f'{bare} images below {images} have no mask, so no entry in {out}', 'current', logging.WARNING)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(parts), encoding='utf-8')
    return parts


def _largest_box(mask: NDArray[np.bool_], min_area: int) -> list[int] | None:
    """`[x, y, w, h]` of the largest 8-connected piece, or None where it has fewer than `min_area` pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    pieces = stats[1:]  # the first one is the background
    if not len(pieces):
        return None
    best = pieces[pieces[:, cv2.CC_STAT_AREA].argmax()]
    return best[:4].tolist() if best[cv2.CC_STAT_AREA] >= min_area else None


def _label_maps(root: Path, labels: Mapping[int, str]) -> tuple[int, Iterator[tuple[str, Size, Masks]]]:
    files = _mask_files(root)
    if len(set(labels.values())) < len(labels):
        raise ValueError(f'--labels gives several pixel values the same part: {dict(labels)}; merge them in the masks')

    def read() -> Iterator[tuple[str, Size, Masks]]:
        for name, path in files.items():
            picture = read_mask(path)
            yield name, picture.shape[::-1], {part: picture == value for value, part in labels.items()}

    return len(files), read()


def _binary_masks(root: Path) -> tuple[int, Iterator[tuple[str, Size, Masks]]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    if not folders:
        raise ValueError(f'{root} has no folder per part; give --labels where it holds label maps')
    by_part = {folder.name: _mask_files(folder) for folder in folders}
    names = sorted({name for files in by_part.values() for name in files})

    def read() -> Iterator[tuple[str, Size, Masks]]:
        for name in names:
            found = {part: read_mask(files[name]) > 0 for part, files in by_part.items() if name in files}
            shapes = {mask.shape[::-1] for mask in found.values()}
            if len(shapes) > 1:
                raise ValueError(f'the masks {name} of {listing(list(found))} in {root} differ in size: {shapes}')
            yield name, shapes.pop(), found

    return len(names), read()


def _coco_masks(path: Path) -> tuple[int, Iterator[tuple[str, Size, Masks]]]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        names = {category['id']: category['name'] for category in coco.cats.values()}
        records = [(r['id'], r['file_name'], (r['width'], r['height'])) for r in coco.imgs.values()]
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f'{path} is not a COCO file with masks ({error!r})') from None

    def read() -> Iterator[tuple[str, Size, Masks]]:
        for image_id, file_name, size in records:
            masks: Masks = {}
            for annotation in coco.imgToAnns[image_id]:
                try:
                    part = names[annotation['category_id']]
                    mask = coco.annToMask(annotation).astype(bool)
                except Exception as error:  # pycocotools raises bare exceptions
                    raise ValueError(
                        f'{path}: annotation {annotation.get("id")} has no usable mask ({error!r})'
                    ) from None
                masks[part] = masks[part] | mask if part in masks else mask
            yield file_name, size, masks

    return len(records), read()


def _mask_files(root: Path) -> dict[str, Path]:
    """Pictures below a folder by their path in it."""
    files = {
        path.relative_to(root).as_posix(): path for path in sorted(root.rglob('*')) if path.suffix.lower() in _LOSSLESS
    }
    if not files:
        raise ValueError(f'{root} has no masks: files that end in {", ".join(sorted(_LOSSLESS))}')
    return files


def read_mask(path: Path) -> NDArray[Any]:
    """Pixel values of a picture of one channel; those of a palette picture are its indices."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'the mask {path} cannot be read ({error})') from None
    if values.ndim != 2:
        raise ValueError(f'the mask {path} has {values.shape[-1]} channels; save it with one, holding labels')
    return values


def _image_files(root: Path) -> dict[str, list[Path]]:
    """Files below a folder by their path in it without extension."""
    if not root.is_dir():
        raise FileNotFoundError(f'the image folder {root} does not exist')
    files: dict[str, list[Path]] = {}
    for path in sorted(root.rglob('*')):
        if path.is_file():
            files.setdefault(path.relative_to(root).with_suffix('').as_posix(), []).append(path)
    return files


def _image_of(name: str, size: Size, known: Mapping[str, list[Path]], root: Path) -> str:
    """Path below `root` of the image that a mask belongs to."""
    stem = Path(name).with_suffix('').as_posix()
    paths = known.get(stem, [])
    if len(paths) != 1:
        several = f'several images: {listing([path.name for path in paths])}'
        what = several if paths else f'no image below {root}{nearest(stem, known)}'
        raise ValueError(f'the mask {name} belongs to {what}; a mask has the path of its image, extension aside')
    key = paths[0].relative_to(root).as_posix()
    fault = image_fault(str(paths[0]), size)
    if fault is not None:
        raise ValueError(f'images below {root} {fault[0]}: {key!r}{fault[1]}; a mask must be as large as its image')
    return key
