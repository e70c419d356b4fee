"""Benchmark: the complete IoU loss against mmdet's, forward and backward."""

from collections.abc import Callable

import torch
from mmdet.models.losses import CIoULoss
from torch import Tensor, nn

from mmdet_ext.models.losses import CompleteIoULoss

from .geometry_attention import random_boxes
from .limits import Work

Pairs = list[tuple[Tensor, Tensor]]
# Anchors of the five levels of an RPN at 800 x 1344 pixels, three per cell.
RPN_LEVELS = tuple(3 * -(-800 // stride) * -(-1344 // stride) for stride in (4, 8, 16, 32, 64))


class CompleteIoUCase:
    """Value and gradient of the mean loss of predictions around their targets.

    Args:
        name: of the case.
        what: the input in words.
        counts: boxes of each call of the loss, all calls together are one run.
        speed: least ratio of the times.
        repeats: measurements of each side.
    """

    sibling = 'mmdet CIoULoss'
    memory: float | None = None
    threads: int | None = 1

    def __init__(self, name: str, what: str, counts: tuple[int, ...], speed: float, repeats: int) -> None:
        self.name, self.counts, self.repeats = name, counts, repeats
        self.title = f'{name}, {what}'
        self.speed: float | None = speed

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], Pairs], Callable[[], Pairs]]:
        """Ours with mmdet's gate, and mmdet's, on the same boxes; each gives loss and gradient of every call."""
        generator = torch.Generator().manual_seed(seed)
        pairs = [self._pair(count, device, generator) for count in self.counts]

        def step(loss: nn.Module) -> Pairs:
            found = []
            for pred, target in pairs:
                value = loss(pred, target)
                found.append((value.detach(), *torch.autograd.grad(value, pred)))
            return found

        ours, theirs = CompleteIoULoss(iou_gate=0.5), CIoULoss()
        return lambda: step(ours), lambda: step(theirs)

    @staticmethod
    def _pair(count: int, device: torch.device, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Targets and predictions whose edges are off by a tenth of the side (standard deviation)."""
        target = random_boxes(count, generator)
        side = (target[:, 2:] - target[:, :2]).repeat(1, 2)
        pred = target + 0.1 * side * torch.randn(count, 4, generator=generator).clamp(-4, 4)
        return pred.to(device).requires_grad_(), target.to(device)

    def check(self, ours: Pairs, sibling: Pairs) -> None:
        """Equal but for rounding; a pair whose IoU is the gate's may fall on either side of it."""
        for count, (loss, grad), (their_loss, their_grad) in zip(self.counts, ours, sibling, strict=True):
            found, wanted = (
                torch.cat([x[None], y.flatten() * count]) for x, y in ((loss, grad), (their_loss, their_grad))
            )
            same = (found - wanted).abs() <= 1e-4 * wanted.abs().clamp(min=1e-3)
            share = 1 - float(same.float().mean())
            if not share <= 1e-4:
                raise ValueError(f'{self.name}: {share:.2%} of {count} losses and gradients differ from those of mmdet')

    def work(self, ours: Callable[[], Pairs]) -> Work:
        """Predictions and targets are read and gradients written once, 16 bytes each."""
        return Work(bytes=48 * sum(self.counts))


COMPLETE_IOU_CASES = (
    CompleteIoUCase('complete-iou', '100 k boxes', (100_000,), speed=3.0, repeats=30),
    CompleteIoUCase('complete-iou-rcnn', '512 boxes of a second stage', (512,), speed=1.0, repeats=200),
    CompleteIoUCase('complete-iou-rpn', 'five levels of an RPN, 800 x 1344', RPN_LEVELS, speed=1.0, repeats=15),
)
