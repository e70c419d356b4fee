"""Recall of an RPN inside a two-stage detector."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmdet.structures.bbox import get_box_tensor
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from .average_precision import COCO_IOUS
from .objects import SIZES, Objects
from .proposal_recall import COUNTS, ImageProposals, check_counts, check_thresholds, combine_images, measure_image


@METRICS.register_module()
class RPNRecallMetric(BaseMetric):
    """Share of the annotated objects, whatever their class, that the proposals of the first stage reach.

    A two-stage detector keeps its proposals to itself: `ProposalRecordHook` puts them into the data samples, and adds
    this metric where the config has none, so one line measures the RPN beside the detections:
    `default_hooks = dict(proposals=dict(type='ProposalRecordHook'))`. For a detector that is an RPN alone write
    `proposals='pred_instances'` instead; mmdet's `CocoMetric(metric='proposal_fast')` for it fails on numpy from 1.24.

    Results (-1 where there is no object, as in COCO's metrics):

    - `AR@k`: recall of the k best proposals, mean over the IoU thresholds;
    - `recall_50@k`: at IoU 0.5, if that is one of the thresholds;
    - `AR_small`, `AR_medium`, `AR_large`: of all proposals up to the greatest k, by the area of the object (COCO's);
    - `mAP`, `mAP_50`: AP of the proposals taken as detections of one class;
    - `proposals`: mean number per image.

    Each object gets a proposal of its own, see `mmdet_ext.evaluation.proposal_recall`.

    Objects are `gt_instances` and `ignored_instances` of the data samples, in pixels of the image file as mmdet's other
    metrics want them: the pipeline loads annotations *after* the resize.

    Args:
        counts: Numbers of proposals per image. `test_cfg.rpn.max_per_img` limits how many there are.
        iou_thrs: IoU thresholds.
        proposals: Field of the data samples with the proposals.
        kwargs: Of mmengine's BaseMetric.

    Raises:
        ValueError: `counts` or `iou_thrs` are not allowed.
    """

    default_prefix = 'rpn'

    def __init__(
        self,
        counts: Sequence[int] = COUNTS,
        iou_thrs: Sequence[float] = COCO_IOUS,
        proposals: str = 'rpn_proposals',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        try:
            self.counts, self.iou_thrs = check_counts(counts), check_thresholds(iou_thrs)
        except ValueError as error:
            raise ValueError(f'RPNRecallMetric: {error}') from None
        self.proposals = proposals

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure the images of a batch.

        Raises:
            KeyError: Proposals or annotations are missing.
        """
        for sample in data_samples:
            for name, fix in (
                (self.proposals, "add default_hooks = dict(proposals=dict(type='ProposalRecordHook')) to the config"),
                ('gt_instances', 'load annotations in the test pipeline, after the resize'),
            ):
                if sample.get(name) is None:
                    raise KeyError(f'RPNRecallMetric: image {sample.get("img_id")} comes without {name}: {fix}')
            found = sample[self.proposals]
            boxes, scores = _array(found['bboxes']), _array(found['scores'])
            objects = Objects(boxes, np.zeros(len(scores), np.int64), scores)
            truth, ignored = (_boxes(sample.get(name)) for name in ('gt_instances', 'ignored_instances'))
            self.results.append(measure_image(truth, objects, ignored, self.counts, self.iou_thrs))

    def compute_metrics(self, results: list[ImageProposals]) -> dict[str, float]:
        """Recall over all images."""
        table = combine_images(results, self.counts, self.iou_thrs)
        values = {f'AR@{count}': table.at(count) for count in self.counts}
        if any(np.isclose(thr, 0.5) for thr in self.iou_thrs):
            values |= {f'recall_50@{count}': table.at(count, 0.5) for count in self.counts}
        values |= {f'AR_{size}': table.at(self.counts[-1], size=size) for size in SIZES}
        values |= {'mAP': table.ap, 'mAP_50': table.ap_50, 'proposals': table.proposals}
        return {name: value if np.isfinite(value) else -1.0 for name, value in values.items()}


def _boxes(instances: Mapping[str, Any] | None) -> NDArray[np.float32]:
    if instances is None or 'bboxes' not in instances:
        return np.zeros((0, 4), np.float32)
    return _array(instances['bboxes'])


def _array(values: Any) -> NDArray[np.float32]:
    """On the CPU; numpy has no bfloat16."""
    return get_box_tensor(values).detach().cpu().float().numpy()
