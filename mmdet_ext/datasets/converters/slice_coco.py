"""Tiles of the pictures of a COCO data set, so that small objects keep their size on small inputs."""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from tqdm import tqdm

from ...version import __version__
from ..checks import check_coco

Record = dict[str, Any]
Window = tuple[int, int, int, int]
_MIN_SIDE = 1.0  # mmdet's CocoDataset leaves thinner boxes out


def slice_coco(
    ann_file: str | Path,
    images: str | Path,
    out: str | Path,
    name: str | None = None,
    tile: int = 256,
    long_side: int | None = None,
    overlap: float = 0.0,
    min_visible: float = 0.5,
    keep_empty: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Cut every picture into square tiles and write them as a COCO data set of their own.

    Tiles lie evenly over a picture and the last ones end at its border: where they do not divide it, they overlap more,
    and none reaches beyond it. A side shorter than `tile` is not cut. An object near a border may stand whole in two
    tiles, and then counts twice in an evaluation on tiles.

    Boxes are clipped to their tile. A piece smaller than `min_visible` of its box gets `iscrowd: 1`: too little is seen
    to tell what it is. mmdet never trains a prediction towards it and COCO evaluation forgives a detection there.
    Whether an anchor there is background in training is up to `ignore_iof_thr` of the assigner: at mmdet's default, -1,
    it is; above 0 it is spared, but so is every anchor of the objects that stand in front of a large cut one.
    Pieces thinner than a pixel are dropped, as mmdet would. `segmentation` and other keys of annotations are dropped.

    Args:
        ann_file: COCO json.
        images: Folder that its `file_name` is relative to.
        out: Folder to write `NAME/*.png` and `annotations/NAME.json` into; `file_name` is relative to it. The json has
            the same categories and the same bytes on every run; `info` names the source, its hash and the options, an
            image its `source` and `window` (x, y, w, h in the shrunk picture).
        name: Name of the split; that of `ann_file` without extension by default.
        tile: Side of the tiles in pixels.
        long_side: Pictures with a longer side are shrunk to this first; None cuts them as they are.
        overlap: Least share of its side that a tile has in common with the next one, in [0, 1).
        min_visible: A box of which a smaller share is left is ignored, in [0, 1]. Of a box that reaches beyond the
            picture, the part inside is the whole.
        keep_empty: Whether tiles without a box that counts are kept. False detections on them count in an evaluation.
        progress: Whether to show a progress bar.

    Returns:
        What was written to the json.

    Raises:
        ValueError: An option is out of its range, the split exists, no tile would be left, or the data set has errors:
            a missing or damaged image, one that is not as large as annotated, an impossible box.
    """
    source, root = Path(ann_file), Path(out)
    name = source.stem if name is None else name
    _check_options(name, tile, long_side, overlap, min_visible)
    if any((root / name).glob('*')):
        raise ValueError(f'{root / name} exists and is not empty: delete it, or choose another --name or --out')
    errors = [str(p) for p in check_coco(source, img_dir=images, images='all') if p.severity == 'error']
    if errors:
        raise ValueError('\n'.join(errors))
    raw = source.read_bytes()
    data = json.loads(raw)
    by_image: dict[Any, list[Record]] = {record['id']: [] for record in data['images']}
    for annotation in data['annotations']:
        by_image[annotation['image_id']].append(annotation)

    tiles: list[Record] = []
    boxes: list[Record] = []
    whole: set[Any] = set()
    empty = 0
    (root / name).mkdir(parents=True, exist_ok=True)
    for record in tqdm(data['images'], desc='pictures', unit='picture', disable=not progress):
        picture, scale = _read(Path(images, record['file_name']), long_side)
        inside = _corners(by_image[record['id']], scale, picture)
        for x, y, w, h in _windows(picture.shape[1], picture.shape[0], tile, overlap):
            pieces = list(_pieces(by_image[record['id']], inside, (x, y, w, h), min_visible))
            seen = {source_id for source_id, piece in pieces if not (piece['iscrowd'] or piece.get('ignore'))}
            if not (seen or keep_empty):
                empty += 1
                continue
            whole |= seen
            stem = Path(record['file_name']).stem
            file_name = f'{name}/{stem}_{record["id"]}_{x}_{y}.png'
            if not cv2.imwrite(str(root / file_name), picture[y : y + h, x : x + w]):
                raise OSError(f'{root / file_name} cannot be written')
            tiles.append({'id': len(tiles) + 1, 'file_name': file_name, 'width': w, 'height': h})
            tiles[-1] |= {'source': record['file_name'], 'window': [x, y, w, h]}
            boxes += [
                {'id': number, 'image_id': len(tiles), **piece}
                for number, (_, piece) in enumerate(pieces, start=len(boxes) + 1)
            ]
    if not tiles:
        raise ValueError(f'{source}: no tile has a box of which {min_visible:g} is left; choose a larger tile')

    counted = [a for a in data['annotations'] if not (a.get('iscrowd') or a.get('ignore'))]
    if any(annotation.get('segmentation') for annotation in data['annotations']):
        print_log(f'the segmentations in {source} are not cut: tiles have boxes only', 'current', logging.WARNING)
    coco = {
        'info': {
            'description': (data.get('info') or {}).get('description', ''),
            'source': source.as_posix(),
            'sha256': hashlib.sha256(raw).hexdigest(),
            'options': {
                'tile': tile,
                'long_side': long_side,
                'overlap': overlap,
                'min_visible': min_visible,
                'keep_empty': keep_empty,
            },
            'version': __version__,
            'counts': {
                'pictures': len(data['images']),
                'tiles': len(tiles),
                'empty_tiles_left_out': empty,
                'boxes': sum(not box['iscrowd'] for box in boxes),
                'ignored_boxes': sum(box['iscrowd'] for box in boxes),
                'source_boxes': len(counted),
                'source_boxes_in_no_tile': len(counted) - len(whole),
            },
        },
        'licenses': data.get('licenses', []),
        'images': tiles,
        'annotations': boxes,
        'categories': data['categories'],
    }
    (root / 'annotations').mkdir(exist_ok=True)
    (root / 'annotations' / f'{name}.json').write_text(json.dumps(coco), encoding='utf-8')
    return coco


def _check_options(name: str, tile: int, long_side: int | None, overlap: float, min_visible: float) -> None:
    faults = {
        f'--name {name!r} is no plain name of a folder': Path(name).name != name or name in ('', '..', 'annotations'),
        f'--tile {tile} is not positive': tile <= 0,
        f'--long-side {long_side} is not positive': long_side is not None and long_side <= 0,
        f'--overlap {overlap} is not at least 0 and below 1': not 0 <= overlap < 1,
        f'--min-visible {min_visible} is not between 0 and 1': not 0 <= min_visible <= 1,
    }
    for message, wrong in faults.items():
        if wrong:
            raise ValueError(message)


def _read(path: Path, long_side: int | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """A picture, turned as mmdet turns it, and how much it was shrunk (x, y, x, y)."""
    picture = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR)
    if picture is None:
        raise ValueError(f'{path} cannot be read by OpenCV; save it as PNG or JPEG')
    height, width = picture.shape[:2]
    if long_side is None or max(height, width) <= long_side:
        return picture, np.ones(4)
    ratio = long_side / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.array(size * 2) / (width, height, width, height)


def _corners(annotations: list[Record], scale: NDArray[np.float64], picture: NDArray[Any]) -> NDArray[np.float64]:
    """Boxes (n, 4) x1, y1, x2, y2 in the shrunk picture, clipped to it."""
    corners = np.array([annotation['bbox'] for annotation in annotations], dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    height, width = picture.shape[:2]
    return np.clip(corners * scale, 0, (width, height, width, height))


def _windows(width: int, height: int, tile: int, overlap: float) -> Iterator[Window]:
    """Tiles x, y, w, h of a picture, row after row."""
    for y in _offsets(height, tile, overlap):
        for x in _offsets(width, tile, overlap):
            yield x, y, min(tile, width), min(tile, height)


def _offsets(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along a side: as few as cover it, as evenly as whole pixels allow."""
    room = length - tile
    if room <= 0:
        return [0]
    step = max(1, tile - round(tile * overlap))
    steps = -(-room // step)
    return [index * room // steps for index in range(steps + 1)]


def _pieces(
    annotations: list[Record], corners: NDArray[np.float64], window: Window, min_visible: float
) -> Iterator[tuple[Any, Record]]:
    """Boxes in a tile, each with the id of the annotation it is of."""
    x, y, w, h = window
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    clipped = np.clip(corners - (x, y, x, y), 0, (w, h, w, h))
    sides = clipped[:, 2:] - clipped[:, :2]
    for index in np.flatnonzero((sides >= _MIN_SIDE).all(axis=1)):
        annotation = annotations[index]
        cut = sides[index].prod() < min_visible * areas[index]
        x1, y1, x2, y2 = (round(float(value), 2) for value in clipped[index])
        box = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
        piece = {'category_id': annotation['category_id'], 'bbox': box, 'area': round(box[2] * box[3], 2)}
        piece['iscrowd'] = int(bool(annotation.get('iscrowd')) or bool(cut))
        if annotation.get('ignore'):
            piece['ignore'] = 1
        yield annotation['id'], piece
