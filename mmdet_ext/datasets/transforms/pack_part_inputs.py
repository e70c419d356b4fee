"""PackDetInputs with part boxes that followed the image."""

from typing import Any

import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmengine.structures import InstanceData

from .part_geometry import Pairs, mirrored_order, project_parts


@TRANSFORMS.register_module()
class PackPartInputs(PackDetInputs):
    """Pack image, annotations and part boxes: adds `data_sample.parts`, for training, testing and inference.

    `data_sample.parts` is an `InstanceData` with `bboxes` ((P, 4) float32 tensor, xyxy in pixels of the packed image,
    zero where invalid) and `valid` ((P,) bool); the metainfo gets `part_names`, a tuple of P names.

    mmdet's geometric transforms record what they do in `results['homography_matrix']`; parts follow it in one step, at
    the end. So no transform has to know parts, and any that moves an image without recording it cannot be used:
    RandomAffine, RandomShift, Expand, MinIoURandomCrop, RandomCenterCropPad, Albu, Mosaic, MixUp and mmcv's own Resize,
    RandomFlip and CenterCrop. LandmarkAlbu can. The check of the config names them (`mmdet_ext.engine.part_check`). As
    the boxes are cut once, at the border of the packed image, a part that a crop has cut may reach into what a later
    Pad adds.

    In an image whose x axis is reversed (horizontal or diagonal flip) left and right change places, as a lung that
    lies where right lungs lie is of no use in the slot of the left lung.

    Args:
        swap_pairs: Parts that change places in a mirrored image, `[('left lung', 'right lung')]`; None takes all pairs
            of `part_names` that differ in left and right only, `()` is none.
        min_area_ratio: A part of which less than this share of its area is left in the image becomes invalid.
        kwargs: `meta_keys` of PackDetInputs.

    Raises:
        ValueError: A bad option.
    """

    def __init__(self, swap_pairs: Pairs | None = None, min_area_ratio: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= min_area_ratio <= 1:
            raise ValueError(f'PackPartInputs: min_area_ratio must be a share from 0 to 1, got {min_area_ratio!r}')
        self.swap_pairs = swap_pairs
        self.min_area_ratio = min_area_ratio

    def transform(self, results: dict) -> dict:
        """Pack one image.

        Raises:
            ValueError: No parts were loaded, a name of `swap_pairs` is unknown, or the image was moved by a transform
                that did not record it.
        """
        if 'part_boxes' not in results:
            raise ValueError('PackPartInputs found no parts: put LoadParts into the pipeline, behind LoadImageFromFile')
        packed = super().transform(results)
        names = results['part_names']
        homography = results.get('homography_matrix')
        if homography is None:
            _check_unmoved(results)
            homography = np.eye(3)
        boxes, valid = project_parts(
            results['part_boxes'], results['part_valid'], homography, results['img_shape'][:2], self.min_area_ratio
        )
        order = mirrored_order(names, self.swap_pairs)
        if homography[0, 0] < 0:
            boxes, valid = boxes[order], valid[order]
        sample = packed['data_samples']
        sample.parts = InstanceData(bboxes=torch.from_numpy(boxes), valid=torch.from_numpy(valid))
        sample.set_metainfo({'part_names': names})
        return packed


def _check_unmoved(results: dict) -> None:
    """Raise a ValueError where an image without a recorded homography has changed other than by padding."""
    now, before = tuple(results['img_shape'][:2]), tuple(results['ori_shape'][:2])
    padded = 'pad_shape' in results and now[0] >= before[0] and now[1] >= before[1]
    if 'scale_factor' in results or results.get('flip') or (now != before and not padded):
        raise ValueError(
            f'PackPartInputs: the image {results.get("img_path")} was moved (from {before} to {now}, height and width) '
            "by a transform that records no `homography_matrix`, so its parts cannot follow; use mmdet's Resize, "
            'RandomFlip, RandomCrop, Rotate, Shear or Translate'
        )
