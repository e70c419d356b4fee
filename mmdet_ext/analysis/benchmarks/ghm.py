"""Benchmark: GHM-C in a few passes over memory, beside mmdet's one pass per bin."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from mmdet.models.losses import GHMC
from torch import Tensor, nn

from mmdet_ext.models.losses import GHMCLoss

from .limits import Work

BINS = 30


class Outcome(NamedTuple):
    """Loss and gradient of one step."""

    loss: Tensor
    grad: Tensor


class GHMCase:
    """Sigmoid loss of labels, of which two in a hundred are objects and five are ignored, forward and backward.

    Args:
        rows: number of priors or RoIs.
        columns: number of classes.
        name: of the row and of its file.
        speed: mmdet must take at least this many times as long.
    """

    sibling = "mmdet's GHMC"
    memory: float | None = None
    threads: int | None = 1
    repeats = 30

    def __init__(self, rows: int = 20_000, columns: int = 80, name: str = 'ghm-c', speed: float | None = 10.0) -> None:
        self.rows, self.columns, self.name, self.speed = rows, columns, name, speed
        self.title = f'{name}, {rows} x {columns} logits, {BINS} bins'

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        """Ours and mmdet's on the same logits; without momentum, where mmdet's first steps are wrong."""
        generator = torch.Generator().manual_seed(seed)
        # As after some training: nearly all are easy negatives.
        logits = torch.randn(self.rows, self.columns, generator=generator) * 2 - 3
        classes = torch.randint(0, self.columns, (self.rows,), generator=generator)
        labels = torch.where(torch.rand(self.rows, generator=generator) < 0.02, classes, self.columns)
        weights = (torch.rand(self.rows, generator=generator) < 0.95).float()
        pred, target, weight = logits.to(device).requires_grad_(), labels.to(device), weights.to(device)

        def step(loss: nn.Module) -> Outcome:
            value = loss(pred, target, weight)
            return Outcome(value.detach(), torch.autograd.grad(value, pred)[0])

        ours = GHMCLoss(bins=BINS).to(device)
        sibling = GHMC(bins=BINS, use_sigmoid=True).to(device)
        return lambda: step(ours), lambda: step(sibling)

    def check(self, ours: Outcome, sibling: Outcome) -> None:
        """Equal but for entries within the last digit of the edge of a bin, which one side may put into the next."""
        for name, got, wanted in zip(Outcome._fields, ours, sibling, strict=True):
            error = float((got - wanted).norm() / wanted.norm())
            if not error < 1e-3:
                raise ValueError(f"{self.name}: {name} differs from mmdet's by {error:.1e}")

    def work(self, ours: Callable[[], Outcome]) -> Work:
        """Logits are read and gradients written once (4 bytes each), labels (8) and weights (4) read once."""
        return Work(bytes=self.rows * (8 * self.columns + 12))


# The target is asked of the large size; what R-CNN and RPN give must not take longer than in mmdet.
GHM_CASES = (
    GHMCase(),
    GHMCase(1024, 80, 'ghm-c-rcnn', 1.0),
    GHMCase(268_569, 1, 'ghm-c-rpn', 1.0),
)
