"""Rules about data: files, annotations, labels and splits."""

from collections.abc import Mapping

from .evidence import Evidence
from .rule_tools import failed, gap, helped, percent, returned, strongest, tell_trial
from .verdict import Finding

Limits = Mapping[str, float]
_CLASSES = ('num_classes', 'another order', 'class names', 'the categories')


def faulty_data(evidence: Evidence, limits: Limits) -> Finding | None:
    """The check of config and annotation files has found errors other than those with a rule of their own."""
    errors = [
        each
        for each in evidence.problems
        if each.severity == 'error' and not any(words in each.message for words in _CLASSES)
    ]
    if not errors:
        return None
    more = f' (and {len(errors) - 1} more problems, listed in the report)' if len(errors) > 1 else ''
    return Finding(
        limits['share'] * evidence.headroom,
        f'{errors[0]}{more}.',
        'Annotations or images are faulty: the detector learns from, or is measured on, something else than is there.',
        'Correct the file; `python tools/dataset_tools/check_dataset.py CONFIG` lists everything.',
    )


def wrong_num_classes(evidence: Evidence, limits: Limits) -> Finding | None:
    """A head counts other classes than the data have."""
    errors = [each for each in evidence.problems if '`num_classes` is' in each.message]
    if not errors:
        return None
    return Finding(
        evidence.headroom,
        '; '.join(map(str, errors[:3])) + '.',
        'The head has another number of classes than the data: labels beyond it cannot be learnt, and in a softmax '
        'head the last one is background.',
        f'Set {errors[0].where}={len(evidence.classes)} and train the classifier again.',
    )


def class_order(evidence: Evidence, limits: Limits) -> Finding | None:
    """Names of checkpoint, config and annotation file stand in different orders."""
    errors = [each for each in evidence.problems if 'another order' in each.message or 'class names (' in each.message]
    errors += [each for each in evidence.problems if each.severity == 'error' and 'categories lack' in each.message]
    check = failed(evidence, 'class_names')
    fix = 'Write `metainfo=dict(classes=...)` of every loader in the order of the annotation file.'
    if check is not None:
        told, fix = check.sentence, check.fix
    elif errors:
        told = f'{errors[0]}.'
    else:
        return None
    return Finding(
        evidence.headroom,
        told,
        'Class names of data, config and checkpoint do not stand in one order, so numbers mean different classes.',
        fix,
    )


def exchanged_classes(evidence: Evidence, limits: Limits) -> Finding | None:
    """Objects are found, but carry the name of another class throughout."""
    renamed, now, then = evidence.judged.renamed, *evidence.judged.label_shift[1:]
    if not renamed or then - now < limits['share']:
        return None
    told = ', '.join(f'{given!r} for {real!r}' for given, real in renamed.items())
    return Finding(
        (then - now) * evidence.headroom,
        f'{percent(now)} of the objects that are found carry the right name; {percent(then)} would if names were '
        f'exchanged: {told}.',
        'Classes are exchanged between the data that the detector was trained on and these, or what tells them apart '
        'is turned round (colour, by the channel order).',
        'Compare `categories` of the annotation files with `metainfo=dict(classes=...)`, and bgr_to_rgb of the data '
        'preprocessor with the training.',
    )


def shifted_labels(evidence: Evidence, limits: Limits) -> Finding | None:
    """Labels are off by one."""
    if len(evidence.classes) < 3 or failed(evidence, 'class_names'):
        return None
    trial, found = strongest(evidence, ('labels_up', 'labels_down'))
    splits = helped(evidence, trial, found, limits['fall'])
    if not splits or any('another order' in each.message for each in evidence.problems):
        return None
    step = 'up' if trial == 'labels_up' else 'down'
    shift, now, then = evidence.judged.label_shift
    names = f' {percent(now)} of the found objects carry the right name, {percent(then)} would then.' if shift else ''
    return Finding(
        returned(evidence, trial, splits),
        tell_trial(evidence, trial, splits, f'all labels one {step}') + names,
        f'Labels of {" and ".join(splits)} are off by one against what the detector has learnt: category ids were '
        'taken for labels, or a background class was counted as the first one.',
        'mmdet numbers labels from 0 in the order of `categories`, background last: correct `category_id` in '
        f'{"the annotation file of " + splits[0] if len(splits) == 1 else "the annotation files"} or the converter.',
    )


def transposed_boxes(evidence: Evidence, limits: Limits) -> Finding | None:
    """x and y of the annotated boxes are exchanged."""
    trial, found = strongest(evidence, ('transposed',))
    splits = helped(evidence, trial, found, limits['fall'])
    if not splits:
        return None
    return Finding(
        returned(evidence, trial, splits),
        tell_trial(evidence, trial, splits, 'x and y of all annotated boxes exchanged'),
        f'Boxes of {" and ".join(splits)} are written as [y, x, h, w].',
        'COCO wants `bbox=[x, y, width, height]`: correct the annotation file of ' + ' and '.join(splits) + '.',
    )


def boxes_as_corners(evidence: Evidence, limits: Limits) -> Finding | None:
    """Boxes are corners, but are read as corner and size."""
    check = failed(evidence, 'box_format')
    if check is None:
        return None
    return Finding(max(check.figures.values()) * evidence.headroom, check.sentence, _CORNERS, check.fix)


_CORNERS = 'Boxes are written as [x1, y1, x2, y2], but are read as [x, y, width, height].'


def repeated_annotations(evidence: Evidence, limits: Limits) -> Finding | None:
    """Objects are annotated more than once."""
    check = failed(evidence, 'duplicates')
    if check is None:
        return None
    return Finding(
        max(check.figures.values()) * evidence.headroom,
        check.sentence,
        'Files were merged or converted twice: of several annotations on one object at most one is ever found.',
        check.fix,
    )


def leakage(evidence: Evidence, limits: Limits) -> Finding | None:
    """Images of validation are images of training."""
    check = failed(evidence, 'leakage')
    if check is None:
        return None
    return Finding(0.0, check.sentence, 'The split leaks: AP on val is that of images already learnt.', check.fix)


def unreadable_images(evidence: Evidence, limits: Limits) -> Finding | None:
    """Images that cannot be read."""
    faulty = [(split, *fault) for split, each in evidence.splits.items() for fault in each.faults]
    if not faulty:
        return None
    seen = sum(each.n_images for each in evidence.splits.values()) + len(faulty)
    return Finding(
        evidence.headroom * max(limits['least'], len(faulty) / seen),
        f'{len(faulty)} of {seen} images could not be used, first: {faulty[0][2]}.',
        'Images are damaged or missing: training stops at them or goes without, and their objects count as missed.',
        f'Copy {faulty[0][1]} again, or take it out of the annotation file of {faulty[0][0]}.',
    )


def class_without_training(evidence: Evidence, limits: Limits) -> Finding | None:
    """Classes that validation has and training has not."""
    check = failed(evidence, 'untrained_classes')
    if check is None:
        return None
    lost = [1 - (evidence.judged.class_ap.get(name) or 0.0) for name in check.figures]
    return Finding(
        sum(lost) / len(evidence.classes),
        check.sentence,
        'What is not in the training set cannot be learnt: AP of these classes stays 0, and the mean with it.',
        check.fix,
    )


def empty_images(evidence: Evidence, limits: Limits) -> Finding | None:
    """Most images have no objects."""
    check = failed(evidence, 'empty_images')
    if check is None:
        return None
    return Finding(
        limits['share'] * evidence.headroom,
        check.sentence,
        'Annotations were lost in a conversion, or training sees mostly background.',
        check.fix,
    )


def ignored_objects(evidence: Evidence, limits: Limits) -> Finding | None:
    """Most objects are marked to be ignored."""
    check = failed(evidence, 'ignored')
    if check is None:
        return None
    return Finding(
        0.0, check.sentence, 'What is ignored is neither learnt nor counted: AP is that of the rest.', check.fix
    )


def unlabelled_objects(evidence: Evidence, limits: Limits) -> Finding | None:
    """Confident detections on nothing, in validation only."""
    train, val = evidence.splits.get('train'), evidence.splits.get('val')
    if train is None or val is None or val.confident_background < limits['share']:
        return None
    if train.confident_background > limits['ratio'] * val.confident_background or gap(evidence) < limits['gap']:
        return None
    return Finding(
        max(val.tide.get('background', 0.0), gap(evidence)),
        f'{percent(val.confident_background)} of the confident detections on val are on no annotated object, '
        f'{percent(train.confident_background)} on train; AP is {val.ap:.3f} and {train.ap:.3f}.',
        'Objects of val are not annotated: the detector finds them, and each counts as an error.',
        'Look at the worst images of val in the report, and annotate what is missing.',
    )
