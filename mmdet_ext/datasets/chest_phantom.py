"""The chest phantom: synthetic chest radiographs with ten classes, six of which only their context tells apart.

It needs no download and is the same for everybody; it is not clinical data, and results on it say
nothing about patients.

Rules that name the classes, frozen with `VERSION`:

=======================  ====================================================================================
what the object looks    its class
=======================  ====================================================================================
small round              nodule / multiple nodules / diffuse nodules: 1 / 2 to 4 / 5 and more in the image
medium blurred           tuberculosis when the image has a cavity; else atelectasis when it has an effusion;
                         else consolidation
mass, cavity, fibrosis   by their look
effusion                 pleural effusion
=======================  ====================================================================================

Looks and positions of the look-alikes come from one distribution, and how often a look appears does not depend on the
other looks. `read_by_rules` reads boxes and looks, never classes, and reaches AP 1.0.

Layout of a data set: `images/{train,val}/000001.png`, `annotations/{train,val}.json` (COCO with boxes, polygons and the
look of each object), `annotations/parts_{train,val}.json` (`{file_name: {part: [x, y, w, h]}}`), `phantom.json` (how it
was made and its content hash) and `preview.png`.
"""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from .chest_drawing import draw_chest
from .chest_scene import Scene, draw_scene
from .phantom_drawing import Floats, bounds, contact_sheet

CLASSES = ('nodule', 'multiple nodules', 'diffuse nodules', 'cavity', 'fibrosis', 'atelectasis', 'consolidation',
           'tuberculosis', 'mass', 'pleural effusion')  # fmt: skip
PARTS = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')
VERSION = '1'
SPLITS = ('train', 'val')
_NAME = 'chest phantom'
_PREVIEW_IMAGES = 12


def name_classes(looks: Sequence[str]) -> list[str]:
    """Apply the rules to all objects of one image.

    Args:
        looks: Look of each object.

    Returns:
        Class name of each object.

    Raises:
        ValueError: A look is unknown.
    """
    present = Counter(looks)
    small = present['small round']
    names = {
        'small round': 'nodule' if small == 1 else 'multiple nodules' if small <= 4 else 'diffuse nodules',
        'medium blurred': (
            'tuberculosis' if present['cavity'] else 'atelectasis' if present['effusion'] else 'consolidation'
        ),
        'mass': 'mass', 'cavity': 'cavity', 'fibrosis': 'fibrosis', 'effusion': 'pleural effusion',
    }  # fmt: skip
    unknown = sorted(set(looks) - set(names))
    if unknown:
        raise ValueError(f'unknown look {unknown[0]!r}; known are {sorted(names)}')
    return [names[look] for look in looks]


def read_by_rules(coco: dict[str, Any]) -> list[dict[str, Any]]:
    """Detections of a reader that knows the rules and sees box and look of each object, never its class.

    Args:
        coco: Content of an annotation file of the phantom.

    Returns:
        COCO results: `image_id`, `category_id`, `bbox`, `score`.
    """
    ids = {category['name']: category['id'] for category in coco['categories']}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in coco['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    return [
        {'image_id': image_id, 'category_id': ids[name], 'bbox': list(found['bbox']), 'score': 1.0}
        for image_id, objects in by_image.items()
        for found, name in zip(objects, name_classes([o['look'] for o in objects]), strict=True)
    ]


def phantom_hash(out: str | os.PathLike[str]) -> str:
    """Content hash of a generated data set: sha256 over decoded pixels and annotations, not over PNG bytes.

    Raises:
        FileNotFoundError: A file of the data set is missing or unreadable.
    """
    root = Path(out)
    digest = hashlib.sha256()
    for split in SPLITS:
        coco, parts = (_read_json(root / 'annotations' / name) for name in (f'{split}.json', f'parts_{split}.json'))
        content = {key: value for key, value in coco.items() if key != 'info'}
        digest.update(json.dumps([split, content, parts], sort_keys=True).encode())
        for image in coco['images']:
            path = root / 'images' / split / image['file_name']
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
            if pixels is None:
                raise FileNotFoundError(f'image {path} is missing or not readable; make the phantom again')
            digest.update(str(pixels.shape).encode() + pixels.tobytes())
    return digest.hexdigest()


def make_chest_phantom(
    out: str | os.PathLike[str], train: int = 600, val: int = 200, size: int = 160, seed: int = 0,
    preview: bool = True, progress: bool = True, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write the data set, or find it already written.

    Image k of a split depends on `seed`, split and k only: a larger set starts with the smaller one. The same scene at
    another `size` shows the same patient. The folder appears under its name when it is complete, never before.

    Args:
        out: Folder to create; an existing data set of the same parameters and content is left alone.
        train: Number of training images.
        val: Number of validation images.
        size: Side of the images in pixels, at least 64.
        seed: Whole number >= 0.
        preview: Whether to write the contact sheet.
        progress: Whether to show a progress bar.
        overwrite: Whether a different or damaged phantom in `out` may be replaced.

    Returns:
        Content of `phantom.json`: `name`, `version`, `seed`, `size`, `counts` (images per split), `classes` (objects
        per split and class) and `hash`; and `reused`, whether the data set was there before.

    Raises:
        ValueError: A bad number, or `out` holds something else.
    """
    for name, value, low, high in (('train', train, 0, 999_999), ('val', val, 0, 999_999), ('size', size, 64, 4096),
                                   ('seed', seed, 0, 2**63)):  # fmt: skip
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f'{name} must be a whole number from {low} to {high}, got {value!r}')
    if train + val == 0:
        raise ValueError('train and val are both 0: nothing to draw')
    root = Path(out).resolve()
    wanted = {'name': _NAME, 'version': VERSION, 'seed': seed, 'size': size, 'counts': {'train': train, 'val': val}}
    found = _existing(root, wanted, overwrite)
    if found:
        return found | {'reused': True}
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}.', dir=root.parent) as work:
        fresh = Path(work) / 'phantom'
        info = _write(fresh, wanted, preview, progress)
        if root.exists():
            root.rename(Path(work) / 'replaced')
        fresh.rename(root)
    return info | {'reused': False}


def _existing(root: Path, wanted: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Info of the wanted data set when it stands in `root`; None when `root` is free to be written."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    stored = _read_json(root / 'phantom.json') if (root / 'phantom.json').is_file() else {}
    if stored.get('name') != _NAME:
        raise ValueError(f'{root} exists and is not a {_NAME}: choose another folder for --out')
    if overwrite:
        return None
    different = [
        f'{key} {stored.get(key)!r} instead of {value!r}' for key, value in wanted.items() if stored.get(key) != value
    ]
    if different:
        raise ValueError(
            f'{root} holds another phantom ({", ".join(different)}): add --overwrite or choose another --out'
        )
    try:
        intact = phantom_hash(root) == stored['hash']
    except (FileNotFoundError, KeyError):
        intact = False
    if not intact:
        raise ValueError(f'{root} is damaged, its content does not match its hash: add --overwrite to make it again')
    return stored


def _write(root: Path, wanted: dict[str, Any], preview: bool, progress: bool) -> dict[str, Any]:
    """Draw everything into the new folder `root`."""
    (root / 'annotations').mkdir(parents=True)
    for index, split in enumerate(SPLITS):
        (root / 'images' / split).mkdir(parents=True)
        coco: dict[str, Any] = {
            'images': [], 'annotations': [],
            'categories': [{'id': i + 1, 'name': name} for i, name in enumerate(CLASSES)],
        }  # fmt: skip
        parts: dict[str, dict[str, list[float]]] = {}
        size = wanted['size']
        for k in tqdm(range(wanted['counts'][split]), desc=f'{_NAME}, {split}', unit='image', disable=not progress):
            name, key = f'{k + 1:06d}.png', (wanted['seed'], index, k)
            scene = draw_scene(key)
            pixels = draw_chest(scene, size, np.random.default_rng((*key, size)))
            if not cv2.imwrite(str(root / 'images' / split / name), pixels):
                raise OSError(f'cannot write {root / "images" / split / name}')
            coco['images'].append({'id': k + 1, 'file_name': name, 'width': size, 'height': size})
            coco['annotations'] += _annotate(scene, size, k + 1, len(coco['annotations']) + 1)
            parts[name] = {part: _xywh(box * size) for part, box in scene.patient.parts().items()}
        _write_json(root / 'annotations' / f'{split}.json', coco)
        _write_json(root / 'annotations' / f'parts_{split}.json', parts)
    info = wanted | {'hash': phantom_hash(root)}
    classes = {}
    for split in SPLITS:
        coco = _read_json(root / 'annotations' / f'{split}.json')
        _write_json(root / 'annotations' / f'{split}.json', {'info': info} | coco)
        objects = Counter(annotation['category_id'] for annotation in coco['annotations'])
        classes[split] = {name: objects[i + 1] for i, name in enumerate(CLASSES)}
        if preview and coco['images'] and not (root / 'preview.png').exists():
            _preview(root, split, coco)
    _write_json(root / 'phantom.json', info | {'classes': classes})
    return info | {'classes': classes}


def _annotate(scene: Scene, size: int, image_id: int, first_id: int) -> list[dict[str, Any]]:
    annotations = []
    for i, name in enumerate(name_classes([lesion.look for lesion in scene.lesions])):
        corners = np.round(np.clip(scene.lesions[i].outline, 0, 1) * size, 2)
        polygon = corners.reshape(-1).tolist()
        area = float(coco_mask.area(coco_mask.frPyObjects([polygon], size, size))[0])
        annotations.append({
            'id': first_id + i, 'image_id': image_id, 'category_id': CLASSES.index(name) + 1,
            'bbox': _xywh(bounds(corners)), 'area': area, 'iscrowd': 0, 'segmentation': [polygon],
            'look': scene.lesions[i].look,
        })  # fmt: skip
    return annotations


def _xywh(box: Floats) -> list[float]:
    x1, y1, x2, y2 = np.round(box, 2).tolist()
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]


def _preview(root: Path, split: str, coco: dict[str, Any]) -> None:
    shown = coco['images'][:_PREVIEW_IMAGES]
    objects = [[a for a in coco['annotations'] if a['image_id'] == image['id']] for image in shown]
    sheet = contact_sheet(
        [np.asarray(cv2.imread(str(root / 'images' / split / image['file_name']), 0), np.uint8) for image in shown],
        [[a['bbox'] for a in found] for found in objects],
        [[a['category_id'] - 1 for a in found] for found in objects],
        CLASSES,
    )
    cv2.imwrite(str(root / 'preview.png'), sheet)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; make the phantom again')
    return json.loads(path.read_text(encoding='utf-8'))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(',', ':')) + '\n', encoding='utf-8')
