"""From records to evidence: the figures of one split, computed in passes over its records."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import numpy as np

from mmdet_ext.evaluation.objects import SIZES, box_areas, box_overlaps
from mmdet_ext.evaluation.proposal_recall import ProposalRecall, RecallTable
from mmdet_ext.evaluation.tide import tide_errors

from .anchor_coverage import AnchorCoverage, anchor_coverage
from .class_stats import class_stats
from .evidence import CONFIDENT, SplitEvidence, StageEvidence
from .loss_stats import loss_stats
from .name_exchange import NameExchange
from .recall_loss import read_cut, recall_loss
from .record import NOTHING, ImageRecord
from .record_images import record_images, whole_records
from .score_stats import ScoreStats, score_stats

OVERLAPS = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""Overlaps at which the best possible recall is measured."""
MOST_IMAGES = 5000
"""Raw detections and proposals, a thousand each, are held of so many images, evenly spread, at most: 0.3 GB."""
_NOTHING = 0.1


def split_evidence(
    split: str, records: Callable[[], Iterable[ImageRecord]], classes: Sequence[str], test_cfg: Mapping[str, Any] | None
) -> SplitEvidence:
    """All figures of a split, in four passes over its records. Detections and objects of all images are held in memory.

    What test settings cost and what proposals reach is measured on `MOST_IMAGES` at most.

    Args:
        split: Its name.
        records: Gives its records, anew with each call, one at a time.
        classes: Class names.
        test_cfg: Of the model.
    """
    count = len(classes)
    kept = [_light(each) for each in records()]
    plain = list(_plain(kept))
    faults = [(each.file, each.fault) for each in kept if each.fault is not None]
    if not plain:
        return SplitEvidence(split, 0, 0, faults)
    stats = class_stats(kept, count)
    errors = tide_errors(record_images(kept, count), count)
    recall, step = ProposalRecall(), -(-len(kept) // MOST_IMAGES)
    cuts = recall_loss(_noted(islice(records(), 0, None, step), recall), count, read_cut(test_cfg))
    coverage, scores = anchor_coverage(records(), OVERLAPS), score_stats(records())
    return SplitEvidence(
        split=split,
        n_images=len(plain),
        n_objects=int(stats.class_objects.sum()),
        faults=faults,
        losses={term: asdict(each) for term, each in loss_stats(kept).terms.items()},
        ap=_known(stats.ap),
        ap_50=_known(stats.ap_50),
        class_ap={name: _known(ap) for name, ap in zip(classes, stats.class_ap, strict=True)},
        class_objects=dict(zip(classes, stats.class_objects.tolist(), strict=True)),
        size_ap={size: _known(ap) for size, ap in zip(SIZES, stats.size_ap, strict=True)},
        tide=dict(errors.gains),
        tide_counts=dict(errors.counts),
        names=stats.confusion.sum(0)[:count],
        **_exchange(stats.exchange, classes),
        **_proposals(recall.result()),
        costs=cuts.gains,
        best_settings={name: other.best for name, other in cuts.others.items()},
        stages={name: _stage(coverage[name], scores[name]) for name in coverage},
        pixels=np.mean([each['pixels'] for each in plain], 0),
        image_pixels=np.array([each['pixels'] for each in plain], np.float64),
        object_sizes=np.concatenate([each['sizes'] for each in plain]),
        input_shapes=np.array([each['input_shape'] for each in plain]),
        ori_shapes=np.array([each['ori_shape'] for each in plain]),
        confident_background=_confident_background(kept),
        digests={each.file: each.digest for each in whole_records(kept)},
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _exchange(found: NameExchange, classes: Sequence[str]) -> dict[str, Any]:
    """`label_shift` and `renamed` of `SplitEvidence`."""
    if not np.isfinite(found.now):
        return {}
    renamed = {} if found.offset is not None else {
        classes[name]: classes[label] for name, label in enumerate(found.classes) if name != label
    }  # fmt: skip
    return {'label_shift': (found.offset or 0, found.now, found.then), 'renamed': renamed}


def _light(record: ImageRecord) -> ImageRecord:
    """Without what is large."""
    return replace(record, raw=NOTHING, proposals=None, stages={})


def _noted(records: Iterable[ImageRecord], recall: ProposalRecall) -> Iterator[ImageRecord]:
    """The same records; their proposals are measured on the way."""
    for record in records:
        if record.fault is None and record.proposals is not None:
            recall.add(record.truth.boxes, record.proposals, record.ignored)
        yield record


def _proposals(recall: RecallTable) -> dict[str, Any]:
    if not recall.objects:
        return {}
    return {
        'proposals': {n: recall.at(n) for n in recall.counts},
        'proposals_50': {n: recall.at(n, 0.5) for n in recall.counts},
        'proposal_ap': _known(recall.ap),
    }


def _plain(records: Iterable[ImageRecord]) -> Iterator[dict[str, Any]]:
    """Few numbers of each image."""
    for record in whole_records(records):
        height, width = record.ori_shape
        scale = np.sqrt(np.prod(record.input_shape) / max(height * width, 1))
        yield {
            'pixels': record.pixels,
            'sizes': np.sqrt(box_areas(record.truth.boxes)) * scale,
            'input_shape': record.input_shape,
            'ori_shape': record.ori_shape,
        }


def _confident_background(records: Iterable[ImageRecord]) -> float:
    """Share of confident detections that are on no object and in no ignored region."""
    nothing = every = 0
    for record in whole_records(records):
        found = record.detections[record.detections.scores >= CONFIDENT]
        apart = box_overlaps(found.boxes, record.truth.boxes).max(1, initial=0) < _NOTHING
        # A region may be much larger than what is detected in it.
        apart &= box_overlaps(found.boxes, record.ignored, of_first=True).max(1, initial=0) < _NOTHING
        every += len(found)
        nothing += int(apart.sum())
    return nothing / every if every else 0.0


def _stage(coverage: AnchorCoverage, scores: ScoreStats) -> StageEvidence:
    """What a head makes of the images; without objects all of them count as reached."""
    shares = dict(zip(SIZES, map(_known, coverage.size_without_positive), strict=True))
    before, after = map(_known, coverage.overlaps)
    return StageEvidence(
        kind=coverage.kind,
        positives=float(coverage.assigned[0]),
        negatives=float(coverage.assigned[1]),
        ignored=float(coverage.assigned[2]),
        histograms=scores.histograms,
        above_half=_known(scores.negatives_above) or 0.0,
        separation=_known(scores.separation),
        best_recall={
            overlap: 1.0 if np.isnan(share) else float(share)
            for overlap, share in zip(coverage.thresholds, coverage.best_recall, strict=True)
        },
        without_positive=_known(coverage.without_positive) or 0.0,
        without_positive_by_size=shares,
        best_iou=1.0 if np.isnan(coverage.best_iou[2]) else float(coverage.best_iou[2]),
        overlap_before=before if after is not None else None,
        overlap_after=after,
        level_priors=coverage.level_priors.tolist(),
        level_positives=coverage.level_positives.tolist(),
    )
