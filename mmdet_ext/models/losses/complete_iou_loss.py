"""Complete IoU loss of boxes, with finite values and gradients for every pair of finite boxes."""

import torch
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor, nn

from .complete_iou_kernel import CompleteIoUFunction
from .entry_checks import REDUCTIONS


def _check_options(eps: float, iou_gate: float | None, reduction: str) -> None:
    if not eps > 0:
        raise ValueError(f'complete IoU loss: eps={eps}, must be above 0')
    if iou_gate is not None and not 0 <= iou_gate <= 1:
        raise ValueError(f'complete IoU loss: iou_gate={iou_gate}, allowed is None (no gate) or an IoU from 0 to 1')
    if reduction not in REDUCTIONS:
        raise ValueError(f'complete IoU loss: reduction={reduction!r}, allowed are {REDUCTIONS}')


def complete_iou_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
    eps: float = 1e-7,
    iou_gate: float | None = None,
) -> Tensor:
    r"""`1 - IoU + rho^2 / c^2 + alpha v`, "Distance-IoU Loss" (arXiv:1911.08287, equations 8 to 12).

    rho is the distance of the centres, c the diagonal of the smallest box around both,
    `v = 4 / pi^2 (atan(W / H) - atan(w / h))^2` and `alpha = v / (1 - IoU + v)` a constant, without gradient.
    The gradient is analytic; a second derivative is refused with a `RuntimeError`.

    A side with x2 < x1 counts as a side of length 0 in its middle, and gets the gradient of the length at 0 plus
    `-1 / c`, so that a descent step widens it wherever it lies. Where two edges are equal, each has half of the
    gradient of either side (as `torch.maximum`), which makes it exactly zero for equal boxes, also without area: a
    target's side of length 0 cannot be overlapped, so the overlap gives no gradient along it.

    Deviations from mmdet's `ciou_loss`: it is NaN for most equal boxes and for large boxes in half precision, loses
    its precision far from the origin, gives inverted sides no gradient or a positive area, and always uses a gate of
    0.5. Its loss is clamped to 2 at most; ours goes on, up to 3, with a gradient. `eps` is a lower bound here, no
    summand, so that small boxes (in units of the image, for instance) are not biased.

    Args:
        pred: (n, 4) xyxy. Computed in float32 at least, whatever the type and autocast; float64 stays float64.
        target: (n, 4) xyxy. It gets a gradient if it requires one (the loss is symmetric).
        weight: (n,) of each box, or (n, 4) of each coordinate, of which the mean is taken, as mmdet does.
        avg_factor: divisor for `reduction='mean'` instead of n.
        reduction: `'none'` (n,), `'mean'` or `'sum'`.
        eps: least union, squared diagonal and squared diagonal of the prediction that is divided by, in squared units
            of the boxes, and the least height.
        iou_gate: alpha is 0 where the IoU is below it (arXiv:2005.03572 and mmdet: 0.5); None: nowhere.

    Returns:
        The loss; without boxes a zero (for `'none'` an empty tensor) that is connected to `pred`.

    Raises:
        ValueError: shapes that do not fit, an option outside of what is listed here, `avg_factor` with `'sum'`.
    """
    _check_options(eps, iou_gate, reduction)
    if pred.dim() != 2 or pred.shape[-1] != 4 or pred.shape != target.shape:
        raise ValueError(
            f'complete IoU loss: predictions {tuple(pred.shape)} and targets {tuple(target.shape)}, '
            'both must be (n, 4) boxes x1, y1, x2, y2 of the same n'
        )
    if weight is not None:
        if weight.shape not in (pred.shape[:1], pred.shape):
            raise ValueError(
                f'complete IoU loss: weight {tuple(weight.shape)} for {len(pred)} boxes, '
                'must be (n,), one per box, or (n, 4), one per coordinate'
            )
        weight = weight.mean(-1) if weight.dim() == 2 else weight
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    pred, target = pred.to(dtype), target.to(dtype)
    if len(pred):
        grad_mode = torch.is_grad_enabled()
        wanted = (grad_mode and pred.requires_grad, grad_mode and target.requires_grad)
        loss = CompleteIoUFunction.apply(pred, target, eps, iou_gate, wanted)
    else:
        loss = pred.sum(-1)
        reduction = 'sum' if reduction == 'mean' and avg_factor is None else reduction
    return weight_reduce_loss(loss, weight, reduction, avg_factor)


@MODELS.register_module()
class CompleteIoULoss(nn.Module):
    """:func:`complete_iou_loss` as a box loss of any head that compares decoded boxes (`reg_decoded_bbox=True`).

    Args:
        eps: see :func:`complete_iou_loss`.
        iou_gate: see :func:`complete_iou_loss`.
        reduction: `'none'`, `'mean'` or `'sum'`.
        loss_weight: factor of the loss.

    Raises:
        ValueError: an option outside of what is listed.
    """

    def __init__(
        self,
        eps: float = 1e-7,
        iou_gate: float | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        _check_options(eps, iou_gate, reduction)
        self.eps, self.iou_gate, self.reduction, self.loss_weight = eps, iou_gate, reduction, loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """See :func:`complete_iou_loss`; `reduction_override` takes the place of `reduction` unless it is None."""
        reduction = self.reduction if reduction_override is None else reduction_override
        loss = complete_iou_loss(pred, target, weight, avg_factor, reduction, self.eps, self.iou_gate)
        return self.loss_weight * loss
