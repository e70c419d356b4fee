"""What is known of the images that are to be screened: rows of a diagnosis, and what is wrong with annotations."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.datasets.box_checks import check_boxes, is_number, number_rows
from mmdet_ext.datasets.checks import load_object
from mmdet_ext.datasets.problems import listing

from ..ablation.grid import nearest

Record = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One row of `per_image.csv`: what a detector made of an image of the training split.

    Attributes:
        image_id: As text.
        file: Image file.
        fault: Why the image could not be read; empty where it could.
        numbers: The other columns that hold a number.
    """

    image_id: str
    file: str
    fault: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class ImageFacts:
    """One image of an annotation file.

    Attributes:
        image: Its record there.
        measured: None where the diagnosis has not looked at it.
        bad: What is wrong with its annotations, in sentences.
    """

    image: Record
    measured: Measured | None
    bad: Sequence[str]


def read_per_image(path: str | Path) -> tuple[list[Measured], list[str]]:
    """Read the rows of the training split, and the names of all columns.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It lacks a column that names images, or a row of the training split.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no {path}; tools/analysis_tools/diagnose.py writes it (per_image.csv).')
    with path.open(encoding='utf-8', newline='') as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or [])
        lacking = [name for name in ('split', 'image_id', 'file') if name not in columns]
        if lacking:
            raise ValueError(f'{path} lacks the columns {listing(lacking)}: give the per_image.csv of a diagnosis')
        rows = [row for row in reader if row['split'] == 'train']
    if not rows:
        raise ValueError(f'{path} has no row of the split train: diagnose with --split train')
    return [
        Measured(row['image_id'], row['file'], (row.get('fault') or '').strip(), _numbers(row)) for row in rows
    ], columns


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(text) for name, text in row.items()}
    return {name: number for name, number in found.items() if number is not None}


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):  # an empty cell, a name, or a row with too few cells
        return None


def read_annotations(ann_file: str | Path) -> Record:
    """Read a COCO file of which single entries may be faulty.

    Raises:
        ValueError: It is no COCO file, or its images have no usable ids and names.
    """
    coco, fault = load_object(str(ann_file), 'the path', 'COCO file')
    if fault is None:
        missing = [key for key in ('images', 'annotations', 'categories') if not isinstance(coco.get(key), list)]
        if missing:
            fault = f'is no COCO file: it lacks the lists {listing(missing)}; convert it'
        elif not all(isinstance(entry, dict) for key in ('images', 'annotations') for entry in coco[key]):
            fault = 'has images or annotations that are no objects; tools/dataset_tools/check_dataset.py names them'
        elif not all('id' in image and 'file_name' in image for image in coco['images']):
            fault = 'has images without id or file_name; add them'
        elif not all(isinstance(image['id'], int | float | str) for image in coco['images']) or not all(
            isinstance(item.get('image_id', 0), int | float | str) for item in coco['annotations']
        ):
            fault = 'has images or annotations with an id that is no number or string; correct it'
    if fault is None:
        twice = [key for key, number in Counter(image['id'] for image in coco['images']).items() if number > 1]
        if twice:
            fault = f'has image ids that stand for several images: {listing(twice)}; give every image its own'
    if fault is not None:
        raise ValueError(f'{ann_file} {fault}')
    return coco


def match_rows(
    images: Sequence[Record], rows: Sequence[Measured], csv_file: str, ann_file: str
) -> list[Measured | None]:
    """The row of each image; None where it has none.

    Raises:
        ValueError: No image has a row, or an id stands for another file in the rows.
    """
    by_id: dict[str, list[Measured]] = {}
    for row in rows:
        by_id.setdefault(row.image_id, []).append(row)
    matched: list[Measured | None] = []
    for image in images:
        own = by_id.get(str(image['id']), [])
        # Several data sets of a ConcatDataset may share ids.
        fitting = [row for row in own if row.file.replace('\\', '/').endswith(str(image['file_name']))]
        if own and not fitting:
            raise ValueError(
                f'image id {image["id"]} is {image["file_name"]} in {ann_file}, but {own[0].file} in {csv_file}: '
                'screen the annotation file that was diagnosed as the training split'
            )
        matched.append(fitting[0] if fitting else None)
    if not any(matched):
        raise ValueError(
            f'no image of {ann_file} is in {csv_file} (ids there: {listing([row.image_id for row in rows])}): '
            'screen the annotation file that was diagnosed as the training split'
        )
    return matched


def find_bad_annotations(coco: Record) -> dict[Any, list[str]]:
    """What is wrong with the annotations of each image, by its id; images without a fault are left out.

    Boxes that are no boxes, are empty, or reach beyond their image, areas that are not positive, unknown classes, and
    the same box twice for one class.
    """
    known = {repr(category.get('id')) for category in coco['categories'] if isinstance(category, dict)}
    by_image: dict[Any, list[Record]] = {}
    for annotation in coco['annotations']:
        by_image.setdefault(annotation.get('image_id'), []).append(annotation)
    sizes = {image['id']: _size(image) for image in coco['images']}
    found: dict[Any, list[str]] = {}
    # One look at all of them tells whether every image has to be looked at by itself.
    usual = [annotation for key in sizes for annotation in by_image.get(key, ())]
    faulty = bool(_box_faults(usual, np.array([sizes[item['image_id']] for item in usual]).reshape(-1, 2)))
    for key, size in sizes.items():
        own = by_image.get(key, [])
        sentences = _box_faults(own, np.tile(size, (len(own), 1))) if faulty and own else []
        strange = [item.get('id') for item in own if repr(item.get('category_id')) not in known]
        if strange:
            sentences.append(f'the class of annotation ids {listing(strange)} is unknown')
        counts = Counter((repr(item.get('category_id')), repr(item.get('bbox'))) for item in own)
        twice = sum(number - 1 for number in counts.values())
        if twice:
            sentences.append(f'{twice} of {len(own)} boxes stand there twice for one class')
        if math.isnan(size[0]):
            sentences.append('its width or height is no positive number')
        if sentences:
            found[key] = sentences
    return found


def _box_faults(annotations: Sequence[Record], limits: np.ndarray) -> list[str]:
    boxes = number_rows([item.get('bbox') for item in annotations], 4)
    area = number_rows([[item.get('area')] for item in annotations], 1)[:, 0]
    ids = [item.get('id') for item in annotations]
    fix = 'correct or remove them'
    problems = check_boxes(
        boxes[:, :2], boxes[:, :2] + boxes[:, 2:], limits, ids, '', 'annotation ids', fix, area, strict=True
    )
    return [problem.message for problem in problems if problem.severity == 'error']


def _size(image: Record) -> tuple[float, float]:
    size = (image.get('width'), image.get('height'))
    if not all(is_number(value) and value > 0 for value in size):  # type: ignore[operator]
        return math.nan, math.nan
    return float(size[0]), float(size[1])  # type: ignore[arg-type]


def check_columns(columns: Sequence[str], needed: Mapping[str, str], csv_file: str) -> None:
    """Refuse rows that lack what a rule reads.

    Args:
        columns: Of the file.
        needed: Column to the rule that reads it.
        csv_file: For the sentence.

    Raises:
        ValueError: A column is missing.
    """
    for column, rule in needed.items():
        if column not in columns:
            raise ValueError(
                f'{csv_file} has no column {column!r}, which the rule {rule!r} reads; {nearest(column, columns)}'
            )
