"""Settings of WIDER FACE's official evaluation: which faces of which image count as easy, medium or hard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat

from .face_truth import Flags, Floats

SETTINGS = ('easy', 'medium', 'hard')
_FORMAT = 'mmdet_ext WIDER FACE settings'
_WHERE = (
    'the .mat files are in the folder ground_truth of the official evaluation tools, eval_tools.zip at '
    'http://shuoyang1213.me/WIDERFACE; name that folder, or a json written by tools/dataset_tools/wider_mat2json.py'
)


class ImageSettings(NamedTuple):
    """Faces of one image.

    Attributes:
        boxes: (K, 4) x1, y1, x2, y2 with x2 = x + w, as the official code has them.
        keeps: (settings, K) whether a face counts in a setting; it is ignored in the others.
    """

    boxes: Floats
    keeps: Flags


def read_settings(path: str | Path) -> dict[str, ImageSettings]:
    """Read the settings of all images from the official folder or from a converted json.

    Returns:
        Settings by image, 'EVENT/FILE' without extension, in the order of `SETTINGS`.

    Raises:
        FileNotFoundError: The folder, one of its four files, or the json is missing.
        ValueError: A file is not what it should be.
    """
    path = Path(path)
    content = _read_mats(path) if path.is_dir() else _read_json(path)
    settings = {}
    for name, image in content.items():
        boxes = np.array(image['boxes'], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        keeps = np.zeros((len(SETTINGS), len(boxes)), bool)
        for row, setting in zip(keeps, SETTINGS, strict=True):
            chosen = np.array(image[setting], int)
            if chosen.size and (chosen.min() < 0 or chosen.max() >= len(boxes)):
                raise ValueError(f'{path}: {setting} names face {chosen.max()} of {name}, which has {len(boxes)} faces')
            row[chosen] = True
        settings[name] = ImageSettings(boxes, keeps)
    return settings


def wider_mat_to_json(folder: str | Path, out: str | Path) -> dict[str, int]:
    """Write the official .mat files as one json.

    The json holds `format` and `images`: for 'EVENT/FILE' without extension `boxes` [x, y, w, h] and for each setting
    the indices of the faces that count, from 0.

    Args:
        folder: With wider_face_val.mat and wider_{easy,medium,hard}_val.mat.
        out: File to write.

    Returns:
        Number of `images`, `faces` and of the faces of each setting.

    Raises:
        FileNotFoundError: The folder or one of its four files is missing.
        ValueError: A file is not what it should be.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} is no folder: {_WHERE}')
    images = _read_mats(folder)
    read_settings(folder)  # checks the indices before anything is written
    Path(out).write_text(json.dumps({'format': _FORMAT, 'images': images}) + '\n', encoding='utf-8')
    counts = {setting: sum(len(image[setting]) for image in images.values()) for setting in SETTINGS}
    return {'images': len(images), 'faces': sum(len(image['boxes']) for image in images.values())} | counts


def _read_json(path: Path) -> Mapping[str, Mapping[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist: {_WHERE}')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is no json: {_WHERE}') from error
    if not isinstance(content, dict) or content.get('format') != _FORMAT:
        raise ValueError(f'{path} does not hold settings of WIDER FACE: {_WHERE}')
    return content['images']


def _read_mats(folder: Path) -> dict[str, dict[str, Any]]:
    """Boxes x, y, w, h and indices from 0 by image."""
    events = _read_mat(folder / 'wider_face_val.mat', ('event_list', 'file_list', 'face_bbx_list'))
    lists = [_read_mat(folder / f'wider_{setting}_val.mat', ('gt_list',))[0] for setting in SETTINGS]
    images = {}
    for event, files, boxes, *chosen in _together(folder, 'events', *events, *lists):
        for file, faces, *indices in _together(folder, f'images of {_text(event)}', files, boxes, *chosen):
            name = f'{_text(event)}/{_text(file)}'
            rows = np.asarray(faces, np.float64)
            if rows.size % 4:
                raise ValueError(f'{folder / "wider_face_val.mat"}: the boxes of {name} have the shape {rows.shape}')
            images[name] = {'boxes': rows.reshape(-1, 4).tolist()} | {
                setting: (np.asarray(one).ravel().astype(int) - 1).tolist()
                for setting, one in zip(SETTINGS, indices, strict=True)
            }
    return images


def _read_mat(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing: {_WHERE}')
    try:
        content = loadmat(str(path))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f'{path} is no .mat file that scipy can read ({error}): {_WHERE}') from error
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f'{path} holds no {missing[0]}: {_WHERE}')
    return [content[key] for key in keys]


def _together(folder: Path, what: str, *cells: np.ndarray) -> zip:
    """Go through cell arrays side by side."""
    columns = [np.asarray(cell).ravel() for cell in cells]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f'{folder}: the .mat files list {[len(column) for column in columns]} {what}; {_WHERE}')
    return zip(*columns, strict=True)


def _text(cell: Any) -> str:
    return str(np.asarray(cell).ravel()[0])
