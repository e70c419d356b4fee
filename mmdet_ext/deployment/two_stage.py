"""Proposals, RoI features and box heads of a two-stage detector, for a batch and without sizes that depend on data.

Every image has as many proposals, `test_cfg.rpn.max_per_img`; what an image has less is padding that relations do not
look at (`RelationContext.row_mask`) and that never becomes a detection.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from mmdet_ext.models.relations import Parts, RelationContext
from mmdet_ext.models.roi_heads.bbox_heads import RelationBBoxHead
from mmdet_ext.models.roi_heads.relation_cascade_roi_head import SCORES
from mmdet_ext.models.roi_heads.relation_context import part_rois

from .candidates import ABSENT, Candidates, clip_boxes, suppress
from .dense import anchor_candidates


def proposals(head: Any, features: Sequence[Tensor], cfg: Any, height: int, width: int) -> Candidates:
    """Proposals (B, max_per_img) of an `RPNHead` by falling score, the best of every level."""
    found = anchor_candidates(head, head(features), cfg, height, width, by_level=True)
    return suppress(found, cfg.nms, cfg.max_per_img, cfg.get('min_bbox_size', -1))


def pool(extractor: Any, features: Sequence[Tensor], rois: Tensor) -> Tensor:
    """What a `SingleRoIExtractor` gives for RoIs (N, 5): (N, c, h, w), each from the level of its size.

    Every level pools all RoIs, those of other levels as points, for which `sampling_ratio=0` takes no sample. So no
    tensor is as long as the number of RoIs on a level.
    """
    features = features[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, extractor.num_inputs)
    total: Any = None
    for level, layer in enumerate(extractor.roi_layers):
        here = levels == level
        own = torch.cat([rois[:, :1], torch.where(here[:, None], rois[:, 1:], 0)], dim=1)
        pooled = torch.ops.mmdet_ext.roi_align(
            features[level], own, list(layer.output_size), layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
        pooled = torch.where(here[:, None, None, None], pooled, 0)
        total = pooled if total is None else total + pooled
    return total


def head_outputs(head: Any, roi_features: Callable[[Tensor], Tensor], ctx: RelationContext) -> tuple[Tensor, Tensor]:
    """Logits (N, C + 1) and deltas (N, C * 4, or N, 4) of a box head for the RoIs of the context.

    Args:
        head: plain or relational.
        roi_features: RoIs (n, 5) -> what the head reads, (n, c, h, w).
        ctx: the context.
    """
    if not isinstance(head, RelationBBoxHead):
        return head(roi_features(ctx.rois))
    part_feats = {}
    if ctx.parts is not None:
        part_feats = {split: roi_features(part_rois(ctx.parts.boxes, split)) for split in sorted(head.part_splits)}
    results = head(roi_features(ctx.rois), ctx, part_feats)
    return results.cls_score, results.bbox_pred


def _single_stage(roi_head: Any, features: Sequence[Tensor], ctx: RelationContext) -> tuple[Tensor, Tensor]:
    def roi_features(rois: Tensor) -> Tensor:
        pooled = pool(roi_head.bbox_roi_extractor, features, rois)
        return roi_head.shared_head(pooled) if roi_head.with_shared_head else pooled

    return head_outputs(roi_head.bbox_head, roi_features, ctx)


def _stage(
    roi_head: Any, stage: int, features: Sequence[Tensor], ctx: RelationContext, pooled: dict[int, Tensor]
) -> tuple[Tensor, Tensor]:
    """Outputs of a stage of a cascade; a relational one reads scores of the stage before, run on the same RoIs.

    `pooled` keeps the features of the RoIs per extractor.
    """
    source = getattr(roi_head, '_extractor_of', range(roi_head.num_stages))[stage]

    def roi_features(rois: Tensor) -> Tensor:
        if rois is not ctx.rois:
            return pool(roi_head.bbox_roi_extractor[source], features, rois)
        if source not in pooled:
            pooled[source] = pool(roi_head.bbox_roi_extractor[source], features, rois)
        return pooled[source]

    head = roi_head.bbox_head[stage]
    if isinstance(head, RelationBBoxHead) and head.needs & SCORES:
        before = roi_head.bbox_head[stage - 1].fc_cls
        logits, _ = _stage(roi_head, stage - 1, features, ctx, pooled)
        ctx = replace(ctx, cls_logits=logits, cls_weight=torch.cat([before.weight, before.bias[:, None]], dim=1))
    return head_outputs(head, roi_features, ctx)


def _cascade(
    roi_head: Any, features: Sequence[Tensor], ctx: RelationContext, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4) that the last stage saw, mean logits of all stages and deltas of the last."""
    total: Any = 0
    for stage in range(roi_head.num_stages):
        logits, deltas = _stage(roi_head, stage, features, ctx, {})
        total = total + logits
        if stage + 1 < roi_head.num_stages:
            head = roi_head.bbox_head[stage]
            labels = logits[:, :-1].argmax(1)
            boxes = get_box_tensor(head.regress_by_class(ctx.rois[:, 1:], labels, deltas, dict(img_shape=None)))
            if getattr(head.bbox_coder, 'clip_border', False):
                boxes = clip_boxes(boxes, *size)
            rois = torch.cat([ctx.rois[:, :1], boxes], dim=1)
            ctx = replace(ctx, feats=rois, rois=rois)
    return ctx.rois[:, 1:], total / roi_head.num_stages, deltas


def box_candidates(
    head: Any, cfg: Any, logits: Tensor, deltas: Tensor, found: Candidates, size: tuple[int, int]
) -> Candidates:
    """All pairs of RoI and class whose score is above `score_thr`, decoded.

    Args:
        head: the box head.
        cfg: test config of the R-CNN.
        logits: its scores (B * P, C + 1) before the softmax.
        deltas: (B * P, C * 4, or B * P, 4).
        found: the boxes (B, P) that it refines.
        size: height and width of the image.
    """
    batch, number = found.scores.shape
    scores = logits.softmax(-1)[:, :-1].unflatten(0, (batch, number))
    classes = scores.shape[2]
    there = (scores > cfg.score_thr) & (found.scores > ABSENT)[..., None]
    kinds = 1 if head.reg_class_agnostic else classes
    priors = found.boxes.flatten(0, 1).repeat_interleave(kinds, dim=0)
    boxes = get_box_tensor(head.bbox_coder.decode(priors, deltas.reshape(-1, head.bbox_coder.encode_size)))
    if getattr(head.bbox_coder, 'clip_border', False):
        boxes = clip_boxes(boxes, *size)
    boxes = boxes.view(batch, number, kinds, 4).expand(-1, -1, classes, -1)
    labels = torch.arange(classes, device=scores.device).expand_as(scores)
    return Candidates(boxes.flatten(1, 2), torch.where(there, scores, ABSENT).flatten(1), labels.flatten(1))


def two_stage_detections(
    model: Any, features: Sequence[Tensor], height: int, width: int, parts: Parts | None
) -> Candidates:
    """Detections of a Faster or Cascade R-CNN, at most `test_cfg.rcnn.max_per_img` of every image.

    Args:
        model: the detector.
        features: of its neck.
        height: of the image.
        width: likewise.
        parts: part boxes where relations read them.
    """
    found = proposals(model.rpn_head, features, model.test_cfg.rpn, height, width)
    batch, number = found.scores.shape
    image = torch.arange(batch, device=found.boxes.device, dtype=found.boxes.dtype)
    rois = torch.cat([image[:, None, None].expand(-1, number, 1), found.boxes], dim=-1).flatten(0, 1)
    sides = [torch.full_like(found.scores[:, :1], side) for side in (height, width)]
    ctx = RelationContext(
        feats=rois,
        rois=rois,
        img_shapes=torch.cat(sides, dim=1).long(),
        feature_maps=tuple(features),
        parts=parts,
        row_mask=found.scores > ABSENT,
    )
    roi_head, cfg = model.roi_head, model.test_cfg.rcnn
    if isinstance(roi_head, CascadeRoIHead):
        boxes, *outputs = _cascade(roi_head, features, ctx, (height, width))
        found, head = replace(found, boxes=boxes.view(batch, number, 4)), roi_head.bbox_head[-1]
    else:
        outputs, head = [*_single_stage(roi_head, features, ctx)], roi_head.bbox_head
    candidates = box_candidates(head, cfg, outputs[0], outputs[1], found, (height, width))
    return suppress(candidates, cfg.nms, cfg.max_per_img)
