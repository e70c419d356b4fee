"""COCO's figures by the C++ evaluation of faster-coco-eval."""

import functools
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.metrics import coco_metric
from mmdet.registry import METRICS
from pycocotools.cocoeval import COCOeval


@functools.cache
def fast_evaluation() -> type:
    """faster-coco-eval's `COCOeval_faster` with the summary of pycocotools.

    Its own takes mAP over as many boxes of an image as are evaluated at all (mmdet: 1000), pycocotools over 100.

    Raises:
        ImportError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCOeval_faster
    except ImportError as error:
        raise ImportError(
            'FastCocoMetric needs faster-coco-eval: pip install -r requirements/optional.txt installs it; CocoMetric '
            'gives the same figures without it'
        ) from error
    return type('FastEvaluation', (COCOeval_faster,), {'summarize': COCOeval.summarize})


@METRICS.register_module()
class FastCocoMetric(CocoMetric):
    """mmdet's `CocoMetric`, computed by faster-coco-eval: the same options and figures in a fraction of the time.

    It differs from the `FasterCocoMetric` of the fork: it is there on both stacks, keeps pycocotools' definition of
    mAP for images with more than 100 boxes, and takes the ground truth as `CocoMetric` does.

    Args:
        iou_thrs: as of `CocoMetric`; a number or a list works too, see `CocoIoUMetric`.
        kwargs: of `CocoMetric`.

    Raises:
        ImportError: faster-coco-eval is not installed.
        ValueError: `use_mp_eval`, which is pycocotools in several processes.
    """

    def __init__(self, *args: Any, iou_thrs: Any = None, **kwargs: Any) -> None:
        fast_evaluation()
        if kwargs.get('use_mp_eval'):
            raise ValueError('FastCocoMetric evaluates in one process; leave use_mp_eval out, or take CocoMetric')
        thresholds = None if iou_thrs is None else np.atleast_1d(np.asarray(iou_thrs, dtype=float))
        super().__init__(*args, iou_thrs=thresholds, **kwargs)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics as `CocoMetric` does, which takes its evaluation from its module."""
        known, coco_metric.COCOeval = coco_metric.COCOeval, fast_evaluation()
        try:
            return super().compute_metrics(results)
        finally:
            coco_metric.COCOeval = known
