"""RetinaFace's head: faces, boxes and landmarks, with losses from the registry."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import get_box_tensor, scale_boxes
from mmdet.utils import ConfigType, InstanceList, OptConfigType, OptInstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from .dense_maths import flatten_levels
from .gt_checks import check_gts
from .landmark_losses import batch_landmarks, landmark_losses
from .level_predictor import LevelPredictor
from .options import check_loss, check_retina_face
from .predictions import best_of_levels, prediction_config
from .single_shot_head import SingleShotHead

# Squares of 16 to 512 pixels around the middle of every cell, two on each level.
ANCHORS = dict(
    type='AnchorGenerator',
    strides=[8, 16, 32],
    ratios=[1.0],
    scales=[1, 2],
    base_sizes=[16, 64, 256],
    centers=[(4.0, 4.0), (8.0, 8.0), (16.0, 16.0)],
)
BOXES = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
LANDMARKS = dict(type='LandmarkCoder', variance=0.1)
OHEM = dict(type='OHEMLoss', loss=dict(type='CrossEntropyLoss', use_sigmoid=False), neg_pos_ratio=7)
BOX_LOSS = dict(type='SmoothL1Loss', loss_weight=2.0)
LANDMARK_LOSS = dict(type='SmoothL1Loss', loss_weight=1.0)


@MODELS.register_module()
class RetinaFaceHead(SingleShotHead):
    """A `SingleShotHead` with one more branch, for landmarks (RetinaFace, arXiv:1905.00641, without its dense branch).

    The defaults are those of the public PyTorch training of it (biubug6/Pytorch_Retinaface): a 1x1 conv per branch and
    level, two square anchors per place, smooth L1 on coded boxes and landmarks, softmax with seven hard negatives per
    positive and image, weights 1 : 2 : 1 of classes, boxes and landmarks. Its matching is `train_cfg.assigner`:
    `YOLOAssigner` with `pos_iou_thr=0.35`, `neg_iou_thr=0.35` and `min_best_iou=0.2`, or any other assigner.

    Ground truth carries landmarks as `keypoints` (n, K, 3): x, y in pixels of the network's input and v, 0 for not
    labelled. `loss_landmark` gets the positives, (P, 2K) coded with weights (P, 2K): 1 for labelled ones. It is divided
    by the number of positives with a labelled landmark, logged as `num_pos_landmarks`. What is not labelled may be
    anything, also NaN. `small_obj_weight` and `focal_on_bbox` leave landmarks alone, and so does mmdet's
    `BatchSyncRandomResize`: it moves boxes only, resize in the pipeline instead.

    Detections carry `keypoints` (m, K, 2) in the pixels of their boxes. They are not clamped to the image: those of a
    face that its border cuts lie outside.

    Deviations from biubug6: losses are divided by counts over all ranks; OHEM never picks priors that are neither
    positive nor negative, and takes the hardest negatives of images without faces; each face gets an anchor of its own
    when the assigner says so. mmdet has no head with landmarks.

    Args:
        num_classes: C, without background.
        in_channels: of the feature maps; a sequence gives the width of every level.
        num_landmarks: K; 0: no such branch and no such loss, whatever the ground truth carries.
        kernel_size: of the last conv of every branch; 3 as in SSD and RetinaNet.
        share_levels: whether all levels use the same weights.
        landmark_coder: with `encode(priors, landmarks)` and `decode(priors, deltas)`.
        loss_landmark: needs `reduction='mean'`. With `loss_weight=0` the ground truth needs no landmarks.
        anchor_generator: as in `AnchorHead`.
        bbox_coder: as in `AnchorHead`.
        loss_cls: as in `SingleShotHead`.
        loss_bbox: as in `SingleShotHead`.
        kwargs: options of `SingleShotHead`; `stacked_convs` is the number of convs in each of the three towers.

    Raises:
        ValueError: an option outside of what is listed here or in `SingleShotHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        num_landmarks: int = 5,
        kernel_size: int = 1,
        share_levels: bool | None = False,
        landmark_coder: ConfigType = LANDMARKS,
        loss_landmark: ConfigType = LANDMARK_LOSS,
        anchor_generator: ConfigType = ANCHORS,
        bbox_coder: ConfigType = BOXES,
        loss_cls: ConfigType = OHEM,
        loss_bbox: ConfigType = BOX_LOSS,
        **kwargs: Any,
    ) -> None:
        check_retina_face(num_landmarks, kernel_size, type(self).__name__)
        self.num_landmarks, self.kernel_size = num_landmarks, kernel_size
        super().__init__(
            num_classes,
            in_channels,
            share_levels=share_levels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            **kwargs,
        )
        if num_landmarks:
            self.landmark_coder = TASK_UTILS.build(landmark_coder)
            self.loss_landmark = MODELS.build(loss_landmark)
            check_loss(self.loss_landmark, 'loss_landmark', type(self).__name__)

    def _build_predictor(self, in_channels: int, num_anchors: int, **options: Any) -> LevelPredictor:
        channels = num_anchors * 2 * self.num_landmarks
        return super()._build_predictor(
            in_channels, num_anchors, landmark_channels=channels, kernel_size=self.kernel_size, **options
        )

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Feature maps -> per level class scores (B, A * C, H, W), box deltas (B, A * 4, H, W), landmarks.

        The latter (B, A * 2K, H, W), x before y, landmark after landmark, anchor after anchor; an empty list without.
        """
        maps = super().forward(x)
        return maps if self.num_landmarks else (*maps, [])

    def loss_by_feat(  # type: ignore[override]
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        landmark_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses, scalars, of what `forward` gave; in float32 also under autocast.

        Every term is connected to every level, whatever the images hold.
        """
        owner, landmarks = type(self).__name__, None
        if self.num_landmarks:
            needed = getattr(self.loss_landmark, 'loss_weight', 1) > 0
            landmarks = batch_landmarks(batch_gt_instances, batch_img_metas, self.num_landmarks, needed, owner)
        check_gts(batch_gt_instances, batch_gt_instances_ignore, batch_img_metas, self.num_classes, owner, landmarks)
        losses, targets = self._losses(
            cls_scores, bbox_preds, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        if landmarks is not None:
            with torch.autocast(cls_scores[0].device.type, enabled=False):
                deltas = flatten_levels(landmark_preds, 2 * self.num_landmarks)
                losses.update(landmark_losses(self, deltas, targets, landmarks))
        return losses

    def predict_by_feat(  # type: ignore[override]
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        landmark_preds: Sequence[Tensor],
        batch_img_metas: list[dict],
        cfg: OptConfigType = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of every image, with `keypoints` (m, K, 2); in float32 or wider, picked as in the parent."""
        cfg = prediction_config(self.test_cfg if cfg is None else cfg, batch_img_metas, rescale, type(self).__name__)
        logits = [flatten_levels([x.detach()], self.cls_out_channels) for x in cls_scores]
        scores = [x.sigmoid() if self.use_sigmoid_cls else x.softmax(-1)[..., :-1] for x in logits]
        maps = dict(deltas=[flatten_levels([x.detach()], self.bbox_coder.encode_size) for x in bbox_preds])
        if self.num_landmarks:
            maps['landmarks'] = [flatten_levels([x.detach()], 2 * self.num_landmarks) for x in landmark_preds]
        sizes = [x.shape[-2:] for x in cls_scores]
        anchors = self.prior_generator.grid_priors(sizes, dtype=logits[0].dtype, device=logits[0].device)
        results = []
        for i, meta in enumerate(batch_img_metas):
            rows = [
                dict(priors=get_box_tensor(own), **{name: levels[level][i] for name, levels in maps.items()})
                for level, own in enumerate(anchors)
            ]
            best = best_of_levels([level[i] for level in scores], rows, cfg)
            found = InstanceData(scores=best['scores'], labels=best['labels'])
            found.bboxes = self.bbox_coder.decode(best['priors'], best['deltas'], max_shape=meta['img_shape'])
            if self.num_landmarks:
                found.keypoints = self.landmark_coder.decode(best['priors'], best['landmarks'])
            results.append(self._bbox_post_process(found, cfg, rescale, with_nms, meta))
        return results

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        """The parent's scaling, filter and NMS; landmarks go with their boxes."""
        if rescale and self.num_landmarks:
            points = scale_boxes(
                results.keypoints.flatten(1), [1 / share for share in (img_meta or {})['scale_factor']]
            )
            results.keypoints = points.view_as(results.keypoints)
        return super()._bbox_post_process(results, cfg, rescale, with_nms, img_meta)
