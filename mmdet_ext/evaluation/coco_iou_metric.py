"""COCO's mAP at IoU thresholds of one's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS


@METRICS.register_module()
class CocoIoUMetric(CocoMetric):
    """`CocoMetric` whose `iou_thrs` work in a config, such as the 0.01 at which a box only has to touch its object.

    mmdet hands a list on as it is, and pycocotools, which compares its thresholds with 0.5, needs an array.

    Args:
        iou_thrs: thresholds; mAP is the mean over them.
        metric_items: as of `CocoMetric`; by default mAP alone, for the other items are of COCO's own thresholds.
        kwargs: of `CocoMetric`.

    Raises:
        ValueError: there is no threshold, or one is not a number above 0 and up to 1.
    """

    def __init__(self, iou_thrs: Sequence[float], metric_items: Sequence[str] | None = ('mAP',), **kwargs: Any) -> None:
        known = isinstance(iou_thrs, list | tuple) and all(isinstance(thr, int | float) for thr in iou_thrs)
        if not known or not iou_thrs or not all(0 < thr <= 1 for thr in iou_thrs):
            raise ValueError(f'CocoIoUMetric: iou_thrs must be a list of numbers 0 < IoU <= 1, got {iou_thrs!r}')
        items = None if metric_items is None else list(metric_items)
        super().__init__(iou_thrs=np.array(iou_thrs, dtype=float), metric_items=items, **kwargs)
