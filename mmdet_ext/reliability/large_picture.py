"""A picture as large and as full as wanted, from the pictures of a phantom."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdet_ext.utils.json_file import write_json

Record = dict[str, Any]


def make_large_picture(source: str | Path, out: str | Path, side: int, objects: int) -> None:
    """Write a data set of one square picture: so many of a phantom's side by side as hold the objects, resized.

    Boxes, polygons and landmarks follow. Objects beyond `objects` are seen and not annotated. Parts are those of the
    first picture, over the whole.

    Args:
        source: Folder of a chest or a face phantom.
        out: Folder of the same layout, with a training set only.
        side: Of the picture in pixels.
        objects: How many are annotated.

    Raises:
        ValueError: The phantom has no objects.
    """
    source, out = Path(source), Path(out)
    coco = json.loads((source / 'annotations' / 'train.json').read_text(encoding='utf-8'))
    pictures, size = coco['images'], coco['images'][0]['width']
    found: dict[int, list[Record]] = {picture['id']: [] for picture in pictures}
    for annotation in coco['annotations']:
        found[annotation['image_id']].append(annotation)
    if not coco['annotations']:
        raise ValueError(f'{source / "annotations" / "train.json"} has no objects to fill a picture with')

    tiles = next(n for n in count(1) if _objects(pictures, found, n * n) >= objects)
    scale = side / (tiles * size)
    canvas = np.zeros((tiles * size, tiles * size, 3), np.uint8)
    annotations: list[Record] = []
    for place in range(tiles * tiles):
        picture = pictures[place % len(pictures)]
        y, x = (size * index for index in divmod(place, tiles))
        canvas[y : y + size, x : x + size] = cv2.imread(str(source / 'images' / 'train' / picture['file_name']))
        annotations += [_move(each, x, y, scale) for each in found[picture['id']]]
    annotations = annotations[:objects]
    for number, annotation in enumerate(annotations, start=1):
        annotation.update(id=number, image_id=1)

    (out / 'images' / 'train').mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out / 'images' / 'train' / 'large.png'), cv2.resize(canvas, (side, side)))
    record = {'id': 1, 'file_name': 'large.png', 'width': side, 'height': side}
    content = {'images': [record], 'annotations': annotations, 'categories': coco['categories']}
    write_json(out / 'annotations' / 'train.json', content)
    parts = source / 'annotations' / 'parts_train.json'
    if parts.is_file():
        first = json.loads(parts.read_text(encoding='utf-8'))[pictures[0]['file_name']]
        grown = {name: [value * (side / size) for value in box] for name, box in first.items()}
        write_json(out / 'annotations' / parts.name, {'large.png': grown})


def _objects(pictures: list[Record], found: dict[int, list[Record]], number: int) -> int:
    rounds, rest = divmod(number, len(pictures))
    sizes = [len(found[picture['id']]) for picture in pictures]
    return rounds * sum(sizes) + sum(sizes[:rest])


def _move(annotation: Record, x: float, y: float, scale: float) -> Record:
    moved = dict(annotation)
    left, top, width, height = annotation['bbox']
    moved['bbox'] = [(left + x) * scale, (top + y) * scale, width * scale, height * scale]
    moved['area'] = annotation['area'] * scale**2
    if 'segmentation' in annotation:
        shift = np.array([x, y])
        moved['segmentation'] = [
            ((np.reshape(polygon, (-1, 2)) + shift) * scale).reshape(-1).tolist()
            for polygon in annotation['segmentation']
        ]
    if 'keypoints' in annotation:
        points = np.reshape(annotation['keypoints'], (-1, 3)).astype(float)
        seen = points[:, 2] > 0
        points[seen, :2] = (points[seen, :2] + [x, y]) * scale
        moved['keypoints'] = points.reshape(-1).tolist()
    return moved
