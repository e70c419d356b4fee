"""Landmarks as offsets from a prior."""

from collections.abc import Sequence

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import BaseBoxes, get_box_tensor
from torch import Tensor

# Pixels; a prior's shorter sides count as this long, so that what is encoded stays finite.
LEAST_SIDE = 1e-3


@TASK_UTILS.register_module()
class LandmarkCoder:
    """Offsets of points from the centre of a prior, in shares of its sides.

    d = (point - centre) / (variance * (w, h)): RetinaFace's targets (arXiv:1905.00641, section 3.1), with the factor of
    its public trainings. A row of deltas is x0, y0, x1, y1, ... in the order of the points, as many as there are. Both
    ways are computed in float32 at least, under autocast too; float64 passes through. What is not a number stays so, in
    its own entry and in no other.

    mmdet has no sibling: `DeltaXYWHBBoxCoder` codes boxes, its pose heads are in mmpose.

    Args:
        variance: the factor, the same as `target_stds` of the centres in a box coder. Not squared in spite of its name,
            which is that of SSD.

    Raises:
        ValueError: `variance` is no number above 0.

    Examples:
        >>> coder = LandmarkCoder()
        >>> priors = torch.tensor([[0.0, 0, 20, 10]])
        >>> coder.encode(priors, torch.tensor([[[10.0, 5], [12, 5], [10, 6]]]))
        tensor([[0., 0., 1., 0., 0., 1.]])
        >>> coder.decode(priors, torch.tensor([[0.0, 0, 1, 0, 0, 1]]))[0].tolist()
        [[10.0, 5.0], [12.0, 5.0], [10.0, 6.0]]
    """

    def __init__(self, variance: float = 0.1) -> None:
        if not 0 < variance < float('inf'):
            raise ValueError(f'LandmarkCoder: variance={variance!r}, must be a number above 0')
        self.variance = variance

    def encode(self, priors: Tensor | BaseBoxes, landmarks: Tensor) -> Tensor:
        """Deltas (n, 2K) of landmarks (n, K, 2), x and y in pixels, from priors (n, 4), xyxy in pixels.

        Raises:
            ValueError: other shapes.
        """
        priors = get_box_tensor(priors)
        if priors.dim() != 2 or landmarks.dim() != 3 or (*priors.shape, 2) != (len(landmarks), 4, landmarks.shape[2]):
            raise ValueError(
                f'LandmarkCoder: priors {tuple(priors.shape)} and landmarks {tuple(landmarks.shape)}, must be (n, 4) '
                f'and (n, K, 2)'
            )
        centres, units = self._frames(priors)
        return ((landmarks - centres) / units).flatten(1)

    def decode(self, priors: Tensor | BaseBoxes, deltas: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        """Landmarks (..., K, 2) in pixels of deltas (..., 2K).

        Args:
            priors: (n, 4), or (..., n, 4) with leading dimensions of the deltas.
            deltas: (..., n, 2K).
            max_shape: (height, width, ...) of the image to which landmarks are clamped; None: they are where they are.

        Raises:
            ValueError: other shapes.
        """
        priors = get_box_tensor(priors)
        first = max(deltas.dim() - priors.dim(), 0)
        if priors.shape[-1:] != (4,) or deltas.shape[first:-1] != priors.shape[:-1] or deltas.shape[-1] % 2:
            raise ValueError(
                f'LandmarkCoder: priors {tuple(priors.shape)} and deltas {tuple(deltas.shape)}, must be (n, 4) and '
                f'(..., n, 2K)'
            )
        centres, units = self._frames(priors)
        landmarks = deltas.unflatten(-1, (-1, 2)) * units + centres
        if max_shape is None:
            return landmarks
        height, width = max_shape[:2]
        return torch.stack([landmarks[..., 0].clamp(0, width), landmarks[..., 1].clamp(0, height)], dim=-1)

    def _frames(self, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Centres and lengths of one (..., 1, 2) each, of float32 or wider."""
        priors = priors.to(torch.promote_types(priors.dtype, torch.float32))
        low, high = priors[..., None, :2], priors[..., None, 2:]
        return (low + high) / 2, (high - low).clamp(min=LEAST_SIDE) * self.variance
