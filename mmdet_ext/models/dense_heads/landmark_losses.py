"""Landmarks of the ground truth, and the loss of a head that predicts them."""

from collections.abc import Mapping, Sequence

import torch
from mmdet.models.dense_heads import AnchorHead
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from torch import Tensor

from .dense_maths import at_least_one, mean_over_ranks
from .gt_checks import image_name
from .prior_targets import PriorTargets


def batch_landmarks(
    batch_gt_instances: InstanceList, batch_img_metas: Sequence[Mapping], number: int, needed: bool, owner: str
) -> list[Tensor]:
    """`keypoints` of every image, (n, K, 3) as x, y in pixels of the network's input and v; no host sync.

    An image without boxes may lack them, whatever is `needed`: it has none to learn.

    Args:
        batch_gt_instances: with `bboxes` (n, 4), and `keypoints` (n, K, 3).
        batch_img_metas: `img_path` or `img_id` names the image.
        number: K.
        needed: whether `keypoints` must be there; else an image without the field counts as if nothing was labelled.
        owner: who asks, for the message.

    Raises:
        ValueError: an image has boxes but no `keypoints`, or these have another shape or are no tensor.
    """
    found = []
    for gts, meta in zip(batch_gt_instances, batch_img_metas, strict=True):
        boxes, points = get_box_tensor(gts.bboxes), gts.get('keypoints', None)
        if points is None and len(boxes) and needed:
            raise ValueError(
                f'{owner}: {image_name(meta)} has {len(boxes)} boxes but no gt_instances.keypoints: load landmarks as '
                f'gt_keypoints (N, {number}, 3), with v = 0 where an object has none, and pack with PackLandmarkInputs '
                f"(the mapping_table of mmdet's PackDetInputs leaves gt_keypoints out), or set num_landmarks=0"
            )
        shape = (len(boxes), number, 3)
        if points is None or not len(boxes):
            points = boxes.new_zeros(shape)
        if not isinstance(points, Tensor) or points.shape != shape:
            raise ValueError(
                f'{owner}: {image_name(meta)} has gt_instances.keypoints of {type(points).__name__} '
                f'{tuple(points.shape)}, needed is a tensor {shape}: (x, y, v) of {number} landmarks for each of its '
                f'boxes; make num_landmarks and the data set agree'
            )
        found.append(points)
    return found


def landmark_losses(
    head: AnchorHead, deltas: Tensor, targets: PriorTargets, landmarks: Sequence[Tensor]
) -> dict[str, Tensor]:
    """`loss_landmark` and `num_pos_landmarks` of a `RetinaFaceHead`. A collective: every rank calls it.

    A positive learns the labelled landmarks (v > 0, hidden ones too) of its ground truth; the sum is divided by the
    number of positives that have any, the mean over the ranks.

    Args:
        head: gives the loss and the coder.
        deltas: (B, N, 2K) encoded landmarks.
        targets: of the same priors.
        landmarks: per image (n, K, 3) of its ground truth.
    """
    rows = zip(landmarks, targets.sampling_results, strict=True)
    goals = torch.cat([points[result.pos_assigned_gt_inds] for points, result in rows]).to(deltas.dtype)
    labelled = goals[..., 2] > 0
    # A weight of zero would not undo what is not a number, and coordinates that are not labelled may be anything.
    points = goals[..., :2].masked_fill(~labelled[..., None], 0)
    pred = deltas.flatten(0, 1)[targets.pos_inds]
    goal = head.landmark_coder.encode(targets.pos_priors, points).to(pred.dtype)
    weights = labelled[..., None].expand_as(points).flatten(1).to(pred.dtype)
    (number,) = mean_over_ranks(labelled.any(1).sum(), like=deltas)
    loss = head.loss_landmark(pred, goal, weights, avg_factor=at_least_one(number))
    return dict(loss_landmark=loss, num_pos_landmarks=number)
