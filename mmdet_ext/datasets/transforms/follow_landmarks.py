"""What makes landmarks follow one of mmdet's geometric transforms."""

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from .landmark_geometry import Keypoints, check_in_step, move_landmarks, remember_boxes


class FollowLandmarks(BaseTransform):
    """Mixin: `gt_keypoints` go where a transform of mmdet puts the boxes, and rows that it drops are dropped.

    mmcv's transforms carry `gt_keypoints`; mmdet's override them and do not. But they record what they do: the motion
    in `results['homography_matrix']`, and the rows that are left by what remains of `gt_instances_ids`. Both are
    borrowed while the transform runs. So it fits Resize, RandomFlip, RandomCrop, Rotate, Shear and Translate, and not
    those that record nothing (Expand, MinIoURandomCrop, RandomAffine). Images without `gt_keypoints` pass unchanged.

    Landmarks that leave the image stay where they are, and stay labelled; a crop hides them (`adjust`).
    """

    def transform(self, results: dict) -> dict | None:
        """Transform one image.

        Returns:
            The results, or None where the transform itself gives up (RandomCrop without an object left).

        Raises:
            ValueError: A transform before this one has left the landmarks behind.
        """
        if results.get('gt_keypoints') is None:
            return super().transform(results)
        check_in_step(results, type(self).__name__)
        before = results.pop('homography_matrix', None)
        ids = results.get('gt_instances_ids')
        results['gt_instances_ids'] = np.arange(len(results['gt_keypoints']))
        moved = super().transform(results)
        if moved is None:
            return None
        kept = moved.pop('gt_instances_ids')
        if ids is not None:
            moved['gt_instances_ids'] = ids[kept]
        keypoints, step = moved['gt_keypoints'][kept], moved.get('homography_matrix')
        if step is not None:
            keypoints = self.adjust(move_landmarks(keypoints, step), step, moved['img_shape'][:2])
        moved['gt_keypoints'] = keypoints
        if before is not None:
            moved['homography_matrix'] = before if step is None else step @ before
        remember_boxes(moved)
        return moved

    def adjust(self, keypoints: Keypoints, step: NDArray[np.floating], img_shape: tuple[int, int]) -> Keypoints:
        """Change landmarks that were moved.

        Args:
            keypoints: (N, K, 3) x, y, v in pixels of the new image.
            step: (3, 3) what this transform did.
            img_shape: Height and width of the new image.
        """
        return keypoints
