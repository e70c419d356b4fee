"""Landmarks through image transforms: moved, renamed in a mirrored image, hidden where they leave it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.structures.bbox import get_box_tensor
from numpy.typing import NDArray

from mmdet_ext.datasets.problems import listing

from .part_geometry import project_points

FACE_LANDMARKS = ('left eye', 'right eye', 'nose', 'left mouth corner', 'right mouth corner')
"""In the order of RetinaFace's labels; left is where x is smaller on an upright face that looks into the camera."""

FACE_PAIRS = ((0, 1), (3, 4))
"""Landmarks of a face that change places in a mirrored image."""

Keypoints = NDArray[np.float32]


def blank_absent(keypoints: NDArray[np.floating]) -> Keypoints:
    """Set the coordinates of landmarks with v = 0 to zero, as in COCO, so that nothing can be read out of them."""
    return np.where(keypoints[..., 2:] > 0, keypoints, 0).astype(np.float32)


def move_landmarks(keypoints: Keypoints, homography: NDArray[np.floating]) -> Keypoints:
    """Carry landmarks into another image.

    Args:
        keypoints: (N, K, 3) x, y, v; v 0 is absent, 1 hidden, 2 visible.
        homography: (3, 3) from pixels of `keypoints` to pixels of the image.

    Returns:
        (N, K, 3) float32, zero where absent. Nothing is clipped: a landmark outside the image stays outside.
    """
    points = project_points(keypoints[..., :2], homography)
    return blank_absent(np.concatenate([points, keypoints[..., 2:]], axis=-1))


def hide_outside(keypoints: Keypoints, img_shape: tuple[int, int]) -> Keypoints:
    """Make landmarks outside an image absent; its border still belongs to it, so that a flip changes nothing.

    mmcv's CenterCrop moves them onto the border as well; RetinaFace moves them there and keeps them as labelled.

    Args:
        keypoints: (N, K, 3) x, y, v.
        img_shape: Height and width of the image.
    """
    height, width = img_shape
    inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] <= (width, height))).all(axis=-1, keepdims=True)
    return np.where(inside, keypoints, 0).astype(np.float32)


def mirrored_landmarks(num: int, pairs: Sequence[Sequence[int]]) -> list[int]:
    """Index of the landmark that takes each slot in a mirrored image.

    Args:
        num: Number of landmarks.
        pairs: Indices of landmarks that change places.

    Raises:
        ValueError: A pair is not two different indices below `num`, or an index stands in several pairs.
    """
    order = list(range(num))
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not all(isinstance(i, int) and 0 <= i < num for i in pair):
            raise ValueError(f'swap_pairs must be pairs of two different indices from 0 to {num - 1}, but has {pair!r}')
        first, second = pair
        if order[first] != first or order[second] != second:
            raise ValueError(f'swap_pairs has a landmark in several pairs: {pair!r}; it changes places with one other')
        order[first], order[second] = second, first
    return order


def box_array(boxes: Any) -> NDArray[np.float32]:
    """Ground truth boxes of a pipeline, mmdet's box structure or an array, as an array (N, 4)."""
    return np.asarray(get_box_tensor(boxes))


def remember_boxes(results: dict) -> None:
    """Note the boxes that the landmarks belong to, for `check_in_step`."""
    results['landmark_bboxes'] = box_array(results['gt_bboxes']).copy()


def check_in_step(results: dict, who: str) -> None:
    """Check that no transform since `remember_boxes` has moved or dropped boxes without their landmarks.

    mmdet's transforms know no `gt_keypoints`: after one of them boxes and landmarks belong to different images, which
    trains without an error.

    Args:
        results: Of the pipeline, with `gt_keypoints`.
        who: Transform that asks, for the sentence.

    Raises:
        ValueError: Boxes have changed, or there are not as many as landmarks, or none at all were loaded.
    """
    path = results.get('img_path')
    if results.get('gt_bboxes') is None:
        raise ValueError(f'{who}: the landmarks of {path} came without boxes; load both by LoadLandmarkAnnotations')
    boxes, num = box_array(results['gt_bboxes']), len(results['gt_keypoints'])
    before = results.get('landmark_bboxes', boxes)
    if len(boxes) == num and np.array_equal(before, boxes, equal_nan=True):
        return
    if len(boxes) != num:
        what = f'{num} faces have landmarks and {len(boxes)} have boxes'
    else:
        changed = np.flatnonzero((before != boxes).any(axis=1)).tolist()
        what = f'the boxes {listing(changed)} were moved'
    raise ValueError(
        f'{who}: in {path} {what}, because a transform before it changed boxes and left `gt_keypoints` behind; use '
        'LandmarkResize, LandmarkRandomFlip, LandmarkRandomCrop, LandmarkAlbu and FaceRandomCrop (Pad and changes of '
        'colour move nothing)'
    )
