"""Loads boxes and, row by row beside them, landmarks."""

from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS

from .landmark_geometry import blank_absent, remember_boxes


@TRANSFORMS.register_module()
class LoadLandmarkAnnotations(LoadAnnotations):
    """Load boxes, labels and landmarks of an image.

    mmcv's LoadAnnotations can load `keypoints`, mmdet's takes the option and ignores it. Adds `gt_keypoints`, float32
    (N, K, 3): x, y in pixels and v (0 absent, 1 labelled but hidden, 2 visible), row n for row n of `gt_bboxes`.

    Args:
        num_landmarks: K. An instance holds `keypoints`, 3 * K numbers as in COCO; one without them gets v = 0, x = y =
            0, and so does a landmark with v = 0.
        kwargs: Further options of mmdet's LoadAnnotations, such as `with_mask`.

    Raises:
        ValueError: `num_landmarks` is no positive number, or `with_bbox` is False.
    """

    def __init__(self, num_landmarks: int = 5, **kwargs: Any) -> None:
        super().__init__(with_keypoints=True, **kwargs)
        if num_landmarks < 1:
            raise ValueError(f'LoadLandmarkAnnotations: num_landmarks must be positive, got {num_landmarks!r}')
        if not self.with_bbox:
            raise ValueError('LoadLandmarkAnnotations loads landmarks beside boxes: with_bbox must be True')
        self.num_landmarks = num_landmarks

    def transform(self, results: dict) -> dict:
        """Load the annotations of one image.

        Raises:
            ValueError: Landmarks are not 3 * K finite numbers, or a v is not 0, 1 or 2.
        """
        results = super().transform(results)
        self._load_kps(results)
        remember_boxes(results)
        return results

    def _load_kps(self, results: dict) -> None:
        width = 3 * self.num_landmarks
        rows = np.zeros((len(results.get('instances', [])), width))
        for row, instance in zip(rows, results.get('instances', []), strict=True):
            given = instance.get('keypoints')
            if given is None:
                continue
            if np.size(given) != width:
                raise ValueError(
                    f'LoadLandmarkAnnotations: an object of {results.get("img_path")} has {np.size(given)} numbers in '
                    f'`keypoints`, but {self.num_landmarks} landmarks are {width} (x, y, v); set num_landmarks, or '
                    'correct the annotation'
                )
            row[:] = np.ravel(given)
        keypoints = rows.reshape(-1, self.num_landmarks, 3)
        if not (np.isfinite(rows).all() and np.isin(keypoints[..., 2], (0, 1, 2)).all()):
            good = np.isfinite(rows).all(axis=1) & np.isin(keypoints[..., 2], (0, 1, 2)).all(axis=1)
            raise ValueError(
                f'LoadLandmarkAnnotations: the `keypoints` of object {np.flatnonzero(~good)[0]} of '
                f'{results.get("img_path")} are not finite numbers x, y, v with v 0 (absent), 1 (hidden) or 2 (visible)'
            )
        results['gt_keypoints'] = blank_absent(keypoints)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, num_landmarks={self.num_landmarks})'
