"""Which RoIs of an image serve as keys of a relation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Packing, RelationContext

KEYS = ('all', 'nongt', 'topk', 'fg')


@dataclass
class SelectedKeys:
    """index: (B, M) rows of the packed batch; mask: (B, M) bool, False where there is no key."""

    index: Tensor
    mask: Tensor

    def take(self, packed: Tensor) -> Tensor:
        """(B, Nmax, d) -> (B, M, d)."""
        return packed.gather(1, self.index[..., None].expand(-1, -1, packed.shape[-1]))


def foreground_score(cls_logits: Tensor) -> Tensor:
    """(..., C + 1) logits, background last -> (...,) probability of not being background, float32 or wider."""
    dtype = torch.promote_types(cls_logits.dtype, torch.float32)
    return 1 - cls_logits.to(dtype).softmax(-1)[..., -1]


def select_keys(ctx: RelationContext, packing: Packing, keys: str, key_num: int | None = None) -> SelectedKeys:
    """Keys per image.

    `'all'` takes every RoI. The others leave out RoIs that `ctx.key_valid` excludes, and `'fg'` also those that the
    base classifier calls background. With `key_num` only the highest foreground scores stay, in that order; an image
    with fewer RoIs simply has fewer keys.

    Raises:
        ValueError: `'topk'`, `'fg'` or `key_num` without `ctx.cls_logits`.
    """
    mask = packing.mask
    if keys != 'all' and ctx.key_valid is not None:
        mask = mask & packing.pack(ctx.key_valid)
    if ctx.cls_logits is None and (keys in ('topk', 'fg') or key_num is not None):
        raise ValueError(
            f'keys={keys!r} with key_num={key_num} chooses RoIs by class score: it needs cls_logits (base_head=True)'
        )
    if keys == 'fg' and ctx.cls_logits is not None:
        mask = mask & packing.pack(ctx.cls_logits.argmax(-1) != ctx.cls_logits.shape[-1] - 1)
    if key_num is None or ctx.cls_logits is None:
        index = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        return SelectedKeys(index, mask)
    score = packing.pack(foreground_score(ctx.cls_logits.detach())).masked_fill(~mask, -1.0)
    index = score.topk(min(key_num, mask.shape[1]), dim=1).indices
    return SelectedKeys(index, mask.gather(1, index))
