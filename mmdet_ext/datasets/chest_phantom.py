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

Layout of a data set: that of `phantom_files`, the annotations with boxes, polygons and the look of each object, and the
side file `annotations/parts_{train,val}.json` (`{file_name: {part: [x, y, w, h]}}`).
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .phantoms.chest_drawing import draw_chest
from .phantoms.chest_scene import Scene, draw_scene
from .phantoms.phantom_drawing import Pixels, bounds, contact_sheet
from .phantoms.phantom_files import Phantom, Picture, content_hash, make_phantom, xywh

CLASSES = ('nodule', 'multiple nodules', 'diffuse nodules', 'cavity', 'fibrosis', 'atelectasis', 'consolidation',
           'tuberculosis', 'mass', 'pleural effusion')  # fmt: skip
PARTS = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')
VERSION = '1'
_SIDE_FILES = ('parts',)


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
    """Content hash of a generated data set, see `content_hash`."""
    return content_hash(out, _SIDE_FILES)


def make_chest_phantom(
    out: str | os.PathLike[str], train: int = 600, val: int = 200, size: int = 160, seed: int = 0,
    preview: bool = True, progress: bool = True, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write the data set, or find it already written; arguments, result and errors are those of `make_phantom`.

    The same scene at another `size` shows the same patient.
    """
    categories = [{'id': i + 1, 'name': name} for i, name in enumerate(CLASSES)]
    phantom = Phantom('chest phantom', VERSION, categories, _draw, _preview, _SIDE_FILES)
    return make_phantom(phantom, out, train, val, size, seed, preview, progress, overwrite)


def _draw(key: tuple[int, int, int], size: int) -> Picture:
    scene = draw_scene(key)
    pixels = draw_chest(scene, size, np.random.default_rng((*key, size)))
    parts = {part: xywh(box * size) for part, box in scene.patient.parts().items()}
    return Picture(pixels, _annotate(scene, size), {'parts': parts})


def _annotate(scene: Scene, size: int) -> list[dict[str, Any]]:
    annotations = []
    for i, name in enumerate(name_classes([lesion.look for lesion in scene.lesions])):
        corners = np.round(np.clip(scene.lesions[i].outline, 0, 1) * size, 2)
        polygon = corners.reshape(-1).tolist()
        area = float(coco_mask.area(coco_mask.frPyObjects([polygon], size, size))[0])
        annotations.append({
            'category_id': CLASSES.index(name) + 1, 'bbox': xywh(bounds(corners)), 'area': area, 'iscrowd': 0,
            'segmentation': [polygon], 'look': scene.lesions[i].look,
        })  # fmt: skip
    return annotations


def _preview(images: Sequence[Pixels], objects: Sequence[list[dict[str, Any]]]) -> Pixels:
    boxes = [[a['bbox'] for a in found] for found in objects]
    return contact_sheet(images, boxes, [[a['category_id'] - 1 for a in found] for found in objects], CLASSES)
