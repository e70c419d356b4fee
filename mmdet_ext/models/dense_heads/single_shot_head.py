"""SSD-, RetinaNet- and YOLACT-like heads whose losses all come from the registry."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import AnchorHead
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import MODELS
from mmdet.structures.bbox import cat_boxes, get_box_tensor
from mmdet.utils import ConfigType, InstanceList, OptConfigType, OptInstanceList, OptMultiConfig
from mmengine.model import ModuleList
from torch import Tensor

from mmdet_ext.models.losses.entry_checks import check_takes_labels

from .dense_maths import flatten_levels, spread_levels
from .gt_checks import check_gts
from .level_predictor import LevelPredictor
from .options import check_assigner, check_box_loss, check_loss, check_sampler, check_single_shot, uses_sigmoid
from .predictions import prediction_config, widen_all
from .prior_targets import PriorTargets, match_priors
from .single_shot_losses import single_shot_losses

FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
NORMAL = dict(type='Normal', layer='Conv2d', std=0.01)
RELU = dict(type='ReLU')


@MODELS.register_module()
class SingleShotHead(AnchorHead):
    """Anchors on every level, one classification and one box loss over all levels and images.

    - `in_channels=(512, 1024, ...)`, `stacked_convs=0` and an `SSDAnchorGenerator`: SSD.
    - `in_channels=256`, `stacked_convs=4`: RetinaNet, convs shared by the levels.
    - `in_channels=256`, `shared_convs=1`: the box branch of YOLACT.

    `loss_cls` decides on the activation, in training and in prediction: softmax with the background last, or sigmoid.
    An `OHEMLoss` gets logits (B, N, C), labels (B, N) and weights (B, N), every other loss the flat (B * N, C),
    (B * N,) and (B * N,). `loss_bbox` gets positives only, (P, 4) each.

    Deviations from `RetinaHead` and `SSDHead`: losses are divided by the number of positives, the mean over all ranks
    (mmdet: of this rank, every image without positives counts as one); what `SSDHead` fixes (softmax cross entropy,
    negatives by `train_cfg.neg_pos_ratio`, smooth L1) is a loss of the config; `test_cfg.nms_pre=-1` means all (in
    mmdet all but one); boxes are decoded in float32.

    Logged beside the losses, as means over the ranks: `num_pos`, `num_neg`, `num_ignored` of the batch.

    Args:
        num_classes: C, without background.
        in_channels: of the feature maps; a sequence gives the width of every level.
        stacked_convs: number of 3x3 convs in the class and in the box tower each.
        shared_convs: number of 3x3 convs before the towers, which classes and boxes have in common.
        feat_channels: of these convs.
        share_levels: whether all levels use the same weights; default: yes where `in_channels` is one number.
        conv_cfg: of the convs, such as `dict(type='DCNv2')`.
        norm_cfg: of the convs.
        act_cfg: of the convs.
        cls_prior: the score every class starts with, for sigmoid only.
        small_obj_weight: `'2-area'`: positives weigh 2 minus the share of the image (`img_shape`) their box covers.
        small_obj_on_cls: whether that weight is for their classification as well (else for boxes only).
        focal_on_bbox: whether the box loss of a positive is multiplied by (1 - p)^`focal_gamma`, p its score, without
            gradient to p. Off: the gradient of a box knows nothing of scores.
        focal_gamma: see `focal_on_bbox`.
        loss_cls: needs `reduction='mean'`.
        init_cfg: as in mmengine.
        kwargs: options of `AnchorHead`: `anchor_generator`, `bbox_coder`, `reg_decoded_bbox` (the box loss compares
            decoded boxes in pixels, as IoU losses want it), `loss_bbox`, `train_cfg`, `test_cfg`.

    Raises:
        ValueError: an option outside of what is listed here, levels that cannot share weights, a loss whose activation
            is unknown, that wants soft targets or a call per level, an assigner that wants more than this head knows, a
            sampler that adds ground truth to the priors.
    """

    single_call_losses = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        stacked_convs: int = 0,
        shared_convs: int = 0,
        feat_channels: int = 256,
        share_levels: bool | None = None,
        conv_cfg: OptConfigType = None,
        norm_cfg: OptConfigType = None,
        act_cfg: OptConfigType = RELU,
        cls_prior: float = 0.01,
        small_obj_weight: str | None = None,
        small_obj_on_cls: bool = True,
        focal_on_bbox: bool = False,
        focal_gamma: float = 2.0,
        loss_cls: ConfigType = FOCAL,
        init_cfg: OptMultiConfig = NORMAL,
        **kwargs: Any,
    ) -> None:
        check_single_shot(stacked_convs, shared_convs, cls_prior, small_obj_weight, focal_gamma, type(self).__name__)
        self.stacked_convs, self.shared_convs = stacked_convs, shared_convs
        self.share_levels = isinstance(in_channels, int) if share_levels is None else share_levels
        self.conv_cfgs = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.cls_prior = cls_prior
        self.small_obj_weight, self.small_obj_on_cls = small_obj_weight, small_obj_on_cls
        self.focal_on_bbox, self.focal_gamma = focal_on_bbox, focal_gamma
        super().__init__(
            num_classes, in_channels, feat_channels=feat_channels, loss_cls=loss_cls, init_cfg=init_cfg, **kwargs
        )

    def _init_layers(self) -> None:
        """Called by the parent once losses and anchors are built."""
        owner = type(self).__name__
        for name in ('loss_cls', 'loss_bbox'):
            check_loss(getattr(self, name), name, owner)
        check_takes_labels(owner, 'loss_cls', self.loss_cls)
        check_box_loss(self.loss_bbox, self.reg_decoded_bbox, owner)
        if self.train_cfg:
            check_assigner(self.assigner, owner)
            check_sampler(self.sampler, owner)
        # The parent believes the config, where a loss may be silent about what it does by default.
        self.use_sigmoid_cls = uses_sigmoid(self.loss_cls, 'loss_cls', owner)
        self.cls_out_channels = self.num_classes if self.use_sigmoid_cls else self.num_classes + 1
        numbers = list(self.prior_generator.num_base_priors)
        # As in mmdet: a number where all levels have as many anchors, else a list.
        self.num_base_priors = numbers[0] if len(set(numbers)) == 1 else numbers
        widths = [self.in_channels] * len(numbers) if isinstance(self.in_channels, int) else list(self.in_channels)
        if len(widths) != len(numbers):
            raise ValueError(
                f'{owner}: in_channels={self.in_channels} names {len(widths)} levels, the anchor generator has '
                f'{len(numbers)}'
            )
        if self.share_levels and len({*zip(widths, numbers, strict=True)}) > 1:
            raise ValueError(
                f'{owner}: share_levels=True needs levels of one kind, they have {widths} channels and '
                f'{numbers} anchors per place; set share_levels=False'
            )
        self.predictors = ModuleList(
            self._build_predictor(width, number)
            for width, number in list(zip(widths, numbers, strict=True))[: 1 if self.share_levels else None]
        )

    def _build_predictor(self, in_channels: int, num_anchors: int, **options: Any) -> LevelPredictor:
        """Of one level, with `num_anchors` at every place; `options` are more of the predictor's."""
        return LevelPredictor(
            in_channels,
            self.feat_channels,
            self.shared_convs,
            self.stacked_convs,
            num_anchors * self.cls_out_channels,
            num_anchors * self.bbox_coder.encode_size,
            self.cls_prior if self.use_sigmoid_cls else None,
            **self.conv_cfgs,
            **options,
        )

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Feature maps -> per level class scores (B, A * C, H, W) and box deltas (B, A * 4, H, W)."""
        levels = self.prior_generator.num_levels
        if len(x) != levels:
            raise ValueError(f'{type(self).__name__}: {len(x)} feature maps, but anchors for {levels} levels')
        predictors = [self.predictors[0]] * levels if self.share_levels else self.predictors
        outs = [predictor(feat) for predictor, feat in zip(predictors, x, strict=True)]
        return tuple(list(maps) for maps in zip(*outs, strict=True))

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses, scalars, of what `forward` gave; in float32 also under autocast.

        Every term is connected to every level, whatever the images hold.
        """
        check_gts(batch_gt_instances, batch_gt_instances_ignore, batch_img_metas, self.num_classes, type(self).__name__)
        return self._losses(cls_scores, bbox_preds, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)[0]

    def _losses(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList,
    ) -> tuple[dict[str, Tensor], PriorTargets]:
        """The losses of classes and boxes, and what they were matched with."""
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            logits = flatten_levels(cls_scores, self.cls_out_channels)
            deltas = flatten_levels(bbox_preds, self.bbox_coder.encode_size)
            sizes = [x.shape[-2:] for x in cls_scores]
            targets = self.match(sizes, deltas, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)
            return single_shot_losses(self, logits, deltas, targets, batch_img_metas), targets

    def match(
        self,
        sizes: Sequence[torch.Size],
        deltas: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> PriorTargets:
        """What the priors of every image have to learn.

        The assigner sees `priors`, `level_ids` and, where it asks for them by `ignore_from='pred'`, `bboxes`: the
        predictions as they are now.

        Args:
            sizes: (H, W) of the feature maps.
            deltas: (B, N, 4).
            batch_gt_instances: with `bboxes` and `labels`.
            batch_img_metas: with `img_shape` and `pad_shape`.
            batch_gt_instances_ignore: with `bboxes`, or None.
        """
        anchors, flags = self.get_anchors(sizes, batch_img_metas, device=deltas.device)
        priors = cat_boxes(anchors[0])
        lengths = [len(level) for level in anchors[0]]
        level_ids = spread_levels(range(len(lengths)), lengths, like=deltas.new_zeros((), dtype=torch.long))
        extras = [dict(level_ids=level_ids) for _ in batch_img_metas]
        if getattr(self.assigner, 'ignore_from', None) == 'pred':
            for extra, own in zip(extras, deltas.detach(), strict=True):
                extra['bboxes'] = get_box_tensor(self.bbox_coder.decode(priors, own))
        inside = [self._inside(priors, torch.cat(own), meta) for own, meta in zip(flags, batch_img_metas, strict=True)]
        targets = match_priors(
            self.assigner,
            self.sampler,
            priors,
            inside,
            batch_gt_instances,
            batch_gt_instances_ignore,
            self.num_classes,
            self.train_cfg.get('pos_weight', -1),
            extras,
        )
        # As the parent: `get_positive_infos` reads it.
        self._raw_positive_infos.update(sampling_results=targets.sampling_results)
        return targets

    def _inside(self, priors: Tensor, valid: Tensor, meta: dict) -> Tensor:
        """The indices of the priors that lie on the image, not on what pads it."""
        border = self.train_cfg.get('allowed_border', -1)
        inside = anchor_inside_flags(priors, valid, meta['img_shape'][:2], border).nonzero().squeeze(1)
        if not len(inside):
            raise ValueError(
                f'{type(self).__name__}: no anchor lies inside of image {meta.get("img_path")} of shape '
                f'{tuple(meta["img_shape"])}; set train_cfg.allowed_border=-1 or use smaller anchors'
            )
        return inside

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        score_factors: Sequence[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: OptConfigType = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of every image; the parent's, in float32 or wider."""
        return super().predict_by_feat(
            widen_all(cls_scores),
            widen_all(bbox_preds),
            score_factors,
            batch_img_metas,
            prediction_config(
                self.test_cfg if cfg is None else cfg, batch_img_metas or (), rescale, type(self).__name__
            ),
            rescale,
            with_nms,
        )
