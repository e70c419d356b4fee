"""Records made by hand."""

import numpy as np

from mmdet_ext.analysis.diagnosis.record import SCORE_BINS, ImageRecord, StageRecord
from mmdet_ext.evaluation.objects import Objects


def objects(boxes=(), labels=None, scores=None):
    """Boxes xyxy; labels 0 and scores 1 unless told."""
    labels = np.zeros(len(boxes), int) if labels is None else labels
    return Objects(boxes, labels, np.ones(len(boxes)) if scores is None else scores)


def record(index=0, **fields):
    """A record of the val split, with whatever is told."""
    return ImageRecord(**{'split': 'val', 'index': index, 'img_id': 100 + index, 'file': f'{index}.png', **fields})


def faulty(index=9):
    """A record of an image that could not be read; what it holds beside is not to be counted."""
    return record(index, fault='cannot be read', losses={'loss_cls': 1e9}, truth=objects([[0, 0, 1, 1]]),
                  stages={'rpn_head': stage([[0, 5], [0, 5], [0, 5]])})  # fmt: skip


def histogram(low=0, high=0):
    """Numbers of scores in the first bin and in the last."""
    counts = np.zeros(SCORE_BINS, np.int64)
    counts[0], counts[-1] = low, high
    return counts


def stage(histograms=((0, 0), (0, 0), (0, 0)), gt_positives=(), gt_iou=(), **fields):
    """A head's record; histograms as (low, high) of positives, negatives and ignored."""
    values = dict(
        kind='priors',
        assigned=np.sum(histograms, 1),
        sampled=np.sum(histograms, 1)[:2],
        histograms=np.stack([histogram(*row) for row in histograms]),
        gt_positives=np.array(gt_positives, np.int64),
        gt_iou=np.array(gt_iou, np.float32),
        level_priors=np.array([6, 2]),
        level_positives=np.array([1, 0]),
        positives=np.zeros((0, 4), np.float32),
        positive_gt=np.zeros(0, np.int64),
        overlaps=np.full(2, np.nan, np.float32),
    )
    return StageRecord(**(values | fields))
