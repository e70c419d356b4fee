"""COCO json from the annotations of ChestX-Det, real chest radiographs with boxes and outlines of 13 findings.

Data: https://github.com/Deepwise-AILab/ChestX-Det-Dataset (3025 + 553 images of NIH ChestX-ray14, 1024 x 1024), paper:
"A Structure-Aware Relation Network for Thoracic Diseases Detection and Segmentation" (SAR-Net, arXiv 2104.10326). The
pictures are a download of their own; boxes and sizes need none.

What the published files hold (commit d82eb07): every outline lies within its box; boxes of small findings were widened
to 20 pixels (150 are more than a pixel wider than their outline); one fracture of 57467.png stands there twice.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from .problems import Problem, nearest

CLASSES = (
    'Atelectasis',
    'Calcification',
    'Cardiomegaly',
    'Consolidation',
    'Diffuse Nodule',
    'Effusion',
    'Emphysema',
    'Fibrosis',
    'Fracture',
    'Mass',
    'Nodule',
    'Pleural Thickening',
    'Pneumothorax',
)
"""In the order of the data set's page, which is that of the alphabet; category ids count from 1 in this order."""

_KEYS = ('file_name', 'syms', 'boxes', 'polygons')
_LOOSE = 1.0
_EXAMPLES = 3


@dataclass
class Conversion:
    """What became of a file.

    Attributes:
        coco: The COCO json.
        problems: Errors (images left out, only with `skip_invalid`) and warnings (kept as they are).
        skipped: The entries left out, with the file name where there is one.
    """

    coco: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def chestx_det_to_coco(
    json_file: str | Path,
    out: str | Path,
    images: str | Path | None = None,
    size: Sequence[int] = (1024, 1024),
    skip_invalid: bool = False,
) -> Conversion:
    """Write an annotation file of ChestX-Det as COCO json with boxes and masks.

    Coordinates are taken over as they are. `area` is that of the rasterised outline, as in COCO, so that outlines that
    cross themselves count what they cover. Images without findings are kept. The same input gives the same bytes.

    Args:
        json_file: `ChestX_Det_train.json` or `ChestX_Det_test.json`: a list of {'file_name', 'syms': [class],
            'boxes': [[x1, y1, x2, y2]], 'polygons': [[[x, y], ...]]} in pixels, one polygon for each finding.
        out: Json file to write. Missing folders are made.
        images: Folder of the pictures, to read their sizes from.
        size: Width and height of every image where `images` is not given.
        skip_invalid: Leave out every image with an error and say so. The image as a whole, because a finding that is
            visible but not annotated would be trained as background.

    Raises:
        FileNotFoundError: `json_file` is missing.
        ValueError: It is no such list, or, unless `skip_invalid`, entries have errors: one sentence for each, with file
            name and index.
    """
    path = Path(json_file)
    if not path.is_file():
        raise FileNotFoundError(f'the annotation file {path} does not exist')
    raw = path.read_bytes()
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not a JSON file: {error}') from error
    if not isinstance(entries, list):
        raise ValueError(f'{path} is not a ChestX-Det file: it must be a list of images with {", ".join(_KEYS)}')

    source = {'file': path.name, 'sha256': hashlib.sha256(raw).hexdigest()}
    categories = [{'id': number, 'name': name} for number, name in enumerate(CLASSES, start=1)]
    coco: dict[str, Any] = {'info': {'description': 'ChestX-Det', 'source': source}, 'categories': categories}
    coco |= {'images': [], 'annotations': []}
    result = Conversion(coco)
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        problems = list(_check_form(entry, number, seen))
        findings: list[dict[str, Any]] = []
        if not problems:
            seen.add(entry['file_name'])
            width, height, problem = _image_size(entry['file_name'], images, size)
            findings, problems = ([], [problem]) if problem else _read_findings(entry, width, height)
        result.problems += problems
        if any(problem.severity == 'error' for problem in problems):
            result.skipped.append(
                f'entry {number}' + (f', {entry.get("file_name")}' if isinstance(entry, dict) else '')
            )
            continue
        image = {'id': len(coco['images']) + 1, 'file_name': entry['file_name'], 'width': width, 'height': height}
        coco['images'].append(image)
        for finding in findings:
            coco['annotations'].append({'id': len(coco['annotations']) + 1, 'image_id': image['id'], **finding})
    errors = [str(problem) for problem in result.problems if problem.severity == 'error']
    if errors and not skip_invalid:
        raise ValueError(
            f'{path} has {len(errors)} errors; correct them, or leave these images out (--skip-invalid):\n'
            + '\n'.join(f'- {error}' for error in errors)
        )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(coco), encoding='utf-8')
    return result


def _check_form(entry: Any, number: int, seen: set[str]) -> Iterator[Problem]:
    """Errors of an entry that make it useless to look at its findings."""
    if not isinstance(entry, dict) or not all(key in entry for key in _KEYS):
        yield Problem('error', f'entry {number}', f'lacks one of {", ".join(_KEYS)}')
        return
    name, *lists = (entry[key] for key in _KEYS)
    where = f'{name!r} (entry {number})'
    if not isinstance(name, str) or not name or not all(isinstance(item, list) for item in lists):
        yield Problem('error', where, '`file_name` must be a name; `syms`, `boxes` and `polygons` must be lists')
    elif len({len(item) for item in lists}) > 1:
        lengths = ', '.join(f'{len(entry[key])} {key}' for key in _KEYS[1:])
        yield Problem('error', where, f'has {lengths}, which must be as many')
    elif name in seen:
        yield Problem('error', where, 'stands in the file more than once')


def _image_size(name: str, folder: str | Path | None, size: Sequence[int]) -> tuple[int, int, Problem | None]:
    """Width and height, and why they could not be read."""
    if folder is None:
        return size[0], size[1], None
    try:
        with Image.open(Path(folder) / name) as picture:
            return *picture.size, None
    except OSError as error:
        reason = 'does not exist' if isinstance(error, FileNotFoundError) else 'cannot be read as a picture'
        return 0, 0, Problem('error', f'{name!r}', f'{Path(folder) / name} {reason}')


def _read_findings(entry: dict[str, Any], width: int, height: int) -> tuple[list[dict[str, Any]], list[Problem]]:
    """COCO annotations of one image without ids, and what is wrong or odd about them."""
    annotations: list[dict[str, Any]] = []
    problems: list[Problem] = []
    known: dict[tuple[str, ...], int] = {}
    for index, (sym, box, polygon) in enumerate(zip(*(entry[key] for key in _KEYS[1:]), strict=True)):
        where = f'{entry["file_name"]!r}, finding {index}'
        corners, points = _numbers(box, (4,)), _numbers(polygon, (-1, 2))
        # An outline far outside would be drawn there, in gigabytes.
        fits = points is not None and len(points) >= 3 and not _outside(points, width, height)
        area = _area(points, width, height) if fits and points is not None else 0
        errors = [
            error
            for error in (
                _class_error(sym),
                _box_error(box, corners, width, height),
                _polygon_error(points, area, width, height),
            )
            if error
        ]
        problems += [Problem('error', where, error) for error in errors]
        if errors or corners is None or points is None:
            continue
        problems += _compare(corners, points, where)
        first = known.setdefault((sym, str(box), str(polygon)), index)
        if first != index:
            problems.append(Problem('warning', where, f'has the class, box and polygon of finding {first}'))
        x1, y1, x2, y2 = box
        annotations.append(
            {
                'category_id': CLASSES.index(sym) + 1,
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': area,
                'segmentation': [[value for point in polygon for value in point]],
                'iscrowd': 0,
            }
        )
    return annotations, problems


def _class_error(sym: Any) -> str | None:
    if sym in CLASSES:
        return None
    return f'the class {sym!r} is not one of the 13{nearest(sym, CLASSES) if isinstance(sym, str) else ""}'


def _box_error(box: Any, corners: np.ndarray | None, width: int, height: int) -> str | None:
    if corners is None:
        return f'the box {box!r} is not of the form [x1, y1, x2, y2]'
    if not (corners[:2] < corners[2:]).all():
        return f'the box {box!r} is empty or inverted: x1 < x2 and y1 < y2 must hold'
    if _outside(corners.reshape(2, 2), width, height):
        return f'the box {box!r} reaches out of the image of {width} x {height}'
    return None


def _polygon_error(points: np.ndarray | None, area: int, width: int, height: int) -> str | None:
    if points is None or len(points) < 3:
        return 'the polygon is not a list of at least 3 points [x, y]'
    if _outside(points, width, height):
        return f'the polygon reaches out of the image of {width} x {height}'
    return None if area else 'the polygon covers no pixel'


def _compare(box: np.ndarray, points: np.ndarray, where: str) -> Iterator[Problem]:
    """A polygon must lie in its box, and should touch its sides."""
    loose = np.concatenate([points.min(0) - box[:2], box[2:] - points.max(0)])
    if loose.min() < -_LOOSE:
        yield Problem('error', where, f'the polygon reaches {-loose.min():g} pixels out of its box')
    elif loose.max() > _LOOSE:
        yield Problem('warning', where, f'the box is more than {_LOOSE:g} pixel wider than its polygon')


def _numbers(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Finite float64 of that shape (-1: any length), or None."""
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    fits = array.ndim == len(shape) and all(want in (-1, has) for want, has in zip(shape, array.shape, strict=True))
    return array if fits and np.isfinite(array).all() else None


def _outside(points: np.ndarray, width: int, height: int) -> bool:
    return bool((points < 0).any() or (points > (width, height)).any())


def _area(points: np.ndarray, width: int, height: int) -> int:
    """Pixels that the outline covers."""
    return int(coco_mask.area(coco_mask.frPyObjects([points.ravel().tolist()], height, width))[0])


def describe_conversion(result: Conversion) -> str:
    """What was written, what was left out and why, and the warnings, those of one kind together."""
    lines = [f'error: {problem}' for problem in result.problems if problem.severity == 'error']
    lines += [f'left out: {name}' for name in result.skipped]
    warnings: dict[str, list[str]] = {}
    for problem in result.problems:
        if problem.severity == 'warning':
            warnings.setdefault(problem.message, []).append(problem.where)
    for message, places in warnings.items():
        more = f' and {len(places) - _EXAMPLES} more' if len(places) > _EXAMPLES else ''
        lines.append(f'warning, kept as it is: {message}: {"; ".join(places[:_EXAMPLES])}{more}')
    images, findings = result.coco['images'], result.coco['annotations']
    without = len(images) - len({finding['image_id'] for finding in findings})
    total = f'{len(images)} images ({without} without findings), {len(findings)} findings'
    lines.append(f'{total}, {len(result.skipped)} images left out')
    return '\n'.join(lines)
