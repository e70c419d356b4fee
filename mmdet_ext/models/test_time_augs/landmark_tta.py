"""Test-time augmentation for detectors with landmarks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

EXAMPLE = "dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)"


@MODELS.register_module()
class LandmarkTTAModel(DetTTAModel):
    """Merges what a detector with landmarks finds in several views (flips, scales) of one image.

    Boxes are flipped back and go through one NMS per class, as in mmdet's `DetTTAModel`. Landmarks are flipped back,
    left and right changing places where the view was mirrored (`LandmarkRandomFlip` the same), and those of a box that
    NMS keeps stay with it; nothing is averaged. Predictions have to be in pixels of the original image (`rescale`,
    mmdet's default), so that views of any scale fit each other.

    Deviations from `DetTTAModel`: keypoints; views without `flip` in their metainfo count as not flipped. A detector
    without landmarks is merged as by `DetTTAModel`.

    Args:
        tta_cfg: `nms` and `max_per_img`, as for `DetTTAModel`.
        swap_pairs: Indices of landmarks that change places in a mirrored image; by default eyes and mouth corners of a
            face, `()` is none.
        kwargs: `module` and `data_preprocessor`.

    Raises:
        ValueError: `tta_cfg` lacks a part; a swap pair is not two different indices, or an index stands in two pairs;
            (when merging) it is not an index of the landmarks, or a view has masks or, unlike another, no keypoints.
    """

    def __init__(
        self,
        tta_cfg: Any = None,
        swap_pairs: Sequence[Sequence[int]] = ((0, 1), (3, 4)),
        **kwargs: Any,
    ) -> None:
        if not isinstance(tta_cfg, Mapping) or not {'nms', 'max_per_img'} <= set(tta_cfg):
            raise ValueError(f"tta_cfg must have 'nms' and 'max_per_img', such as {EXAMPLE}; got {tta_cfg!r}")
        super().__init__(tta_cfg=ConfigDict(tta_cfg), **kwargs)
        indices = [index for pair in swap_pairs for index in pair]
        if (
            any(len(pair) != 2 for pair in swap_pairs)
            or len(set(indices)) != len(indices)
            or min(indices, default=0) < 0
        ):
            raise ValueError(f'swap_pairs must be pairs of indices, each index in one pair at most, got {swap_pairs!r}')
        self.swap_pairs = swap_pairs

    def flip_back(self, keypoints: Tensor, img_shape: Sequence[int], direction: str) -> Tensor:
        """Landmarks in a flipped image, seen in the image itself.

        Args:
            keypoints: (n, K, 2) x, y.
            img_shape: Height and width of the image.
            direction: `'horizontal'`, `'vertical'` or `'diagonal'`; the last one turns the image by 180 degrees and
                mirrors nothing.
        """
        x, y = keypoints.unbind(dim=-1)
        if direction in ('horizontal', 'diagonal'):
            x = img_shape[1] - x
        if direction in ('vertical', 'diagonal'):
            y = img_shape[0] - y
        return torch.stack([x, y], dim=-1)[:, self._order(keypoints.shape[1], mirrored=direction != 'diagonal')]

    def _order(self, number: int, mirrored: bool) -> list[int]:
        order = list(range(number))
        for first, second in self.swap_pairs if mirrored else ():
            if max(first, second) >= number:
                raise ValueError(f'swap_pairs has {(first, second)}, but predictions have {number} landmarks')
            order[first], order[second] = second, first
        return order

    def _merge_single_sample(self, data_samples: Sequence[DetDataSample]) -> DetDataSample:
        """One prediction out of those of all views of an image; the first view's sample carries it."""
        views = [sample.pred_instances for sample in data_samples]
        metas = [{'flip': False, 'flip_direction': None, **sample.metainfo} for sample in data_samples]
        path = metas[0].get('img_path')
        if any('masks' in view for view in views):
            raise ValueError(f'{path}: test-time augmentation does not merge masks; use a config without a mask head')
        with_keypoints = {'keypoints' in view for view in views}
        if len(with_keypoints) > 1:
            raise ValueError(f'{path}: some views have keypoints and some have none')
        boxes, scores = self.merge_aug_bboxes([view.bboxes for view in views], [view.scores for view in views], metas)
        labels = torch.cat([view.labels for view in views])
        results = InstanceData()
        if len(boxes):
            found, keep = batched_nms(boxes, scores, labels, self.tta_cfg.nms)
            keep = keep[: self.tta_cfg.max_per_img]
            # Soft NMS lowers scores.
            results.bboxes, results.scores = found[: len(keep)].split([4, 1], dim=1)
            results.scores = results.scores.squeeze(1)
        else:
            keep = labels.new_zeros(0, dtype=torch.long)
            results.bboxes, results.scores = boxes, scores
        results.labels = labels[keep]
        if True in with_keypoints:
            results.keypoints = torch.cat(
                [
                    self.flip_back(view.keypoints, meta['ori_shape'], meta['flip_direction'])
                    if meta['flip']
                    else view.keypoints
                    for view, meta in zip(views, metas, strict=True)
                ]
            )[keep]
        merged = data_samples[0]
        merged.pred_instances = results
        return merged
