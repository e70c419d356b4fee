"""COCO masks from VOC's segmentation pictures, whose value 255 is the border between objects and background."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmdet.datasets import VOCDataset
from mmengine.logging import print_log
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.ndimage import distance_transform_edt

from ..image_checks import image_fault
from ..problems import listing
from .masks_to_parts import read_mask

BORDER = 255
_CLASS = 'SegmentationClass'
Border = Literal['nobody', 'object']


def voc_masks_to_coco(
    data_root: str | Path,
    image_set: str,
    out: str | Path,
    prefix: str = '',
    classes: Sequence[str] = VOCDataset.METAINFO['classes'],
    border: Border = 'nobody',
    reach: float = 5.0,
) -> dict[str, Any]:
    """Read `SegmentationObject` and `SegmentationClass` and write one mask (RLE) per object.

    `file_name` is relative to `JPEGImages`, so that with `data_prefix=dict(img='.../JPEGImages/',
    seg='.../SegmentationClass/')` and `LoadAnnotations(with_seg=True, imdecode_backend='pillow')` mmdet finds VOC's own
    class pictures beside the masks: there the border stays 255, the `ignore_index` of mmdet's semantic losses, so it is
    neither object nor background. An instance mask head knows no ignored pixels: what is in no mask is background to it
    inside of a box, and `border='object'` is the choice that keeps the seam of an object from being that.

    Boxes are those of the masks, whole pixels; `difficult` is not known to the pictures.

    Args:
        data_root: folder of the data set.
        image_set: text file of image names, relative to `data_root`, for instance
            `VOC2012/ImageSets/Segmentation/train.txt`.
        out: json file to write.
        prefix: folder of `JPEGImages`, `SegmentationObject` and `SegmentationClass`, relative to `data_root`.
        classes: names of the pixel values 1, 2, ... of `SegmentationClass`; default: VOC's twenty.
        border: `'nobody'`: pixels of 255 are in no mask; `'object'`: those at most `reach` away from an object belong
            to the nearest one (of equally near ones to any).
        reach: in pixels. VOC's border is about 5 wide; larger areas of 255 are objects nobody wanted to judge.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: the image set or a picture is not there.
        ValueError: the image set is empty, a picture cannot be read or differs in size from its image, a class value
            has no name, an object has no class, or an option is none of those above.
    """
    if border not in ('nobody', 'object'):
        raise ValueError(f"border={border!r}, allowed are 'nobody' and 'object'")
    root = Path(data_root, prefix)
    names = Path(data_root, image_set).read_text(encoding='utf-8').split()
    if not names:
        raise ValueError(f'{Path(data_root, image_set)} is empty; it must list one image name per line')
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    mixed: list[str] = []
    for number, name in enumerate(names, start=1):
        objects, labels = (_picture(root / folder / f'{name}.png') for folder in ('SegmentationObject', _CLASS))
        size = (objects.shape[1], objects.shape[0])
        if labels.shape != objects.shape:
            raise ValueError(f'{name}.png has {size} pixels in SegmentationObject, {labels.shape[::-1]} in {_CLASS}')
        fault = image_fault(str(root / 'JPEGImages' / f'{name}.jpg'), size)
        if fault is not None:
            raise ValueError(f'images below {root / "JPEGImages"} {fault[0]}: {name}.jpg{fault[1]}')
        images.append({'id': number, 'file_name': f'{name}.jpg', 'width': size[0], 'height': size[1]})
        kinds = object_classes(objects, labels, len(classes), name)
        mixed += [f'{name}, object {key}' for key, (_, pure) in kinds.items() if not pure]
        filled = give_border(objects, reach) if border == 'object' else objects
        annotations += [
            {'id': len(annotations) + place, 'image_id': number, 'category_id': kind, **mask_fields(filled == key)}
            for place, (key, (kind, _)) in enumerate(kinds.items(), start=1)
        ]
    if mixed:
        text = f'{len(mixed)} objects have pixels of several classes and got the most frequent one: {listing(mixed)}'
        print_log(text, 'current', logging.WARNING)
    categories = [{'id': number, 'name': name} for number, name in enumerate(classes, start=1)]
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(coco), encoding='utf-8')
    return coco


def object_classes(
    objects: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int, name: str
) -> dict[int, tuple[int, bool]]:
    """Object value -> its class value, and whether all its pixels agree (background and border aside).

    Args:
        objects: (H, W), 0 background, 255 border.
        labels: (H, W) class values, likewise.
        num_classes: class values are 1 to this.
        name: of the picture, for the sentence.

    Raises:
        ValueError: a class value without name, or an object without class.
    """
    strange = sorted({*np.unique(labels).tolist()} - {*range(num_classes + 1), BORDER})
    if strange:
        raise ValueError(
            f'{_CLASS}/{name}.png has the values {listing(strange)}, but there are {num_classes} classes (0 is '
            f'background, {BORDER} border); give the classes of these pictures, in the order of their values'
        )
    found: dict[int, tuple[int, bool]] = {}
    for key in sorted({*np.unique(objects).tolist()} - {0, BORDER}):
        counts = np.bincount(labels[objects == key], minlength=num_classes + 1)[1 : num_classes + 1]
        if not counts.any():
            raise ValueError(f'object {key} of SegmentationObject/{name}.png has no class in {_CLASS}; correct one')
        found[key] = (int(counts.argmax()) + 1, np.count_nonzero(counts) == 1)
    return found


def give_border(objects: NDArray[np.integer], reach: float) -> NDArray[np.integer]:
    """Object values (H, W) in which border pixels at most `reach` away from an object have its value."""
    bare = (objects == 0) | (objects == BORDER)
    if bare.all():
        return objects
    distance, (rows, columns) = distance_transform_edt(bare, return_indices=True)
    return np.where((objects == BORDER) & (distance <= reach), objects[rows, columns], objects)


def mask_fields(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """What a COCO annotation says about a mask (H, W) that is not empty: RLE, box in whole pixels, area."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        'segmentation': {'size': [int(n) for n in rle['size']], 'counts': rle['counts'].decode()},
        'bbox': coco_mask.toBbox(rle).tolist(),
        'area': int(coco_mask.area(rle)),
        'iscrowd': 0,
    }


def _picture(path: Path) -> NDArray[np.integer]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; correct the image set or the prefix')
    return read_mask(path)
