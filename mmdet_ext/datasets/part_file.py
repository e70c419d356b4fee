"""Part boxes: `{file_name: {"left lung": [x, y, w, h], ...}}` in pixels of the original images, read and checked.

The file is keyed by file name, not by image id, because inference has no ids. A part that an image lacks is left out of
its entry.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .box_checks import check_boxes, number_rows
from .checks import load_object
from .image_checks import Size
from .problems import Problem, listing, nearest

Boxes = NDArray[np.float32]
# Names more alike than this (difflib's ratio) are one name and its misspelling; 'left lung' and 'left scapula' are 0.6.
MISSPELT = 0.8
_FIX = 'correct them, or leave a part out that the image lacks: a part box is [x, y, width, height] in pixels of the '
_FIX += 'original image'


@dataclass(frozen=True)
class PartTable:
    """Part boxes of many images.

    Args:
        names: P part names.
        boxes: (n, P, 4) xyxy in pixels of the original images; NaN where an image lacks the part.
        rows: Row of each file name.
    """

    names: tuple[str, ...]
    boxes: Boxes
    rows: dict[str, int]

    def find(self, path: str) -> str | None:
        """The file name in the table that is the longest end of this path, in whole folders; None without any."""
        if path in self.rows:
            return path
        parts = os.path.abspath(path).replace(os.sep, '/').split('/')
        ends = ('/'.join(parts[i:]) for i in range(len(parts)))
        return next((end for end in ends if end in self.rows), None)

    def namesakes(self, path: str) -> list[str]:
        """File names in the table that differ from this path in their folder only."""
        name = os.path.basename(path)
        return [key for key in self.rows if key.rsplit('/', 1)[-1] == name]


def check_part_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        ValueError: They are no list of different, non-empty strings.
    """
    if isinstance(names, str):
        raise ValueError(f'part_names is the string {names!r}; a single part needs a comma: part_names=({names!r},)')
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f'part_names must be a non-empty list of names, got {names!r:.80}')
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f'part_names has names that occur more than once: {listing(twice)}; remove them')
    return tuple(names)


def read_part_file(
    part_file: str | os.PathLike[str],
    part_names: Sequence[str],
    images: Mapping[str, Size | None] | None = None,
    optional: bool = False,
) -> tuple[PartTable | None, list[Problem]]:
    """Read a part file and find everything that is wrong with it.

    Errors are a file that cannot be read, an entry or box of a wrong form, a box of no size or outside its image, a
    part that no image has, an image without entry, two images that would share one, and a name that is nearly that of
    a part which its image lacks. Other parts that `part_names` lacks are not used, which is a warning: wanted or not.

    Args:
        part_file: The json file.
        part_names: P names wanted, in their order.
        images: (width, height) of every image that will be looked up, by path; None where the size is unknown.
        optional: Whether an image may lack an entry; at least one must have its own.

    Returns:
        The table, None where the file is not usable at all, and the problems.
    """
    where = os.fspath(part_file)
    data, fault = load_object(where, '`part_file`', 'part file')
    if fault is not None:
        return None, [Problem('error', where, fault)]
    if not data:
        return None, [Problem('error', where, 'has no entry: it maps file names to part boxes')]
    bad = [name for name, entry in data.items() if not isinstance(entry, dict)]
    if bad:
        message = f'{len(bad)} of {len(data)} entries are no object of part boxes: {listing(bad)}'
        return None, [Problem('error', where, f'{message}; write {{"left lung": [x, y, w, h], ...}}')]
    problems = _check_names(data, part_names, where)
    rows = {name: row for row, name in enumerate(data)}
    table = PartTable(tuple(part_names), np.empty((0, len(part_names), 4), np.float32), rows)
    sizes: dict[str, Size | None] = {}
    if images is not None:
        found = {path: table.find(path) for path in images}
        problems += _check_images(found, where, optional)
        sizes = {key: images[path] for path, key in found.items() if key is not None}
    boxes, faults = part_boxes(data, part_names, sizes, where)
    return PartTable(table.names, boxes, rows), problems + faults


def part_boxes(
    entries: Mapping[str, Mapping[str, Any]], part_names: Sequence[str], sizes: Mapping[str, Size | None], where: str
) -> tuple[Boxes, list[Problem]]:
    """Boxes of the wanted parts, and what is wrong with them.

    Args:
        entries: `{part: [x, y, w, h]}` of n images by file name.
        part_names: P names wanted.
        sizes: (width, height) of the images as far as known.
        where: The file, for the sentences.

    Returns:
        (n, P, 4) xyxy, NaN where a part is missing, and the problems.
    """
    column = {name: i for i, name in enumerate(part_names)}
    places = [(row, name) for row, entry in enumerate(entries.values()) for name in entry if name in column]
    files = list(entries)
    xywh = number_rows([entries[files[row]][name] for row, name in places], 4)
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    limits = np.array([sizes.get(files[row]) or (np.nan, np.nan) for row, _ in places], dtype=float).reshape(-1, 2)
    ids = [f'{files[row]}: {name}' for row, name in places]
    problems = check_boxes(
        corners[:, :2], corners[:, 2:], limits, ids, where, 'entries', _FIX, np.ones(len(ids)), strict=True
    )
    boxes = np.full((len(files), len(column), 4), np.nan, dtype=np.float32)
    if places:
        boxes[[row for row, _ in places], [column[name] for _, name in places]] = corners
    return boxes, problems


def unknown_parts(found: Iterable[str], part_names: Sequence[str]) -> str:
    """The names that `part_names` lacks, each with the nearest of it, as a list; '' if there are none."""
    unknown = [name for name in found if name not in part_names]
    more = f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''
    return ', '.join(f'{name!r}{nearest(name, part_names)}' for name in unknown[:5]) + more


def _check_names(data: Mapping[str, Mapping[str, Any]], part_names: Sequence[str], where: str) -> list[Problem]:
    counts = Counter(name for entry in data.values() for name in entry)
    problems = []
    absent = [name for name in part_names if name not in counts]
    if absent:
        message = f'no image has the part {unknown_parts(absent, list(counts))}, which `part_names` wants'
        problems.append(Problem('error', where, f'{message}; the file has {listing(list(counts), 20) or "none"}'))
    close = {
        name: get_close_matches(name, part_names, n=1, cutoff=MISSPELT) for name in counts if name not in part_names
    }
    misspelt = [
        f'{file}: {name!r} for {match[0]!r}'
        for file, entry in data.items()
        for name, match in close.items()
        if name in entry and match and match[0] not in entry
    ]
    if misspelt:
        message = f'{len(misspelt)} parts seem misspelt, for the image lacks the right one: {listing(misspelt)}'
        problems.append(Problem('error', where, f'{message}; correct the names'))
    unused = unknown_parts(counts, part_names)
    if unused:
        message = f'`part_names` lacks {unused}, so these boxes are not used; add or correct the names'
        problems.append(Problem('warning', where, f'{message} unless that is what you want'))
    return problems


def _check_images(found: Mapping[str, str | None], where: str, optional: bool) -> list[Problem]:
    problems = []
    lacking = [path for path, key in found.items() if key is None]
    if lacking and (not optional or len(lacking) == len(found)):
        message = f'{len(lacking)} of {len(found)} images have no entry: {listing(lacking)}'
        fix = "add them (tools/dataset_tools/masks2parts.py makes part files), or set missing='invalid' in LoadParts"
        problems.append(Problem('error', where, f'{message}; {fix if not optional else "is it another file?"}'))
    owners: dict[str, list[str]] = {}
    for path, key in found.items():
        if key is not None:
            owners.setdefault(key, []).append(path)
    shared = [paths for paths in owners.values() if len(paths) > 1]
    if shared:
        message = f'{len(shared)} entries fit several images, such as {listing(shared[0])}'
        problems.append(Problem('error', where, f'{message}; write the folders into the file names of the part file'))
    return problems
