"""A slow assigner that does what the documentation says, a pair at a time, and boxes to try both on."""

import torch
from hypothesis import strategies as st
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData


def instances(boxes, labels=None, **fields):
    """(priors,) or (bboxes, labels) of an image."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32) if not isinstance(boxes, torch.Tensor) else boxes
    boxes = boxes.reshape(-1, 4)
    if labels is None:
        return InstanceData(priors=boxes, **fields)
    return InstanceData(bboxes=boxes, labels=torch.as_tensor(labels, dtype=torch.int64), **fields)


def shapes_at_origin(boxes):
    return torch.cat([torch.zeros(len(boxes), 2), boxes[:, 2:] - boxes[:, :2]], dim=1)


def slow_assign(
    priors,
    gts,
    regions=None,
    levels=None,
    predictions=None,
    pos_iou_thr=0.5,
    neg_iou_thr=0.4,
    unique_best=True,
    min_best_iou=0.0,
    match='iou',
    best_scope='all_levels',
    ignore_iof_thr=0.5,
    ignore_from='prior',
):
    """gt_inds, max_overlaps, num_unmatched, num_conflicts: greedy over the sorted list of all pairs."""
    iou = bbox_overlaps(gts, priors)
    rank = iou if match == 'iou' else bbox_overlaps(shapes_at_origin(gts), shapes_at_origin(priors))
    low, high = neg_iou_thr if isinstance(neg_iou_thr, tuple) else (0, neg_iou_thr)
    gt_inds, max_overlaps = [], torch.zeros(len(priors))
    for prior in range(len(priors)):
        best, value = -1, torch.tensor(0.0)
        for gt in range(len(gts)):
            if best < 0 or iou[gt, prior] > value:
                best, value = gt, iou[gt, prior]
        max_overlaps[prior] = value
        negative = not len(gts) or (value >= low and value < high)
        gt_inds.append(best + 1 if best >= 0 and value >= pos_iou_thr else 0 if negative else -1)
    if regions is not None and ignore_iof_thr >= 0:
        boxes = priors if ignore_from == 'prior' else predictions
        for prior in range(len(priors)):
            for region in range(len(regions)):
                iof = bbox_overlaps(boxes[prior : prior + 1], regions[region : region + 1], mode='iof')[0, 0]
                if gt_inds[prior] == 0 and iof > ignore_iof_thr:
                    gt_inds[prior] = -1
    if not unique_best:
        return gt_inds, max_overlaps, len(gts) - len({i for i in gt_inds if i > 0}), 0
    conflicts, forced = 0, {}
    for level in {0} if best_scope == 'all_levels' else set(levels.tolist()):
        here = [p for p in range(len(priors)) if best_scope == 'all_levels' or levels[p] == level]
        pairs = [(-float(rank[g, p]), g, p) for g in range(len(gts)) for p in here if iou[g, p] > min_best_iou]
        matched, first = {}, {}
        for _, gt, prior in sorted(pairs):
            first.setdefault(gt, prior)
            if gt not in matched and prior not in forced:
                matched[gt] = prior
                forced[prior] = gt
        conflicts += sum(matched.get(gt) != prior for gt, prior in first.items())
    for prior, gt in forced.items():
        gt_inds[prior] = gt + 1
    return gt_inds, max_overlaps, len(gts) - len(set(forced.values())), conflicts


def box_lists(least=0, most=12, extent=10):
    """Boxes with whole coordinates, many of them equal, without width or without height."""
    side = st.integers(0, extent)
    box = st.tuples(side, side, side, side).map(
        lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
    )
    return st.lists(box, min_size=least, max_size=most).map(
        lambda x: torch.tensor(x, dtype=torch.float32).reshape(-1, 4)
    )


def random_boxes(number, generator, extent=100.0, least=2.0, most=40.0):
    centre = torch.rand(number, 2, generator=generator) * extent
    half = (least + (most - least) * torch.rand(number, 2, generator=generator)) / 2
    return torch.cat([centre - half, centre + half], dim=1)
