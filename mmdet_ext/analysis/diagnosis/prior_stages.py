"""What heads with priors on a grid made of an image: RPN, RetinaNet, SSD, YOLOv3 and their kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder, TBLRBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator, anchor_inside_flags
from mmdet.structures.bbox import cat_boxes, get_box_tensor
from torch import Tensor

from mmdet_ext.models.dense_heads.dense_maths import flatten_levels, spread_levels

from .record import StageRecord
from .stage_figures import count, figures_of_matching, mean_overlaps, place_of, sampled_counts, score_histograms

_CODERS = (DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder, TBLRBBoxCoder)


def prior_stage(
    head: Any,
    stage: int,
    matchings: Sequence[Any],
    outputs: Sequence[tuple],
    meta: Mapping[str, Any],
    scale: Tensor,
) -> StageRecord | str:
    """Record of a head with priors.

    Priors that take no part, since they lie outside of the image and `allowed_border` leaves them out, are not counted.
    What a loss samples by itself (OHEM, SSD's hard negatives) is not seen: `sampled` is what its sampler gave it.

    Args:
        head: An `AnchorHead` or `YOLOV3Head`.
        stage: Not used; as in `roi_stage`.
        matchings: What its assigner did, see `Matching`.
        outputs: Arguments of its `loss_by_feat`.
        meta: Of the image.
        scale: (4,) pixels of the input for one of the image file.

    Returns:
        The record, or why there is none.
    """
    if not matchings or not outputs:
        return 'its losses did not call its assigner'
    if not isinstance(head.prior_generator, AnchorGenerator):
        return f'its priors are those of {type(head.prior_generator).__name__}, which are no boxes'
    matching, maps = matchings[0], outputs[0]
    yolo = isinstance(head, YOLOV3Head)
    channels = head.num_attrib if yolo else head.cls_out_channels
    if any(level.shape[1] % channels for level in maps[0]):
        return 'its maps are not laid out as those of AnchorHead'
    rows = flatten_levels(maps[0], channels)[0]
    lengths = [level.shape[1] // channels * level.shape[2] * level.shape[3] for level in maps[0]]
    taken = torch.arange(len(rows), device=rows.device)
    if len(matching.gt_inds) != len(rows):
        taken = _inside(head, maps[0], meta)
        if len(taken) != len(matching.gt_inds):
            return 'it matched other priors than those of its anchor generator'
    rows = rows[taken]
    levels = spread_levels(range(len(lengths)), lengths, like=taken)[taken]
    positive = matching.gt_inds > 0
    gts = matching.gts[matching.gt_inds[positive] - 1]
    if yolo:
        after: Tensor | None = _decode_yolo(head, rows[positive], matching.priors[positive], levels[positive])
    else:
        after = _decode(head, maps[1], taken[positive], matching.priors[positive])
    return StageRecord(
        kind='priors',
        sampled=sampled_counts(matching),
        histograms=score_histograms(_scores(head, rows, yolo), place_of(matching.gt_inds)),
        level_priors=count(levels, len(lengths)),
        level_positives=count(levels[positive], len(lengths)),
        overlaps=mean_overlaps(matching.priors[positive], after, gts),
        **figures_of_matching(matching, scale),
    )


def _inside(head: Any, maps: Sequence[Tensor], meta: Mapping[str, Any]) -> Tensor:
    """Places of the priors that `allowed_border` leaves in, as `AnchorHead` finds them."""
    anchors, flags = head.get_anchors([level.shape[-2:] for level in maps], [meta], device=maps[0].device)
    border = head.train_cfg.get('allowed_border', -1)
    inside = anchor_inside_flags(cat_boxes(anchors[0]), torch.cat(flags[0]), meta['img_shape'][:2], border)
    return inside.nonzero().squeeze(1)


def _scores(head: Any, rows: Tensor, yolo: bool) -> Tensor:
    """(N,) highest score of any class, as in prediction."""
    if not len(rows):
        return rows.new_zeros(0)
    if yolo:
        return rows[:, 4].sigmoid() * rows[:, 5:].sigmoid().amax(1)
    loss = getattr(head, 'loss_cls', None)
    if getattr(loss, 'custom_cls_channels', False):
        return loss.get_activation(rows)[:, : head.num_classes].amax(1)  # type: ignore[union-attr]
    return (rows.sigmoid() if head.use_sigmoid_cls else rows.softmax(1)[:, :-1]).amax(1)


def _decode(head: Any, maps: Any, places: Tensor, priors: Tensor) -> Tensor | None:
    """Boxes that the head makes of some priors; None where its deltas are of another kind."""
    coder = head.bbox_coder
    if not isinstance(coder, _CODERS) or not len(places):
        return None
    numbers = head.prior_generator.num_base_priors
    if any(level.shape[1] != number * coder.encode_size for level, number in zip(maps, numbers, strict=True)):
        return None
    deltas = flatten_levels(maps, coder.encode_size)[0][places]
    return get_box_tensor(coder.decode(priors, deltas)).to(priors)


def _decode_yolo(head: Any, rows: Tensor, priors: Tensor, levels: Tensor) -> Tensor:
    strides = torch.from_numpy(np.asarray(head.featmap_strides)).to(priors)[levels]
    if hasattr(head, 'decode'):
        return head.decode(rows, priors, strides).to(priors)
    deltas = torch.cat([rows[:, :2].sigmoid(), rows[:, 2:4]], dim=1)
    return get_box_tensor(head.bbox_coder.decode(priors, deltas, strides[:, None])).to(priors)
