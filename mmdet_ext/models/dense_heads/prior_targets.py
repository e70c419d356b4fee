"""What every prior of a batch has to learn, by any assigner and sampler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor


@dataclass
class PriorTargets:
    """Targets of B images with N priors each, P of the B * N priors are positive.

    Attributes:
        labels: (B, N), `num_classes` is background.
        label_weights: (B, N), 0: the prior takes no part in classification.
        pos_inds: (P,) where the positives are in the flattened (B * N,), image by image.
        pos_priors: (P, 4) xyxy in pixels of the network's input.
        pos_gt_bboxes: (P, 4) the box each of them belongs to.
        num_pos: P, on this rank.
        num_neg: negatives on this rank.
        num_ignored: the others inside of their image: between the thresholds, in an ignored region, not sampled.
        num_sampled: what a sampler's losses are divided by: positives, with negatives where the sampler draws those.
        sampling_results: one per image; their indices count the priors inside of the image only.
    """

    labels: Tensor
    label_weights: Tensor
    pos_inds: Tensor
    pos_priors: Tensor
    pos_gt_bboxes: Tensor
    num_pos: int
    num_neg: int
    num_ignored: int
    num_sampled: int
    sampling_results: list[SamplingResult]


@torch.no_grad()
def match_priors(
    assigner: Any,
    sampler: Any,
    priors: Tensor,
    inside: Sequence[Tensor | None],
    batch_gt_instances: InstanceList,
    batch_gt_instances_ignore: OptInstanceList,
    num_classes: int,
    pos_weight: float = -1,
    extras: Sequence[Mapping[str, Tensor]] | None = None,
) -> PriorTargets:
    """Assign and sample image by image.

    Args:
        assigner: `assign(pred_instances, gt_instances, gt_instances_ignore)`, as in mmdet.
        sampler: `sample(assign_result, pred_instances, gt_instances)`, as in mmdet.
        priors: (N, 4) of all levels, the same for every image, or a box type of mmdet.
        inside: for every image the indices of the priors that may be used, None for all.
        batch_gt_instances: with `bboxes` and `labels`.
        batch_gt_instances_ignore: with `bboxes`, or None.
        num_classes: the label of the background.
        pos_weight: weight of a positive in classification; 0 and less: 1.
        extras: per image what `pred_instances` carries beside `priors`, (N, ...) each.

    Raises:
        ValueError: the assigner asks `pred_instances` for what it does not carry.
    """
    num_images, num_priors = len(batch_gt_instances), len(priors)
    ignored = batch_gt_instances_ignore or [None] * num_images
    results: list[SamplingResult] = []
    pos_inds: list[Tensor] = []
    neg_inds: list[Tensor] = []
    num_inside = 0
    for i, (keep, gts, gts_ignore) in enumerate(zip(inside, batch_gt_instances, ignored, strict=True)):
        instances = InstanceData(priors=priors, **(extras[i] if extras else {}))
        if keep is not None:
            instances = instances[keep]
        try:
            assigned = assigner.assign(instances, gts, gts_ignore)
        except AttributeError as error:
            held = ', '.join(sorted(instances.keys()))
            if error.obj is not instances:
                raise
            raise ValueError(
                f'{type(assigner).__name__} looks at `{error.name}` of the predictions, which here have '
                f'{held}; use an assigner that needs no more, such as YOLOAssigner'
            ) from error
        result = sampler.sample(assigned, instances, gts)
        results.append(result)
        num_inside += len(instances)
        for inds, found in ((pos_inds, result.pos_inds), (neg_inds, result.neg_inds)):
            inds.append((found if keep is None else keep[found]) + i * num_priors)
    positive, negative = torch.cat(pos_inds), torch.cat(neg_inds)
    labels = positive.new_full((num_images * num_priors,), num_classes)
    # Those of an image without objects may be `torch.tensor([])`, of floats.
    labels[positive] = torch.cat([result.pos_gt_labels for result in results]).long()
    weights = labels.new_zeros(len(labels), dtype=torch.float32)
    weights[negative] = 1.0
    weights[positive] = pos_weight if pos_weight > 0 else 1.0
    return PriorTargets(
        labels=labels.view(num_images, -1),
        label_weights=weights.view(num_images, -1),
        pos_inds=positive,
        pos_priors=torch.cat([get_box_tensor(result.pos_priors) for result in results]),
        pos_gt_bboxes=torch.cat([get_box_tensor(result.pos_gt_bboxes) for result in results]),
        num_pos=len(positive),
        num_neg=len(negative),
        num_ignored=num_inside - len(positive) - len(negative),
        num_sampled=sum(
            len(result.pos_inds) + (len(result.neg_inds) if result.avg_factor_with_neg else 0) for result in results
        ),
        sampling_results=results,
    )
