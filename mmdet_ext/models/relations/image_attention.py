"""Which classes does the whole image speak of? Attention of an image over the semantic pool."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from .base import check_positive


class ImageCategoryAttention(BaseModule):
    """`a_b = softmax(q_b M^T)`, `q_b` from the feature maps (Reasoning-RCNN, section 3.3).

    Levels are resized to the middle one (the lower middle of an even number), concatenated, and pass a 3x3 convolution
    of stride 2, a mean over the image and a linear layer. Deviation from the released code: what lies outside of an
    image because of batch padding is set to zero and left out of the mean, so the result does not depend on the batch.

    Args:
        pool_channels: P, width of the semantic pool.
        in_channels: c, channels of one level.
        levels: which feature maps, by index.
        mid_channels: channels of the convolution.
        fc_act: ReLU after the linear layer.
        strides: stride of each feature map, needed to tell image from padding.
    """

    def __init__(
        self,
        pool_channels: int,
        in_channels: int,
        levels: Sequence[int] = (1, 2, 3, 4),
        mid_channels: int = 64,
        fc_act: bool = True,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
    ) -> None:
        super().__init__()
        check_positive('in_channels', in_channels, 'ImageCategoryAttention')
        check_positive('mid_channels', mid_channels, 'ImageCategoryAttention')
        listed = isinstance(levels, list | tuple) and all(isinstance(level, int) for level in levels)
        if not listed or not levels or max(levels) >= len(strides) or min(levels) < 0:
            raise ValueError(
                f'ImageCategoryAttention: levels={levels} must name some of the {len(strides)} strides {strides}'
            )
        self.levels = tuple(levels)
        self.reference = self.levels[(len(levels) - 1) // 2]
        self.strides = tuple(strides[level] for level in self.levels)
        self.stride = strides[self.reference]
        self.in_channels = in_channels
        self.conv = ConvModule(in_channels * len(levels), mid_channels, 3, stride=2, padding=1)
        self.fc = nn.Sequential(nn.Linear(mid_channels, pool_channels), nn.ReLU() if fc_act else nn.Identity())

    @staticmethod
    def _inside(shapes: Tensor, size: torch.Size) -> Tensor:
        """(B, 2) valid rows and columns -> (B, 1, H, W) bool."""
        rows = torch.arange(size[0], device=shapes.device) < shapes[:, :1]
        cols = torch.arange(size[1], device=shapes.device) < shapes[:, 1:]
        return (rows[:, :, None] & cols[:, None, :])[:, None]

    def _resize(self, x: Tensor, stride: int, size: torch.Size) -> Tensor:
        """Nearest cell by position in the image; a ratio of map sizes would move with the batch padding."""
        for dim in (2, 3):
            cells = torch.arange(size[dim - 2], device=x.device) * self.stride // stride
            x = x.index_select(dim, cells.clamp(max=x.shape[dim] - 1))
        return x

    def forward(self, feature_maps: tuple[Tensor, ...], img_shapes: Tensor, pool: Tensor) -> Tensor:
        """Attention over classes.

        Args:
            feature_maps: of (B, c, h, w), finest first.
            img_shapes: (B, 2) height and width in pixels.
            pool: (C + 1, P).

        Returns:
            (B, C + 1), rows sum to 1.
        """
        if len(feature_maps) <= max(self.levels):
            raise ValueError(
                f'ImageCategoryAttention reads levels {self.levels} but there are only {len(feature_maps)} feature maps'
            )
        channels = {feature_maps[level].shape[1] for level in self.levels}
        if channels != {self.in_channels}:
            raise ValueError(
                f'ImageCategoryAttention was built with in_channels={self.in_channels}, the feature maps have '
                f'{sorted(channels)}'
            )
        size = feature_maps[self.reference].shape[-2:]
        levels = zip(self.levels, self.strides, strict=True)
        maps = torch.cat([self._resize(feature_maps[level], stride, size) for level, stride in levels], dim=1)
        valid = torch.div(img_shapes + self.stride - 1, self.stride, rounding_mode='floor')
        # Not a product: padding may hold anything, and zero times NaN is NaN.
        hidden = self.conv(torch.where(self._inside(valid, size), maps, 0))
        inside = self._inside(torch.div(valid + 1, 2, rounding_mode='floor'), hidden.shape[-2:])
        mean = (hidden * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
        return F.linear(self.fc(mean), pool).softmax(-1)
