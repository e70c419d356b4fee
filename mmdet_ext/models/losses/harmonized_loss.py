"""Losses weighed by the bin of their gradient: one pass for the histogram, one for value and gradient."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .gradient_density import bin_index, count_index

# Entries per chunk on a CPU: few enough that the temporaries of a chunk stay in its cache, enough that the calls of
# operators take little of the time.
CHUNK = 2**17


class EntryLoss(Protocol):
    """A loss of independent entries whose derivative lies in [-1, 1].

    Attributes:
        shape: (R, C) of the entries.
        dtype: float32 or float64.
        device: of the entries.
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device

    def derivative(self, rows: slice) -> Tensor:
        """(r, C) derivative of the loss by the prediction; its absolute value is the gradient norm g.

        New. Of an entry that is not valid it may be anything, NaN too: it is not counted, and a mask is one more pass.
        """

    def evaluate(self, rows: slice) -> tuple[Tensor, Tensor]:
        """(r, C) loss and derivative, both new, and finite where an entry is not valid."""


def compute_dtype(pred: Tensor) -> torch.dtype:
    """float64 for float64, float32 for the rest."""
    return torch.promote_types(pred.dtype, torch.float32)


def _select(x: Tensor, rows: slice, keep: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Rows of x; zero where nothing is kept, so that a NaN there stays without effect."""
    part = x[rows].to(dtype)
    if keep is None:
        return part
    # Six times as fast as `where`.
    return (part.view(keep.dtype) & keep[rows]).view(dtype)


def _bit_mask(valid: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """All bits where valid, none elsewhere, as integers of the width of `dtype`."""
    if valid is None:
        return None
    return valid.to(torch.int64 if dtype == torch.float64 else torch.int32).neg_()


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), in one pass; above 40 that is x, in float64 too."""
    return F.softplus(x, threshold=40)


class SigmoidCrossEntropy:
    """Binary cross entropy of logits: derivative sigmoid(x) - t.

    Precise at both ends, where mmdet's form cancels.

    Args:
        pred: (R, C) logits.
        target: (R, C) in [0, 1], or (R,) labels of which those outside 0 ... C - 1 are background.
        valid: (R, 1) or (R, C) bool; where it is False, `evaluate` does not read pred and target. None: all.
    """

    def __init__(self, pred: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        self.pred, self.target = pred, target
        self.shape = (pred.shape[0], pred.shape[1])
        self.dtype, self.device = compute_dtype(pred), pred.device
        self.keep = _bit_mask(valid, self.dtype)
        # At most one column of a row has the target 1: it is put right instead of making all targets dense.
        self.sign: Tensor | None = None
        if target.dim() == 1:
            self.target = target.clamp(0, pred.shape[1] - 1)[:, None]
            positive = (target[:, None] == self.target).to(self.dtype)
            self.correction, self.sign = -positive, 1 - 2 * positive

    def derivative(self, rows: slice) -> Tensor:
        """(r, C) sigmoid(x) - t."""
        return self._derivative(_select(self.pred, rows, None, self.dtype), rows, None)

    def _derivative(self, x: Tensor, rows: slice, keep: Tensor | None) -> Tensor:
        if self.sign is None:
            return x.sigmoid().sub_(_select(self.target, rows, keep, self.dtype))
        return x.sigmoid().scatter_add_(1, self.target[rows], self.correction[rows])

    def evaluate(self, rows: slice) -> tuple[Tensor, Tensor]:
        """(r, C) max(x, 0) - x t + log(1 + exp(-|x|)), and its derivative."""
        x = _select(self.pred, rows, self.keep, self.dtype)
        if self.sign is None:
            # The first two terms cancel exactly; the last one must not be added before they have.
            loss = x.clamp(min=0).addcmul_(x, _select(self.target, rows, self.keep, self.dtype), value=-1)
            loss.add_(_softplus(x.abs().neg_()))
        else:
            # That is log(1 + exp(x)) for t = 0, and the same of -x for t = 1.
            label = self.target[rows]
            loss = _softplus(x).scatter_(1, label, _softplus(x.gather(1, label).mul_(self.sign[rows])))
        return loss, self._derivative(x, rows, self.keep)


class AuthenticSmoothL1:
    """sqrt(d^2 + mu^2) - mu for d = pred - target: derivative d / sqrt(d^2 + mu^2).

    "Gradient Harmonized Single-stage Detector" (arXiv:1811.05181), equation 10; without overflow for large d and
    without cancellation for small ones.

    Args:
        pred: (R, C).
        target: (R, C).
        mu: where it turns from quadratic to linear, above zero.
        valid: (R, 1) or (R, C) bool; where it is False, `evaluate` does not read pred and target. None: all.
    """

    def __init__(self, pred: Tensor, target: Tensor, mu: float, valid: Tensor | None = None) -> None:
        self.pred, self.target = pred, target
        self.shape = (pred.shape[0], pred.shape[1])
        self.dtype, self.device = compute_dtype(pred), pred.device
        self.keep = _bit_mask(valid, self.dtype)
        self.mu = torch.full((), mu, dtype=self.dtype, device=pred.device)

    def _difference(self, rows: slice, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        difference = _select(self.pred, rows, keep, self.dtype)
        difference = difference - _select(self.target, rows, keep, self.dtype)
        return difference, torch.hypot(difference, self.mu)

    def derivative(self, rows: slice) -> Tensor:
        """(r, C) d / sqrt(d^2 + mu^2)."""
        difference, length = self._difference(rows, None)
        return difference / length

    def evaluate(self, rows: slice) -> tuple[Tensor, Tensor]:
        """(r, C) sqrt(d^2 + mu^2) - mu, and its derivative."""
        difference, length = self._difference(rows, self.keep)
        return difference * (difference / (length + self.mu)), difference / length


class _KnownGradient(torch.autograd.Function):
    """A value whose derivative by the prediction was computed together with it."""

    @staticmethod
    def forward(ctx: Any, pred: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """The value; `slope` has the shape of `pred`, `value` too or it is the sum."""
        ctx.save_for_backward(slope)
        ctx.dtype = pred.dtype
        return value.view_as(value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Scaled before it is cast: the gradient of one entry of millions is below the smallest half."""
        (slope,) = ctx.saved_tensors
        if grad.device.type == 'cpu' and grad.dim() == 0 and grad == 1:
            # A plain sum of losses, the usual case: a tenth of the time. On a device the question would stall it.
            return slope.to(ctx.dtype), None, None
        return (slope * grad).to(ctx.dtype), None, None


def _chunks(loss: EntryLoss) -> Iterator[slice]:
    rows, columns = loss.shape
    step = max(CHUNK // max(columns, 1), 1) if loss.device.type == 'cpu' else max(rows, 1)
    return (slice(start, start + step) for start in range(0, rows, step))


@torch.no_grad()
def _evaluate(
    loss: EntryLoss,
    beta: Callable[[Tensor], Tensor],
    bins: int,
    groups: int,
    weight: Tensor | None,
    elementwise: bool,
) -> tuple[Tensor, Tensor]:
    """Weighed value (R, C) or its sum, and its slope (R, C)."""
    size = groups * bins
    group = torch.arange(0, size, bins, dtype=torch.int32, device=loss.device)
    # A second histogram takes what is ignored: no selection of entries, whose number the host would have to know.
    ignored = None if weight is None else (weight <= 0).int() * size
    counts = torch.zeros(size if ignored is None else 2 * size, dtype=torch.int64, device=loss.device)

    def locate(norm: Tensor) -> Tensor:
        index = bin_index(norm, bins)
        return index if groups == 1 else index.add_(group)

    # On a CPU it takes longer to write and read the derivative than to compute it twice.
    for rows in _chunks(loss):
        index = locate(loss.derivative(rows).abs_())
        index = index if ignored is None else index.add_(ignored[rows])
        counts += count_index(index, len(counts))
    table = beta(counts[:size])

    slope = torch.empty(loss.shape, dtype=loss.dtype, device=loss.device)
    value = torch.empty_like(slope) if elementwise else slope.new_zeros(())
    for rows in _chunks(loss):
        part, derivative = loss.evaluate(rows)
        factor = table.index_select(0, locate(derivative.abs()).flatten()).view_as(part)
        if weight is not None:
            factor *= weight[rows]
        torch.mul(derivative, factor, out=slope[rows])
        if elementwise:
            torch.mul(part, factor, out=value[rows])
        else:
            value += part.mul_(factor).sum()
    return value, slope


def harmonize(
    pred: Tensor,
    loss: EntryLoss,
    beta: Callable[[Tensor], Tensor],
    bins: int,
    groups: int = 1,
    weight: Tensor | None = None,
    elementwise: bool = False,
) -> Tensor:
    """The sum over entries of weight times beta of the entry's bin times loss, differentiable once by `pred`.

    beta is a constant to the gradient. The time is that of a few passes over memory whatever `bins` is, and the memory
    one array of gradients. No host sync on a device.

    Args:
        pred: (R, C) what `loss` is about.
        loss: value and derivative of every entry.
        beta: gives the factor of every bin, (groups * bins,), for the counts of the entries, (groups * bins,)
            int64. It is called once, also for an empty input.
        bins: bins of |derivative| in [0, 1].
        groups: 1, or C: each column has bins of its own.
        weight: (R, 1) or (R, C), not negative: further factors; an entry of weight 0 does not count. None: all are 1.
        elementwise: return the (R, C) terms instead of their sum.
    """
    value, slope = _evaluate(loss, beta, bins, groups, weight, elementwise)
    return _KnownGradient.apply(pred, value, slope)
