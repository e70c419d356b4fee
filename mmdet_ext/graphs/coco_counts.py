"""Counts how often classes occur together in COCO annotation files."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .names import require_known, require_unique

LEVELS = ('image', 'instance')


@dataclass
class CocoCounts:
    """Co-occurrence counts of some annotation files.

    Attributes:
        classes: C names.
        counts: (C, C) int64, symmetric; the diagonal holds each class's own count.
        n_images: Images of all files, with or without those that show nothing.
        sources: One `{'file': ..., 'sha256': ...}` for each annotation file.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    n_images: int
    sources: list[dict[str, str]]


def count_coco(
    ann_files: str | Path | Sequence[str | Path],
    level: str = 'image',
    classes: Sequence[str] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    drop_if: Mapping[str, Sequence[str]] | None = None,
    exclude_crowd: bool = True,
    include_empty: bool = True,
) -> CocoCounts:
    """Count over all images b the sum of min(m_bi, m_bj), m_bi being the number of boxes of class i in image b.

    At level 'image' m is cut at 1, so that n_i is the number of images that show i and n_ij of those that show both.
    At level 'instance' n_i is the number of boxes, and n_ij how many boxes of i can be paired one to one with a box of
    j in their image. The minimum is taken rather than the product m_bi * m_bj because one crowded image would outweigh
    all others in a product, n_i would no longer be a number of boxes, and n_ij / n_i could exceed 1.

    Annotations with `ignore` do not count. Category ids may have gaps and may differ from file to file.

    Args:
        ann_files: COCO json files; their images are taken as different ones.
        level: 'image' or 'instance'.
        classes: Names in the order wanted, after `merge`; a subset leaves the others out. Default: all, in the order of
            `categories` in the first file.
        merge: `{'new': ['old1', 'old2']}`: the old classes count as one, at the place of the first of them.
        drop_if: `{'nodule': ['multiple nodules']}`: the first does not count in images that show one of the others
            (names after `merge`). All rules look at what the image shows before any of them.
        exclude_crowd: Leave annotations with `iscrowd` out; False counts each of them as one box.
        include_empty: Whether `n_images` includes images that show nothing; the counts do not depend on it.

    Raises:
        FileNotFoundError: An annotation file is missing.
        KeyError: `classes`, `merge` or `drop_if` names an unknown class.
        ValueError: A file is not COCO or contradicts itself or another one, or an option is unknown.
    """
    if level not in LEVELS:
        raise ValueError(f'level must be one of {LEVELS}, got {level!r}')
    paths = [Path(file) for file in ([ann_files] if isinstance(ann_files, str | Path) else ann_files)]
    if not paths:
        raise ValueError('`ann_files` is empty: give at least one COCO annotation file')

    names: list[str] | None = None
    histograms: list[Counter[str]] = []
    sources: list[dict[str, str]] = []
    n_images = 0
    for path in paths:
        data = _read_coco(path)
        sources.append({'file': path.as_posix(), 'sha256': data['sha256']})
        here = list(data['categories'].values())
        names = here if names is None else names
        if set(here) != set(names):
            raise ValueError(
                f'{path} has other categories than {paths[0]}: {", ".join(sorted(set(here) ^ set(names)))} only occur '
                'in one of them'
            )
        shown = _count_boxes(path, data, exclude_crowd)
        histograms.extend(shown)
        n_images += len(data['images']) if include_empty else len(shown)

    merged = _merged_names(names or [], merge or {})
    order = list(dict.fromkeys(merged.values())) if classes is None else list(classes)
    require_known(order, list(merged.values()), '`classes`')
    require_unique(order, '`classes`')
    rules = _drop_rules(drop_if or {}, list(merged.values()))
    index = {name: position for position, name in enumerate(order)}

    counts = np.zeros((len(order), len(order)), dtype=np.int64)
    for histogram in histograms:
        shows: Counter[str] = Counter()
        for old, number in histogram.items():
            shows[merged[old]] += number
        row = np.zeros(len(order), dtype=np.int64)
        for name, number in shows.items():
            if name in index and rules.get(name, frozenset()).isdisjoint(shows):
                row[index[name]] = number
        present = np.flatnonzero(row)
        numbers = np.minimum(row[present], 1) if level == 'image' else row[present]
        counts[np.ix_(present, present)] += np.minimum.outer(numbers, numbers)
    return CocoCounts(tuple(order), counts, n_images, sources)


def _read_coco(path: Path) -> dict[str, Any]:
    """Read what counting needs: `images` (set of ids), `categories` ({id: name}), `annotations`, `sha256`."""
    if not path.is_file():
        raise FileNotFoundError(f'the annotation file {path} does not exist')
    raw = path.read_bytes()
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not a JSON file: {error}') from error
    keys = ('images', 'annotations', 'categories')
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in keys):
        raise ValueError(
            f'{path} is not a COCO annotation file: it needs the lists `images`, `annotations`, `categories`'
        )
    try:
        images = [image['id'] for image in data['images']]
        categories = [(category['id'], category['name']) for category in data['categories']]
    except (KeyError, TypeError) as error:
        raise ValueError(f'{path}: every image needs an `id`, every category an `id` and a `name`') from error
    if not all(isinstance(name, str) for _, name in categories):
        raise ValueError(f'{path}: the `name` of every category must be a text')
    for what, ids in (('image', images), ('category', [identity for identity, _ in categories])):
        strangers = [identity for identity in ids if not isinstance(identity, int | float | str)]
        if strangers:
            raise ValueError(f'{path} has the {what} id {strangers[0]!r:.60}; an id is a number or a text')
        if len(set(ids)) < len(ids):
            raise ValueError(f'{path} uses the {what} id {Counter(ids).most_common(1)[0][0]} more than once')
    require_unique([name for _, name in categories], str(path))
    return {
        'images': set(images),
        'categories': dict(categories),
        'annotations': data['annotations'],
        'sha256': hashlib.sha256(raw).hexdigest(),
    }


def _count_boxes(path: Path, data: Mapping[str, Any], exclude_crowd: bool) -> list[Counter[str]]:
    """Number of boxes per class name, one counter for each image that has any."""
    histograms: dict[Any, Counter[str]] = {}
    for position, annotation in enumerate(data['annotations']):
        try:
            image, category = annotation['image_id'], annotation['category_id']
        except (KeyError, TypeError) as error:
            raise ValueError(f'{path}: annotation {position} of the list lacks `image_id` or `category_id`') from error
        where = f'{path}: annotation {annotation.get("id", position)}'
        if not isinstance(image, int | float | str) or image not in data['images']:
            raise ValueError(f'{where} belongs to the image id {image}, which `images` does not have')
        if not isinstance(category, int | float | str) or category not in data['categories']:
            raise ValueError(f'{where} has the category id {category}, which `categories` does not have')
        if not (annotation.get('ignore') or (exclude_crowd and annotation.get('iscrowd'))):
            histograms.setdefault(image, Counter())[data['categories'][category]] += 1
    return list(histograms.values())


def _drop_rules(drop_if: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, frozenset[str]]:
    """{class: those whose presence takes it out}, checked."""
    require_known(drop_if, names, '`drop_if`')
    for name, others in drop_if.items():
        if isinstance(others, str):
            raise ValueError(f'`drop_if` must give a list of names for {name!r}, got the string {others!r}')
        require_known(others, names, '`drop_if`')
        if name in others:
            raise ValueError(f'`drop_if` drops {name!r} where {name!r} is present, so it would never count')
    return {name: frozenset(others) for name, others in drop_if.items()}


def _merged_names(names: Sequence[str], merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """{old name: name after merging}, in the order of `names`."""
    merged = {name: name for name in names}
    for new, olds in merge.items():
        if isinstance(olds, str):
            raise ValueError(f'`merge` must give a list of names for {new!r}, got the string {olds!r}')
        require_known(olds, names, '`merge`')
        if new in names and new not in olds:
            raise ValueError(f'`merge` makes {new!r}, which is already a class: list it among the merged ones as well')
        for old in olds:
            if merged[old] != old:
                raise ValueError(f'`merge` uses {old!r} twice: for {merged[old]!r} and for {new!r}')
            merged[old] = new
    return merged
