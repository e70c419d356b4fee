"""Self-checks of all annotations of the splits: no image is decoded, so whole data sets are looked at."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .evidence import Check
from .rule_tools import percent

DUPLICATES, BEYOND, IGNORED, EMPTY = 0.02, 0.2, 0.3, 0.8
"""Shares from which a check fails: of objects that repeat others, of boxes that only fit when read as corners, of
objects to be ignored, and of images without objects."""


@dataclass
class AnnotationCounts:
    """What the annotations of one split are like; objects to be ignored count in `ignored` only.

    Attributes:
        images: Number of images.
        empty: Images without objects.
        objects: Number of objects.
        ignored: Objects to be ignored.
        duplicates: Objects at the place, to a pixel, of another one of their class.
        corners: Boxes that leave their image by more than a pixel, and would not if their width and height were the
            right and lower edge.
        labels: Objects of each label.
    """

    images: int = 0
    empty: int = 0
    objects: int = 0
    ignored: int = 0
    duplicates: int = 0
    corners: int = 0
    labels: Counter[int] = field(default_factory=Counter)


def count_annotations(infos: Iterable[Mapping[str, Any]]) -> AnnotationCounts:
    """Count over the images of a data set, read one at a time.

    Args:
        infos: As `get_data_info` of mmdet's data sets gives them.
    """
    counts = AnnotationCounts()
    for info in infos:
        instances = [each for each in info.get('instances', ()) if 'bbox' in each]
        real = [each for each in instances if not each.get('ignore_flag')]
        counts.images += 1
        counts.empty += not real
        counts.objects += len(real)
        counts.ignored += len(instances) - len(real)
        if not real:
            continue
        boxes = np.array([each['bbox'] for each in real], np.float64).reshape(-1, 4)
        labels = np.array([each['bbox_label'] for each in real])
        counts.labels.update(labels.tolist())
        places = np.column_stack([labels, np.nan_to_num(boxes).round()])
        counts.duplicates += len(places) - len(np.unique(places, axis=0))
        width, height = info.get('width'), info.get('height')
        if width and height:
            read = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
            beyond = (boxes[:, 2] > width + 1) | (boxes[:, 3] > height + 1)
            fits = (read[:, 2:] > read[:, :2]).all(1) & (read[:, 2] <= width + 1) & (read[:, 3] <= height + 1)
            counts.corners += int((beyond & fits).sum())
    return counts


def check_annotations(counts: Mapping[str, AnnotationCounts], classes: Sequence[str]) -> list[Check]:
    """The self-checks of annotations.

    Args:
        counts: Of each split.
        classes: Class names.
    """
    return [
        _check_labels(counts, classes),
        _check_share(
            'duplicates',
            {name: each.duplicates / max(each.objects, 1) for name, each in counts.items()},
            DUPLICATES,
            'of the objects of {split} repeat another one of the same class at the same place',
            'Remove repeated annotations (same image, category and bbox) from the annotation file.',
        ),
        _check_share(
            'box_format',
            {name: each.corners / max(each.objects, 1) for name, each in counts.items()},
            BEYOND,
            'of the boxes of {split} leave their image, and would lie inside if they were corners',
            'Write `bbox` of the annotation file as [x, y, width, height].',
        ),
        _check_share(
            'ignored',
            {name: each.ignored / max(each.objects + each.ignored, 1) for name, each in counts.items()},
            IGNORED,
            'of the objects of {split} are marked to be ignored (`iscrowd` or `ignore`)',
            'Set `iscrowd` to 0 in the annotation file for every object that should count.',
        ),
        _check_share(
            'empty_images',
            {name: each.empty / max(each.images, 1) for name, each in counts.items() if name == 'train'},
            EMPTY,
            'of the images of {split} have no object',
            'Look at the annotation file; set filter_cfg=dict(filter_empty_gt=True) in train_dataloader.dataset to '
            'leave empty images out.',
        ),
        _check_untrained(counts, classes),
    ]


def _check_share(name: str, shares: Mapping[str, float], limit: float, what: str, fix: str) -> Check:
    """A check that fails where the share of some split is above a limit."""
    if not shares:
        return Check(name, None, 'There is no such split to look at.')
    told = '; '.join(f'{percent(share)} {what.format(split=split)}' for split, share in shares.items())
    return Check(name, max(shares.values()) <= limit, f'{told}.', dict(shares), fix)


def _check_labels(counts: Mapping[str, AnnotationCounts], classes: Sequence[str]) -> Check:
    found = [label for each in counts.values() for label in each.labels]
    if not found:
        return Check('labels', None, 'There are no objects.')
    low, high = min(found), max(found)
    sentence = f'Labels are from {low} to {high}; with {len(classes)} classes they can be 0 to {len(classes) - 1}.'
    fix = 'Count labels from 0 in the order of the class names; mmdet has background last, as number C.'
    return Check('labels', low >= 0 and high < len(classes), sentence, {'lowest': low, 'highest': high}, fix)


def _check_untrained(counts: Mapping[str, AnnotationCounts], classes: Sequence[str]) -> Check:
    """Classes that are in other splits and not in training."""
    if 'train' not in counts or len(counts) < 2:
        return Check('untrained_classes', None, 'Training and another split are needed for this.')
    seen = counts['train'].labels
    others: Counter[int] = sum((each.labels for name, each in counts.items() if name != 'train'), Counter())
    lost = {classes[label]: float(n) for label, n in others.items() if not seen[label] and 0 <= label < len(classes)}
    if not lost:
        return Check('untrained_classes', True, 'Every class of the other splits is in the training set.')
    told = ', '.join(f'{name!r} ({n:.0f} objects)' for name, n in lost.items())
    fix = 'Annotate these classes in the training set, or split the images anew.'
    return Check('untrained_classes', False, f'The training set has no object of {told}.', lost, fix)
