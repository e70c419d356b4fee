"""Cascade of box heads whose relations read the scores of the stage before, on their own RoIs."""

from dataclasses import replace
from typing import Any

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import InstanceList, MultiConfig
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_ext.models.relations import RelationContext

from .bbox_heads import RelationBBoxHead, RelationBBoxResults
from .bbox_heads.bbox_loss import bbox_head_loss
from .relation_context import (
    RelationInputs,
    RelationRoIHeadMixin,
    check_sampler,
    not_ground_truth,
    sample_rois,
    without_bfloat16,
)

SCORES = frozenset({'cls_logits', 'cls_weight'})


@MODELS.register_module()
class RelationCascadeRoIHead(RelationRoIHeadMixin, CascadeRoIHead):
    """`CascadeRoIHead` in which every stage but the first may be a :class:`RelationBBoxHead`.

    Such a stage has no base classifier: scores and semantic pool come from the classifier of the stage before, which
    runs again on the RoIs of this stage (and, where it is relational, sees them with the scores of its own forerunner).
    Rows of scores and RoIs belong together by construction; the released code of Reasoning-RCNN (CVPR 2019) joins
    rows of two samplings in training. RoI features are pooled once per set of boxes, and part features
    once per batch, for all stages with equal extractors.

    Deviations from mmdet's `CascadeRoIHead`: losses are normalised by the mean over all ranks, see
    :func:`.bbox_heads.bbox_loss.bbox_head_loss`; a stage without RoIs has losses of zero, connected to the graph,
    instead of ending the cascade; masks of a flipped image (test-time augmentation) are averaged as they are.

    Args:
        args: of `CascadeRoIHead`. `bbox_head` is a list of a plain head and of heads that are plain or relational;
            `base_head`, `external_scores` and `pool_channels` of the latter are set here.
        kwargs: likewise.

    Raises:
        ValueError: a relational first stage, `base_head=True` or `reg_source='base'`, lists of another length than
            `num_stages`, plain heads with another loss than `BBoxHead`, samplers that evaluate single RoIs.
    """

    def init_bbox_head(self, bbox_roi_extractor: MultiConfig, bbox_head: MultiConfig) -> None:
        """Build a RoI extractor and a box head per stage."""
        extractors, heads = (
            list(cfg) if isinstance(cfg, list | tuple) else [cfg] * self.num_stages
            for cfg in (bbox_roi_extractor, bbox_head)
        )
        if not len(extractors) == len(heads) == self.num_stages:
            raise ValueError(
                f'{type(self).__name__}: num_stages={self.num_stages}, but there are {len(extractors)} configs in '
                f'bbox_roi_extractor and {len(heads)} in bbox_head; give one dict for all stages, or one per stage'
            )
        self.bbox_roi_extractor = ModuleList([MODELS.build(cfg) for cfg in extractors])
        # The stage whose extractor a stage uses: extractors that learn nothing and have equal configs are one.
        self._extractor_of = [
            stage if self.bbox_roi_extractor[stage].state_dict() else extractors.index(cfg)
            for stage, cfg in enumerate(extractors)
        ]
        self.bbox_head = ModuleList()
        for stage, cfg in enumerate(heads):
            self.bbox_head.append(self._build_stage(stage, cfg))

    def _build_stage(self, stage: int, cfg: dict) -> BBoxHead:
        kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
        # An unknown type is for the registry to complain about.
        if isinstance(kind, type) and issubclass(kind, RelationBBoxHead):
            if not stage:
                raise ValueError(
                    f'{type(self).__name__}: the first box head is a {kind.__name__}, but there is no stage before it '
                    "to take scores from; begin bbox_head with a plain head such as dict(type='Shared2FCBBoxHead', ...)"
                )
            for name, value in (('base_head', True), ('reg_source', 'base')):
                if cfg.get(name) == value:
                    raise ValueError(
                        f'{type(self).__name__}: {name}={value!r} does not apply to bbox_head[{stage}], whose base '
                        f'classifier is the one of stage {stage - 1}; leave {name} out'
                    )
            pool_channels = self.bbox_head[stage - 1].fc_cls.in_features
            cfg = {**cfg, 'base_head': False, 'external_scores': True, 'pool_channels': pool_channels}
        elif getattr(kind, 'loss', BBoxHead.loss) is not BBoxHead.loss:
            raise ValueError(
                f'{type(self).__name__}: bbox_head[{stage}] is a {kind.__name__}, which has a loss of its own; allowed '
                "are RelationBBoxHead, and mmdet's BBoxHead, ConvFCBBoxHead and their like"
            )
        return MODELS.build(cfg)

    def init_assigner_sampler(self) -> None:
        """As the parent; samplers that evaluate single RoIs are refused."""
        super().init_assigner_sampler()
        for sampler in self.bbox_sampler:
            check_sampler(sampler, type(self).__name__)

    def _bbox_forward(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        rois: Tensor,
        inputs: RelationInputs,
        counts: tuple[int, ...],
        key_valid: Tensor | None = None,
    ) -> dict:
        return self._run_stage(stage, x, inputs, inputs.context(rois, counts, key_valid), {})

    def _run_stage(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        inputs: RelationInputs,
        ctx: RelationContext,
        pooled: dict[int, Tensor],
    ) -> dict:
        """Scores and deltas of a stage on the RoIs of `ctx`, whose features `pooled` keeps per extractor."""
        source = self._extractor_of[stage]
        extractor = self.bbox_roi_extractor[source]

        def pool(rois: Tensor) -> Tensor:
            return extractor(x[: extractor.num_inputs], rois)

        if source not in pooled:
            pooled[source] = pool(ctx.rois)
        feats, head = pooled[source], self.bbox_head[stage]
        if not isinstance(head, RelationBBoxHead):
            cls_score, bbox_pred = head(feats)
            return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=feats, losses={})
        own = ctx
        if head.needs & SCORES:
            before: Any = self.bbox_head[stage - 1].fc_cls
            logits = self._run_stage(stage - 1, x, inputs, ctx, pooled)['cls_score']
            own = replace(ctx, cls_logits=logits, cls_weight=torch.cat([before.weight, before.bias[:, None]], dim=1))
        results: RelationBBoxResults = head(feats, own, inputs.part_feats(head.part_splits, pool, source))
        return dict(cls_score=results.cls_score, bbox_pred=results.bbox_pred, bbox_feats=feats, losses=results.losses)

    def loss(self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList) -> dict:
        """Losses of all stages, `s0.loss_cls` and so on; see the parent for the arguments."""
        gts, gts_ignore, metas = unpack_gt_instances(batch_data_samples)
        x = without_bfloat16(x)
        inputs = self._inputs(x, batch_data_samples)
        proposals, losses = rpn_results_list, {}
        for stage, weight in enumerate(self.stage_loss_weights[: self.num_stages]):
            assigner, sampler = self.bbox_assigner[stage], self.bbox_sampler[stage]
            sampling_results = sample_rois(assigner, sampler, proposals, gts, gts_ignore, x)
            results = self.bbox_loss(stage, x, sampling_results, inputs)
            own = dict(results['loss_bbox'])
            if self.with_mask:
                own.update(self.mask_loss(stage, x, sampling_results, gts)['loss_mask'])
            losses.update(
                {f's{stage}.{name}': value * weight if 'loss' in name else value for name, value in own.items()}
            )
            if stage < self.num_stages - 1:
                with torch.no_grad():
                    refined = self.bbox_head[stage].refine_bboxes(sampling_results, results, metas)
                # mmdet gives None where no image has a RoI. Ranks that have some wait for this one in the next stage.
                proposals = refined or [InstanceData(bboxes=results['rois'][:, 1:]) for _ in metas]
        return losses

    def bbox_loss(
        self, stage: int, x: tuple[Tensor, ...], sampling_results: list[SamplingResult], inputs: RelationInputs
    ) -> dict:
        """Box branch of a stage on its sampled RoIs; the parent's, with what the images have beside them."""
        head = self.bbox_head[stage]
        priors = [res.priors for res in sampling_results]
        rois, counts = bbox2roi(priors), tuple(map(len, priors))
        results = self._bbox_forward(stage, x, rois, inputs, counts, not_ground_truth(sampling_results))
        targets = head.get_targets(sampling_results, self.train_cfg[stage])
        losses = bbox_head_loss(head, results['cls_score'], results['bbox_pred'], rois, *targets)
        return {**results, 'rois': rois, 'bbox_targets': targets, 'loss_bbox': {**losses, **results['losses']}}

    def _refine_roi(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        batch_img_metas: list[dict],
        num_proposals_per_img: tuple[int, ...],
        inputs: RelationInputs,
    ) -> tuple:
        counts = tuple(num_proposals_per_img)
        if len(rois):
            return super()._refine_roi(x, rois, batch_img_metas, counts, inputs=inputs, counts=counts)
        # The parent would join an empty list.
        results = self._bbox_forward(self.num_stages - 1, x, rois, inputs, counts)
        return tuple(value.split(counts) for value in (rois, results['cls_score'], results['bbox_pred']))

    def predict_mask(
        self, x: tuple[Tensor, ...], batch_img_metas: list[dict], results_list: InstanceList, rescale: bool = False
    ) -> InstanceList:
        """Masks, the mean of all stages; see the parent for the arguments."""
        # The parent turns the masks of every stage back, by a negative step that torch does not know, before it joins
        # them with boxes of the flipped image.
        metas = [{**meta, 'flip': False} for meta in batch_img_metas]
        return super().predict_mask(x, metas, results_list, rescale)

    def forward(
        self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList | None = None
    ) -> tuple:
        """Per image: mean scores, deltas of the last stage and mean masks, raw (FLOP counting, tracing)."""
        proposals = [res.bboxes for res in rpn_results_list]
        counts = tuple(map(len, proposals))
        x = without_bfloat16(x)
        inputs = self._inputs(x, batch_data_samples)
        rois, scores, deltas = self._refine_roi(x, bbox2roi(proposals), inputs.metas, counts, inputs)
        if not self.with_mask:
            return scores, deltas
        boxes = torch.cat(rois)
        masks = [self._mask_forward(stage, x, boxes)['mask_preds'].sigmoid() for stage in range(self.num_stages)]
        return scores, deltas, torch.stack(masks).mean(0).split(counts)
