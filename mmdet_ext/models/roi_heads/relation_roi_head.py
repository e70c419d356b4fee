"""RoI head that tells its box head which RoIs share an image."""

from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import empty_instances, unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor

from .bbox_heads import RelationBBoxHead, RelationBBoxResults
from .relation_context import (
    RelationInputs,
    RelationRoIHeadMixin,
    check_sampler,
    not_ground_truth,
    sample_rois,
    without_bfloat16,
)


@MODELS.register_module()
class RelationRoIHead(RelationRoIHeadMixin, StandardRoIHead):
    """`StandardRoIHead` for a :class:`RelationBBoxHead`; the mask branch is the parent's.

    Adds `loss_cls_base` and `loss_bbox_base` where the box head has a base classifier. Images without RoIs, in training
    and at test time, are input like any other. Where a relation reads parts, the data samples must have them, see
    :func:`.relation_context.batch_parts`; their features come from the same RoI extractor and shared head as those of
    the RoIs.
    """

    def init_bbox_head(self, bbox_roi_extractor: ConfigType, bbox_head: ConfigType) -> None:
        """Build both; the box head must be a `RelationBBoxHead`."""
        super().init_bbox_head(bbox_roi_extractor, bbox_head)
        if not isinstance(self.bbox_head, RelationBBoxHead):
            raise ValueError(
                f'RelationRoIHead needs bbox_head.type RelationBBoxHead, got {type(self.bbox_head).__name__}; '
                'for a plain box head use StandardRoIHead'
            )
        if self.bbox_head.external_scores:
            raise ValueError(
                'RelationRoIHead has no stage before that could give external_scores=True its scores: use base_head, '
                'or RelationCascadeRoIHead'
            )

    def init_assigner_sampler(self) -> None:
        """As the parent; samplers that evaluate single RoIs are refused."""
        super().init_assigner_sampler()
        if self.bbox_sampler is not None:
            check_sampler(self.bbox_sampler, type(self).__name__)

    def _pool(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        feats = self.bbox_roi_extractor(x[: self.bbox_roi_extractor.num_inputs], rois)
        return self.shared_head(feats) if self.with_shared_head else feats

    def _bbox_forward(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        inputs: RelationInputs,
        counts: tuple[int, ...],
        key_valid: Tensor | None = None,
    ) -> dict:
        feats = self._pool(x, rois)
        part_feats = inputs.part_feats(self.bbox_head.part_splits, lambda boxes: self._pool(x, boxes))
        results: RelationBBoxResults = self.bbox_head(feats, inputs.context(rois, counts, key_valid), part_feats)
        return dict(cls_score=results.cls_score, bbox_pred=results.bbox_pred, bbox_feats=feats, results=results)

    def loss(self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList) -> dict:
        """Losses of the box and mask branch; see the parent for the arguments."""
        x = without_bfloat16(x)
        gts, gts_ignore, _ = unpack_gt_instances(batch_data_samples)
        sampling_results = sample_rois(self.bbox_assigner, self.bbox_sampler, rpn_results_list, gts, gts_ignore, x)
        bbox_results = self.bbox_loss(x, sampling_results, self._inputs(x, batch_data_samples))
        losses = dict(bbox_results['loss_bbox'])
        if self.with_mask:
            mask_results = self.mask_loss(x, sampling_results, bbox_results['bbox_feats'], gts)
            losses.update(mask_results['loss_mask'])
        return losses

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult], inputs: RelationInputs) -> dict:
        """Box branch on the sampled RoIs of the whole batch; the parent's, with what the images have beside them."""
        priors = [res.priors for res in sampling_results]
        rois, counts = bbox2roi(priors), tuple(map(len, priors))
        bbox_results = self._bbox_forward(x, rois, inputs, counts, not_ground_truth(sampling_results))
        bbox_results['loss_bbox'] = self.bbox_head.loss(bbox_results['results'], rois, sampling_results, self.train_cfg)
        return bbox_results

    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        rpn_results_list: InstanceList,
        rcnn_test_cfg: ConfigType,
        rescale: bool = False,
        *,
        inputs: RelationInputs,
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
        results = self._bbox_forward(x, rois, inputs, counts)
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
        x = without_bfloat16(x)
        proposals = [res.bboxes for res in rpn_results_list]
        rois = bbox2roi(proposals)
        results = self._bbox_forward(x, rois, self._inputs(x, batch_data_samples), tuple(map(len, proposals)))
        outputs: tuple[Tensor, ...] = (results['cls_score'], results['bbox_pred'])
        if self.with_mask:
            outputs += (self._mask_forward(x, rois[:100])['mask_preds'],)
        return outputs
