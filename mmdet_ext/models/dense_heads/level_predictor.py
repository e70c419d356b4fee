"""Convolutions from a feature map to scores, box deltas and landmarks."""

from itertools import pairwise

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, bias_init_with_prob
from torch import Tensor, nn


class LevelPredictor(BaseModule):
    """Common convs, then a tower for classes, one for boxes and one for landmarks if any, each with a conv at the end.

    Without any convs it is SSD's predictor, with `stacked_convs=4` RetinaNet's, with `shared_convs=1` YOLACT's, with
    `kernel_size=1` and landmarks RetinaFace's.

    Args:
        in_channels: of the feature map.
        feat_channels: of the convs.
        shared_convs: number of convs that the towers have in common.
        stacked_convs: number of convs in every tower.
        cls_channels: scores per place.
        reg_channels: deltas per place.
        cls_prior: the score that a class starts with (sigmoid), None: bias as `init_cfg` says.
        conv_cfg: of the convs but the last ones.
        norm_cfg: as before.
        act_cfg: as before.
        landmark_channels: landmark deltas per place; 0: no such tower.
        kernel_size: of the last convs, odd.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        shared_convs: int,
        stacked_convs: int,
        cls_channels: int,
        reg_channels: int,
        cls_prior: float | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        landmark_channels: int = 0,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        cfgs = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)

        def tower(width: int, number: int) -> nn.Sequential:
            widths = [width] + [feat_channels] * number
            return nn.Sequential(
                *(ConvModule(before, after, 3, padding=1, **cfgs) for before, after in pairwise(widths))
            )

        middle = feat_channels if shared_convs else in_channels
        last = feat_channels if stacked_convs else middle
        self.shared_convs = tower(in_channels, shared_convs)
        self.cls_convs, self.reg_convs = tower(middle, stacked_convs), tower(middle, stacked_convs)
        self.conv_cls = nn.Conv2d(last, cls_channels, kernel_size, padding=kernel_size // 2)
        self.conv_reg = nn.Conv2d(last, reg_channels, kernel_size, padding=kernel_size // 2)
        self.with_landmarks = landmark_channels > 0
        if self.with_landmarks:
            self.landmark_convs = tower(middle, stacked_convs)
            self.conv_landmark = nn.Conv2d(last, landmark_channels, kernel_size, padding=kernel_size // 2)
        self.cls_prior = cls_prior

    def init_weights(self) -> None:
        """After the head's `init_cfg`, which goes first: the bias that makes objects rare from the first step on."""
        super().init_weights()
        if self.cls_prior is not None:
            nn.init.constant_(self.conv_cls.get_parameter('bias'), bias_init_with_prob(self.cls_prior))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) -> scores (B, cls_channels, H, W), deltas (B, reg_channels, H, W), and landmarks."""
        x = self.shared_convs(x)
        maps = self.conv_cls(self.cls_convs(x)), self.conv_reg(self.reg_convs(x))
        return (*maps, self.conv_landmark(self.landmark_convs(x))) if self.with_landmarks else maps
