"""Complete IoU loss and its gradient in one pass, in buffers that stay in the cache of a processor core.

Autograd of the plain formula runs some 150 operators over rows of the interleaved boxes and keeps most of what they
give. Here boxes are taken in chunks, coordinates apart, and the gradient is known when the loss is: the backward is
one product. Buffers hold several quantities one after the other; the names below say which.
"""

import math
from typing import Any

import torch
from torch import Tensor

# Boxes that are worked on at a time on a CPU: 33 rows of them in float32 are 1.6 MB.
CHUNK = 12288
# v = V_SCALE (angle of the target - angle of the prediction)^2
V_SCALE = 4 / math.pi**2
# Keeps alpha = v / (1 - IoU + v) finite where both are zero.
TINY = 1e-30


class _Chunk:
    """Buffers for `number` boxes. Axes of the views: edge (low, high), box (target, prediction), direction (x, y)."""

    def __init__(self, number: int, like: Tensor) -> None:
        sizes = (8, 10, 3, 3, 2, 2, 2, 1, 1, 1)
        box, pairs, *rows = like.new_empty((sum(sizes), number)).split(sizes)
        box = box.view(2, 2, 2, number)
        self.low, self.high = box.unbind()
        self.target, self.pred = box.unbind(1)
        # Overlap, size of the target, size of the prediction, enclosing box, twice the distance of the centres.
        self.pairs = pairs.view(5, 2, number)
        self.areas, self.squares, self.overlap, self.height, self.gap = rows[:5]
        self.angle, self.alpha, self.iou = (row[0] for row in rows[5:])

    def run(
        self, pred: Tensor, target: Tensor, eps: float, gate: float | None, loss: Tensor, grad: Tensor | None
    ) -> None:
        """Fill `loss` (number,) and, unless it is None, `grad` (number, 4), the gradient of `pred`."""
        low, high, overlap, gap, angle, alpha = self.low, self.high, self.overlap, self.gap, self.angle, self.alpha
        self.target.copy_(target.unflatten(1, (2, 2)).permute(1, 2, 0))
        self.pred.copy_(pred.unflatten(1, (2, 2)).permute(1, 2, 0))
        inner, target_size, size, hull, shift = self.pairs.unbind()
        sizes = self.pairs[1:3]
        # Both edges of an inverted side go to its middle, exactly.
        torch.sub(low[1], high[1], out=gap)
        middle = torch.lerp(low, high, 0.5, out=sizes)
        torch.minimum(low, middle, out=low)
        torch.maximum(high, middle, out=high)
        torch.sub(high, low, out=sizes)
        # Differences of neighbouring numbers are exact: far from the origin nothing is lost.
        torch.minimum(*high.unbind(), out=overlap).sub_(torch.maximum(*low.unbind(), out=hull))
        torch.add(*sizes.unbind(), out=hull).sub_(overlap)
        torch.clamp(overlap, min=0, out=inner)
        edge = self.pred.sub_(self.target)
        torch.add(*edge.unbind(), out=shift)

        x, y = self.pairs.unbind(1)
        inter, union, spare = torch.mul(x[:3], y[:3], out=self.areas).unbind()
        union.add_(spare).sub_(inter).clamp_(min=eps)
        iou = torch.div(inter, union, out=self.iou)
        miss = torch.sub(union, inter, out=spare)
        per_union = union.reciprocal_()
        miss.mul_(per_union)
        turn, diagonal, distance = torch.mul(x[2:], x[2:], out=self.squares).addcmul_(y[2:], y[2:]).unbind()
        per_diagonal = diagonal.clamp_(min=eps).reciprocal_()
        distance.mul_(per_diagonal)

        # One arc tangent of the difference of the angles; a height of zero would lose the angle of a point.
        widths, heights = x[1:3].unbind(), torch.clamp(y[1:3], min=eps, out=self.height).unbind()
        # Not `addcmul`, which rounds once for both products: equal boxes would differ by that.
        torch.mul(widths[0], heights[1], out=angle).sub_(torch.mul(widths[1], heights[0], out=alpha))
        angle.div_(torch.mul(*heights, out=alpha).addcmul_(*widths)).atan_()
        square = torch.mul(angle, angle, out=inter)
        # alpha / V_SCALE from here on
        torch.add(miss, square, alpha=V_SCALE, out=alpha).clamp_(min=TINY)
        torch.div(square, alpha, out=alpha)
        if gate is not None:
            # A mask of floats; one of bools is converted on the way, at three times the cost.
            alpha.mul_(loss.copy_(iou).ge_(gate))
        torch.add(miss, distance, alpha=0.25, out=loss).addcmul_(alpha, square, value=V_SCALE**2)
        if grad is None:
            return

        # d loss / d union, of the overlap and the area of the prediction together; alpha is a constant.
        per_area = iou.mul_(per_union)
        twist = alpha.mul_(angle).div_(turn.clamp_(min=eps))
        # With a target of length 0 nothing overlaps, wherever the edges go; equal ones would pull by 1 / eps.
        overlap.ge_(0).mul_(target_size.sign_())
        overlap[0].mul_(inner[1])
        overlap[1].mul_(inner[0])
        pull = overlap.mul_(per_union.lerp_(per_area, 0.5))
        hull.mul_(torch.mul(distance, per_diagonal, out=angle))
        by_size = inner
        torch.mul(torch.sub(per_area, twist, alpha=2 * V_SCALE**2, out=angle), size[1], out=by_size[0])
        torch.mul(per_area.add_(twist, alpha=2 * V_SCALE**2), size[0], out=by_size[1])
        # An edge moves the overlap if it is the inner one, the enclosing box if it is the outer one, and half of
        # each if the edges are equal, as in torch's `maximum`: a part with the sign of `edge`, a part without.
        by_sign = torch.sub(pull, hull, alpha=0.25, out=self.height)
        apart = pull.add_(hull, alpha=0.25).sub_(by_size)
        inverted = gap.clamp_(min=0).sign_()
        apart.addcmul_(inverted, torch.sqrt(per_diagonal, out=angle))
        by_low = torch.addcmul(apart, shift, per_diagonal, value=0.5, out=hull)
        by_high = torch.sub(by_low, apart, alpha=2, out=inner)
        edge.sign_()
        by_low.addcmul_(edge[0], by_sign)
        by_high.addcmul_(edge[1], by_sign)
        for column, row in zip(grad.unbind(1), (*by_low, *by_high), strict=True):
            column.copy_(row)


def run_chunks(
    pred: Tensor, target: Tensor, eps: float, iou_gate: float | None, with_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """Loss (n,) and gradient of `pred` (n, 4) for n > 0 pairs of boxes of one floating type.

    The last chunk overlaps the one before it, so that all chunks have the size of the buffers.
    """
    number = len(pred)
    loss, grad = pred.new_empty(number), pred.new_empty((number, 4)) if with_grad else None
    # Chunks are for caches; a GPU has none of that size, and a compiler makes one loop of its own.
    whole = pred.device.type != 'cpu' or torch.compiler.is_compiling()
    size = number if whole else math.ceil(number / math.ceil(number / CHUNK))
    chunk = _Chunk(size, pred)
    for start in range(0, number, size):
        rows = slice(min(start, number - size), min(start, number - size) + size)
        chunk.run(pred[rows], target[rows], eps, iou_gate, loss[rows], None if grad is None else grad[rows])
    return loss, grad


class CompleteIoUFunction(torch.autograd.Function):
    """Loss (n,) of predictions and targets (n, 4), the gradient of each that wants one computed beside it."""

    @staticmethod
    def forward(
        ctx: Any, pred: Tensor, target: Tensor, eps: float, iou_gate: float | None, wanted: tuple[bool, bool]
    ) -> Tensor:
        # The loss is symmetric, so the gradient of the target is that of a prediction with the roles swapped.
        grad_target = run_chunks(target, pred, eps, iou_gate, True)[1] if wanted[1] else None
        loss, grad_pred = run_chunks(pred, target, eps, iou_gate, wanted[0])
        ctx.save_for_backward(grad_pred, grad_target)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        # `once_differentiable` would not see that the saved gradients depend on the boxes.
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError('complete IoU loss: it has no second derivative; call backward without create_graph')
        grads = (None if grad is None else grad * grad_loss[:, None] for grad in ctx.saved_tensors)
        return (*grads, None, None, None)
