"""Folders of the phantoms: written whole or not at all, named by a content hash, used again when they are there.

Layout: `images/{train,val}/000001.png`, `annotations/{train,val}.json` (COCO), `annotations/SIDE_{train,val}.json` for
each side file of the phantom (`{file_name: ...}`), `phantom.json` (how it was made and its content hash) and
`preview.png`.
"""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from .phantom_drawing import Floats, Pixels

SPLITS = ('train', 'val')
_PREVIEW_IMAGES = 12


class Picture(NamedTuple):
    """One drawn image.

    Attributes:
        pixels: (size, size) or (size, size, 3), BGR.
        annotations: COCO annotations without `id` and `image_id`.
        side: What the side files say about this image, by the name of the file.
    """

    pixels: Pixels
    annotations: list[dict[str, Any]]
    side: dict[str, Any]


@dataclass(frozen=True)
class Phantom:
    """What sets one phantom apart from another.

    Args:
        name: Its name in `phantom.json` and in sentences.
        version: Raised whenever the same parameters give other images or annotations.
        categories: COCO categories.
        draw: Draws one image from its key (seed, split, number) and the side of the image in pixels.
        preview: Makes the contact sheet from the first images and the annotations of each.
        side_files: Names of the side files.
    """

    name: str
    version: str
    categories: Sequence[dict[str, Any]]
    draw: Callable[[tuple[int, int, int], int], Picture]
    preview: Callable[[Sequence[Pixels], Sequence[list[dict[str, Any]]]], Pixels]
    side_files: tuple[str, ...] = ()


def content_hash(out: str | os.PathLike[str], side_files: Sequence[str] = ()) -> str:
    """Content hash of a generated data set: sha256 over decoded pixels and annotations, not over PNG bytes.

    Args:
        out: Folder of the data set.
        side_files: Names of its side files.

    Raises:
        FileNotFoundError: A file of the data set is missing or unreadable.
    """
    root = Path(out)
    digest = hashlib.sha256()
    for split in SPLITS:
        coco, *sides = (_read_json(root / 'annotations' / f'{name}.json') for name in _files(split, side_files))
        content = {key: value for key, value in coco.items() if key != 'info'}
        digest.update(json.dumps([split, content, *sides], sort_keys=True).encode())
        for image in coco['images']:
            pixels = _read_image(root / 'images' / split / image['file_name'])
            digest.update(str(pixels.shape).encode() + pixels.tobytes())
    return digest.hexdigest()


def make_phantom(
    phantom: Phantom, out: str | os.PathLike[str], train: int, val: int, size: int, seed: int = 0,
    preview: bool = True, progress: bool = True, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write the data set, or find it already written.

    Image k of a split depends on `seed`, split and k only: a larger set starts with the smaller one. The folder appears
    under its name when it is complete, never before.

    Args:
        phantom: What to draw.
        out: Folder to create; an existing data set of the same parameters and content is left alone.
        train: Number of training images.
        val: Number of validation images.
        size: Side of the images in pixels, at least 64.
        seed: Whole number >= 0.
        preview: Whether to write the contact sheet.
        progress: Whether to show a progress bar.
        overwrite: Whether a different or damaged phantom in `out` may be replaced.

    Returns:
        Content of `phantom.json`: `name`, `version`, `seed`, `size`, `counts` (images per split), `classes` (objects
        per split and class) and `hash`; and `reused`, whether the data set was there before.

    Raises:
        ValueError: A bad number, or `out` holds something else.
        OSError: An image cannot be written.
    """
    for name, value, low, high in (('train', train, 0, 999_999), ('val', val, 0, 999_999), ('size', size, 64, 4096),
                                   ('seed', seed, 0, 2**63)):  # fmt: skip
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f'{name} must be a whole number from {low} to {high}, got {value!r}')
    if train + val == 0:
        raise ValueError('train and val are both 0: nothing to draw')
    root = Path(out).resolve()
    wanted = {'name': phantom.name, 'version': phantom.version, 'seed': seed, 'size': size,
              'counts': {'train': train, 'val': val}}  # fmt: skip
    found = _existing(root, phantom, wanted, overwrite)
    if found:
        return found | {'reused': True}
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}.', dir=root.parent) as work:
        fresh = Path(work) / 'phantom'
        info = _write(fresh, phantom, wanted, preview, progress)
        if root.exists():
            root.rename(Path(work) / 'replaced')
        fresh.rename(root)
    return info | {'reused': False}


def describe_phantom(info: dict[str, Any], out: str | os.PathLike[str]) -> str:
    """Say in a few lines what `make_phantom` returned."""
    done = 'is there already, nothing to do' if info['reused'] else 'written'
    splits = [f'  {split}: {info["counts"][split]} images, {classes}' for split, classes in info['classes'].items()]
    return '\n'.join([f'{info["name"]} {info["version"]} {done}: {out}', *splits, f'  hash: {info["hash"]}'])


def xywh(box: Floats) -> list[float]:
    """Box [x1, y1, x2, y2] as COCO's [x, y, w, h], rounded to hundredths of a pixel."""
    x1, y1, x2, y2 = np.round(box, 2).tolist()
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]


def _existing(root: Path, phantom: Phantom, wanted: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Info of the wanted data set when it stands in `root`; None when `root` is free to be written."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    stored = _read_json(root / 'phantom.json') if (root / 'phantom.json').is_file() else {}
    if stored.get('name') != phantom.name:
        raise ValueError(f'{root} exists and is not a {phantom.name}: choose another folder for --out')
    if overwrite:
        return None
    different = [
        f'{key} {stored.get(key)!r} instead of {value!r}' for key, value in wanted.items() if stored.get(key) != value
    ]
    if different:
        raise ValueError(
            f'{root} holds another phantom ({", ".join(different)}): add --overwrite or choose another --out'
        )
    try:
        intact = content_hash(root, phantom.side_files) == stored['hash']
    except (FileNotFoundError, KeyError):
        intact = False
    if not intact:
        raise ValueError(f'{root} is damaged, its content does not match its hash: add --overwrite to make it again')
    return stored


def _write(root: Path, phantom: Phantom, wanted: dict[str, Any], preview: bool, progress: bool) -> dict[str, Any]:
    """Draw everything into the new folder `root`."""
    (root / 'annotations').mkdir(parents=True)
    for index, split in enumerate(SPLITS):
        (root / 'images' / split).mkdir(parents=True)
        coco: dict[str, Any] = {'images': [], 'annotations': [], 'categories': list(phantom.categories)}
        sides: dict[str, dict[str, Any]] = {side: {} for side in phantom.side_files}
        size = wanted['size']
        for k in tqdm(
            range(wanted['counts'][split]), desc=f'{phantom.name}, {split}', unit='image', disable=not progress
        ):
            name = f'{k + 1:06d}.png'
            picture = phantom.draw((wanted['seed'], index, k), size)
            if not cv2.imwrite(str(root / 'images' / split / name), picture.pixels):
                raise OSError(f'cannot write {root / "images" / split / name}')
            coco['images'].append({'id': k + 1, 'file_name': name, 'width': size, 'height': size})
            for annotation in picture.annotations:
                coco['annotations'].append({'id': len(coco['annotations']) + 1, 'image_id': k + 1} | annotation)
            for side in phantom.side_files:
                sides[side][name] = picture.side[side]
        for name, content in zip(_files(split, phantom.side_files), (coco, *sides.values()), strict=True):
            _write_json(root / 'annotations' / f'{name}.json', content)
    info = wanted | {'hash': content_hash(root, phantom.side_files)}
    classes = {}
    for split in SPLITS:
        coco = _read_json(root / 'annotations' / f'{split}.json')
        _write_json(root / 'annotations' / f'{split}.json', {'info': info} | coco)
        objects = Counter(annotation['category_id'] for annotation in coco['annotations'])
        classes[split] = {category['name']: objects[category['id']] for category in phantom.categories}
        if preview and coco['images'] and not (root / 'preview.png').exists():
            shown = coco['images'][:_PREVIEW_IMAGES]
            pictures = [_read_image(root / 'images' / split / image['file_name']) for image in shown]
            objects_of = [[a for a in coco['annotations'] if a['image_id'] == image['id']] for image in shown]
            cv2.imwrite(str(root / 'preview.png'), phantom.preview(pictures, objects_of))
    _write_json(root / 'phantom.json', info | {'classes': classes})
    return info | {'classes': classes}


def _files(split: str, side_files: Sequence[str]) -> list[str]:
    return [split, *(f'{side}_{split}' for side in side_files)]


def _read_image(path: Path) -> Pixels:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if pixels is None:
        raise FileNotFoundError(f'image {path} is missing or not readable; make the phantom again')
    return np.asarray(pixels, np.uint8)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; make the phantom again')
    return json.loads(path.read_text(encoding='utf-8'))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(',', ':')) + '\n', encoding='utf-8')
