"""Label files of WIDER FACE: the official ones, and those of RetinaFace with five landmarks a face.

Official (http://shuoyang1213.me/WIDERFACE, `wider_face_split/wider_face_{train,val}_bbx_gt.txt`): a line with the name
of the image, one with the number of faces, one for each face: x, y, width, height, blur, expression, illumination,
invalid, occlusion, pose. An image without faces has the number 0 and then one line of ten zeros.

RetinaFace (`retinaface_gt_v1.1/{train,val}/label.txt`): a line `# name`, then one for each face. Training has 20
numbers: x, y, width, height, five times x, y, b, and blur; validation has the first four. b is 0 for a visible
landmark, above 0 for a hidden one; -1 -1 -1 is a landmark that was not labelled.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

_OFFICIAL = 10
_INVALID = 7
_WITH_LANDMARKS = 20
_BOX = 4
_MISSING = -1.0


@dataclass(frozen=True)
class WiderFace:
    """One line of a label file.

    Attributes:
        box: x, y, width, height in pixels; width and height may be 0.
        keypoints: x, y, v of the five landmarks, one after the other, v 0 (absent, x = y = 0), 1 (hidden) or 2
            (visible); None where the file has none for this face.
        invalid: The official flag: a face that is not to be counted.
    """

    box: tuple[float, float, float, float]
    keypoints: list[float] | None = None
    invalid: bool = False


@dataclass
class WiderImage:
    """Faces of one image.

    Attributes:
        name: `EVENT/FILE.jpg`, below the image folder.
        line: Where it stands in the label file, from 1.
        faces: In the order of the file.
    """

    name: str
    line: int
    faces: list[WiderFace] = field(default_factory=list)


def read_wider_labels(path: str | os.PathLike[str]) -> list[WiderImage]:
    """Read a label file of either format; a first line with `#` is RetinaFace's.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is empty, a line has too few or too many numbers or something else than numbers, a size is
            negative, a landmark is half missing, or an image stands there twice; with file and line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'the label file {path} does not exist; correct `ann_file` or `data_root`')
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'the label file {path} cannot be read as text in UTF-8: {error}') from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError(f'{path} is empty; it must be a label file of WIDER FACE or RetinaFace')
    read = _read_retinaface if lines[0][1].startswith('#') else _read_official
    images: dict[str, WiderImage] = {}
    for image in read(lines, path):
        first = images.setdefault(image.name, image)
        if first is not image:
            raise ValueError(
                f'{path}, line {image.line}: the image {image.name} stands there already in line {first.line}; an '
                'image must have all its faces in one place'
            )
    return list(images.values())


def _read_retinaface(lines: list[tuple[int, str]], path: str | os.PathLike[str]) -> Iterator[WiderImage]:
    image: WiderImage | None = None
    for number, line in lines:
        where = f'{path}, line {number}'
        if line.startswith('#'):
            if image is not None:
                yield image
            image = WiderImage(line[1:].strip(), number)
            if not image.name:
                raise ValueError(f'{where}: there is no name of an image behind the #')
        elif image is not None:
            needed = f'{_WITH_LANDMARKS} (box, landmarks, blur) or {_BOX} (box)'
            values = _numbers(line, where, (_WITH_LANDMARKS, _BOX), needed)
            keypoints = _landmarks(values[_BOX:-1], where) if len(values) == _WITH_LANDMARKS else None
            image.faces.append(WiderFace(_box(values, where), keypoints))
    if image is not None:
        yield image


def _read_official(lines: list[tuple[int, str]], path: str | os.PathLike[str]) -> Iterator[WiderImage]:
    place = 0
    while place < len(lines):
        number, name = lines[place]
        image = WiderImage(name, number)
        count = lines[place + 1][1] if place + 1 < len(lines) else ''
        if not (count.isdecimal() and count.isascii() and len(count) < 10):
            where = f'{path}, line {number}'
            raise ValueError(f'{where}: {name!r} is followed by {count!r:.40}, not by its number of faces')
        place += 2
        for row in range(int(count)):
            if place == len(lines):
                raise ValueError(f'{path}, line {number}: {name} has {count} faces, but the file ends after {row}')
            where = f'{path}, line {lines[place][0]}'
            values = _numbers(lines[place][1], where, (_OFFICIAL,), f'{_OFFICIAL} (box and six flags)')
            image.faces.append(WiderFace(_box(values, where), invalid=values[_INVALID] != 0))
            place += 1
        if int(count) == 0 and place < len(lines) and set(lines[place][1].split()) == {'0'}:
            place += 1
        yield image


def _numbers(line: str, where: str, lengths: tuple[int, ...], needed: str) -> list[float]:
    words = line.split()
    try:
        # float() also takes the digits of other scripts, and 1_0 for 10.
        values = [float(word) if word.isascii() and '_' not in word else math.nan for word in words]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ValueError(f'{where}: a face is a line of numbers, got {line!r:.80}')
    if len(values) not in lengths:
        raise ValueError(f'{where}: a face has {len(values)} numbers, but {needed} are needed')
    return values


def _box(values: list[float], where: str) -> tuple[float, float, float, float]:
    x, y, width, height = values[:_BOX]
    if width < 0 or height < 0:
        raise ValueError(f'{where}: a face has the negative size {width:g} x {height:g}')
    return x, y, width, height


def _landmarks(values: list[float], where: str) -> list[float] | None:
    keypoints: list[float] = []
    for x, y, hidden in zip(values[0::3], values[1::3], values[2::3], strict=True):
        if x == y == _MISSING:
            keypoints += [0.0, 0.0, 0.0]
        elif hidden < 0:
            raise ValueError(
                f'{where}: the landmark {x:g} {y:g} {hidden:g} is neither missing (-1 -1 -1) nor labelled (x y 0 or 1)'
            )
        else:
            keypoints += [x, y, 1.0 if hidden > 0 else 2.0]
    return keypoints if any(keypoints) else None
