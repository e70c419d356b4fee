"""Plants faults into a COCO annotation file, image by image, to measure what finds them or bears them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.utils.json_file import write_json

from .checks import check_coco
from .screened_list import listed_image, write_screened_list

Record = dict[str, Any]

_TRIES = 32


def plant_label_noise(
    ann_file: str | Path, out: str | Path, share: float = 0.3, kinds: Sequence[str] = ('label', 'box', 'missing'),
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Write a copy of an annotation file in which a share of the images is annotated wrongly.

    Faults come by the image, as from a careless annotator: each chosen image gets one of the kinds for all of its
    objects. Which images, kinds and numbers depends on the seed and on the order of the file only, and a larger share
    holds the images of a smaller one. `<out>.planted.json` lists them, as `ScreenedCocoDataset` reads it.

    Args:
        ann_file: COCO json.
        out: File to write.
        share: Of the images with objects that count (no crowd), between 0 and 1.
        kinds: Of 'label' (every object gets another class), 'box' (every box is moved to where it overlaps least with
            where it was, its polygons with it, an RLE mask becomes the box) and 'missing' (half of the objects, rounded
            up, are left out).
        seed: Whole number from 0 on.

    Returns:
        `images` (in the file), `planted` (number of images by kind), `list` (its path).

    Raises:
        ValueError: `ann_file` is not there, no COCO file or has faults of its own, `out` is the same file, or an option
            is out of range.
    """
    for kind in kinds:
        if kind not in _KINDS:
            raise ValueError(f'--kinds {kind!r} is none of {", ".join(_KINDS)}')
    if not kinds or not 0 <= share <= 1 or seed < 0:
        raise ValueError(
            f'share must be from 0 to 1, seed from 0 on, and kinds not empty; got {share}, {seed}, {kinds}'
        )
    if Path(out).resolve() == Path(ann_file).resolve():
        raise ValueError(f'{out} is the file that is read: name another one with -o, for the faults cannot be undone')
    # What is faulty before is not measured.
    faults = [problem for problem in check_coco(ann_file) if problem.severity == 'error']
    if faults:
        raise ValueError(str(faults[0]))
    coco = json.loads(Path(ann_file).read_text(encoding='utf-8'))
    classes = [category['id'] for category in coco['categories']]
    if 'label' in kinds and len(classes) < 2:
        raise ValueError(f"{ann_file} has one class, so no object can get another: choose --kinds without 'label'")
    objects: dict[Any, list[Record]] = {}
    for annotation in coco['annotations']:
        if not annotation.get('iscrowd'):
            objects.setdefault(annotation['image_id'], []).append(annotation)
    generators = [np.random.default_rng((seed, place)) for place in range(len(coco['images']))]
    draws = [rng.random() for rng in generators]
    filled = [place for place, image in enumerate(coco['images']) if image['id'] in objects]
    chosen = sorted(sorted(filled, key=lambda place: draws[place])[: round(share * len(filled))])
    dropped: set[int] = set()
    planted = dict.fromkeys(kinds, 0)
    entries = []
    for place in chosen:
        image, rng = coco['images'][place], generators[place]
        kind = kinds[int(rng.integers(len(kinds)))]
        planted[kind] += 1
        dropped |= {id(item) for item in _KINDS[kind](rng, objects[image['id']], image, classes)}
        entries.append(listed_image(image, [f'planted: {kind}']))
    coco['annotations'] = [item for item in coco['annotations'] if id(item) not in dropped]
    facts = {'share': share, 'kinds': list(kinds), 'seed': seed, 'source': str(ann_file)}
    info = coco['info'] if isinstance(coco.get('info'), dict) else {}
    path = write_json(out, {**coco, 'info': {**info, 'label_noise': facts}})
    listed = write_screened_list(path.with_suffix('.planted.json'), entries, ann_file=str(path), **facts)
    return {'images': len(coco['images']), 'planted': planted, 'list': str(listed)}


def _change_labels(rng: np.random.Generator, objects: list[Record], image: Record, classes: list) -> list[Record]:
    for item in objects:
        others = [label for label in classes if label != item['category_id']]
        item['category_id'] = others[int(rng.integers(len(others)))]
    return []


def _move_boxes(rng: np.random.Generator, objects: list[Record], image: Record, classes: list) -> list[Record]:
    for item in objects:
        x, y, w, h = (float(value) for value in item['bbox'])
        room = np.maximum([image['width'] - w, image['height'] - h], 0)
        places = np.round(rng.random((_TRIES, 2)) * room, 2)
        shared = np.clip([w, h] - np.abs(places - [x, y]), 0, None).prod(axis=1)
        new_x, new_y = places[int(shared.argmin())].tolist()
        item['bbox'] = [new_x, new_y, w, h]
        if isinstance(item.get('segmentation'), list):
            shift = (new_x - x, new_y - y)
            item['segmentation'] = [
                [round(value + shift[index % 2], 2) for index, value in enumerate(polygon)]
                for polygon in item['segmentation']
            ]
        elif item.get('segmentation'):
            right, low = new_x + w, new_y + h
            item['segmentation'] = [[new_x, new_y, right, new_y, right, low, new_x, low]]
    return []


def _leave_out(rng: np.random.Generator, objects: list[Record], image: Record, classes: list) -> list[Record]:
    return [objects[place] for place in rng.permutation(len(objects))[: -(-len(objects) // 2)]]


# Changes the objects of an image in place, and gives those to leave out.
_KINDS: dict[str, Callable[[np.random.Generator, list[Record], Record, list], list[Record]]] = {
    'label': _change_labels,
    'box': _move_boxes,
    'missing': _leave_out,
}
