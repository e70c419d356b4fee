"""Benchmark: what an image costs in a batch, beside what it costs alone."""

from collections.abc import Callable

import torch
from torch import Tensor

from mmdet_ext.models.relations import GeometryAttentionRelation, RelationContext

from .geometry_attention import IMAGE, attention_flops, random_boxes
from .limits import Work

WIDTH = 256
HEADS = 16


class GeometryBatchCase:
    """A batch of images with very different numbers of RoIs: padding must cost nothing.

    Args:
        counts: RoIs of each image.
    """

    sibling = 'one image at a time'
    speed: float | None = 0.9
    memory: float | None = None
    threads: int | None = 1
    repeats = 10

    def __init__(self, counts: tuple[int, ...] = (1000, 60, 500, 0, 120, 250, 512, 30)) -> None:
        self.counts = counts
        self.name = 'geometry-batch'
        self.title = f'{self.name}, {len(counts)} images of {min(counts)} to {max(counts)} RoIs'

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
        """The relation on the whole batch, and on one image after the other."""
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        relation = GeometryAttentionRelation(WIDTH, heads=HEADS).to(device)
        contexts = [self._context((count,), device, generator) for count in self.counts]
        images = torch.arange(len(contexts), device=device).repeat_interleave(torch.tensor(self.counts, device=device))
        rois = torch.cat([ctx.rois for ctx in contexts])
        rois[:, 0] = images
        feats = torch.cat([ctx.feats for ctx in contexts])
        shapes = torch.cat([ctx.img_shapes for ctx in contexts])
        batch = RelationContext(feats=feats, rois=rois, img_shapes=shapes, counts=self.counts)

        def step(*parts: RelationContext) -> Tensor:
            outs = []
            for ctx in parts:
                relation.zero_grad()
                out = relation(ctx).feats
                out.sum().backward()
                outs.append(out.detach())
            return torch.cat(outs)

        return lambda: step(batch), lambda: step(*contexts)

    @staticmethod
    def _context(counts: tuple[int, ...], device: torch.device, generator: torch.Generator) -> RelationContext:
        number = sum(counts)
        rois = torch.cat([torch.zeros(number, 1), random_boxes(number, generator)], dim=1)
        return RelationContext(
            feats=torch.randn(number, WIDTH, generator=generator).to(device),
            rois=rois.to(device),
            img_shapes=torch.tensor([IMAGE], device=device),
            counts=counts,
        )

    def check(self, ours: Tensor, sibling: Tensor) -> None:
        """Images do not see each other."""
        error = float((ours - sibling).abs().max())
        if not error < 1e-4:
            raise ValueError(f'{self.name}: the batch differs from its images by {error:.1e}')

    def work(self, ours: Callable[[], Tensor]) -> Work:
        """See `attention_flops`; and three linear layers, whose input needs no gradient here."""
        attention = sum(attention_flops(count, HEADS, WIDTH) for count in self.counts)
        return Work(flops=attention + 3 * 4 * sum(self.counts) * WIDTH**2)
