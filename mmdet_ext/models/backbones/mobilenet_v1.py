"""The first MobileNet, which face detectors use at a quarter of its width."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmdet.models.utils import make_divisible
from mmdet.registry import MODELS
from mmdet.utils import ConfigType, OptConfigType, OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BN = dict(type='BN')
LEAKY = dict(type='LeakyReLU', negative_slope=0.1)
STEM = 32
# Of each stage: channels at full width, number of blocks, stride of the first of them.
STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNet (arXiv:1704.04861, table 1) without its classifier, by default as RetinaFace uses it: a quarter wide.

    A 3x3 conv of stride 2, then five stages of depthwise separable convs with the strides 2, 4, 8, 16 and 32; at width
    0.25 they have 16, 32, 64, 128 and 256 channels. Only stages up to the last one asked for are built, so no parameter
    is left without gradient.

    Deviations from mmdet's `MobileNetV2`: stages are counted as in `ResNet`, so that `out_indices` names stages from 0
    and `frozen_stages` counts them; a frozen stem no longer updates its running statistics; gradients are off before
    the optimizer is built; `init_cfg` holds for the stem too.

    Args:
        widen_factor: times the channels of the paper, rounded to multiples of 8.
        out_indices: the stages whose results are given, ascending, 0 to 4; the default has strides 8, 16 and 32.
        frozen_stages: -1: none; 0: the first conv; k: that and the first k stages. Frozen: no gradient, and running
            statistics stay.
        norm_cfg: after every conv.
        norm_eval: whether batch norms keep their running statistics in training.
        act_cfg: after every norm; None: none.
        init_cfg: as in mmengine; None: as `ConvModule` leaves them, Kaiming for the slope at hand.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    def __init__(
        self,
        widen_factor: float = 0.25,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        norm_cfg: ConfigType = BN,
        norm_eval: bool = False,
        act_cfg: OptConfigType = LEAKY,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        if not widen_factor > 0:
            raise ValueError(f'MobileNetV1: widen_factor must be above 0, got {widen_factor!r}')
        indices = list(out_indices)
        if not indices or indices != sorted({*indices} & {*range(len(STAGES))}):
            raise ValueError(
                f'MobileNetV1: out_indices={tuple(out_indices)} must name some of the stages 0 to {len(STAGES) - 1} in '
                f'ascending order'
            )
        if frozen_stages not in range(-1, len(STAGES) + 1):
            raise ValueError(
                f'MobileNetV1: frozen_stages={frozen_stages!r} must be -1 (none), 0 (the first conv) or up to '
                f'{len(STAGES)} (and as many stages)'
            )
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(indices), frozen_stages, norm_eval
        cfgs = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        width = make_divisible(STEM * widen_factor, 8)
        # In a Sequential, because mmengine would initialise a ConvModule again, after and against `init_cfg`.
        self.stem = nn.Sequential(ConvModule(3, width, 3, stride=2, padding=1, **cfgs))
        self.stages = nn.ModuleList()
        for channels, number, stride in STAGES[: indices[-1] + 1]:
            before, width = width, make_divisible(channels * widen_factor, 8)
            plan = [(before, stride), *[(width, 1)] * (number - 1)]
            self.stages.append(
                nn.Sequential(
                    *(
                        DepthwiseSeparableConvModule(start, width, 3, stride=step, padding=1, **cfgs)
                        for start, step in plan
                    )
                )
            )
        self._freeze()

    def _freeze(self) -> None:
        frozen = [self.stem, *self.stages[: max(self.frozen_stages, 0)]] if self.frozen_stages >= 0 else []
        for part in frozen:
            part.eval()
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> 'MobileNetV1':
        """As in torch, but what is frozen stays so, and with `norm_eval` all running statistics do."""
        super().train(mode)
        self._freeze()
        if self.norm_eval:
            for part in self.modules():
                if isinstance(part, _BatchNorm):
                    part.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> (B, C, H / stride, W / stride), rounded up, of every stage in `out_indices`."""
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
