"""mmdet's extractor of RoI features with an RoIAlign that is fast on a CPU."""

from mmcv import ops
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from torch import nn

from .gathered_roi_align import GatheredRoIAlign


@MODELS.register_module()
class FastRoIExtractor(SingleRoIExtractor):
    """`SingleRoIExtractor` whose RoIAlign is `GatheredRoIAlign`: the same features, faster where there is no GPU.

    Write it in the place of `SingleRoIExtractor`; checkpoints do not change, for neither has parameters. Layers other
    than `RoIAlign` stay mmcv's.
    """

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
