"""Where the most prominent boxes of the image lie, as seen from every box."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import nn

from .base import Packing, RelationContext, RelationOutput, check_positive
from .box_embedding import _BoxEmbeddingRelation
from .keys import KEYS, select_keys


@MODELS.register_module()
class ObjectPairRelation(_BoxEmbeddingRelation):
    """Embedded geometry of every RoI against the `key_num` RoIs of highest foreground score of its image.

    Slot k of the features always holds the key of rank k, so a linear layer can read it. An image with fewer keys has
    zeros in the slots that are left (repeating boxes instead would tell the number of proposals). The embedding is
    that of Relation Networks (arXiv:1711.11575); the idea of giving it to the classifier as it is comes from the
    anatomical structure relation of SAR-Net, here between objects.

    Args:
        in_channels: D, checked if given; the RoI features are not read.
        em_dim: width of the embedding of one pair, a multiple of 8.
        key_num: K, number of slots.
        key: which RoIs may be key: `'topk'`, every RoI but ground truth added in training (`'nongt'` is the same, for
            slots are filled by score anyway); `'fg'`, of these the RoIs that the base classifier does not call
            background; `'all'`, ground truth added in training, too, which does not exist at test time.
        proj: None for the embedding itself (E = K * em_dim), or the width E of a linear layer and ReLU after it.
        out_channels: another way to say E: the width with `proj=True`, else it must be what follows from the others.
        geom: `'hu'` or `'log1p'`, see :func:`.geometry.box_geometry`.
        wave_len: longest wave length of the embedding.
        init_cfg: as in mmengine.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    needs = frozenset({'cls_logits'})

    def __init__(
        self,
        in_channels: int | None = None,
        em_dim: int = 64,
        key_num: int = 64,
        key: str = 'topk',
        proj: int | bool | None = None,
        geom: str = 'hu',
        wave_len: float = 1000.0,
        out_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_positive('key_num', key_num, 'ObjectPairRelation')
        check_positive('em_dim', em_dim, 'ObjectPairRelation')
        if proj is True and out_channels is None:
            raise ValueError('ObjectPairRelation: proj=True needs out_channels, or write the width as proj')
        width = out_channels if proj is True else None if proj is False else proj
        if width is not None:
            check_positive('proj', width, 'ObjectPairRelation')
        follows = width or key_num * em_dim
        if out_channels not in (None, follows):
            raise ValueError(
                f'ObjectPairRelation: out_channels={out_channels}, but key_num={key_num}, em_dim={em_dim} and '
                f'proj={proj} give {follows}; leave it out, or set proj={out_channels}'
            )
        if key not in KEYS:
            raise ValueError(f'ObjectPairRelation: key={key!r}, allowed are {KEYS}')
        init_cfg = init_cfg or dict(type='Xavier', layer='Linear')
        super().__init__(in_channels, key_num, em_dim, wave_len, geom, width, init_cfg)
        self.key, self.key_num = key, key_num
        self.proj = nn.Sequential(nn.Linear(key_num * em_dim, width), nn.ReLU()) if width else nn.Identity()

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, E). Maps: `key_index` (B, M) packed rows of the keys in slot order, -1 where there is no key."""
        self.check(ctx)
        packing = Packing(ctx)
        keys = select_keys(ctx, packing, self.key, self.key_num)
        embedding = self.embed(ctx.rois, keys.take(packing.pack(ctx.rois[:, 1:])), keys.mask)
        slots = F.pad(embedding, (0, self.key_num * self.em_dim - embedding.shape[1]))
        maps = {'key_index': torch.where(keys.mask, keys.index, -1)} if ctx.want_maps else {}
        return RelationOutput(self.proj(slots.to(ctx.feats.dtype)), maps=maps)
