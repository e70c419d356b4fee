"""RoI head that tells its box head which RoIs share an image."""

from collections.abc import Sequence

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import empty_instances, unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor

from mmdet_ext.models.relations import RelationContext

from .bbox_heads import RelationBBoxHead, RelationBBoxResults


def not_ground_truth(sampling_results: Sequence[SamplingResult]) -> Tensor:
    """(N,) bool: False for RoIs that are ground truth added to the proposals, which do not exist at test time."""
    flags = [
        torch.cat([res.pos_is_gt.bool(), res.pos_is_gt.new_zeros(len(res.neg_priors)).bool()])
        for res in sampling_results
    ]
    return ~torch.cat(flags)


@MODELS.register_module()
class RelationRoIHead(StandardRoIHead):
    """`StandardRoIHead` for a :class:`RelationBBoxHead`; the mask branch is the parent's.

    Adds `loss_cls_base` and `loss_bbox_base` where the box head has a base classifier. Images without RoIs, in training
    and at test time, are input like any other.
    """

    def init_bbox_head(self, bbox_roi_extractor: ConfigType, bbox_head: ConfigType) -> None:
        """Build both; the box head must be a `RelationBBoxHead`."""
        super().init_bbox_head(bbox_roi_extractor, bbox_head)
        if not isinstance(self.bbox_head, RelationBBoxHead):
            raise ValueError(
                f'RelationRoIHead needs bbox_head.type RelationBBoxHead, got {type(self.bbox_head).__name__}; '
                'for a plain box head use StandardRoIHead'
            )

    def _context(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        counts: tuple[int, ...],
        img_metas: Sequence[dict] | None,
        key_valid: Tensor | None = None,
    ) -> RelationContext:
        if img_metas is None:
            # Only `forward` (FLOP counting, tracing) comes without metas: the padded input is the image then.
            stride = self.bbox_roi_extractor.featmap_strides[0]
            shapes = [tuple(side * stride for side in x[0].shape[-2:])] * len(x[0])
        else:
            shapes = [meta['img_shape'][:2] for meta in img_metas]
        # A copy from pageable memory would wait for the device in every step.
        img_shapes = torch.tensor(shapes).pin_memory() if rois.is_cuda else torch.tensor(shapes)
        # The features are filled in by the box head.
        return RelationContext(
            feats=rois,
            rois=rois,
            img_shapes=img_shapes.to(rois.device, non_blocking=rois.is_cuda),
            feature_maps=x,
            key_valid=key_valid,
            counts=counts,
        )

    def _bbox_forward(self, x: tuple[Tensor, ...], rois: Tensor, ctx: RelationContext) -> dict:
        feats = self.bbox_roi_extractor(x[: self.bbox_roi_extractor.num_inputs], rois)
        if self.with_shared_head:
            feats = self.shared_head(feats)
        results: RelationBBoxResults = self.bbox_head(feats, ctx)
        return dict(cls_score=results.cls_score, bbox_pred=results.bbox_pred, bbox_feats=feats, results=results)

    def loss(self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList) -> dict:
        """Losses of the box and mask branch; see the parent for the arguments."""
        gts, gts_ignore, _ = unpack_gt_instances(batch_data_samples)
        sampling_results = []
        for i, proposals in enumerate(rpn_results_list):
            proposals.priors = proposals.pop('bboxes')
            assigned = self.bbox_assigner.assign(proposals, gts[i], gts_ignore[i])
            feats = [level[i][None] for level in x]
            sampling_results.append(self.bbox_sampler.sample(assigned, proposals, gts[i], feats=feats))
        bbox_results = self.bbox_loss(x, sampling_results, [sample.metainfo for sample in batch_data_samples])
        losses = dict(bbox_results['loss_bbox'])
        if self.with_mask:
            mask_results = self.mask_loss(x, sampling_results, bbox_results['bbox_feats'], gts)
            losses.update(mask_results['loss_mask'])
        return losses

    def bbox_loss(
        self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult], img_metas: Sequence[dict]
    ) -> dict:
        """Box branch on the sampled RoIs of the whole batch; the parent's, with metas."""
        priors = [res.priors for res in sampling_results]
        rois = bbox2roi(priors)
        ctx = self._context(x, rois, tuple(map(len, priors)), img_metas, not_ground_truth(sampling_results))
        bbox_results = self._bbox_forward(x, rois, ctx)
        bbox_results['loss_bbox'] = self.bbox_head.loss(bbox_results['results'], rois, sampling_results, self.train_cfg)
        return bbox_results

    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        rpn_results_list: InstanceList,
        rcnn_test_cfg: ConfigType,
        rescale: bool = False,
    ) -> InstanceList:
        """Detections of every image; see the parent for the arguments."""
        proposals = [res.bboxes for res in rpn_results_list]
        rois = bbox2roi(proposals)
        if not len(rois):
            return empty_instances(
                batch_img_metas,
                rois.device,
                task_type='bbox',
                box_type=self.bbox_head.predict_box_type,
                num_classes=self.bbox_head.num_classes,
                score_per_cls=rcnn_test_cfg is None,
            )
        counts = tuple(map(len, proposals))
        results = self._bbox_forward(x, rois, self._context(x, rois, counts, batch_img_metas))
        return self.bbox_head.predict_by_feat(
            rois=rois.split(counts),
            cls_scores=results['cls_score'].split(counts),
            bbox_preds=results['bbox_pred'].split(counts),
            batch_img_metas=batch_img_metas,
            rcnn_test_cfg=rcnn_test_cfg,
            rescale=rescale,
        )

    def forward(
        self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList | None = None
    ) -> tuple:
        """Raw scores, deltas and mask logits, without post-processing (FLOP counting, tracing)."""
        proposals = [res.bboxes for res in rpn_results_list]
        rois = bbox2roi(proposals)
        metas = None if batch_data_samples is None else [sample.metainfo for sample in batch_data_samples]
        results = self._bbox_forward(x, rois, self._context(x, rois, tuple(map(len, proposals)), metas))
        outputs: tuple[Tensor, ...] = (results['cls_score'], results['bbox_pred'])
        if self.with_mask:
            outputs += (self._mask_forward(x, rois[:100])['mask_preds'],)
        return outputs
