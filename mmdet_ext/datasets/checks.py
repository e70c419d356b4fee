"""Check of a COCO annotation file and its images before anything is trained on them."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .box_checks import check_boxes, is_number, number_rows
from .class_checks import check_category_names
from .image_checks import ImageScope, check_images
from .problems import Problem, listing

Record = dict[str, Any]

_KEYS = {
    'categories': ('id', 'name'),
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
}
_ID_TYPES = {int, float, str}


def check_coco(
    ann_file: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    img_dir: str | os.PathLike[str] | None = None,
    images: ImageScope = 'sample',
    num_images: int = 200,
    origin: str = '`metainfo`',
    labelled: bool = True,
) -> list[Problem]:
    """Check a COCO annotation file: readable, complete, consistent, boxes inside images, classes as expected.

    An error is what mmdet would crash on or learn wrongly from: a missing or damaged file, missing keys, duplicate or
    unknown ids, class names that are missing or in another order, boxes that are not four finite numbers or have a
    negative size. Boxes that mmdet drops or clips silently are an error too, but a warning up to `RARE_SHARE` of all:
    zero size, zero `area`, no overlap with the image, more than a pixel beyond the image. Boxes thinner than a
    pixel are always only a warning. One pass over the annotations: seconds for COCO, most of it parsing.

    Args:
        ann_file: COCO json.
        classes: Expected class names; None does not compare them.
        img_dir: Folder that `file_name` is relative to; None does not look at images.
        images: Which images to decode, see `check_images`.
        num_images: Size of the sample of images.
        origin: Where `classes` comes from, for the sentence.
        labelled: Whether annotations must be there; False makes their absence a warning (COCO test-dev).

    Returns:
        The problems, errors and warnings; empty for a good file. Nothing that stands in the file raises.
    """
    where = os.fspath(ann_file)
    data, fault = load_object(where, '`ann_file` or `data_root`', 'COCO file')
    if fault is not None:
        return [Problem('error', where, fault)]
    problems: list[Problem] = []
    if not labelled and 'annotations' not in data:
        data['annotations'] = []
        problems.append(Problem('warning', where, 'has no `annotations`: results can be written, but not evaluated'))
    missing = [key for key in _KEYS if not isinstance(data.get(key), list)]
    if missing:
        message = (
            f'is not a COCO file: it lacks the lists {listing(missing)} (it has {listing(list(data)) or "nothing"})'
        )
        return [*problems, Problem('error', where, f'{message}; convert it to COCO format')]
    categories, image_records, annotations = (_records(data[kind], kind, where, problems) for kind in _KEYS)
    problems += _check_sizes(image_records, where)
    nameless = [i['id'] for i in image_records if not isinstance(i['file_name'], str) or not i['file_name']]
    if nameless:
        message = f'{len(nameless)} images have a `file_name` that is no text (image ids {listing(nameless)})'
        problems.append(Problem('error', where, f'{message}; write the name of the file'))
    problems += _check_references(annotations, image_records, categories, where)
    problems += _check_boxes(annotations, image_records, where)
    names = {c['id']: str(c['name']) for c in categories}
    if classes is not None and categories:
        boxes = Counter(names.get(a['category_id'], '') for a in annotations)
        problems += check_category_names([str(c['name']) for c in categories], classes, where, origin, boxes)
    if img_dir is not None:
        sizes = {str(i['file_name']): (i['width'], i['height']) if _valid_size(i) else None for i in image_records}
        problems += check_images(sizes, os.fspath(img_dir), images, num_images, where)
    return problems


def load_object(path: str, setting: str, kind: str) -> tuple[Record, str | None]:
    """Read a file that must be one JSON object.

    Args:
        path: The file.
        setting: The options that name it, for the sentence.
        kind: What the file should be, for the sentence, such as 'COCO file'.

    Returns:
        Its content, and what is wrong with it as a whole (None: nothing).
    """
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        if not text.strip():
            return {}, 'is empty; copy or create it again'
        data = json.loads(text)
    except FileNotFoundError:
        return {}, f'does not exist; correct {setting}, or create the file'
    except OSError as error:
        return {}, f'cannot be read ({error.strerror}); correct {setting} or the access rights'
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(text.rstrip()) or 'Unterminated' in error.msg
        cut = 'ends in the middle (truncated)' if at_end else 'is not valid JSON'
        return {}, f'{cut}: {error.msg} at line {error.lineno} column {error.colno}; copy or create it again'
    except (ValueError, RecursionError) as error:
        return {}, f'is not valid JSON ({error}); a {kind} is one JSON object in UTF-8'
    if not isinstance(data, dict):
        return {}, f'is not a {kind}: a JSON {type(data).__name__} instead of an object; convert it'
    return data, None


def _records(entries: list[Any], kind: str, where: str, problems: list[Problem]) -> list[Record]:
    """Entries that have their keys and ids of a usable type; adds a problem for the others and for duplicate ids."""
    keys = set(_KEYS[kind])
    id_keys = [key for key in _KEYS[kind] if key.endswith('id')]
    good = [e for e in entries if isinstance(e, dict) and keys <= e.keys()]
    if len(good) < len(entries):
        index = next(i for i, e in enumerate(entries) if not isinstance(e, dict) or not keys <= e.keys())
        entry = entries[index]
        lacks = listing(sorted(keys - entry.keys())) if isinstance(entry, dict) else 'everything: it is no object'
        named = f' (id {entry["id"]!r:.40})' if isinstance(entry, dict) and 'id' in entry else ''
        message = (
            f'{len(entries) - len(good)} of {len(entries)} entries of `{kind}` lack keys, first at index {index}{named}'
        )
        problems.append(Problem('error', where, f'{message}, which lacks {lacks}; add them'))
    for key in id_keys:
        if not {type(e[key]) for e in good} <= _ID_TYPES:
            bad = [e for e in good if type(e[key]) not in _ID_TYPES]
            message = f'{len(bad)} entries of `{kind}` have a `{key}` that is no number or string'
            problems.append(Problem('error', where, f'{message}, first {bad[0][key]!r:.40}; correct it'))
            good = [e for e in good if type(e[key]) in _ID_TYPES]
    unique = ['id', 'name'] if kind == 'categories' else ['id']
    for key in unique:
        values = [str(e[key]) if key == 'name' else e[key] for e in good]
        if len(set(values)) < len(values):
            twice = [value for value, count in Counter(values).items() if count > 1]
            message = f'`{key}` is not unique in `{kind}`: {listing(twice)}; give every entry its own'
            problems.append(Problem('error', where, message))
    return good


def _check_references(
    annotations: list[Record], images: list[Record], categories: list[Record], where: str
) -> list[Problem]:
    problems = []
    for key, kind, targets in (('image_id', 'images', images), ('category_id', 'categories', categories)):
        known = {target['id'] for target in targets}
        unknown = [a for a in annotations if a[key] not in known]
        if unknown:
            message = (
                f'{len(unknown)} annotations have a `{key}` that `{kind}` does not have: '
                f'{listing([a[key] for a in unknown])} (annotation ids {listing([a["id"] for a in unknown])}); '
                f'add the entry to `{kind}` or remove the annotations'
            )
            problems.append(Problem('error', where, message))
    return problems


def _check_sizes(images: list[Record], where: str) -> list[Problem]:
    bad = [image['id'] for image in images if not _valid_size(image)]
    if not images:
        return [Problem('error', where, '`images` has no usable entry; there is nothing to train or test on')]
    if not bad:
        return []
    message = f'{len(bad)} of {len(images)} images have a width or height that is no positive number'
    return [Problem('error', where, f'{message} (image ids {listing(bad)}); write their size in pixels')]


def _check_boxes(annotations: list[Record], images: list[Record], where: str) -> list[Problem]:
    sizes = {i['id']: (i['width'], i['height']) if _valid_size(i) else (np.nan, np.nan) for i in images}
    boxes = number_rows([a['bbox'] for a in annotations], 4)
    area = number_rows([[a['area']] for a in annotations], 1)[:, 0]
    limits = np.array([sizes.get(a['image_id'], (np.nan, np.nan)) for a in annotations], dtype=float).reshape(-1, 2)
    ids = [a['id'] for a in annotations]
    fix = 'correct or remove them: a COCO box is [x, y, width, height] in pixels of the original image'
    return check_boxes(boxes[:, :2], boxes[:, :2] + boxes[:, 2:], limits, ids, where, 'annotation ids', fix, area)


def _valid_size(image: Record) -> bool:
    return all(is_number(image[key]) and image[key] > 0 for key in ('width', 'height'))
