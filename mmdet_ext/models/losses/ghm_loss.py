"""Losses of "Gradient Harmonized Single-stage Detector" (arXiv:1811.05181): GHM-C and GHM-R."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from .entry_checks import check_labels, check_shape, entry_weights
from .gradient_density import GradientDensity, bin_index, count_index
from .harmonized_loss import AuthenticSmoothL1, SigmoidCrossEntropy, compute_dtype, harmonize

Beta = Callable[[Tensor], Tensor]


def ghm_c_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    beta: Beta,
    bins: int = 10,
    use_sigmoid: bool = True,
    class_aware: bool = False,
    elementwise: bool = False,
) -> Tensor:
    """Sum of weight times beta times cross entropy; beta is a constant to the gradient.

    Args:
        pred: (..., C) logits; with dense targets any shape.
        target: labels (...), C (softmax: C - 1) is background; or, for the sigmoid, dense in [0, 1] as `pred`.
        weight: as `pred`, or as labels (also with a last dimension of 1). An entry counts where it is above 0.
        beta: gives the factor of every bin from the counts of all bins, (bins,); with `class_aware` (C * bins,),
            class by class. `lambda counts: table` makes it a constant.
        bins: bins of the gradient norm g: |sigmoid(x) - t|, or 1 - softmax(x)_label.
        use_sigmoid: False: softmax; an entry is a row then, not a logit.
        class_aware: every column, or with the softmax every label, has bins of its own.
        elementwise: the terms instead of their sum, as `pred`, or as labels with the softmax.

    Raises:
        ValueError: shapes that do not belong together, or labels that are no label of an entry that counts. The
            latter is seen on the CPU; on a device it stops the kernel, since looking would stall it.
    """
    dense = use_sigmoid and pred.dim() == target.dim()
    if dense:
        check_shape('GHM-C', 'target', target, [pred.shape])
    elif pred.dim() == target.dim() + 1:
        check_shape('GHM-C', 'target', target, [pred.shape[:-1]])
        if target.is_floating_point():
            raise ValueError(
                f'GHM-C: labels must be integers, got {target.dtype}; dense targets have the shape of pred'
            )
    else:
        kinds = 'labels (N,) or dense targets (N, C)' if use_sigmoid else 'labels (N,)'
        raise ValueError(f'GHM-C: pred of shape {tuple(pred.shape)} takes {kinds}, got {tuple(target.shape)}')
    columns = pred.shape[-1] if pred.dim() > 1 else 1
    rows = pred.reshape(-1, columns)
    weight, valid = entry_weights('GHM-C', pred, weight, compute_dtype(pred), not use_sigmoid)
    if not dense:
        target = target.flatten().long()
        highest = columns if use_sigmoid else columns - 1
        check_labels('GHM-C', target, None if valid is None else valid.any(1), highest)
    if not use_sigmoid:
        loss = _softmax_loss(rows, target, weight, valid, beta, bins, class_aware)
        return loss.view(pred.shape[:-1]) if elementwise else loss.sum()
    entries = SigmoidCrossEntropy(rows, target.reshape(-1, columns) if dense else target, valid)
    loss = harmonize(rows, entries, beta, bins, columns if class_aware else 1, weight, elementwise)
    return loss.view(pred.shape) if elementwise else loss


def _softmax_loss(
    pred: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    valid: Tensor | None,
    beta: Beta,
    bins: int,
    class_aware: bool,
) -> Tensor:
    """(R,) terms."""
    pred = pred.to(compute_dtype(pred))
    labels = labels.clamp(0, pred.shape[1] - 1)
    if valid is not None:
        pred = torch.where(valid, pred, 0)
    loss = F.cross_entropy(pred, labels, reduction='none')
    with torch.no_grad():
        index = bin_index(-torch.expm1(-loss), bins)
        if class_aware:
            index = index + labels * bins
        size = bins * (pred.shape[1] if class_aware else 1)
        # What is ignored is counted behind the rest.
        counted = index if valid is None else index + size * ~valid[:, 0]
        factor = beta(count_index(counted, 2 * size)[:size]).index_select(0, index)
        factor = factor if weight is None else factor * weight[:, 0]
    return loss * factor


def ghm_r_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    beta: Beta,
    mu: float = 0.02,
    bins: int = 10,
    elementwise: bool = False,
) -> Tensor:
    """Sum of weight times beta times authentic smooth L1 loss; beta is a constant to the gradient.

    Args:
        pred: (..., 4) encoded boxes, or any shape.
        target: as `pred`.
        weight: as `pred`, or without its last dimension. An entry counts where it is above 0.
        beta: gives the factor of every bin from the counts of all bins, (bins,).
        mu: where the loss turns from quadratic to linear, above zero, in units of `pred`.
        bins: bins of the gradient norm |d| / sqrt(d^2 + mu^2).
        elementwise: the terms, as `pred`, instead of their sum.

    Raises:
        ValueError: shapes that do not belong together.
    """
    check_shape('GHM-R', 'target', target, [pred.shape])
    rows = pred.reshape(-1, pred.shape[-1] if pred.dim() > 1 else 1)
    weight, valid = entry_weights('GHM-R', pred, weight, compute_dtype(pred))
    entries = AuthenticSmoothL1(rows, target.reshape(rows.shape), mu, valid)
    loss = harmonize(rows, entries, beta, bins, 1, weight, elementwise)
    return loss.view(pred.shape) if elementwise else loss


@MODELS.register_module()
class GHMCLoss(GradientDensity):
    """Gradient harmonised classification loss: easy and hopeless entries share the weight of their crowd.

    As mmdet's `GHMC`, whose numbers it gives for one call without momentum, on any number of ranks. It deviates where
    that one is wrong (see :class:`GradientDensity`) and: fractional weights scale the loss, not the counts; g = 1
    counts; `reduction='sum'`, half precision and the softmax work.

    Args:
        use_sigmoid: binary cross entropy of every logit; False: softmax cross entropy of every row. A dense head of
            mmdet takes this from the config of its loss, where nothing means softmax: write it there.
        class_aware: a density per class: the bins are those of all classes side by side, and n counts them all.
        num_classes: number of classes without background, only for `class_aware` with a momentum, and only needed
            if something copies the model before its first step (`EMAHook`); None: what the first call has.
        bins, momentum, scope, num_levels, normalizer, all_reduce, reduction, loss_weight: see
            :class:`GradientDensity`.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0.0,
        scope: str = 'batch',
        class_aware: bool = False,
        use_sigmoid: bool = True,
        normalizer: str = 'valid_bins',
        num_levels: int = 5,
        num_classes: int | None = None,
        all_reduce: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        groups: int | None = 1
        if class_aware:
            groups = None if num_classes is None else num_classes + (not use_sigmoid)
        super().__init__(bins, momentum, scope, num_levels, groups, normalizer, all_reduce, reduction, loss_weight)
        self.class_aware, self.use_sigmoid = class_aware, use_sigmoid

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or wider; see :func:`ghm_c_loss`.

        Args:
            pred: (N, C) logits, or (N, C + 1) with the softmax.
            target: (N,) labels, C is background; or (N, C) in [0, 1].
            weight: (N,) or (N, C), 0 is ignored.
            avg_factor: not used: the density is the normaliser, and dividing once more by the number of positives
                leaves next to nothing.
            reduction_override: instead of `reduction`.

        Returns:
            A scalar; with `'none'` (N, C), or (N,) with the softmax.
        """
        reduction = self.choose_reduction(reduction_override)
        return ghm_c_loss(
            pred,
            target,
            weight,
            beta=lambda counts: self.weigh(counts, reduction, compute_dtype(pred)),
            bins=self.bins,
            use_sigmoid=self.use_sigmoid,
            class_aware=self.class_aware,
            elementwise=reduction == 'none',
        )


@MODELS.register_module()
class GHMRLoss(GradientDensity):
    """Gradient harmonised regression loss on encoded boxes: outliers share the weight of their crowd.

    As mmdet's `GHMR`, with the deviations of :class:`GHMCLoss`; its N is the sum of the weights, ours counts them.

    Args:
        mu: where the authentic smooth L1 loss turns from quadratic to linear, above zero.
        bins, momentum, scope, num_levels, normalizer, all_reduce, reduction, loss_weight: see
            :class:`GradientDensity`.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    def __init__(
        self,
        mu: float = 0.02,
        bins: int = 10,
        momentum: float = 0.0,
        scope: str = 'batch',
        normalizer: str = 'valid_bins',
        num_levels: int = 5,
        all_reduce: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(bins, momentum, scope, num_levels, 1, normalizer, all_reduce, reduction, loss_weight)
        if not mu > 0:
            raise ValueError(f'GHMRLoss: mu must be above 0, got {mu!r}')
        self.mu = mu

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or wider; see :func:`ghm_r_loss`.

        Args:
            pred: (N, 4) encoded boxes, or any shape.
            target: as `pred`.
            weight: as `pred`, or (N,); 0 is ignored.
            avg_factor: not used, the density is the normaliser.
            reduction_override: instead of `reduction`.

        Returns:
            A scalar; with `'none'` of the shape of `pred`.
        """
        reduction = self.choose_reduction(reduction_override)
        return ghm_r_loss(
            pred,
            target,
            weight,
            beta=lambda counts: self.weigh(counts, reduction, compute_dtype(pred)),
            mu=self.mu,
            bins=self.bins,
            elementwise=reduction == 'none',
        )
