"""Checks of class names and numbers of classes; knows no file and no model."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .problems import Problem, listing, nearest


def check_class_list(classes: object, where: str) -> list[Problem]:
    """Check `metainfo['classes']` itself: a list or tuple of unique strings.

    Args:
        classes: The value as it stands in the config.
        where: The config key that holds it.
    """
    if isinstance(classes, str):
        hint = (
            f'is the string {classes!r}, not a tuple of names: a single class needs a comma, `classes=({classes!r},)`'
        )
        return [Problem('error', where, hint)]
    if not isinstance(classes, Sequence) or not classes or not all(isinstance(name, str) for name in classes):
        return [Problem('error', where, f'must be a non-empty tuple of class names, but is {classes!r:.80}')]
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        return [Problem('error', where, f'has class names that occur more than once: {listing(twice)}; remove them')]
    return []


def check_category_names(
    names: Sequence[str], classes: Sequence[str], where: str, origin: str, boxes: Mapping[str, int]
) -> list[Problem]:
    """Compare the categories of a COCO file with the class names of a data set.

    mmdet takes the categories whose name is among `classes` and numbers them *in the order of the file*. So a name that
    the file lacks shifts every label after it, and another order gives labels whose names are wrong: both are errors.
    Categories beyond `classes` lose their boxes, which is how one trains on a subset: a warning.

    Args:
        names: Category names in the order of the file.
        classes: Class names of the data set.
        where: The annotation file.
        origin: Where `classes` comes from, such as '`train_dataloader.dataset.metainfo`'.
        boxes: Number of boxes per category name.
    """
    problems = []
    missing = [name for name in classes if name not in names]
    unused = [name for name in names if name not in classes]
    taken = [name for name in names if name in classes]
    if missing:
        spelt = ', '.join(f'{name!r}{nearest(name, unused or names)}' for name in missing[:5])
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        message = (
            f'the categories lack {spelt}{more}, named by {origin}; mmdet numbers only the categories it finds, so '
            f'labels would shift or get lost: set `metainfo=dict(classes=...)` to names of it ({listing(names, 20)})'
        )
        problems.append(Problem('error', where, message))
    if not missing and taken != list(classes) and len(taken) == len(set(taken)):
        label = next(i for i, name in enumerate(taken) if name != classes[i])
        message = (
            f'the categories stand in another order than in {origin}; mmdet numbers labels in the order of the file, '
            f'so boxes of {taken[label]!r} would get label {label}, which is called {classes[label]!r} there: '
            f'write `classes` in the order of the file ({listing(taken, 20)})'
        )
        problems.append(Problem('error', where, message))
    if unused:
        lost = sum(boxes.get(name, 0) for name in unused)
        spelt = ', '.join(f'{name!r}{nearest(name, missing)}' for name in unused[:5])
        more = f' and {len(unused) - 5} more' if len(unused) > 5 else ''
        message = (
            f'the categories {spelt}{more} are not in {origin}, so mmdet drops their {lost} boxes; '
            'add the names unless that is what you want'
        )
        problems.append(Problem('warning', where, message))
    return problems


def check_num_classes(found: Iterable[tuple[str, int]], allowed: Sequence[int], data: str) -> list[Problem]:
    """Compare every head's `num_classes` with the data set.

    Args:
        found: Pairs of a module's name or config key and its `num_classes`.
        allowed: Numbers that fit; the first one is the number of class names. A panoptic set also allows the number of
            its thing classes.
        data: Name of the data set's config key.
    """
    return [
        Problem(
            'error',
            where,
            f'`num_classes` is {number}, but the `metainfo` of {data} has {allowed[0]} class names; set '
            f'`num_classes={allowed[0]}` there or correct the class names',
        )
        for where, number in found
        if number not in allowed
    ]
