"""Check of a data set in VOC style: an image set file, one XML file per image, JPEG images."""

import os
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .box_checks import check_boxes
from .image_checks import ImageScope, Size, check_images
from .problems import Problem, listing, nearest


@dataclass
class _Content:
    """What the XML files hold."""

    sizes: dict[str, Size | None] = field(default_factory=dict)
    boxes: list[list[float]] = field(default_factory=list)
    limits: list[Size] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)


def check_voc(
    ann_file: str,
    root: str,
    classes: Sequence[str] | None = None,
    ann_subdir: str = 'Annotations',
    img_subdir: str = 'JPEGImages',
    images: ImageScope = 'sample',
    num_images: int = 200,
    origin: str = '`metainfo`',
) -> list[Problem]:
    """Check a VOC data set as mmdet's `XMLDataset` reads it: XML files complete, boxes inside images, names known.

    mmdet skips objects whose name is not among `classes`. That is a warning, and an error where a class without any box
    has a similar name (a misspelling). Boxes are judged as in `check_coco`.

    Args:
        ann_file: Image set file, one image id per line.
        root: Folder that holds `ann_subdir` and `img_subdir` (mmdet: `data_prefix['sub_data_root']`).
        classes: Expected class names; None does not compare them.
        ann_subdir: Folder of `ID.xml`.
        img_subdir: Folder of `ID.jpg`.
        images: Which images to decode, see `check_images`.
        num_images: Size of the sample of images.
        origin: Where `classes` comes from, for the sentence.
    """
    try:
        with open(ann_file, encoding='utf-8') as file:
            ids = [line.rstrip('\n\r') for line in file]
    except FileNotFoundError:
        return [Problem('error', ann_file, 'does not exist; correct `ann_file` or `data_root`, or create the file')]
    except (OSError, ValueError) as error:
        return [Problem('error', ann_file, f'is no readable list of image ids ({error}); correct `ann_file`')]
    if not ids:
        return [Problem('error', ann_file, 'is empty; it must list one image id per line')]
    content = _Content()
    for image_id in ids:
        _read(os.path.join(root, ann_subdir, f'{image_id}.xml'), os.path.join(img_subdir, f'{image_id}.jpg'), content)
    problems = [
        Problem('error', ann_file, f'{len(files)} of {len(ids)} XML files {fault}: {listing(files)}; correct them')
        for fault, files in content.faults.items()
    ]
    corners = np.array(content.boxes, dtype=np.float64).reshape(-1, 4)
    limits = np.array(content.limits, dtype=np.float64).reshape(-1, 2)
    fix = 'correct them in these files'
    # VOC pixels count from 1, and mmdet subtracts 1 from all four.
    start, end = corners[:, :2] - 1, corners[:, 2:] - 1
    problems += check_boxes(start, end, limits, content.owners, ann_file, 'files', fix, np.ones(len(corners)))
    if classes is not None:
        problems += _check_names(content.names, classes, ann_file, origin)
    return problems + check_images(content.sizes, root, images, num_images, ann_file)


def _read(path: str, image: str, content: _Content) -> None:
    """Add one XML file to the content, or name what is wrong with it."""
    try:
        tree = ET.parse(path).getroot()
        size = tree.find('size')
        limit = None if size is None else (_whole(size, 'width'), _whole(size, 'height'))
        for thing in tree.findall('object'):
            box = thing.find('bndbox')
            if box is None:
                raise ValueError('an object without `bndbox`')
            if thing.find('difficult') is not None:
                _whole(thing, 'difficult')
            content.names[_text(thing, 'name')] += 1
            content.boxes.append([_number(box, key) for key in ('xmin', 'ymin', 'xmax', 'ymax')])
            content.limits.append(limit or (np.nan, np.nan))
            content.owners.append(os.path.basename(path))
        content.sizes[image] = limit
    except FileNotFoundError:
        content.faults.setdefault('do not exist', []).append(path)
    except ET.ParseError as error:
        content.faults.setdefault('are not valid XML', []).append(f'{path} ({error})')
    except (OSError, ValueError) as error:
        content.faults.setdefault('are incomplete', []).append(f'{path} ({error})')


def _text(parent: ET.Element, key: str) -> str:
    text = parent.findtext(key)
    if not text:
        raise ValueError(f'`{parent.tag}` without `{key}`')
    return text


def _whole(parent: ET.Element, key: str) -> int:
    """mmdet reads sizes and flags by `int`."""
    text = _text(parent, key)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'`{key}` is {text!r:.40} instead of a whole number') from None


def _number(parent: ET.Element, key: str) -> float:
    text = _text(parent, key)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'`{key}` is {text!r:.40} instead of a number') from None


def _check_names(names: Counter[str], classes: Sequence[str], where: str, origin: str) -> list[Problem]:
    unused = [name for name in names if name not in classes]
    absent = [name for name in classes if name not in names]
    misspelt = {name: near for name in absent if (near := nearest(name, unused))}
    if misspelt:
        spelt = ', '.join(f'{name!r}{near}' for name, near in misspelt.items())
        message = (
            f'no object is called {spelt}, named by {origin}; mmdet would skip the others: use the names of the files'
        )
        return [Problem('error', where, message)]
    problems = []
    if unused:
        lost = sum(names[name] for name in unused)
        message = f'objects are called {listing(unused)}, which {origin} lacks; mmdet skips these {lost} objects'
        problems.append(Problem('warning', where, f'{message}: add the names unless that is what you want'))
    if absent and len(absent) == len(classes):
        message = f'no object has a name of {origin} ({listing(list(classes))}); set `metainfo=dict(classes=...)`'
        problems.append(Problem('error', where, message))
    return problems
