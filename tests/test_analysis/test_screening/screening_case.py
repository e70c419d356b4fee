"""An annotation file of ten images, and the rows that a diagnosis would write of them."""

import csv
import json
from pathlib import Path
from typing import Any

COLUMNS = [
    'split',
    'image_id',
    'file',
    'fault',
    'loss_cls',
    'loss_bbox',
    'loss',
    'n_gt',
    'n_pos',
    'AP',
    'TP',
    'min_side',
]


def write_annotations(folder: Path, **changes: Any) -> Path:
    """Ten images of 64 x 64 with two boxes each, ids 1 to 10, names 1.png and so on.

    Args:
        folder: Gets `train.json`.
        changes: Of annotations, by `a<id>`: a dict of what is different. Annotations of image k are 2k-1 and 2k.
    """
    images = [{'id': k, 'file_name': f'{k}.png', 'width': 64, 'height': 64} for k in range(1, 11)]
    annotations = [
        {
            'id': k,
            'image_id': (k + 1) // 2,
            'category_id': 1 + k % 2,
            'bbox': [4, 4, 20, 10 + k],
            'area': 200,
            'iscrowd': 0,
        }
        | changes.get(f'a{k}', {})
        for k in range(1, 21)
    ]
    categories = [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]
    path = folder / 'train.json'
    path.write_text(
        json.dumps({'info': {'x': 1}, 'images': images, 'annotations': annotations, 'categories': categories})
    )
    return path


def row(image_id: int, **changes: Any) -> dict[str, Any]:
    """A healthy row; the loss is a tenth of the id."""
    base = {'split': 'train', 'image_id': image_id, 'file': f'data/images/{image_id}.png', 'fault': ''}
    losses = {'loss_cls': image_id / 20, 'loss_bbox': image_id / 20, 'loss': image_id / 10}
    return base | losses | {'n_gt': 2, 'n_pos': 7, 'AP': 0.5, 'TP': 1, 'min_side': 20.0} | changes


def write_rows(folder: Path, rows: list[dict[str, Any]] | None = None, columns: list[str] | None = None) -> Path:
    """Write `per_image.csv`; default a healthy row for each image, and one of the validation with an id of these."""
    rows = [*map(row, range(1, 11)), row(3, split='val', file='val/3.png', loss=99)] if rows is None else rows
    path = folder / 'per_image.csv'
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, columns or COLUMNS, extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)
    return path
