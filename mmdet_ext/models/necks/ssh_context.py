"""Three views of a place: 3x3, 5x5 and 7x7 cells around it."""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.utils import OptConfigType, OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor


class SSHContext(BaseModule):
    """The detection module of SSH (arXiv:1708.03979, section 3.2) with the widths of RetinaFace (arXiv:1905.00641).

    One 3x3 conv gives half of the channels. Another one, which the two larger views share, goes on to a quarter by
    one more conv (5x5 cells seen) and to a quarter by two more (7x7). The views are concatenated, then ReLU.

    The same graph as the `SSHDetModule` in mmdet's `SSH`, out of place and with an activation of choice.

    Args:
        channels: of the feature map and of the result, a multiple of 4.
        conv_cfg: of the convs.
        norm_cfg: after every conv.
        act_cfg: between convs; what is concatenated has none before the ReLU.
        init_cfg: as in mmengine.

    Raises:
        ValueError: channels that are no multiple of 4.
    """

    def __init__(
        self,
        channels: int,
        conv_cfg: OptConfigType = None,
        norm_cfg: OptConfigType = None,
        act_cfg: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        if channels < 4 or channels % 4:
            raise ValueError(f'SSHContext: {channels} channels; half and two quarters of them need a multiple of 4')

        def conv(before: int, after: int, act: OptConfigType = None) -> ConvModule:
            return ConvModule(
                before, after, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act, inplace=False
            )

        half, quarter = channels // 2, channels // 4
        self.view3 = conv(channels, half)
        self.shared = conv(channels, quarter, act_cfg)
        self.view5 = conv(quarter, quarter)
        self.middle = conv(quarter, quarter, act_cfg)
        self.view7 = conv(quarter, quarter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): the first half sees 3x3 cells, then a quarter 5x5, the last quarter 7x7."""
        shared = self.shared(x)
        return F.relu(torch.cat([self.view3(x), self.view5(shared), self.view7(self.middle(shared))], dim=1))
