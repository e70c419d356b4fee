"""Rules about test settings that cost AP, and about the errors that are left when no cause is known."""

from collections.abc import Callable, Mapping

import numpy as np

from .evidence import Evidence
from .rule_tools import percent
from .verdict import Finding

Limits = Mapping[str, float]
_SETTINGS = {
    'score_thr': 'The score threshold throws away detections that are right.',
    'nms': 'NMS leaves several boxes on one object, or removes boxes of its neighbours.',
    'max_per_img': 'The list of detections ends before the last right one.',
}
_KEYS = {'score_thr': 'score_thr', 'nms': 'nms.iou_threshold', 'max_per_img': 'max_per_img'}
_ERRORS = {
    'classification': (
        'Objects are found, but called wrong: classes that look alike, faulty labels, or a classifier that needs more '
        'training',
        'Look at the confusion table of the report and at the labels of the two classes it names.',
    ),
    'localisation': (
        'Objects are found and called right, but their boxes are off: the box loss weighs too little, or annotations '
        'are loose',
        'Raise loss_bbox.loss_weight, take an IoU loss (CompleteIoULoss), and look at the boxes in the pictures.',
    ),
    'both': (
        'Detections near objects have neither the right class nor the right box',
        'Train for longer first: such detections are those of a young detector.',
    ),
    'duplicate': (
        'Objects are detected more than once, and NMS leaves the copies',
        'Lower the iou_threshold of NMS in model.test_cfg.',
    ),
    'background': (
        'Detections are on nothing: too few negatives in training, images without objects left out, or objects without '
        'annotation',
        'Set filter_cfg=dict(filter_empty_gt=False) in train_dataloader.dataset, and look for objects without '
        'annotation in the pictures.',
    ),
    'missed': (
        'Objects are not found at all: too small, too rare, or unlike those of training',
        'Look at the sizes of the missed objects; enlarge the input, or add images.',
    ),
}

ERROR_TYPES = tuple(_ERRORS)


def costly_setting(name: str) -> Callable[[Evidence, Limits], Finding | None]:
    """A rule about one setting of `test_cfg`: 'score_thr', 'nms' or 'max_per_img'."""

    def find(evidence: Evidence, limits: Limits) -> Finding | None:
        cost = evidence.judged.costs.get(name, 0.0)
        if cost < limits['cost']:
            return None
        test_cfg = evidence.cfg.model.get('test_cfg') or {}
        stage = next((f'{each}.' for each in ('rcnn', 'rpn') if each in test_cfg), '')
        key = f'model.test_cfg.{stage}{_KEYS[name]}'
        now, best = evidence.judged.ap or 0.0, evidence.judged.best_settings.get(name)
        return Finding(
            cost,
            f'AP is {now:.3f}; the same raw detections with {key}={best:g} have {now + cost:.3f}.',
            _SETTINGS[name],
            f'Set {key}={best:g}.',
        )

    return find


def error_type(name: str) -> Callable[[Evidence, Limits], Finding | None]:
    """A rule about one of TIDE's types of errors: what is wrong where no cause is known."""

    def find(evidence: Evidence, limits: Limits) -> Finding | None:
        gain = evidence.judged.tide.get(name, 0.0)
        if gain < limits['gain']:
            return None
        cause, fix = _ERRORS[name]
        count = evidence.judged.tide_counts.get(name, 0)
        return Finding(
            gain,
            f'{count} errors of the type "{name}" cost {gain:.3f} AP at an overlap of 0.5.',
            f'{cause}.',
            fix,
        )

    return find


def confused_classes(evidence: Evidence, limits: Limits) -> Finding | None:
    """Two classes are taken for each other."""
    names = evidence.judged.names
    if len(names) < 2:
        return None
    square = names[:, :-1].astype(float)
    totals = np.maximum(names.sum(1), 1)
    mixed = np.triu((square + square.T) / (totals[:, None] + totals[None, :]), 1)
    first, second = divmod(int(mixed.argmax()), len(mixed))
    if mixed[first, second] < limits['share'] or names[[first, second]].sum() < limits['objects']:
        return None
    ours, theirs = evidence.classes[first], evidence.classes[second]
    lost = [1 - (evidence.judged.class_ap.get(name) or 0.0) for name in (ours, theirs)]
    return Finding(
        sum(lost) / len(evidence.classes),
        f'{percent(mixed[first, second])} of the objects of {ours!r} and {theirs!r} carry the name of the other.',
        'What tells these two classes apart does not reach the classifier: colour (channel order, grey images, strong '
        'colour augmentation), shape (a distorting resize), side (flips), or the context of the image.',
        f'Look at {ours!r} and {theirs!r} in the report, and at the transforms of train_dataloader.dataset.pipeline; '
        'if only context tells them apart, add a relation head.',
    )


def small_objects(evidence: Evidence, limits: Limits) -> Finding | None:
    """Small objects are far behind the others."""
    found = evidence.judged.size_ap
    small = found.get('small')
    rest = [ap for size, ap in found.items() if size != 'small' and ap is not None]
    if small is None or not rest or max(rest) - small < limits['gap']:
        return None
    return Finding(
        (max(rest) - small) * limits['share'],
        f'AP of small objects is {small:.3f}, that of larger ones {max(rest):.3f}.',
        'Objects are too small for the resolution of the finest level, or for the smallest anchors.',
        'Enlarge `scale` of Resize, start the neck one level earlier, or cut images into tiles.',
    )
