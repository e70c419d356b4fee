"""Detections of one image in three formats, and boxes in three.

- mmdet 3: `pred_instances` with `bboxes` (n, 4) xyxy, `scores` (n,) and `labels` (n,).
- per class (mmdet before 3.0, and many mAP functions): a list of C arrays (k, 5), columns x1, y1, x2, y2, score; which
  class it is says the place in the list, so there are no labels.
- COCO results: a list of `{'image_id', 'category_id', 'bbox': [x, y, w, h], 'score'}`.

All in pixels of the same image; nothing is rounded and no 1 is added. Masks and landmarks are not carried: mmdet's
`CocoMetric(format_only=True)` writes masks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmdet.structures.bbox import bbox2result, bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from .label_convention import category_ids_to_labels, check_labels, labels_to_category_ids

BoxFormat = Literal['xyxy', 'xywh', 'cxcywh']
FORMATS = ('xyxy', 'xywh', 'cxcywh')


def convert_boxes(boxes: Tensor, source: BoxFormat, target: BoxFormat) -> Tensor:
    """Boxes in another format, by mmdet's functions where it has them.

    Args:
        boxes: (..., 4), floating point. xyxy: two corners; xywh: the upper left corner and size (COCO); cxcywh: centre
            and size (YOLO).
        source: what they are.
        target: what is wanted.

    Raises:
        ValueError: an unknown format, another last dimension than 4, or integers (a centre may lie between pixels).
    """
    for name in (source, target):
        if name not in FORMATS:
            raise ValueError(f'the box format is {name!r}, allowed are {", ".join(FORMATS)}')
    if boxes.shape[-1:] != (4,) or not boxes.is_floating_point():
        raise ValueError(f'boxes are {tuple(boxes.shape)} {boxes.dtype}, needed are floats (..., 4)')
    if source == target:
        return boxes
    if source == 'cxcywh':
        boxes = bbox_cxcywh_to_xyxy(boxes)
    elif source == 'xywh':
        boxes = torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)
    if target == 'cxcywh':
        boxes = bbox_xyxy_to_cxcywh(boxes)
    elif target == 'xywh':
        boxes = torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)
    return boxes


def to_class_arrays(pred: InstanceData, num_classes: int) -> list[NDArray[np.float32]]:
    """`pred_instances` -> C arrays (k, 5), by mmdet's `bbox2result`, in the order of the detections.

    Args:
        pred: with `bboxes`, `scores` and `labels`.
        num_classes: C, without background.

    Raises:
        ValueError: a label outside of 0 to C - 1 (`bbox2result` would drop the box).
    """
    labels = check_labels(pred.labels, num_classes)
    rows = torch.cat([pred.bboxes.float(), pred.scores.float()[:, None]], dim=1)
    return bbox2result(rows, labels, num_classes)


def from_class_arrays(arrays: Sequence[NDArray[np.floating]]) -> InstanceData:
    """C arrays (k, 5) -> `pred_instances` on the CPU, class by class.

    Raises:
        ValueError: an array of another shape, the class is named.
    """
    for label, array in enumerate(arrays):
        if np.ndim(array) != 2 or np.shape(array)[1] != 5:
            raise ValueError(f'class {label} has an array of shape {np.shape(array)}, needed is (k, 5)')
    counts = torch.tensor([len(array) for array in arrays], dtype=torch.long)
    rows = torch.from_numpy(np.concatenate([np.zeros((0, 5), np.float32), *arrays]).astype(np.float32))
    labels = torch.arange(len(arrays)).repeat_interleave(counts)
    return InstanceData(bboxes=rows[:, :4], scores=rows[:, 4], labels=labels)


def to_coco_results(pred: InstanceData, image_id: int, cat_ids: Sequence[int]) -> list[dict[str, Any]]:
    """`pred_instances` -> COCO results, as `CocoMetric` writes them.

    Args:
        pred: with `bboxes`, `scores` and `labels`.
        image_id: of the COCO json.
        cat_ids: category id of each class.

    Raises:
        ValueError: a label without category, or a box or score that is not finite, which json has no number for.
    """
    categories = labels_to_category_ids(pred.labels, cat_ids).tolist()
    finite = pred.bboxes.isfinite().all(1) & pred.scores.isfinite()
    if not finite.all():
        raise ValueError(
            f'image {image_id}: detection {int((~finite).nonzero()[0])} has a box or score that is not finite'
        )
    boxes = convert_boxes(pred.bboxes.float(), 'xyxy', 'xywh').tolist()
    rows = zip(categories, boxes, pred.scores.tolist(), strict=True)
    return [dict(image_id=image_id, category_id=label, bbox=box, score=score) for label, box, score in rows]


def from_coco_results(results: Sequence[Mapping[str, Any]], cat_ids: Sequence[int]) -> dict[int, InstanceData]:
    """COCO results -> image id to `pred_instances`, in the order of the results.

    Raises:
        KeyError: a result lacks one of the four keys, its number is named.
        ValueError: a category id that `cat_ids` lacks, or a box without four numbers.
    """
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for number, result in enumerate(results):
        absent = [key for key in ('image_id', 'category_id', 'bbox', 'score') if key not in result]
        if absent:
            raise KeyError(f'result {number} has no {", ".join(absent)}; a COCO result needs them')
        if len(result['bbox']) != 4:
            raise ValueError(f'result {number} has the box {result["bbox"]}, needed is [x, y, w, h]')
        groups.setdefault(result['image_id'], []).append(result)
    return {image: _instances(group, cat_ids) for image, group in groups.items()}


def _instances(group: Sequence[Mapping[str, Any]], cat_ids: Sequence[int]) -> InstanceData:
    boxes = torch.tensor([list(result['bbox']) for result in group], dtype=torch.float32)
    return InstanceData(
        bboxes=convert_boxes(boxes, 'xywh', 'xyxy'),
        scores=torch.tensor([result['score'] for result in group], dtype=torch.float32),
        labels=category_ids_to_labels(torch.tensor([result['category_id'] for result in group]), cat_ids),
    )
