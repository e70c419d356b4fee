"""Online hard example mining: the positives and, per image, the negatives of the highest loss."""

import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from .entry_checks import REDUCTIONS, check_labels, check_takes_labels


def select_hard_examples(
    loss: Tensor, positive: Tensor, negative: Tensor, neg_pos_ratio: float = 3, min_neg: int = 3
) -> Tensor:
    """All positives and, of each image, the `neg_pos_ratio` negatives per positive whose loss is highest.

    Of equal losses those of lower index are taken; NaN counts as the highest. One sort, no loop over images, no sync.

    Args:
        loss: (B, N) of each prior.
        positive: (B, N) bool.
        negative: (B, N) bool; what is neither is never picked.
        neg_pos_ratio: negatives per positive, rounded down to whole negatives of an image.
        min_neg: negatives of an image without positives.

    Returns:
        (B, N) bool.
    """
    positives = positive.sum(1, keepdim=True)
    wanted = (positives * neg_pos_ratio).floor()
    wanted = torch.where(positives > 0, wanted, min_neg)
    order = loss.detach().masked_fill(~negative, float('-inf')).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(loss.shape[1], device=loss.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    return positive | (negative & (rank < wanted))


@MODELS.register_module()
class OHEMLoss(nn.Module):
    """Any classification loss on the positives and the hardest negatives of each image (SSD, arXiv:1512.02325, 2.2).

    The wrapped loss is computed for all priors; the selection looks at its value, without weights and without
    gradient, and all others get zero. Background is the last class of a softmax loss (C - 1) and, for C classes with
    sigmoids, the label C; the loss of a prior is then the sum over its classes. Selection never looks across images.
    A head has to call it once for all levels, with the images apart; a head that flattens images or calls it per
    level (mmdet's `AnchorHead`, `BBoxHead`) selects among what each call holds.

    Deviation from mmdet: `SSDHead` picks no negatives in an image without positives, `YOLACTHead` all of them, and
    both loop over the images.

    Args:
        loss: config of the wrapped loss, built with `reduction='none'`: one value per prior, or one per class.
        neg_pos_ratio: negatives per positive of an image.
        min_neg: negatives of an image without positives; 0: such an image has no loss.
        reduction: `'none'` (B, N), `'mean'` or `'sum'`.
        loss_weight: factor, beside the wrapped loss's own.
        use_sigmoid: that of the wrapped loss once more, for heads that read it from the config of their loss (mmdet's
            `AnchorHead`); None: not said.

    Raises:
        ValueError: an option outside of what is listed, a loss of masks or of soft targets or with an activation of its
            own, a `use_sigmoid` that the wrapped loss lacks.
    """

    def __init__(
        self,
        loss: dict,
        neg_pos_ratio: float = 3,
        min_neg: int = 3,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        use_sigmoid: bool | None = None,
    ) -> None:
        super().__init__()
        if not neg_pos_ratio >= 0:
            raise ValueError(f'OHEMLoss: neg_pos_ratio={neg_pos_ratio}, must be 0 or more negatives per positive')
        if not (min_neg >= 0 and float(min_neg).is_integer()):
            raise ValueError(f'OHEMLoss: min_neg={min_neg}, must be 0 or a whole number of negatives')
        if reduction not in REDUCTIONS:
            raise ValueError(f'OHEMLoss: reduction={reduction!r}, allowed are {REDUCTIONS}')
        self.loss = MODELS.build({**loss, 'reduction': 'none'})
        check_takes_labels('OHEMLoss', 'loss', self.loss)
        if getattr(self.loss, 'activated', False) or getattr(self.loss, 'custom_cls_channels', False):
            raise ValueError(f'OHEMLoss: loss={loss} has an activation of its own; a sigmoid or softmax loss is needed')
        if getattr(self.loss, 'use_mask', False):
            raise ValueError(f'OHEMLoss: loss={loss} is a loss of masks; a loss of class scores is needed')
        self.use_sigmoid = bool(getattr(self.loss, 'use_sigmoid', False))
        if use_sigmoid not in (None, self.use_sigmoid):
            raise ValueError(
                f'OHEMLoss: use_sigmoid={use_sigmoid}, but that of {type(self.loss).__name__} in `loss` is '
                f'{self.use_sigmoid}; give the same to both'
            )
        # Given labels, mmdet's binary cross entropy waits for the device to find the positives.
        is_plain = type(self.loss) is CrossEntropyLoss and self.loss.ignore_index is None
        self._wants_one_hot = is_plain and self.use_sigmoid
        self.neg_pos_ratio, self.min_neg = neg_pos_ratio, int(min_neg)
        self.reduction, self.loss_weight = reduction, loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Computed in float32 at least, whatever the type and autocast; float64 stays where the wrapped loss keeps it.

        Args:
            pred: (B, N, C) logits, or (N, C) of one image.
            target: (B, N) or (N,) labels; of any value where the weight is 0.
            weight: as `target`, factor of the loss; a prior of weight 0 is ignored: never picked, never counted.
            avg_factor: divisor for `'mean'`; default: the positives of the whole batch, at least 1. On several ranks
                the mean over the ranks is for the caller to give.
            reduction_override: takes the place of `reduction` unless it is None.

        Returns:
            A scalar, or for `'none'` the loss of each prior (B, N) or (N,), 0 where it was not picked; without priors
            a zero (an empty tensor) connected to `pred`.

        Raises:
            ValueError: shapes that do not fit, labels out of range or no integers, an unknown reduction, `avg_factor`
                with `'sum'`.
        """
        reduction = self.reduction if reduction_override is None else reduction_override
        if reduction not in REDUCTIONS:
            raise ValueError(f'OHEMLoss: reduction={reduction!r}, allowed are {REDUCTIONS}')
        if pred.dim() not in (2, 3) or target.shape != pred.shape[:-1]:
            raise ValueError(
                f'OHEMLoss: predictions {tuple(pred.shape)} and labels {tuple(target.shape)}, must be (B, N, C) and '
                '(B, N), or (N, C) and (N,) of one image'
            )
        if target.is_floating_point():
            raise ValueError(f'OHEMLoss: labels must be integers, got {target.dtype}')
        if weight is not None and weight.shape != target.shape:
            raise ValueError(
                f'OHEMLoss: weight {tuple(weight.shape)} for labels {tuple(target.shape)}, must be of the same shape'
            )
        background = pred.shape[-1] - (not self.use_sigmoid)
        counted = torch.ones_like(target, dtype=torch.bool) if weight is None else weight > 0
        check_labels('OHEMLoss', target.flatten(), counted.flatten(), background)
        loss = self._loss_of_priors(pred, target.masked_fill(~counted, background))
        positive = counted & (target != background)
        images = (1, *target.shape)[-2:]
        picked = select_hard_examples(
            loss.view(images),
            positive.view(images),
            (counted & ~positive).view(images),
            self.neg_pos_ratio,
            self.min_neg,
        ).view_as(target)
        # Not a product: an infinite loss that is not picked has to stay without effect.
        loss = torch.where(picked, loss if weight is None else loss * weight, 0)
        if reduction == 'mean' and avg_factor is None:
            loss = loss.sum() / positive.sum().clamp(min=1)
        else:
            loss = weight_reduce_loss(loss, None, reduction, avg_factor)
        return self.loss_weight * loss

    def _loss_of_priors(self, pred: Tensor, target: Tensor) -> Tensor:
        """(..., C) logits and labels -> the wrapped loss of each prior, in the shape of the labels."""
        with torch.autocast(pred.device.type, enabled=False):
            logits = pred.flatten(0, -2).to(torch.promote_types(pred.dtype, torch.float32))
            labels = target.flatten().long()
            if self._wants_one_hot:
                labels = F.one_hot(labels, logits.shape[-1] + 1)[:, :-1]
            loss = self.loss(logits, labels)
            if loss.shape == logits.shape:
                loss = loss.sum(-1)
        if loss.shape != logits.shape[:1]:
            raise ValueError(
                f'OHEMLoss: {type(self.loss).__name__} gives {tuple(loss.shape)} for logits {tuple(logits.shape)}; '
                'with reduction="none" it must give one value per prior, or one per prior and class'
            )
        return loss.view_as(target)
