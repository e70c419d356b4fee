"""The losses of a box head, equal on any number of ranks."""

import torch
from mmdet.models.losses import accuracy
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import reduce_mean
from torch import Tensor


def bbox_head_loss(
    head: BBoxHead,
    cls_score: Tensor,
    bbox_pred: Tensor,
    rois: Tensor,
    labels: Tensor,
    label_weights: Tensor,
    bbox_targets: Tensor,
    bbox_weights: Tensor,
    reduction_override: str | None = None,
) -> dict[str, Tensor]:
    """Classification and box loss of `head` without host sync.

    As mmdet's `BBoxHead.loss`, but the normalisers are means over all ranks (each rank calls, also one without RoIs),
    boxes are weighted instead of indexed by class, and without positives `loss_bbox` is a connected zero.

    Args:
        head: gives the losses, the coder and `num_classes`.
        cls_score: (N, C + 1).
        bbox_pred: (N, 4 C), or (N, 4) when class-agnostic.
        rois: (N, 5).
        labels: (N,), C is background.
        label_weights: (N,).
        bbox_targets: (N, 4), rows of background are not read.
        bbox_weights: (N, 4), zero for background.
        reduction_override: of the two losses.
    """
    if not len(labels):
        # mmdet's losses do not take empty input. The collectives below are still called, as every other rank does.
        reduce_mean(cls_score.new_zeros(2, dtype=torch.float32))
        return {'loss_cls': cls_score.sum() * 0, 'loss_bbox': bbox_pred.sum() * 0, 'acc': cls_score.new_zeros(1)}
    counts = torch.stack([(label_weights > 0).sum(), labels.new_tensor(len(labels))]).float()
    cls_factor, bbox_factor = reduce_mean(counts).clamp(min=1)
    losses: dict[str, Tensor] = {}
    loss_cls = head.loss_cls(
        cls_score, labels, label_weights, avg_factor=cls_factor, reduction_override=reduction_override
    )
    losses.update(loss_cls if isinstance(loss_cls, dict) else {'loss_cls': loss_cls})
    if head.custom_activation:
        losses.update(head.loss_cls.get_accuracy(cls_score, labels))
    else:
        losses['acc'] = accuracy(cls_score, labels)

    positive = (labels >= 0) & (labels < head.num_classes)
    if head.reg_decoded_bbox:
        bbox_pred = get_box_tensor(head.bbox_coder.decode(rois[:, 1:], bbox_pred))
        bbox_targets = torch.where(positive[:, None], bbox_targets, rois[:, 1:])
    if not head.reg_class_agnostic:
        own = torch.where(positive, labels, 0)[:, None, None].expand(-1, 1, 4)
        bbox_pred = bbox_pred.view(len(labels), -1, 4).gather(1, own).squeeze(1)
    losses['loss_bbox'] = head.loss_bbox(
        bbox_pred,
        bbox_targets,
        bbox_weights * positive[:, None],
        avg_factor=bbox_factor,
        reduction_override=reduction_override,
    )
    return losses
