"""From the maps of a dense head to candidates: what mmdet's `predict_by_feat` does, for a batch and without masks."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from mmdet_ext.models.dense_heads.dense_maths import flatten_levels
from mmdet_ext.models.dense_heads.yolo_maps import CLASSES, CONF, XY

from .candidates import Candidates, best_classes, clip_boxes, concatenate, suppress, take_rows


def _number(cfg: Any) -> int:
    number = cfg.get('nms_pre', -1)
    return number if number > 0 else sys.maxsize


def _decode(coder: Any, priors: Tensor, deltas: Tensor, height: int, width: int) -> Tensor:
    """Boxes (B, K, 4) of priors and deltas (B, K, 4), clipped where the coder clips."""
    rows = get_box_tensor(coder.decode(priors.flatten(0, 1), deltas.flatten(0, 1)))
    boxes = rows.view_as(deltas)
    return clip_boxes(boxes, height, width) if getattr(coder, 'clip_border', False) else boxes


def anchor_candidates(
    head: Any, maps: Sequence[Sequence[Tensor]], cfg: Any, height: int, width: int, by_level: bool = False
) -> Candidates:
    """Candidates of an `AnchorHead`: the best `nms_pre` of every level, decoded.

    Args:
        head: the head; with a `landmark_coder` its third kind of map gives the extra rows `keypoints`.
        maps: what its `forward` gave: scores, deltas and possibly landmarks, each a list of levels.
        cfg: its test config; `score_thr` is for heads with classes.
        height: of the image, to which boxes are clipped.
        width: likewise.
        by_level: for an RPN: there is one class, the labels are the levels and no score is too low.
    """
    cls_scores, bbox_preds = maps[0], maps[1]
    landmarks = maps[2] if getattr(head, 'num_landmarks', 0) else None
    sizes = [x.shape[-2:] for x in cls_scores]
    priors = head.prior_generator.grid_priors(sizes, dtype=torch.float32, device=cls_scores[0].device)
    found = []
    for level, own in enumerate(priors):
        logits = flatten_levels([cls_scores[level]], head.cls_out_channels)
        deltas = flatten_levels([bbox_preds[level]], head.bbox_coder.encode_size)
        scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]
        threshold = None if by_level else cfg.get('score_thr', 0)
        best, labels, rows = best_classes(scores, _number(cfg), threshold)
        picked = get_box_tensor(own)[rows]
        boxes = _decode(head.bbox_coder, picked, take_rows(deltas, rows), height, width)
        extras = {}
        if landmarks is not None:
            offsets = flatten_levels([landmarks[level]], 2 * head.num_landmarks)
            extras['keypoints'] = head.landmark_coder.decode(picked, take_rows(offsets, rows))
        found.append(Candidates(boxes, best, torch.full_like(labels, level) if by_level else labels, extras))
    return concatenate(found)


def yolo_candidates(head: Any, maps: Sequence[Sequence[Tensor]], cfg: Any) -> Candidates:
    """Candidates of `YOLOV3Head` and `YOLOIoUHead`: the best `nms_pre` of all levels by class score.

    The score of a candidate is that times its objectness; boxes are not clipped, as in mmdet.
    """
    pred_maps = maps[0]
    sizes = [x.shape[-2:] for x in pred_maps]
    levels = head.prior_generator.grid_priors(sizes, device=pred_maps[0].device)
    priors = torch.cat([get_box_tensor(level) for level in levels])
    strides = torch.cat(
        [torch.full_like(level[:, 0], stride) for level, stride in zip(levels, head.featmap_strides, strict=True)]
    )
    preds = flatten_levels(pred_maps, head.num_attrib)
    if hasattr(head, 'decode'):
        boxes = head.decode(preds, priors, strides)
    else:
        deltas = torch.cat([preds[..., XY].sigmoid(), preds[..., 2:4]], dim=-1)
        boxes = get_box_tensor(head.bbox_coder.decode(priors, deltas, strides[:, None]))
    confidence, scores = preds[..., CONF].sigmoid(), preds[..., CLASSES].sigmoid()
    least = cfg.get('conf_thr', -1)
    if least > 0:
        scores = torch.where((confidence >= least)[..., None], scores, -1)
    best, labels, rows = best_classes(scores, _number(cfg), cfg.get('score_thr', 0))
    found = Candidates(take_rows(boxes, rows), best * confidence.gather(1, rows), labels)
    return found.keep(best >= 0)


def dense_detections(head: Any, features: Sequence[Tensor], height: int, width: int) -> Candidates:
    """Detections of a one-stage detector's head, at most `max_per_img` of every image."""
    cfg = head.test_cfg
    maps = head(features)
    if hasattr(head, 'num_attrib'):
        found = yolo_candidates(head, maps, cfg)
    else:
        found = anchor_candidates(head, maps, cfg, height, width)
    return suppress(found, cfg.nms, cfg.get('max_per_img', -1), cfg.get('min_bbox_size', -1))
