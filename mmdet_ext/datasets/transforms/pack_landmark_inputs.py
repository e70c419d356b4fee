"""PackDetInputs with landmarks."""

from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from .landmark_geometry import check_in_step


@TRANSFORMS.register_module()
class PackLandmarkInputs(PackDetInputs):
    """Pack image, annotations and landmarks: adds `gt_instances.keypoints`, for training and testing.

    `keypoints` is a float32 tensor (N, K, 3): x, y in pixels of the packed image and v (0 absent, 1 hidden, 2 visible);
    `ignored_instances` have them too. mmdet's PackDetInputs leaves them out. An image without `gt_keypoints`, as in
    inference, is packed as mmdet does. With part boxes as well, a class of one line inherits from both:
    `class Pack(PackLandmarkInputs, PackPartInputs)`.

    Args:
        meta_keys: As in PackDetInputs.
    """

    mapping_table = {**PackDetInputs.mapping_table, 'gt_keypoints': 'keypoints'}

    def transform(self, results: dict) -> dict:
        """Pack one image.

        Raises:
            ValueError: A transform has moved or dropped boxes and left their landmarks behind.
        """
        if results.get('gt_keypoints') is not None:
            check_in_step(results, 'PackLandmarkInputs')
        return super().transform(results)
