"""Pieces that the losses of dense heads are made of."""

from collections.abc import Sequence

import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """At least float32: what half precision holds is too coarse for boxes and too narrow for sums."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def flatten_levels(maps: Sequence[Tensor], channels: int) -> Tensor:
    """Maps (B, A * channels, H, W) of all levels -> (B, N, channels) in the order of the priors, float32 or wider."""
    return torch.cat([widen(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, channels) for x in maps], dim=1)


def spread_levels(values: Sequence[float], lengths: Sequence[int], like: Tensor) -> Tensor:
    """One value per level -> one per prior, of the type and on the device of `like`."""
    return torch.cat([like.new_full((length,), value) for value, length in zip(values, lengths, strict=True)])


def mean_over_ranks(*counts: float | Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """The mean of each number over all ranks, float32 scalars. A collective: every rank calls it.

    Args:
        counts: numbers of the host, or scalar tensors.
        like: gives the device. Numbers are filled in there: a copy from the host would wait.
    """
    filled = [x.float() if isinstance(x, Tensor) else like.new_full((), x, dtype=torch.float32) for x in counts]
    return reduce_mean(torch.stack(filled)).unbind()


def at_least_one(count: Tensor) -> Tensor:
    """A mean over ranks, kept from being zero: it is as if all ranks together had counted one.

    One would be too much: on W ranks with a single positive the mean is 1 / W, and so is the normaliser that gives the
    gradient of one rank with all the images.
    """
    return count.clamp(min=1 / get_world_size())


def small_object_weights(boxes: Tensor, image_areas: Tensor) -> Tensor:
    """2 minus the share of the image that a box covers, between 1 and 2 (YOLOv3).

    Args:
        boxes: (P, 4) xyxy.
        image_areas: (P,) in the unit of the boxes.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    return 2 - (sides.prod(1) / image_areas).clamp(0, 1)


def focal_modulation(logits: Tensor, labels: Tensor, gamma: float, use_sigmoid: bool) -> Tensor:
    """(1 - p)^gamma, p the probability of the label; no gradient flows through it.

    Args:
        logits: (P, C) for sigmoid, (P, C + 1) for softmax.
        labels: (P,) in [0, C).
        gamma: focusing parameter of the focal loss (arXiv:1708.02002).
        use_sigmoid: which activation the logits are for.
    """
    logits = logits.detach()
    scores = logits.sigmoid() if use_sigmoid else logits.softmax(1)
    return (1 - scores.gather(1, labels[:, None]).squeeze(1)) ** gamma


def reachable_boxes(boxes: Tensor, priors: Tensor, ratio: float = 16 / 1000) -> Tensor:
    """Boxes (P, 4) whose sides of length zero got the least length that mmdet's coder decodes, `ratio` of the prior's.

    The logarithm of zero would make the loss infinite; all other boxes stay as they are.
    """
    sides, least = boxes[:, 2:] - boxes[:, :2], (priors[:, 2:] - priors[:, :2]) * ratio
    half = torch.where(sides > 0, 0.0, least / 2)
    return boxes + torch.cat([-half, half], dim=1).to(boxes.dtype)
