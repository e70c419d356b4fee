"""What a stage of a RoI head made of an image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor, nn

from .record import StageRecord
from .stage_figures import figures_of_matching, mean_overlaps, sampled_counts, score_histograms


def roi_stage(
    head: Any,
    stage: int,
    matchings: Sequence[Any],
    outputs: Sequence[Mapping[str, Any]],
    meta: Mapping[str, Any],
    scale: Tensor,
) -> StageRecord | str:
    """Record of a stage of a RoI head.

    `assigned`, `gt_positives`, `gt_iou` and `positives` are of the proposals as they come, without the ground truth
    that a sampler adds. Only sampled RoIs have scores: `histograms` are of these, ground truth included, as the loss
    sees them. `overlaps` are of the sampled positives without ground truth.

    Args:
        head: A `StandardRoIHead` or `CascadeRoIHead`.
        stage: Number of the stage, 0 where there is only one.
        matchings: What the stage's assigner did, see `Matching`.
        outputs: What `_bbox_forward` gave for this stage: `cls_score`, `bbox_pred`.
        meta: Not used; as in `prior_stage`.
        scale: (4,) pixels of the input for one of the image file.

    Returns:
        The record, or why there is none.
    """
    if not matchings:
        return 'its losses did not call its assigner'
    matching = matchings[0]
    sampled = matching.sampled
    number = 0 if sampled is None else len(sampled.pos_inds) + len(sampled.neg_inds)
    # A sampler may score RoIs of its own before.
    scored = [output for output in outputs if len(output['cls_score']) == number]
    if sampled is None or not scored:
        return 'the scores of its RoIs are not in the order of its sampler'
    box_head = head.bbox_head[stage] if isinstance(head.bbox_head, nn.ModuleList) else head.bbox_head
    scores, deltas = scored[-1]['cls_score'], scored[-1]['bbox_pred']
    positives = len(sampled.pos_inds)
    places = torch.arange(number, device=scores.device).ge(positives).long()
    own = ~sampled.pos_is_gt.bool()
    before = get_box_tensor(sampled.pos_priors)[own]
    gts = matching.gts[sampled.pos_assigned_gt_inds[own].long()]
    after = None
    if deltas is not None and len(before):
        after = _decode(box_head, deltas[:positives][own], sampled.pos_gt_labels[own], before)
    figures = figures_of_matching(matching, scale)
    return StageRecord(
        kind='rois',
        sampled=sampled_counts(matching),
        histograms=score_histograms(_scores(box_head, scores), places),
        level_priors=np.array([len(matching.gt_inds)], np.int64),
        level_positives=figures['assigned'][:1],
        overlaps=mean_overlaps(before, after, gts),
        **figures,
    )


def _scores(box_head: Any, logits: Tensor) -> Tensor:
    """(N,) highest score of any class but the background, as in prediction."""
    if not len(logits):
        return logits.new_zeros(0)
    scores = box_head.loss_cls.get_activation(logits) if box_head.custom_cls_channels else logits.float().softmax(1)
    return scores[:, : box_head.num_classes].amax(1)


def _decode(box_head: Any, deltas: Tensor, labels: Tensor, priors: Tensor) -> Tensor | None:
    """Boxes that the head makes of positives; None where its deltas are of another kind."""
    size = getattr(box_head.bbox_coder, 'encode_size', 4)
    if not isinstance(deltas, Tensor) or deltas.ndim != 2 or deltas.shape[1] % size:
        return None
    if deltas.shape[1] > size:
        deltas = deltas.view(len(deltas), -1, size)[torch.arange(len(deltas), device=labels.device), labels.long()]
    return get_box_tensor(box_head.bbox_coder.decode(priors, deltas)).to(priors)
