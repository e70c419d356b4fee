"""mmdet's extractor of RoI features with an RoIAlign that is fast on a CPU."""

import torch
from mmcv import ops
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from torch import Tensor, nn

from .gathered_roi_align import GatheredRoIAlign


@MODELS.register_module()
class FastRoIExtractor(SingleRoIExtractor):
    """`SingleRoIExtractor` whose RoIAlign is `GatheredRoIAlign`: the same features, faster where there is no GPU.

    Write it in the place of `SingleRoIExtractor`; checkpoints do not change, for neither has parameters. Layers other
    than `RoIAlign` stay mmcv's.

    Under autocast RoIs stay in float32 and so does the pooling; only the result is of the maps' type. mmdet's rounds
    RoIs to that type, by up to a quarter of a pixel at a coordinate of 1000 in float16. In bfloat16 it would be two
    pixels, but mmcv 2.1 has no RoIAlign for it.
    """

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Pool each RoI from the level of its size.

        Args:
            feats: (B, C, H, W) of each level.
            rois: (R, 5) index of the image, then xyxy in pixels of the image.
            roi_scale_factor: RoIs are pooled so many times as wide and high, from the level of their own size; one
                level ignores it, as mmdet's does.

        Returns:
            (R, C, height, width) of the type of `feats`.
        """
        dtype = feats[0].dtype
        if dtype not in (torch.float16, torch.bfloat16):
            return super().forward(feats, rois, roi_scale_factor)
        with torch.autocast(feats[0].device.type, enabled=False):
            pooled = super().forward(tuple(level.float() for level in feats), rois.float(), roi_scale_factor)
        return pooled.to(dtype)

    def build_roi_layers(self, layer_cfg: ConfigType, featmap_strides: list[int]) -> nn.ModuleList:
        """One layer a level.

        Raises:
            ValueError: mmcv has no layer of that name.
        """
        cfg = dict(layer_cfg)
        name = cfg.get('type')
        if isinstance(name, str) and not hasattr(ops, name):
            raise ValueError(f'FastRoIExtractor: roi_layer.type={name!r} is no layer of mmcv.ops, such as RoIAlign')
        if name in ('RoIAlign', ops.RoIAlign):
            cfg['type'] = GatheredRoIAlign
        return super().build_roi_layers(cfg, featmap_strides)
