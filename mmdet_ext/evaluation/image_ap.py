"""AP, right and wrong detections of a single image."""

from dataclasses import dataclass

import numpy as np

from .average_precision import COCO_IOUS, detection_ap, mean_ap
from .matching import pair_table
from .objects import ImageObjects


@dataclass(frozen=True)
class ImageScore:
    """How good the detections of one image are.

    Attributes:
        ap: COCO's AP of this image alone, the mean over its classes and the IoUs 0.5 to 0.95; NaN without objects.
        ap_50: The same at IoU 0.5.
        true_positives: Detections that find an object at IoU 0.5.
        false_positives: Detections that find none and are not in an ignored region.
        false_negatives: Objects that are not found.
    """

    ap: float
    ap_50: float
    true_positives: int
    false_positives: int
    false_negatives: int


def image_ap(image: ImageObjects, score_thr: float = 0.0, max_dets: int | None = 100) -> ImageScore:
    """Measure one image by COCO's rules: classes are kept apart, detections choose by falling score.

    Classes without an object in the image do not count in AP, though their detections are false positives. Boxes with
    a NaN or an infinity are left out.

    Args:
        image: Objects, detections and ignored regions.
        score_thr: Detections below it are not counted as positives; AP takes all.
        max_dets: The best detections of each class that count; None for all.

    Raises:
        ValueError: A label is negative.
    """
    labels = np.concatenate([image.truth.labels, image.detections.labels])
    table = pair_table([image], int(labels.max(initial=-1)) + 1, 'coco', max_dets)
    precisions = detection_ap(table, COCO_IOUS)
    shown = table.scores >= score_thr
    right = (table.match(0.5) >= 0) & shown
    return ImageScore(
        ap=mean_ap(precisions),
        ap_50=mean_ap(precisions[0]),
        true_positives=int(right.sum()),
        false_positives=int((shown & ~right & (table.ignored < 0.5)).sum()),
        false_negatives=len(table.truth_labels) - int(right.sum()),
    )
