"""The losses of a box head, equal on any number of ranks."""

import inspect

import torch
from mmdet.models.losses import accuracy
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmdet_ext.models.losses.gradient_density import GradientDensity


def weigh_background(loss_cls: dict | None, bg_weight: float, num_classes: int) -> dict:
    """The config of a classification loss (None: cross entropy), with `bg_weight` as weight of the background.

    As everywhere in mmdet the weighted sum is divided by the number of RoIs; torch's `cross_entropy` divides by the sum
    of the weights, so there the same weight gives a loss of another scale.

    Raises:
        ValueError: the loss has class weights already, or takes none.
    """
    loss_cls = dict(loss_cls or dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0))
    if loss_cls.get('class_weight') is not None:
        raise ValueError('RelationBBoxHead: bg_weight and loss_cls.class_weight exclude each other; keep one')
    kind = loss_cls.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    # An unknown type is for the registry to complain about.
    if kind is not None and 'class_weight' not in inspect.signature(kind).parameters:
        raise ValueError(
            f'RelationBBoxHead: bg_weight needs a loss_cls that takes class_weight, such as CrossEntropyLoss; '
            f'{kind.__name__} does not: leave bg_weight out'
        )
    return {**loss_cls, 'class_weight': [1.0] * num_classes + [float(bg_weight)]}


def loss_factors(labels: Tensor, label_weights: Tensor) -> Tensor:
    """The normalisers of classification (RoIs that count) and box loss (all RoIs), (2,): means over ranks, at least 1.

    A collective: every rank calls it, also one without RoIs.
    """
    # Filled on the device: `new_tensor` would copy from the host.
    counts = torch.stack([(label_weights > 0).sum(), labels.new_full((), len(labels))]).float()
    return reduce_mean(counts).clamp(min=1)


def bbox_head_loss(
    head: BBoxHead,
    cls_score: Tensor,
    bbox_pred: Tensor | None,
    rois: Tensor,
    labels: Tensor,
    label_weights: Tensor,
    bbox_targets: Tensor,
    bbox_weights: Tensor,
    factors: Tensor | None = None,
) -> dict[str, Tensor]:
    """Classification and box loss of `head`.

    No host sync of its own; those of mmdet's losses stay (IoU and L1 losses call `torch.any`, class weights are
    copied from the host).
    As mmdet's `BBoxHead.loss`, but the normalisers are means over all ranks (each rank calls, also one without RoIs),
    boxes are weighted instead of indexed by class, and without positives `loss_bbox` is a connected zero.

    Args:
        head: gives the losses, the coder and `num_classes`.
        cls_score: (N, C + 1).
        bbox_pred: (N, 4 C), or (N, 4) when class-agnostic; None: no `loss_bbox`.
        rois: (N, 5).
        labels: (N,), C is background.
        label_weights: (N,).
        bbox_targets: (N, 4), rows of background are not read.
        bbox_weights: (N, 4), zero for background.
        factors: what :func:`loss_factors` gave for these targets, where several classifiers share them; None: it is
            called here.
    """
    cls_factor, bbox_factor = loss_factors(labels, label_weights) if factors is None else factors
    if not len(labels):
        # mmdet's losses do not take empty input; those that count over the ranks have to, or the others would wait.
        empty = {'loss_cls': _loss_of_nothing(head.loss_cls, cls_score, labels), 'acc': cls_score.new_zeros(1)}
        if bbox_pred is not None:
            empty['loss_bbox'] = _loss_of_nothing(head.loss_bbox, bbox_pred[:, :4], bbox_targets)
            empty['loss_bbox'] = empty['loss_bbox'] + bbox_pred.sum() * 0
        return empty
    losses: dict[str, Tensor] = {}
    loss_cls = head.loss_cls(cls_score, labels, label_weights, avg_factor=cls_factor)
    losses.update(loss_cls if isinstance(loss_cls, dict) else {'loss_cls': loss_cls})
    if head.custom_activation:
        losses.update(head.loss_cls.get_accuracy(cls_score, labels))
    else:
        losses['acc'] = accuracy(cls_score, labels)
    if bbox_pred is None:
        return losses

    positive = (labels >= 0) & (labels < head.num_classes)
    if head.reg_decoded_bbox:
        bbox_pred = get_box_tensor(head.bbox_coder.decode(rois[:, 1:], bbox_pred))
        bbox_targets = torch.where(positive[:, None], bbox_targets, rois[:, 1:])
    if not head.reg_class_agnostic:
        own = torch.where(positive, labels, 0)[:, None, None].expand(-1, 1, 4)
        bbox_pred = bbox_pred.view(len(labels), -1, 4).gather(1, own).squeeze(1)
    losses['loss_bbox'] = head.loss_bbox(
        bbox_pred, bbox_targets, bbox_weights * positive[:, None], avg_factor=bbox_factor
    )
    return losses


def _loss_of_nothing(loss: nn.Module, pred: Tensor, target: Tensor) -> Tensor:
    return loss(pred, target) if isinstance(loss, GradientDensity) else pred.sum() * 0
