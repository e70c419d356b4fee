"""How much a neighbour weighs by where it lies: kernels over polar offsets between boxes.

Kernels give *logarithms* of weights. A Gaussian far away from all boxes is zero in float32, and zero divided by zero is
what released code patches afterwards; the softmax of its logarithm is exact.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .geometry import MAX_COORDINATE

KERNELS = ('gaussian', 'gaussian_norm', 'relu', 'none')
# Centres closer than this share of the image coincide: their angle would be noise, its gradient infinite.
MIN_OFFSET = 1e-9
# Smallest diagonal of the Cholesky factor of a precision, that is one over the largest standard deviation.
MIN_PRECISION = 1e-3
# A linear kernel at or below this is zero.
MIN_SCORE = 1e-12


def polar_offsets(boxes: Tensor, img_shapes: Tensor) -> Tensor:
    """Distance and direction of every box of an image as seen from every other.

    Differences of centres are divided by the width (x) and the height (y) of the image; the released code of SGRN does
    it the other way round, which turns and stretches them in images that are not square.

    Args:
        boxes: (B, N, 4) xyxy; not finite coordinates count as 0 or as the largest that is allowed.
        img_shapes: (B, 2) height and width.

    Returns:
        (B, N, N, 2), `[b, i, j]` holds rho >= 0 and theta in [-pi, pi] of box j seen from box i, both 0 where the
        centres coincide; in the wider of float32 and the type of the boxes.
    """
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    boxes = boxes.to(dtype).nan_to_num().clamp(-MAX_COORDINATE, MAX_COORDINATE)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = img_shapes.flip(-1).to(dtype).clamp(min=1)[:, None, None]
    dx, dy = ((centre[:, None] - centre[:, :, None]) / size).unbind(-1)
    same = torch.maximum(dx.abs(), dy.abs()) < MIN_OFFSET
    # The value that is thrown away must have a finite gradient, too.
    dx = torch.where(same, 1, dx)
    polar = torch.stack([(dx * dx + dy * dy).sqrt(), torch.atan2(dy, dx)], dim=-1)
    return torch.where(same[..., None], 0, polar)


def wrap_angle(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def log_shares(logits: Tensor) -> Tensor:
    """`log_softmax` of rows that may hold -inf, or nothing else: then all of the row stays -inf, without a NaN."""
    absent = logits.isneginf()
    alone = absent.all(-1, keepdim=True)
    return logits.masked_fill(alone, 0).log_softmax(-1).masked_fill(absent, float('-inf'))


def shares(logits: Tensor, dim: int) -> Tensor:
    """`softmax` with zeros in a slice that holds nothing but -inf, without the passes that a mask would cost."""
    if not logits.numel():
        # There is no largest of nothing.
        return logits.exp()
    largest = logits.detach().amax(dim, keepdim=True)
    weight = (logits - largest.masked_fill(largest.isneginf(), 0)).exp()
    # The largest has weight 1: only a sum of zeros lies below.
    return weight / weight.sum(dim, keepdim=True).clamp(min=1)


def keep_largest(logits: Tensor, number: int, slack: float = 1e-6) -> Tensor:
    """-inf in place of all but the `number` largest entries of each row.

    Entries that tie with the last one all stay, so the order of the row does not decide. They tie up to a relative
    difference of `slack`, for equal features give products that differ in the last bit.

    Args:
        logits: (..., M), may hold -inf; M may be smaller than `number`.
        number: how many stay.
        slack: see above.
    """
    last = logits.detach().topk(min(number, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < last - slack * last.abs(), float('-inf'))


class PolarGaussians(nn.Module):
    """K Gaussians over (rho, theta), the angle wrapped (MoNet, arXiv:1611.08402; SGRN, CVPR 2019).

    `log g = -(d^T S d) / 2` with `d` the difference to the mean. The precision `S = L L^T` has a triangular `L` with a
    diagonal above zero, so it is positive definite whatever the parameters are. SGRN's kernels, separable in rho and
    theta, are the case of a zero below the diagonal, from which training starts.

    Args:
        n_kernels: K.
        density: `sqrt(det S) / 2 pi` in front: Gaussians that integrate to 1, so that a narrow one is high.
    """

    def __init__(self, n_kernels: int, density: bool = False) -> None:
        super().__init__()
        self.density = density
        # Distances are shares of the image; its diagonal is sqrt(2).
        radius, angle = torch.rand(n_kernels), (torch.rand(n_kernels) * 2 - 1) * math.pi
        self.mean = nn.Parameter(torch.stack([radius, angle], dim=1))
        # Standard deviations of about 0.5 and 0.8: broad enough for every kernel to meet some boxes.
        self.raw_diagonal = nn.Parameter(torch.tensor([1.8, 0.9]).repeat(n_kernels, 1))
        self.below = nn.Parameter(torch.zeros(n_kernels))

    def _diagonal(self, dtype: torch.dtype) -> Tensor:
        return F.softplus(self.raw_diagonal.to(dtype)) + MIN_PRECISION

    def forward(self, offsets: Tensor) -> Tensor:
        """(B, N, M, 2) polar offsets -> (B, K, N, M) logarithms of weights, in the type of the offsets."""
        diagonal = self._diagonal(offsets.dtype)
        mean, below = self.mean.to(offsets.dtype)[..., None, None], self.below.to(offsets.dtype)[:, None, None]
        radius = offsets[..., 0].unsqueeze(1) - mean[:, 0]
        angle = wrap_angle(offsets[..., 1].unsqueeze(1) - mean[:, 1])
        first, second = diagonal[..., None, None].unbind(1)
        exponent = ((first * radius + below * angle).square() + (second * angle).square()) * -0.5
        if self.density:
            exponent = exponent + (diagonal.log().sum(1) - math.log(2 * math.pi))[:, None, None]
        return exponent

    def precision(self) -> Tensor:
        """(K, 2, 2) S."""
        first, second = self._diagonal(torch.promote_types(self.mean.dtype, torch.float32)).unbind(1)
        below = self.below.to(first.dtype)
        # Written out, for a matrix product would be rounded under autocast.
        rows = [first.square(), first * below, first * below, below.square() + second.square()]
        return torch.stack(rows, dim=1).unflatten(1, (2, 2))


class PolarReLUs(nn.Module):
    """K kernels `ReLU(w . (rho, theta) + b)`, positive everywhere at the start.

    Args:
        n_kernels: K.
    """

    def __init__(self, n_kernels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter((torch.rand(n_kernels, 2) * 2 - 1) / 5)
        self.bias = nn.Parameter(torch.ones(n_kernels))

    def forward(self, offsets: Tensor) -> Tensor:
        """(B, N, M, 2) polar offsets -> (B, K, N, M) logarithms of weights, -inf for a weight of zero."""
        weight, bias = self.weight.to(offsets.dtype), self.bias.to(offsets.dtype)
        score = F.linear(offsets, weight, bias).permute(0, 3, 1, 2)
        return torch.where(score > MIN_SCORE, score.clamp(min=MIN_SCORE).log(), float('-inf'))


class NoKernel(nn.Module):
    """One kernel of weight 1 everywhere."""

    def forward(self, offsets: Tensor) -> Tensor:
        """(B, N, M, 2) -> (B, 1, N, M) zeros, the logarithm of 1."""
        return torch.zeros_like(offsets[..., 0]).unsqueeze(1)


def build_kernel(kind: str, n_kernels: int) -> PolarGaussians | PolarReLUs | NoKernel:
    """The kernels of one of `KERNELS`."""
    if kind == 'none':
        return NoKernel()
    return PolarReLUs(n_kernels) if kind == 'relu' else PolarGaussians(n_kernels, density=kind == 'gaussian_norm')


def kernel_parameters(kernel: nn.Module) -> dict[str, Tensor]:
    """What a plot needs: `mean` (K, 2) and `precision` (K, 2, 2), or `weight` (K, 2) and `bias` (K,), or nothing."""
    if isinstance(kernel, PolarGaussians):
        return {'mean': kernel.mean.detach(), 'precision': kernel.precision().detach()}
    return {name: parameter.detach() for name, parameter in kernel.named_parameters()}


def neighbour_weights(log_kernels: Tensor, log_edges: Tensor, over: str, shared: bool = False) -> Tensor:
    """Kernel weight times edge weight, normalised.

    Args:
        log_kernels: (B, K, N, M).
        log_edges: (B, N, M), -inf where there is no edge.
        over: `'neighbours'`: the weights of a row of a kernel sum to 1. `'kernels'`: the kernels of a pair share its
            edge weight (the released code of SGRN), so that a single kernel has no say.
        shared: with `'neighbours'`, the K kernels of a row share a sum of K instead of having 1 each. A factor in front
            of a kernel, as of a density, would cancel otherwise.

    Returns:
        (B, K, N, M); a row without any weight is zero.
    """
    if over == 'kernels':
        return shares(log_kernels, 1) * log_edges[:, None].exp()
    logits = log_kernels + log_edges[:, None]
    if not shared:
        return shares(logits, -1)
    kernels = logits.shape[1]
    joint = shares(logits.transpose(1, 2).flatten(2), -1) * kernels
    return joint.unflatten(2, (kernels, -1)).transpose(1, 2)
