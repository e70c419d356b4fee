"""COCO json with landmarks."""

import math
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from .box_checks import is_number


@DATASETS.register_module()
class CocoLandmarkDataset(CocoDataset):
    """mmdet's CocoDataset, with the `keypoints` of the annotations in the instances; it leaves them out itself.

    `keypoints` are x, y, v of every landmark: v 0 (absent), 1 (labelled but hidden) or 2 (visible). Annotations may
    lack them. Class names come from `metainfo=dict(classes=('face',))`.
    """

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Data of one image.

        Raises:
            ValueError: The `keypoints` of an annotation are not a list of three numbers for each landmark.
        """
        info = super().parse_data_info({**raw_data_info, 'raw_ann_info': []})
        for annotation in raw_data_info['raw_ann_info']:
            # One by one, as the parent leaves annotations out and does not say which.
            alone = super().parse_data_info({**raw_data_info, 'raw_ann_info': [annotation]})
            for instance in alone['instances']:
                keypoints = annotation.get('keypoints')
                if keypoints is not None:
                    instance['keypoints'] = self._checked(keypoints, annotation)
                info['instances'].append(instance)
        return info

    def _checked(self, keypoints: Any, annotation: dict) -> list[float]:
        numbers = isinstance(keypoints, list) and all(is_number(v) and math.isfinite(v) for v in keypoints)
        if not numbers or not keypoints or len(keypoints) % 3:
            raise ValueError(
                f'{self.ann_file}: the `keypoints` of annotation {annotation.get("id")} must be a list of three '
                f'finite numbers x, y, v for each landmark, got {keypoints!r:.60}'
            )
        return keypoints
