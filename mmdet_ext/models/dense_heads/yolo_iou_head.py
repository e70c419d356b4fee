"""A YOLO head whose boxes learn by CIoU and whose objectness learns how good they are."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.models.task_modules.assigners import GridAssigner
from mmdet.models.utils import filter_scores_and_topk
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import ConfigType, InstanceList, OptConfigType, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from .dense_maths import at_least_one, flatten_levels, mean_over_ranks, spread_levels
from .gt_checks import check_gts
from .options import check_assigner, check_loss, check_sampler, check_yolo, uses_sigmoid
from .predictions import prediction_config
from .prior_targets import PriorTargets, match_priors
from .yolo_maps import CLASSES, CONF, balance_levels, check_grid, decode_boxes, objectness

BINARY = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
CIOU = dict(type='CompleteIoULoss', loss_weight=1.0)


@MODELS.register_module()
class YOLOIoUHead(YOLOV3Head):
    """YOLOv3 (arXiv:1804.02767) with one box loss on decoded boxes and means for sums.

    - `loss_cls`: binary, summed over the classes, the mean over positives.
    - `loss_conf`: binary, over all cells but ignored ones: `sum_l level_weights[l] * mean of level l`.
    - `loss_bbox`: of decoded boxes in pixels, the mean over positives.

    Every mean is one over all ranks. Logged beside the losses: `iou` (mean over positives), `num_pos`, `num_neg`,
    `num_ignored` (of the batch, means over the ranks).

    Deviations from `YOLOV3Head`: its losses are divided by all cells or, as its configs say, by nothing; its objectness
    is always 1; it hands no ignored regions to the assigner; exp() of a wide box overflows; a ground truth centred on
    the right or lower border belongs to the next row or to no cell (here: to the last cell); prediction changes maps of
    channels-last layout; `train_cfg.sampler` does not build; `test_cfg.nms_pre=-1` loses a candidate. Weights are the
    same: checkpoints of `YOLOV3Head` load.

    Args:
        num_classes: C.
        in_channels: of every feature map.
        obj_target: objectness of a positive: `'iou'` or `'ciou'` of its box as predicted now (no gradient, in [0, 1]),
            or `'one'`.
        level_weights: of the objectness of every level, in the order of `featmap_strides`; None: 1 each. For strides
            (32, 16, 8) YOLOv5's 4, 1, 0.4 for small to large objects are (0.4, 1.0, 4.0).
        scale_xy: how many cells a centre can travel; above 1 it reaches the border of its cell, and anchors that an
            assigner takes from neighbouring cells can fit.
        loss_cls: with `use_sigmoid=True`.
        loss_conf: with `use_sigmoid=True`, takes targets between 0 and 1.
        loss_bbox: of boxes (P, 4) xyxy.
        train_cfg: `assigner` (`YOLOAssigner`, or mmdet's `GridAssigner`, which does not look at ignored regions: it
            says so once), optional `sampler`, `pos_weight`.
        test_cfg: as of `YOLOV3Head`.
        kwargs: options of `YOLOV3Head`; `loss_xy` and `loss_wh` of an inherited config are to be None.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    single_call_losses = True

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        obj_target: str = 'iou',
        level_weights: Sequence[float] | None = None,
        scale_xy: float = 1.0,
        loss_cls: ConfigType = BINARY,
        loss_conf: ConfigType = BINARY,
        loss_bbox: ConfigType = CIOU,
        train_cfg: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        for name in ('loss_xy', 'loss_wh'):
            if kwargs.pop(name, None) is not None:
                raise ValueError(f'{owner}: boxes learn by loss_bbox; set {name}=None')
        # The parent cannot build a sampler.
        sampler = dict((train_cfg or {}).get('sampler') or dict(type='PseudoSampler'))
        plain = {**train_cfg, 'sampler': None} if train_cfg else None
        super().__init__(num_classes, in_channels, loss_cls=loss_cls, loss_conf=loss_conf, train_cfg=plain, **kwargs)
        self.train_cfg = train_cfg
        if train_cfg:
            self.sampler = TASK_UTILS.build(sampler, default_args=dict(context=self))
            check_assigner(self.assigner, owner)
            check_sampler(self.sampler, owner)
        del self.loss_xy, self.loss_wh
        self.loss_bbox = MODELS.build(loss_bbox)
        for name in ('loss_cls', 'loss_conf', 'loss_bbox'):
            check_loss(getattr(self, name), name, owner)
        for name in ('loss_cls', 'loss_conf'):
            if not uses_sigmoid(getattr(self, name), name, owner):
                raise ValueError(f'{owner}: {name} must have use_sigmoid=True, predictions are sigmoids')
        check_yolo(obj_target, level_weights, scale_xy, self.featmap_strides, self.prior_generator)
        self.obj_target, self.scale_xy = obj_target, scale_xy
        self.level_weights = tuple(level_weights or [1.0] * self.num_levels)

    def decode(self, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
        """Raw channels (..., N, 5 + C) -> boxes (..., N, 4) xyxy in pixels of the input."""
        return decode_boxes(self.bbox_coder, preds, priors, strides, self.scale_xy)

    def _flatten(self, pred_maps: Sequence[Tensor], metas: Sequence[dict]) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Maps of all levels -> predictions (B, N, 5 + C), priors (N, 4), strides (N,), priors per level."""
        if len(pred_maps) != self.num_levels:
            raise ValueError(f'{type(self).__name__}: {len(pred_maps)} maps for {self.num_levels} levels')
        sizes = [x.shape[-2:] for x in pred_maps]
        check_grid(sizes, self.featmap_strides, metas, type(self).__name__)
        levels = self.prior_generator.grid_priors(sizes, device=pred_maps[0].device)
        lengths, priors = [len(level) for level in levels], torch.cat(levels)
        strides = spread_levels(self.featmap_strides, lengths, like=priors)
        return flatten_levels(pred_maps, self.num_attrib), priors, strides, lengths

    def responsible_flags(self, featmap_sizes: Sequence[tuple], gt_bboxes: Tensor, device: Any) -> list[Tensor]:
        """Per level (H * W * A,): whether the cell holds the centre of a box; what lies on the border is inside."""
        centers = (gt_bboxes[:, :2] + gt_bboxes[:, 2:]).to(device) / 2
        flags = []
        for (height, width), (stride_x, stride_y), number in zip(
            featmap_sizes, self.prior_generator.strides, self.prior_generator.num_base_priors, strict=True
        ):
            column = (centers[:, 0] / stride_x).floor().long().clamp(0, width - 1)
            row = (centers[:, 1] / stride_y).floor().long().clamp(0, height - 1)
            cells = torch.zeros(height * width, dtype=torch.uint8, device=device)
            # A fill, not an assignment of a number: that would be a copy from the host.
            cells.index_fill_(0, row * width + column, 1)
            flags.append(cells[:, None].expand(-1, number).flatten())
        return flags

    def loss_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses, scalars, of maps (B, A * (5 + C), H, W); in float32 also under autocast."""
        check_gts(batch_gt_instances, batch_gt_instances_ignore, batch_img_metas, self.num_classes, type(self).__name__)
        self._warn_of_ignored_regions(batch_gt_instances_ignore)
        with torch.autocast(pred_maps[0].device.type, enabled=False):
            preds, priors, strides, lengths = self._flatten(pred_maps, batch_img_metas)
            sizes = [x.shape[-2:] for x in pred_maps]
            level_ids = spread_levels(range(len(lengths)), lengths, like=priors.new_zeros((), dtype=torch.long))
            extras = [
                dict(
                    level_ids=level_ids,
                    responsible_flags=torch.cat(
                        self.responsible_flags(sizes, get_box_tensor(gts.bboxes), preds.device)
                    ),
                )
                for gts in batch_gt_instances
            ]
            if getattr(self.assigner, 'ignore_from', None) == 'pred':
                for extra, own in zip(extras, self.decode(preds.detach(), priors, strides), strict=True):
                    extra['bboxes'] = own
            targets = match_priors(
                self.assigner,
                self.sampler,
                priors,
                [None] * len(batch_gt_instances),
                batch_gt_instances,
                batch_gt_instances_ignore,
                self.num_classes,
                self.train_cfg.get('pos_weight', -1),
                extras,
            )
            return self._losses(preds, strides, lengths, targets)

    def _warn_of_ignored_regions(self, batch_gt_instances_ignore: OptInstanceList) -> None:
        if not getattr(self, '_warned', False) and isinstance(self.assigner, GridAssigner):
            self._warned = any(ignore is not None and len(ignore) for ignore in batch_gt_instances_ignore or [])
            if self._warned:
                warnings.warn(
                    'YOLOIoUHead: GridAssigner does not look at ignored regions, their cells are trained as '
                    'background; YOLOAssigner ignores them',
                    stacklevel=2,
                )

    def _losses(
        self, preds: Tensor, strides: Tensor, lengths: Sequence[int], targets: PriorTargets
    ) -> dict[str, Tensor]:
        pos, gts = targets.pos_inds, targets.pos_gt_bboxes
        rows = preds.flatten(0, 1)[pos]
        boxes = self.decode(rows, targets.pos_priors, strides[pos % len(strides)])
        goal, iou = objectness(boxes.detach(), gts.to(boxes.dtype), self.obj_target)
        conf = preds[..., CONF]
        conf_target = torch.zeros_like(conf).flatten().index_put((pos,), goal.to(conf.dtype))
        weights = targets.label_weights.to(conf.dtype)
        per_level = [(own > 0).sum() for own in weights.split(list(lengths), dim=1)]
        num_pos, num_neg, num_ignored, iou_sum, *counts = mean_over_ranks(
            targets.num_pos, targets.num_neg, targets.num_ignored, iou.sum(), *per_level, like=conf
        )
        factor = at_least_one(num_pos)
        conf_weights, conf_factor = balance_levels(
            weights, lengths, [at_least_one(count) for count in counts], self.level_weights
        )
        classes = F.one_hot(targets.labels.flatten()[pos], self.num_classes).to(rows.dtype)
        classes = classes * (1 - self.one_hot_smoother) + self.one_hot_smoother / self.num_classes
        return dict(
            loss_cls=self.loss_cls(rows[:, CLASSES], classes, torch.ones_like(classes), avg_factor=factor),
            loss_conf=self.loss_conf(
                conf.reshape(-1, 1), conf_target[:, None], conf_weights.view(-1, 1), avg_factor=conf_factor
            ),
            loss_bbox=self.loss_bbox(boxes, gts.to(boxes.dtype), torch.ones_like(boxes), avg_factor=factor),
            iou=iou_sum / factor,
            num_pos=num_pos,
            num_neg=num_neg,
            num_ignored=num_ignored,
        )

    def predict_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_img_metas: list[dict],
        cfg: OptConfigType = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of every image, as the parent picks them; score = objectness * class score."""
        cfg = prediction_config(self.test_cfg if cfg is None else cfg, batch_img_metas, rescale, type(self).__name__)
        preds, priors, strides, _ = self._flatten([x.detach() for x in pred_maps], batch_img_metas)
        results = []
        for boxes, own, meta in zip(self.decode(preds, priors, strides), preds, batch_img_metas, strict=True):
            confidence, scores = own[:, CONF].sigmoid(), own[:, CLASSES].sigmoid()
            if cfg.get('conf_thr', -1) > 0:
                kept = confidence >= cfg.conf_thr
                boxes, confidence, scores = boxes[kept], confidence[kept], scores[kept]
            scores, labels, index, _ = filter_scores_and_topk(scores, cfg.get('score_thr', 0), cfg.nms_pre)
            candidates = InstanceData(
                scores=scores, labels=labels, bboxes=boxes[index], score_factors=confidence[index]
            )
            results.append(self._bbox_post_process(candidates, cfg, rescale, with_nms, meta))
        return results
