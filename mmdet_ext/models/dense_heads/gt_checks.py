"""Ground truth that no assigner and no loss can make sense of, named by its image."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList, OptInstanceList
from torch import Tensor


def check_gts(
    batch_gt_instances: InstanceList,
    batch_gt_instances_ignore: OptInstanceList,
    batch_img_metas: Sequence[Mapping],
    num_classes: int,
    owner: str,
    landmarks: Sequence[Tensor] | None = None,
) -> None:
    """One host sync for the whole batch; boxes without extent are fine, an image without boxes too.

    Args:
        batch_gt_instances: with `bboxes` (n, 4) xyxy and `labels` (n,).
        batch_gt_instances_ignore: with `bboxes`, or None; so for every image.
        batch_img_metas: `img_path` or `img_id` names the image.
        num_classes: labels are 0 to `num_classes` - 1.
        owner: who asks, for the message.
        landmarks: per image (n, K, 3), x, y and v, where the head learns them.

    Raises:
        ValueError: a label out of range, a box that is not a number or whose sides are inverted, a landmark whose v is
            not 0 to 2, or which is labelled (v > 0) and not a number.
    """
    ignored = batch_gt_instances_ignore or [None] * len(batch_gt_instances)
    boxes = [get_box_tensor(gts.bboxes) for gts in batch_gt_instances]
    regions = [get_box_tensor(gts.bboxes) for gts in ignored if gts is not None]
    labels = [gts.labels for gts in batch_gt_instances]
    wrong = _wrong_boxes(torch.cat(boxes + regions)).any() | _wrong_labels(torch.cat(labels), num_classes).any()
    if landmarks is not None:
        wrong = wrong | _wrong_landmarks(torch.cat(list(landmarks))).any()
    if wrong:
        points: Sequence[Tensor | None] = [None] * len(boxes) if landmarks is None else landmarks
        found = list(_complaints(batch_gt_instances, ignored, batch_img_metas, num_classes, points))
        raise ValueError(f'{owner}: ' + '; '.join(found[:3]))


def image_name(meta: Mapping) -> str:
    """`image` and its path or id."""
    return f'image {meta.get("img_path") or meta.get("img_id", "of unknown name")}'


def _complaints(
    gts: InstanceList,
    ignored: Sequence[Any],
    metas: Sequence[Mapping],
    num_classes: int,
    landmarks: Sequence[Tensor | None],
) -> Iterator[str]:
    for own, ignore, meta, points in zip(gts, ignored, metas, landmarks, strict=True):
        image = image_name(meta)
        wrong = own.labels[_wrong_labels(own.labels, num_classes)]
        if len(wrong):
            yield (
                f'{image} has the labels {wrong.unique().tolist()}, allowed are 0 to {num_classes - 1}: make '
                f'num_classes and the classes of the data set agree'
            )
        for kind, instances in (('box', own), ('ignored region', ignore)):
            boxes = own.labels.new_zeros(0, 4) if instances is None else get_box_tensor(instances.bboxes)
            wrong = boxes[_wrong_boxes(boxes)]
            if len(wrong):
                yield (
                    f'{image} has the {kind} {wrong[0].tolist()}, allowed are finite (x1, y1, x2, y2) with x1 <= x2 '
                    f'and y1 <= y2: correct its annotation'
                )
        wrong = [] if points is None else points[_wrong_landmarks(points)]
        if len(wrong):
            yield (
                f'{image} has the landmark (x, y, v) = {wrong[0].tolist()}, allowed are v of 0 (not labelled), 1 or 2, '
                f'and finite x and y unless v is 0: correct its annotation'
            )


def _wrong_boxes(boxes: Tensor) -> Tensor:
    return ~boxes.isfinite().all(1) | (boxes[:, 2:] < boxes[:, :2]).any(1)


def _wrong_landmarks(points: Tensor) -> Tensor:
    """(n, K), of points (n, K, 3)."""
    v = points[..., 2]
    return ~((v >= 0) & (v <= 2)) | ((v > 0) & ~points[..., :2].isfinite().all(-1))


def _wrong_labels(labels: Tensor, num_classes: int) -> Tensor:
    return (labels < 0) | (labels >= num_classes)
