"""RoIAlign on a CPU as weighted sums of rows: all channels at a time, where mmcv's kernel goes value by value."""

import torch
import torch.nn.functional as F
from mmcv.ops import RoIAlign
from torch import Tensor
from torch.nn.modules.utils import _pair

# Corners that are gathered at once; bounds the memory for indices and weights to some 60 MB.
CHUNK = 2_000_000


class GatheredRoIAlign(RoIAlign):
    """mmcv's `RoIAlign`, several times as fast on a CPU, forward and backward; on a GPU it is mmcv's own.

    mmcv's CPU kernel reads one value of one channel at a time from maps whose channels lie far apart. With channels
    last, a sample is a weighted sum of four rows of a table, and a bin one of all its samples: an embedding bag. Maps
    in `torch.channels_last` are that table as they are, others are copied once. Arguments, results and gradients are
    those of mmcv but for rounding; RoIs get no gradient there either.
    """

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """See `gather_roi_align`; max pooling, torchvision's kernel, and any device but a CPU are left to mmcv."""
        if input.device.type != 'cpu' or self.pool_mode != 'avg' or self.use_torchvision:
            # mmcv's kernels read maps as if they were contiguous.
            return super().forward(input.contiguous(), rois)
        return gather_roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)


def gather_roi_align(
    feats: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean of bilinear samples in every bin of every RoI (Mask R-CNN, arXiv:1703.06870, section 3).

    Args:
        feats: (B, C, H, W). Float16 and bfloat16 are summed up in float32.
        rois: (R, 5) index of the image, then xyxy in pixels of the image.
        output_size: bins, height and width.
        spatial_scale: pixels of the map per pixel of the image.
        sampling_ratio: samples along each side of a bin; 0: as many as a bin has pixels, rounded up.
        aligned: whether the centre of a pixel lies half a pixel from its edge; if not, RoIs are one pixel at least.

    Returns:
        (R, C, height, width) of the type of `feats`. A RoI without area gives zeros as in mmcv, one with NaN or
        infinity gives NaN.

    Raises:
        ValueError: shapes that do not fit, or an image that is not there.
    """
    if feats.dim() != 4 or rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f'gather_roi_align: feats {tuple(feats.shape)} and rois {tuple(rois.shape)}, must be (B, C, H, W) and '
            '(R, 5)'
        )
    finite = rois.isfinite().all(1)
    images = torch.where(finite, rois[:, 0], 0).long()
    if len(images) and not (int(images.min()) >= 0 and int(images.max()) < len(feats)):
        raise ValueError(f'gather_roi_align: rois of the images {sorted(set(images.tolist()))} for {len(feats)} maps')
    bins = _pair(output_size)
    channels, height, width = feats.shape[1:]
    dtype = feats.dtype if feats.dtype == torch.float64 else torch.float32
    # A copy unless the map is in channels_last.
    table = feats.to(dtype).permute(0, 2, 3, 1).reshape(-1, channels)
    boxes = torch.where(finite[:, None], rois[:, 1:], 0).to(dtype) * spatial_scale - (0.5 if aligned else 0.0)
    start, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    size = size.clamp(min=0.0 if aligned else 1.0)
    pooled = []
    chunks = _chunks(size, bins, sampling_ratio)
    for base, begin, side in zip(*(x.split(chunks) for x in (images * (height * width), start, size)), strict=True):
        y = _samples(begin[:, 1], side[:, 1], bins[0], sampling_ratio, height)
        x = _samples(begin[:, 0], side[:, 0], bins[1], sampling_ratio, width)
        pooled.append(_pool(table, base, y, x, bins, width))
    out = torch.cat(pooled) if pooled else table.new_zeros(0, *bins, channels) + 0 * table.sum()
    out = out.masked_fill(~finite[:, None, None, None], float('nan'))
    return out.permute(0, 3, 1, 2).to(feats.dtype)


def _grid(size: Tensor, bins: int, sampling_ratio: int) -> Tensor:
    """Samples along one side of a bin, (R,)."""
    return torch.full_like(size, sampling_ratio).long() if sampling_ratio > 0 else (size / bins).ceil().long()


def _chunks(size: Tensor, bins: tuple[int, int], sampling_ratio: int) -> list[int]:
    """How many RoIs in a row go together: about `CHUNK` corners, or a single RoI that has more."""
    grids = [_grid(size[:, 1 - axis], bins[axis], sampling_ratio) for axis in (0, 1)]
    ends = (4 * bins[0] * bins[1] * grids[0] * grids[1]).cumsum(0)
    return torch.unique_consecutive((ends - 1) // CHUNK, return_counts=True)[1].tolist()


class _Axis:
    """Samples of all RoIs along one axis, RoI by RoI and bin by bin.

    Attributes:
        grid: (R,) samples of a bin.
        first: (R,) where the samples of a RoI begin.
        low, high: (S,) the two places that a sample lies between.
        low_weight, high_weight: (S,) their weights; both 0 where it lies outside of the map.
    """

    def __init__(self, grid: Tensor, first: Tensor, place: Tensor, length: int) -> None:
        self.grid, self.first = grid, first
        # As mmcv: samples up to a pixel outside count as if they lay on the edge.
        inside = ((place >= -1) & (place <= length)).to(place.dtype)
        place = place.clamp(0, length - 1)
        self.low = place.long()
        self.high = (self.low + 1).clamp(max=length - 1)
        share = place - self.low
        self.low_weight, self.high_weight = inside * (1 - share), inside * share


def _samples(start: Tensor, size: Tensor, bins: int, sampling_ratio: int, length: int) -> _Axis:
    grid = _grid(size, bins, sampling_ratio)
    number = bins * grid
    roi = torch.repeat_interleave(number)
    first = number.cumsum(0) - number
    step = size / number.clamp(min=1)
    place = start[roi] + (torch.arange(len(roi)) - first[roi] + 0.5) * step[roi]
    return _Axis(grid, first, place, length)


def _pool(table: Tensor, base: Tensor, y: _Axis, x: _Axis, bins: tuple[int, int], width: int) -> Tensor:
    """Sum of the weighted corners of every bin, (R, height, width, C).

    Args:
        table: (B H W, C).
        base: (R,) row of the first place of the RoI's image.
        y: rows of the map.
        x: columns.
        bins: height and width.
        width: of the map.
    """
    per_bin = y.grid * x.grid
    roi = torch.repeat_interleave(bins[0] * bins[1] * per_bin)
    total = bins[0] * bins[1] * per_bin
    place = torch.arange(len(roi)) - (total.cumsum(0) - total)[roi]
    in_bin = per_bin[roi]
    which, place = place // in_bin, place % in_bin
    columns = x.grid[roi]
    row = y.first[roi] + (which // bins[1]) * y.grid[roi] + place // columns
    column = x.first[roi] + (which % bins[1]) * columns + place % columns
    above, below = (base[roi] + side[row] * width for side in (y.low, y.high))
    left, right = x.low[column], x.high[column]
    above_weight, below_weight = y.low_weight[row] / in_bin, y.high_weight[row] / in_bin
    left_weight, right_weight = x.low_weight[column], x.high_weight[column]
    corners = torch.stack([above + left, above + right, below + left, below + right], dim=1).flatten()
    columns_weight = torch.stack([left_weight, right_weight], dim=1)
    rows_weight = torch.stack([above_weight, below_weight], dim=1)
    weights = (rows_weight[:, :, None] * columns_weight[:, None]).flatten()
    counts = (4 * per_bin).repeat_interleave(bins[0] * bins[1])
    pooled = F.embedding_bag(
        corners, table, counts.cumsum(0) - counts, mode='sum', per_sample_weights=weights.to(table.dtype)
    )
    return pooled.view(len(base), *bins, -1)
