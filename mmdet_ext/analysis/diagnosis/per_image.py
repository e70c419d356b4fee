"""`per_image.csv`: one row for each image, what its losses, its matching and its detections are."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.analysis.tables import write_csv
from mmdet_ext.evaluation.image_ap import ImageScore, image_ap

from .record import ImageRecord
from .record_images import record_images

SCORE_THR = 0.3
"""Detections below it are no TP or FP here."""
FIRST = ('split', 'index', 'image_id', 'file', 'fault', 'loss')
MIDDLE = ('n_gt', 'n_ignored_gt', 'n_pos', 'n_neg', 'n_ignored')
LAST = ('gt_without_positive', 'min_side', 'AP', 'AP50', 'TP', 'FP', 'FN')


def score_image(record: ImageRecord, num_classes: int) -> ImageScore:
    """AP and counts of one image."""
    return image_ap(next(record_images([record], num_classes)), SCORE_THR)


def image_row(record: ImageRecord, num_classes: int) -> dict[str, Any]:
    """Cells of one image by the name of their column.

    `n_pos`, `n_neg` and `n_ignored` are of the first head, before any sampling; `<head> n_pos` of each head.
    `min_side` is the shorter side of the smallest object at the input of the model. What is not known is left out.
    """
    row: dict[str, Any] = {
        'split': record.split,
        'index': record.index,
        'image_id': record.img_id,
        'file': record.file,
        'fault': record.fault,
    }
    if record.fault is not None:
        return row
    if record.losses:
        row |= {'loss': record.loss, **record.losses}
    row |= {'n_gt': len(record.truth), 'n_ignored_gt': len(record.ignored)}
    for place, (name, stage) in enumerate(record.stages.items()):
        counts = dict(zip(('n_pos', 'n_neg', 'n_ignored'), stage.assigned.tolist(), strict=True))
        if not place:
            row |= counts | {'gt_without_positive': int((stage.gt_positives == 0).sum())}
        row |= {f'{name} {key}': value for key, value in counts.items()}
    if len(record.truth):
        sides = record.truth.boxes[:, 2:] - record.truth.boxes[:, :2]
        factors = np.array(record.input_shape[::-1]) / np.maximum(record.ori_shape[::-1], 1)
        row['min_side'] = round(float((sides * factors).min()), 2)
    score = score_image(record, num_classes)
    known = {'AP': score.ap, 'AP50': score.ap_50}
    row |= {key: round(value, 4) for key, value in known.items() if np.isfinite(value)}
    return row | {'TP': score.true_positives, 'FP': score.false_positives, 'FN': score.false_negatives}


def write_per_image(path: str | Path, records: Iterable[ImageRecord], num_classes: int) -> Path:
    """Write the table; numbers only are held of each image.

    Args:
        path: File to write.
        records: Of all splits.
        num_classes: C.
    """
    rows = [image_row(record, num_classes) for record in records]
    known = {*FIRST, *MIDDLE, *LAST}
    others = list(dict.fromkeys(key for row in rows for key in row if key not in known))
    terms = [key for key in others if 'loss' in key]
    columns = [*FIRST, *terms, *MIDDLE, *(key for key in others if key not in terms), *LAST]
    return write_csv(path, columns, ([row.get(key) for key in columns] for row in rows))


def worst_images(records: Iterable[ImageRecord], num: int, num_classes: int) -> Sequence[tuple[str, int]]:
    """Split and place of the images to look at first: lowest AP, then highest loss; images without objects last.

    A loss that is no number is above all others.
    """
    ranked = []
    for record in records:
        if record.fault is None:
            ap = score_image(record, num_classes).ap
            loss = record.loss if record.losses else 0.0
            key = (ap if np.isfinite(ap) else 2.0, -loss if np.isfinite(loss) else -np.inf)
            ranked.append((key, record.split, record.index))
    return [(split, index) for _, split, index in sorted(ranked)[:num]]
