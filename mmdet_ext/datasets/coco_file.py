"""Reads a COCO annotation file for whoever looks up its objects by id: as much of it checked as that needs."""

import os

import numpy as np

from .box_checks import number_rows
from .checks import Record, load_object

_KEYS = {'categories': ('id',), 'images': ('id',), 'annotations': ('image_id', 'category_id', 'bbox')}
_ID = int | float | str


def read_coco(ann_file: str | os.PathLike[str]) -> dict[str, list[Record]]:
    """Read a file. `check_coco` finds more; this is for results, where boxes need not be good ones to train on.

    Returns:
        `categories` with `id`; `images` with `id`; `annotations` with `image_id` of one of them, `category_id`, and
        `bbox` of four finite numbers below 1e30. Other keys as they stand there.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, with the place of the first fault.
    """
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(f'the annotation file {ann_file} does not exist; correct `ann_file` or `data_root`')
    data, fault = load_object(os.fspath(ann_file), '`ann_file`', 'COCO file')
    if fault is not None:
        raise ValueError(f'{ann_file} {fault}')
    for kind, keys in _KEYS.items():
        entries = data.get(kind)
        if not isinstance(entries, list):
            raise ValueError(f'{ann_file} is no COCO file: it lacks the list `{kind}`')
        for place, entry in enumerate(entries):
            if not isinstance(entry, dict) or not all(key in entry for key in keys):
                raise ValueError(f'{ann_file}: entry {place} of `{kind}` needs {", ".join(keys)}, got {entry!r:.60}')
            strange = [key for key in keys if key.endswith('id') and not isinstance(entry[key], _ID)]
            if strange:
                raise ValueError(f'{ann_file}: the `{strange[0]}` of entry {place} of `{kind}` is no number or text')
    known = {image['id'] for image in data['images']}
    stray = [annotation['image_id'] for annotation in data['annotations'] if annotation['image_id'] not in known]
    if stray:
        raise ValueError(f'{ann_file} has an annotation of the image id {stray[0]!r:.40}, which `images` does not have')
    boxes = number_rows([annotation['bbox'] for annotation in data['annotations']], 4)
    # Larger numbers are no pixels, and infinite as float32.
    bad = np.flatnonzero(~(np.abs(boxes) < 1e30).all(1))
    if len(bad):
        box = data['annotations'][bad[0]]['bbox']
        where = f'{ann_file}: annotation {bad[0]} of the list'
        raise ValueError(f'{where} has the box {box!r:.60}, not four numbers of pixels')
    return data
