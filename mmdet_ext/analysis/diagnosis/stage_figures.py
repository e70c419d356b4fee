"""Figures that the records of all kinds of heads have in common."""

from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from numpy.typing import NDArray
from torch import Tensor

from .record import SCORE_BINS

POSITIVES = 200
"""How many positives a record keeps, for pictures."""
# Pairs of boxes compared at once.
_PAIRS = 4_000_000


def best_overlaps(gts: Tensor, priors: Tensor) -> Tensor:
    """(G,) highest overlap of each box with any prior, 0 without priors; in bounded memory."""
    if not len(priors):
        return gts.new_zeros(len(gts))
    rows = max(1, _PAIRS // len(priors))
    parts = [bbox_overlaps(part, priors).amax(1) for part in gts.split(rows)] if len(gts) else []
    return torch.cat(parts) if parts else gts.new_zeros(0)


def place_of(gt_inds: Tensor) -> Tensor:
    """(N,) 0 for positives, 1 for negatives, 2 for ignored ones: the order of `PLACES`."""
    return torch.where(gt_inds > 0, 0, torch.where(gt_inds == 0, 1, 2))


def score_histograms(scores: Tensor, places: Tensor) -> NDArray[np.int64]:
    """(3, SCORE_BINS) how many scores of each place lie in each bin; a score of 1 is in the last, NaN in none.

    Args:
        scores: (N,) from 0 to 1.
        places: (N,) see `place_of`.
    """
    counted = scores.isfinite()
    bins = (scores[counted].clamp(0, 1) * SCORE_BINS).long().clamp(max=SCORE_BINS - 1)
    return count(places[counted] * SCORE_BINS + bins, 3 * SCORE_BINS).reshape(3, SCORE_BINS)


def count(values: Tensor, length: int) -> NDArray[np.int64]:
    """(length,) how often each whole number from 0 on occurs."""
    return to_numpy(torch.bincount(values, minlength=length)).astype(np.int64)


def figures_of_matching(matching: Any, scale: Tensor) -> dict[str, NDArray]:
    """Fields of a `StageRecord` that follow from the assigner's result alone.

    Args:
        matching: A `Matching`.
        scale: (4,) pixels of the input for one of the image file.
    """
    gt_inds = matching.gt_inds
    positive = gt_inds > 0
    first = positive.nonzero().squeeze(1)[:POSITIVES]
    return dict(
        assigned=count(place_of(gt_inds), 3),
        gt_positives=count(gt_inds[positive] - 1, len(matching.gts)),
        gt_iou=to_numpy(best_overlaps(matching.gts, matching.priors)).astype(np.float32),
        positives=to_numpy(matching.priors[first] / scale.to(matching.priors)).astype(np.float32),
        positive_gt=to_numpy(gt_inds[first] - 1).astype(np.int64),
    )


def sampled_counts(matching: Any) -> NDArray[np.int64]:
    """(2,) positives and negatives that the sampler took; without a sampler all of them."""
    if matching.sampled is None:
        return count(place_of(matching.gt_inds), 3)[:2]
    return np.array([len(matching.sampled.pos_inds), len(matching.sampled.neg_inds)], np.int64)


def mean_overlaps(before: Tensor, after: Tensor | None, gts: Tensor) -> NDArray[np.float32]:
    """(2,) mean overlap of boxes with the objects they belong to, before and after regression; NaN for none.

    Args:
        before: (P, 4) priors.
        after: (P, 4) regressed ones, or None where nothing is regressed.
        gts: (P, 4) the object of each.
    """
    if not len(before):
        return np.full(2, np.nan, np.float32)
    means = [
        float('nan') if boxes is None else float(bbox_overlaps(boxes, gts, is_aligned=True).mean())
        for boxes in (before, after)
    ]
    return np.array(means, np.float32)


def to_numpy(values: Tensor) -> NDArray:
    """On the host."""
    return values.detach().cpu().numpy()
