"""Benchmark: assignment of priors, against the table of all pairs that mmdet keeps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_ext.models.task_modules.assigners import YOLOAssigner

from .geometry_attention import IMAGE, random_boxes
from .limits import Work


class Size(NamedTuple):
    """A place in a detector where priors are assigned.

    Attributes:
        title: what is assigned.
        gts: number of ground truths.
        thresholds: positive and negative IoU.
        matching: whether each ground truth gets its best prior too.
        speed: the sibling must take at least this many times as long.
        memory: ours may need at most this share.
        repeats: measurements of each side.
        calls: calls per measurement.
    """

    title: str
    gts: int
    thresholds: tuple[float, float]
    matching: bool
    speed: float
    memory: float | None
    repeats: int
    calls: int


SIZES = {
    'crowd': Size('200 000 anchors of RetinaNet', 500, (0.5, 0.4), True, 20, 1 / 8, 5, 1),
    'rpn': Size('anchors of an RPN with FPN', 20, (0.7, 0.3), True, 1, None, 10, 1),
    'rcnn': Size('2000 proposals', 20, (0.5, 0.5), False, 1, None, 20, 50),
    'rcnn-best': Size('1000 proposals, each ground truth gets its best', 20, (0.5, 0.5), True, 1, None, 20, 50),
}


def make_priors(size: str, gts: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 4) xyxy on an image of 800 x 1333 pixels, as that place of a detector has them.

    Proposals are half of them near ground truths, half anywhere.
    """
    if size.startswith('rcnn'):
        number = 500 if size == 'rcnn-best' else 1000
        near = gts[torch.arange(number) % len(gts)]
        sides = (near[:, 2:] - near[:, :2]).repeat(1, 2)
        near = near + 0.1 * sides * torch.randn(number, 4, generator=generator)
        near = torch.cat([near[:, :2].minimum(near[:, 2:]), near[:, :2].maximum(near[:, 2:])], dim=1)
        return torch.cat([near, random_boxes(number, generator)])
    strides = [4, 8, 16, 32, 64] if size == 'rpn' else [8, 16, 32, 64, 128]
    scales: dict[str, Any] = dict(scales=[8]) if size == 'rpn' else dict(octave_base_scale=4, scales_per_octave=3)
    anchors = AnchorGenerator(strides=strides, ratios=[0.5, 1.0, 2.0], **scales)
    shapes = [(-(-IMAGE[0] // stride), -(-IMAGE[1] // stride)) for stride in strides]
    priors = torch.cat(anchors.grid_priors(shapes, device='cpu'))
    return priors if size == 'rpn' else priors[:200_000]


class YOLOAssignerCase:
    """One image, without the wait for the priors themselves.

    Args:
        size: `'crowd'`, `'rpn'`, `'rcnn'` or `'rcnn-best'`.
    """

    threads: int | None = 1
    # Bad input has to be named and the matching be counted: both need numbers on the host.
    waits = True

    def __init__(self, size: str = 'crowd') -> None:
        self.size, self.options = size, SIZES[size]
        self.name = 'yolo-assigner' if size == 'crowd' else f'yolo-assigner-{size}'
        self.title = f'{self.name}, {self.options.title}, {self.options.gts} ground truths'
        self.sibling = 'MaxIoUAssigner' + ('' if self.options.calls == 1 else f', {self.options.calls} calls')
        self.speed: float | None = self.options.speed
        self.memory, self.repeats = self.options.memory, self.options.repeats

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Ours and mmdet's on the same boxes."""
        generator = torch.Generator().manual_seed(seed)
        bboxes = random_boxes(self.options.gts, generator)
        priors = InstanceData(priors=make_priors(self.size, bboxes, generator).to(device))
        gts = InstanceData(bboxes=bboxes.to(device), labels=torch.arange(len(bboxes), device=device))
        positive, negative = self.options.thresholds
        # mmdet's own settings of these places: the lowest IoU of a best prior is the negative threshold.
        matching = self.options.matching
        ours = YOLOAssigner(positive, negative, unique_best=matching, min_best_iou=negative)
        sibling = MaxIoUAssigner(positive, negative, min_pos_iou=negative, match_low_quality=matching)

        def assign(assigner: Any) -> AssignResult:
            for _ in range(self.options.calls):
                result = assigner.assign(priors, gts)
            return result

        self.priors = len(priors)
        return lambda: assign(ours), lambda: assign(sibling)

    def check(self, ours: AssignResult, sibling: AssignResult) -> None:
        """Equal IoUs; equal assignment but for what either side matched with a ground truth below the threshold."""
        if not torch.equal(ours.max_overlaps, sibling.max_overlaps):
            raise ValueError(f'{self.name}: the IoUs are not those of MaxIoUAssigner')
        differ = ours.gt_inds != sibling.gt_inds
        wrong = differ & (ours.gt_inds <= 0) & (sibling.gt_inds <= 0) if self.options.matching else differ
        if wrong.any():
            raise ValueError(
                f'{self.name}: {int(wrong.sum())} priors are assigned in another way than by MaxIoUAssigner'
            )
        by_matching = (ours.gt_inds > 0) & (ours.max_overlaps < self.options.thresholds[0])
        if by_matching.sum() > ours.num_gts:
            raise ValueError(f'{self.name}: {int(by_matching.sum())} best priors for {ours.num_gts} ground truths')

    def work(self, ours: Callable[[], AssignResult]) -> Work:
        """Each prior is read (16 bytes), and its ground truth (8), IoU (4) and label (8) are written, once a call."""
        return Work(bytes=36 * self.priors * self.options.calls)


YOLO_ASSIGNER_CASES = [YOLOAssignerCase(size) for size in SIZES]
