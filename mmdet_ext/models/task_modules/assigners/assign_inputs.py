"""What an assigner is given, as float32 tensors, and whether it makes sense."""

from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from .overlap_scan import MAX_LEVELS

# Areas of larger boxes may be no numbers in float32.
LARGEST = 1e18
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def _image_name(gt_instances: InstanceData, img_meta: dict | None) -> str:
    meta = {**dict(gt_instances.metainfo_items()), **(img_meta or {})}
    name = meta.get('img_path', meta.get('img_id'))
    return '' if name is None else f' of image {name}'


def _field(instances: InstanceData, name: str, holder: str, why: str, image: str) -> Any:
    if name not in instances:
        raise ValueError(f'YOLOAssigner: {holder}{image} have no `{name}`; {why}')
    return instances.get(name)


def _boxes(instances: InstanceData, name: str, holder: str, why: str, image: str) -> Tensor:
    # float32 is enough for pixels, and half precision is not: 300 x 300 exceeds the largest float16.
    boxes = get_box_tensor(_field(instances, name, holder, why, image)).detach().float()
    if boxes.shape[1:] != (4,):
        raise ValueError(
            f'YOLOAssigner: `{name}` of {holder}{image} has shape {tuple(boxes.shape)}; boxes are (n, 4), xyxy'
        )
    return boxes


def _whole_numbers(values: Tensor, name: str, boxes: Tensor, image: str) -> Tensor:
    # `torch.tensor([])` is of floats.
    if values.shape != boxes.shape[:1] or (values.dtype not in INTEGERS and len(values)):
        raise ValueError(
            f'YOLOAssigner: `{name}`{image} are {values.dtype} of shape {tuple(values.shape)}; {len(boxes)} boxes need '
            f'integers of shape ({len(boxes)},)'
        )
    return values.long()


def _improper(boxes: Tensor) -> Tensor:
    """(n,) bool: boxes with NaN, with a coordinate beyond 1e18, or inverted."""
    return ~((boxes[:, 2:] >= boxes[:, :2]).all(1) & (boxes.abs() < LARGEST).all(1))


@dataclass
class AssignInputs:
    """Checked in shape and type; the values are checked by :meth:`raise_if`.

    Attributes:
        priors: (n, 4) xyxy, float32.
        gts: (k, 4) xyxy, float32.
        labels: (k,) int64.
        regions: (r, 4) xyxy, float32, to be ignored.
        levels: (n,) int64 level of each prior; None unless asked for.
        predictions: (n, 4) xyxy, float32, boxes of no size in place of improper ones; None unless asked for.
        image: how a message names the image.
        bad: () bool on the device: whether :meth:`raise_if` has something to say.
    """

    priors: Tensor
    gts: Tensor
    labels: Tensor
    regions: Tensor
    levels: Tensor | None
    predictions: Tensor | None
    image: str

    @classmethod
    def read(
        cls,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None,
        per_level: bool,
        with_predictions: bool,
        img_meta: dict | None,
    ) -> 'AssignInputs':
        """Take what is needed out of the instances.

        Raises:
            ValueError: a field is missing, or of a shape or type that it must not have.
        """
        image = _image_name(gt_instances, img_meta)
        priors = _boxes(pred_instances, 'priors', 'predictions', 'an assigner needs them', image)
        gts = _boxes(gt_instances, 'bboxes', 'ground truths', 'an assigner needs them', image)
        labels = _field(gt_instances, 'labels', 'ground truths', 'an assigner needs them', image)
        regions, levels, predictions = priors[:0], None, None
        if gt_instances_ignore is not None:
            regions = _boxes(gt_instances_ignore, 'bboxes', 'ignored ground truths', 'their regions are needed', image)
        if per_level:
            why = "best_scope='per_level' needs the level of each prior: pass it, or use best_scope='all_levels'"
            levels = _field(pred_instances, 'level_ids', 'predictions', why, image)
            levels = _whole_numbers(levels, 'level_ids', priors, image)
        if with_predictions:
            why = "ignore_from='pred' needs the decoded boxes: pass them, or use ignore_from='prior'"
            predictions = _boxes(pred_instances, 'bboxes', 'predictions', why, image)
            if len(predictions) != len(priors):
                raise ValueError(f'YOLOAssigner: {len(predictions)} `bboxes` for {len(priors)} `priors`{image}')
            predictions = torch.where(_improper(predictions)[:, None], 0.0, predictions)
        labels = _whole_numbers(labels, 'labels', gts, image)
        return cls(priors, gts, labels, regions, levels, predictions, image)

    def __post_init__(self) -> None:
        boxes = torch.cat([self.priors, self.gts, self.regions])
        good = []
        if boxes.shape[0]:
            # NaN is not in order with anything.
            good += [(boxes[:, 2:] - boxes[:, :2]).amin() >= 0, boxes.abs().amax() < LARGEST]
        if self.labels.shape[0]:
            good += [self.labels.amin() >= 0]
        if self.levels is not None and self.levels.shape[0]:
            good += [self.levels.amin() >= 0, self.levels.amax() < MAX_LEVELS]
        self.bad = ~torch.stack(good).all() if good else boxes.new_zeros((), dtype=torch.bool)

    def raise_if(self, bad: bool) -> None:
        """Say what is wrong.

        Args:
            bad: :attr:`bad` on the host.

        Raises:
            ValueError: a box is inverted, NaN or infinite, a label is negative, a level is not in 0 .. 255.
        """
        if not bad:
            return
        for name, boxes in (('prior', self.priors), ('ground truth', self.gts), ('ignored region', self.regions)):
            wrong = _improper(boxes)
            if wrong.any():
                number = int(wrong.nonzero()[0])
                raise ValueError(
                    f'YOLOAssigner: {name} {number}{self.image} is {boxes[number].tolist()} (x1, y1, x2, y2); a box '
                    f'needs finite numbers with x2 >= x1 and y2 >= y1 ({int(wrong.sum())} of {len(boxes)} are wrong)'
                )
        values, name, allowed = self.labels, 'labels', 'from 0 on'
        if not (values < 0).any() and self.levels is not None:
            values, name, allowed = self.levels, 'level_ids', f'from 0 to {MAX_LEVELS - 1}'
        raise ValueError(
            f'YOLOAssigner: {name}{self.image} go from {int(values.min())} to {int(values.max())}; allowed are '
            f'integers {allowed}'
        )

    @property
    def safe_levels(self) -> Tensor | None:
        """`levels`, of which those that are not allowed are moved: an index out of range would end a CUDA process."""
        return None if self.levels is None else self.levels.clamp(0, MAX_LEVELS - 1)
