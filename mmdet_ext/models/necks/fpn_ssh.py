"""A feature pyramid whose every level looks around itself before the heads do."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmdet.utils import OptConfigType, OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from .recompute import recomputed
from .ssh_context import SSHContext

MERGES = ('sequential', 'after')
EXTRA_CONVS = ('on_input', 'on_lateral', 'on_output')
BN = dict(type='BN')


def check_options(
    in_channels: Sequence[int],
    out_channels: int,
    num_outs: int,
    merge: str,
    add_extra_convs: bool | str,
    norm_cfg: OptConfigType,
    start_level: int,
    end_level: int,
) -> None:
    """Raise a `ValueError` with a sentence where one of these options of `FPNSSH` cannot be."""
    listed = isinstance(in_channels, list | tuple) and all(
        isinstance(width, int) and width > 0 for width in in_channels
    )
    if not listed or not in_channels:
        raise ValueError(f'FPNSSH: in_channels={in_channels!r} must list the channels of each feature map')
    if not isinstance(out_channels, int) or out_channels < 4 or out_channels % 4:
        raise ValueError(
            f'FPNSSH: out_channels={out_channels!r} must be a multiple of 4: the 3x3 view gets half of them, the 5x5 '
            f'and the 7x7 view a quarter each'
        )
    groups = norm_cfg.get('num_groups') if norm_cfg else None
    if groups and out_channels // 4 % groups:
        raise ValueError(
            f'FPNSSH: norm_cfg has num_groups={groups}, which must divide the {out_channels // 4} channels of the '
            f'5x5 and 7x7 views, a quarter of out_channels={out_channels}'
        )
    if merge not in MERGES:
        raise ValueError(f'FPNSSH: merge={merge!r}, allowed are {MERGES}')
    if not isinstance(add_extra_convs, bool) and add_extra_convs not in EXTRA_CONVS:
        raise ValueError(f'FPNSSH: add_extra_convs={add_extra_convs!r}, allowed are {(False, True, *EXTRA_CONVS)}')
    last = len(in_channels) - 1
    if not -1 <= end_level <= last or not 0 <= start_level <= (last if end_level == -1 else end_level):
        raise ValueError(
            f'FPNSSH: start_level={start_level} and end_level={end_level} must be levels of the {last + 1} feature '
            f'maps, the first and the last one used (-1: the last there is)'
        )
    whole = end_level in (-1, last)
    levels = (last if whole else end_level) - start_level + 1
    if num_outs < levels or (num_outs > levels and not whole):
        raise ValueError(
            f'FPNSSH: num_outs={num_outs} for {levels} levels; '
            + ('extra levels are added, none is dropped' if whole else 'extra levels need end_level=-1')
        )


@MODELS.register_module()
class FPNSSH(BaseModule):
    """FPN, then the context module of SSH on every level, as RetinaFace has it (arXiv:1905.00641).

    1x1 laterals; a top-down path that resizes the coarser map to the size of the finer one (any sizes fit, 69 cells
    after 34 too) and adds it; 3x3 merge convs; extra levels; on all levels `SSHContext`.

    - `merge='sequential'` (RetinaFace): a level is merged before it goes on to the next finer one, and the coarsest
      one, which nothing was added to, has no merge conv: n - 1 for n levels.
    - `merge='after'` (mmdet's `FPN`): sums go down, then each of the n levels passes its own merge conv.

    Deviations from mmdet's `FPN`: norms and activations by default, as in RetinaFace; wrong options are `ValueError`s;
    weights start as `ConvModule` leaves them (Kaiming for the slope at hand, offsets of deformable convs at zero)
    unless `init_cfg` says otherwise.

    Args:
        in_channels: of the feature maps, finest first.
        out_channels: C of all results, a multiple of 4.
        num_outs: number of results; those beyond the levels used have half the size each.
        merge: `'sequential'` or `'after'`.
        add_extra_convs: where extra levels come from, as in `FPN`: False, every second cell of the level before;
            True or `'on_input'`, 3x3 convs of stride 2, the first on the last feature map used; `'on_lateral'`, on its
            lateral; `'on_output'`, on the coarsest level of the pyramid (with `'sequential'` its lateral as well).
        norm_cfg: after every conv; None: none.
        act_cfg: after laterals, merge convs and extra convs and between the convs of a context module. None: as
            RetinaFace, a leaky ReLU of slope 0.1 up to 64 channels, above that ReLU.
        conv_cfg: of all convs, such as `dict(type='DCNv2')`; mmcv's `'DCN'` refuses levels of less than 3x3 cells.
        with_cp: keep fewer activations, compute them again in the backward pass.
        start_level: the first feature map used.
        end_level: the last one used; -1: the last there is, the only choice with extra levels.
        init_cfg: as in mmengine.

    Raises:
        ValueError: an option outside of what is listed here, groups that do not divide a view's channels; in `forward`
            another number of feature maps than `in_channels`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        merge: str = 'sequential',
        add_extra_convs: bool | str = False,
        norm_cfg: OptConfigType = BN,
        act_cfg: OptConfigType = None,
        conv_cfg: OptConfigType = None,
        with_cp: bool = False,
        start_level: int = 0,
        end_level: int = -1,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        check_options(in_channels, out_channels, num_outs, merge, add_extra_convs, norm_cfg, start_level, end_level)
        if act_cfg is None:
            act_cfg = dict(type='LeakyReLU', negative_slope=0.1) if out_channels <= 64 else dict(type='ReLU')
        self.in_channels, self.out_channels, self.num_outs = tuple(in_channels), out_channels, num_outs
        self.merge, self.with_cp = merge, with_cp
        self.add_extra_convs = 'on_input' if add_extra_convs is True else add_extra_convs
        self.start_level = start_level
        self.end_level = end_level if end_level != -1 else len(in_channels) - 1
        used = self.in_channels[self.start_level : self.end_level + 1]
        cfgs = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)

        def convs(number: int, stride: int = 1, first: int = out_channels) -> nn.ModuleList:
            widths = [first, *[out_channels] * (number - 1)][:number]
            return nn.ModuleList(
                ConvModule(width, out_channels, 3, stride, padding=1, inplace=False, **cfgs) for width in widths
            )

        # Lists of torch, not of mmengine: those initialise ConvModules again, after and against `init_cfg`.
        self.lateral_convs = nn.ModuleList(ConvModule(width, out_channels, 1, inplace=False, **cfgs) for width in used)
        self.merge_convs = convs(len(used) - (merge == 'sequential'))
        extra = num_outs - len(used) if add_extra_convs else 0
        self.extra_convs = convs(extra, 2, used[-1] if self.add_extra_convs == 'on_input' else out_channels)
        self.contexts = nn.ModuleList(SSHContext(out_channels, **cfgs) for _ in range(num_outs))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Feature maps (B, in_channels, H, W), finest first -> `num_outs` maps (B, C, H, W), finest first."""
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'FPNSSH: {len(inputs)} feature maps, but in_channels={self.in_channels} names {len(self.in_channels)}'
            )
        used = inputs[self.start_level : self.end_level + 1]
        laterals = [self._run(conv, x) for conv, x in zip(self.lateral_convs, used, strict=True)]
        levels = self._top_down(laterals)
        levels += self._extra_levels(used[-1], laterals[-1], levels[-1])
        return tuple(self._run(context, x) for context, x in zip(self.contexts, levels, strict=True))

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        return recomputed(module, x) if self.with_cp else module(x)

    def _top_down(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """The merged levels, finest first."""
        sequential = self.merge == 'sequential'
        levels = [laterals[-1]]
        for i in range(len(laterals) - 2, -1, -1):
            total = laterals[i] + F.interpolate(levels[0], size=laterals[i].shape[-2:], mode='nearest')
            levels.insert(0, self._run(self.merge_convs[i], total) if sequential else total)
        if sequential:
            return levels
        return [self._run(conv, x) for conv, x in zip(self.merge_convs, levels, strict=True)]

    def _extra_levels(self, feature_map: Tensor, lateral: Tensor, level: Tensor) -> list[Tensor]:
        """Levels beyond the pyramid, from what belongs to its coarsest level."""
        extra: list[Tensor] = []
        if not self.add_extra_convs:
            for _ in range(self.num_outs - len(self.lateral_convs)):
                extra.append(F.max_pool2d(extra[-1] if extra else level, 1, stride=2))
            return extra
        x = {'on_input': feature_map, 'on_lateral': lateral, 'on_output': level}[self.add_extra_convs]
        for conv in self.extra_convs:
            x = self._run(conv, x)
            extra.append(x)
        return extra
