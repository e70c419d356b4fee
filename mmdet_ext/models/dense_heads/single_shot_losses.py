"""The two losses of a single-shot head, each one call over all levels and images."""

from collections.abc import Mapping, Sequence

import torch
from mmdet.models.dense_heads import AnchorHead
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from mmdet_ext.models.losses import OHEMLoss

from .dense_maths import at_least_one, focal_modulation, mean_over_ranks, reachable_boxes, small_object_weights
from .prior_targets import PriorTargets


def single_shot_losses(
    head: AnchorHead, logits: Tensor, deltas: Tensor, targets: PriorTargets, metas: Sequence[Mapping]
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and the counts of a `SingleShotHead`. A collective: every rank calls it.

    Args:
        head: gives the losses, the coder and the options.
        logits: (B, N, C) for sigmoid, (B, N, C + 1) for softmax.
        deltas: (B, N, 4) encoded boxes.
        targets: of the same priors.
        metas: `img_shape` of every image, for `small_obj_weight`.
    """
    pos = targets.pos_inds
    pos_logits, pos_deltas = logits.flatten(0, 1)[pos], deltas.flatten(0, 1)[pos]
    weights, bbox_weights = targets.label_weights.to(logits.dtype), pos_deltas.new_ones(len(pos))
    if head.small_obj_weight:
        areas = [pos_deltas.new_full((), meta['img_shape'][0] * meta['img_shape'][1]) for meta in metas]
        image = pos // targets.labels.shape[1]
        bbox_weights = small_object_weights(targets.pos_gt_bboxes.to(deltas.dtype), torch.stack(areas)[image])
        if head.small_obj_on_cls:
            scale = torch.ones_like(weights).flatten().index_put((pos,), bbox_weights.to(weights.dtype))
            weights = weights * scale.view_as(weights)
    if head.focal_on_bbox:
        labels = targets.labels.flatten()[pos]
        bbox_weights = bbox_weights * focal_modulation(pos_logits, labels, head.focal_gamma, head.use_sigmoid_cls)
    factor, num_pos, num_neg, num_ignored = mean_over_ranks(
        targets.num_sampled, targets.num_pos, targets.num_neg, targets.num_ignored, like=logits
    )
    factor = at_least_one(factor)
    cls_inputs = (logits, targets.labels, weights)
    # Negatives are mined per image, so that loss alone must know which priors belong together.
    if not isinstance(head.loss_cls, OHEMLoss):
        cls_inputs = (logits.flatten(0, 1), targets.labels.flatten(), weights.flatten())
    if head.reg_decoded_bbox:
        pred, goal = get_box_tensor(head.bbox_coder.decode(targets.pos_priors, pos_deltas)), targets.pos_gt_bboxes
    else:
        gts = reachable_boxes(targets.pos_gt_bboxes, targets.pos_priors)
        pred, goal = pos_deltas, head.bbox_coder.encode(targets.pos_priors, gts)
    return dict(
        loss_cls=head.loss_cls(*cls_inputs, avg_factor=factor),
        loss_bbox=head.loss_bbox(pred, goal.to(pred.dtype), bbox_weights[:, None].expand_as(pred), avg_factor=factor),
        num_pos=num_pos,
        num_neg=num_neg,
        num_ignored=num_ignored,
    )
