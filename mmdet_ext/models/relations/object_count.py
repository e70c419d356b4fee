"""How many distinct objects of each class does the image hold? What a weighted mean cannot tell."""

from typing import cast

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from .base import BaseRelation, Packing, RelationContext, RelationOutput, check_positive
from .geometry import pairwise_iou
from .keys import select_keys

# Background probabilities round to 1: a box that is surely background still needs a weight above zero to be divided by.
MIN_FOREGROUND = 1e-4


def expected_counts(
    boxes: Tensor,
    probs: Tensor,
    mask: Tensor,
    same_iou: tuple[float, float] = (0.2, 0.5),
    sharpness: float = 2.0,
) -> Tensor:
    """Expected number of distinct objects per class, from overlapping and uncertain boxes.

    Boxes `j` and `k` are one object to the degree `s_jk`, which rises linearly from 0 to 1 between the two overlaps of
    `same_iou`. With foreground probability `q`, box `j` speaks for the share `w_j = q_j^r / sum_k s_jk q_k^r` of its
    object: `m` boxes on one object count once, whatever `m` is, and the most confident speaks loudest. The result is
    `sum_j w_j p_jc`; it is linear in the class probabilities, so counts of look-alike classes may be added up later.

    Args:
        boxes: (B, M, 4) xyxy.
        probs: (B, M, C + 1) class probabilities, background last.
        mask: (B, M) bool, False for padding.
        same_iou: overlaps at which two boxes begin to be, and certainly are, the same object.
        sharpness: r.

    Returns:
        (B, C).
    """
    low, high = same_iou
    iou = pairwise_iou(boxes).to(probs.dtype)
    same = ((iou - low) / (high - low)).clamp(0, 1)
    weight = (1 - probs[..., -1]).clamp(min=MIN_FOREGROUND).pow(sharpness) * mask
    total = (same @ weight[..., None]).squeeze(-1)
    share = weight / torch.where(mask, total, 1)
    return torch.einsum('bm,bmc->bc', share, probs[..., :-1])


@MODELS.register_module()
class ObjectCountRelation(BaseRelation):
    """Expected number of distinct objects of every class in the image, told to each of its RoIs.

    Attention is a weighted mean: one nodule or ten give the same answer, and the number of proposals on an object is
    not the number of objects. A plain sum over RoIs counts proposals. :func:`expected_counts` counts objects; two
    linear layers turn the counts into features (thresholds such as "five and more", sums over look-alike classes).
    Related: the counting component for visual question answering of arXiv:1802.05766, which removes duplicate edges of
    a graph of attended boxes; here class scores are counted, in one pass and per class.

    Args:
        in_channels: D, of the RoI features (they are not read; the width is kept for the common interface).
        num_classes: C; a box head fills it in.
        out_channels: E.
        mid_channels: width between the two layers.
        key_num: most boxes per image that are counted, by foreground score.
        same_iou: see :func:`expected_counts`.
        sharpness: see :func:`expected_counts`.
        detach: no gradient from the counts to the base classifier.
        init_cfg: as in mmengine.
    """

    needs = frozenset({'cls_logits'})
    fills = frozenset({'num_classes'})
    gradient_to_feats = False

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None = None,
        out_channels: int = 64,
        mid_channels: int = 64,
        key_num: int = 100,
        same_iou: tuple[float, float] = (0.2, 0.5),
        sharpness: float = 2.0,
        detach: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, init_cfg or dict(type='Xavier', layer='Linear'))
        check_positive('num_classes', num_classes, 'ObjectCountRelation')
        check_positive('mid_channels', mid_channels, 'ObjectCountRelation')
        check_positive('key_num', key_num, 'ObjectCountRelation')
        check_positive('sharpness', sharpness, 'ObjectCountRelation', integer=False)
        is_pair = isinstance(same_iou, tuple | list) and len(same_iou) == 2
        if not is_pair or not 0 <= same_iou[0] < same_iou[1] <= 1:
            raise ValueError(f'ObjectCountRelation: same_iou={same_iou}, two overlaps 0 <= low < high <= 1 are wanted')
        self.num_classes, self.key_num, self.detach = cast(int, num_classes), key_num, detach
        self.same_iou, self.sharpness = (same_iou[0], same_iou[1]), sharpness
        self.layers = nn.Sequential(
            nn.Linear(self.num_classes, mid_channels), nn.ReLU(), nn.Linear(mid_channels, out_channels)
        )

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, E), equal for all RoIs of an image. Maps: `counts` (B, C)."""
        self.check(ctx)
        logits = cast(Tensor, ctx.cls_logits)
        if logits.shape[1] != self.num_classes + 1:
            raise ValueError(
                f'ObjectCountRelation was built with num_classes={self.num_classes} but the base classifier has '
                f'{logits.shape[1] - 1} classes; set num_classes={logits.shape[1] - 1}'
            )
        logits = logits.detach() if self.detach else logits
        packing = Packing(ctx)
        keys = select_keys(ctx, packing, 'topk', self.key_num)
        with torch.autocast(logits.device.type, enabled=False):
            probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
            counts = expected_counts(
                keys.take(packing.pack(ctx.rois[:, 1:])),
                keys.take(packing.pack(probs)),
                keys.mask,
                self.same_iou,
                self.sharpness,
            )
        feats = self.layers(counts.to(ctx.feats.dtype))[packing.image]
        return RelationOutput(feats, maps={'counts': counts.detach()} if ctx.want_maps else {})
