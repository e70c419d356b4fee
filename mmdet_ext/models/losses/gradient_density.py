"""Gradient density of GHM losses: how often each size of gradient occurs, over batch, ranks and time."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from .entry_checks import REDUCTIONS

SCOPES = ('batch', 'level')
NORMALIZERS = ('valid_bins', 'all_bins')
# Histograms on a device are counted in this many copies, so that threads do not queue for the same counter.
LANES = 256


def bin_index(g: Tensor, bins: int) -> Tensor:
    """Bin of each gradient norm: `floor(g * bins)` in the precision of `g`, int32; overwrites `g`.

    The last bin is closed on the right, so g = 1 is in it. A NaN gets some valid bin; its loss is NaN anyway.
    """
    return g.mul_(bins).int().clamp_(0, bins - 1)


def count_index(index: Tensor, size: int) -> Tensor:
    """(size,) int64: how often each of 0 ... size - 1 occurs. No host sync on a device, where `bincount` has one."""
    index = index.reshape(-1)
    return torch.bincount(index, minlength=size) if index.device.type == 'cpu' else scatter_counts(index, size)


def scatter_counts(index: Tensor, size: int) -> Tensor:
    """What :func:`count_index` does on a device, for flat indices."""
    lane = torch.arange(index.numel(), device=index.device) % LANES
    counts = torch.zeros(LANES * size, dtype=torch.int64, device=index.device)
    return counts.scatter_add_(0, lane * size + index, torch.ones_like(lane)).view(LANES, size).sum(0)


class GradientDensity(nn.Module):
    r"""What `GHMCLoss` and `GHMRLoss` share: options, and the weight of every bin from the counts of a call.

    With R_j entries in bin j, N of them in all, n bins that are not empty: an entry of bin j has the weight
    `beta_j = N / (S_j n)` ("Gradient Harmonized Single-stage Detector", arXiv:1811.05181, equations 6 to 9, with n
    for M as in mmdet). S_j is R_j, or with a momentum the moving average
    `S_j = (1 - m) sum_i m^(t - i) R_j^(i) / (1 - m^t)` over the calls i = 1 ... t, the same formula for every bin. A
    bin that was empty enters with zeros, as in the paper, so S_j is an unbiased estimate at every step, and a bin that
    fills up again weighs more, at most 1 / (1 - m) times as much as without momentum. A call without any entry is
    not averaged. Deviations from mmdet: its average lacks the divisor (the first step is 1 / (1 - m) times too large),
    keeps the old value where a bin is empty, is shared by all levels, and differs between ranks.

    Entries count over all ranks: every rank has to make the same calls (an empty input is one) in training mode. In
    evaluation mode counts stay on the rank and the average is read, not changed.

    Buffers, always there, float32 and int64 whatever the model is cast to: `acc_sum` (levels, groups, bins), the sum
    without its divisor, and `num_updates` (levels,), the t of every level. A checkpoint without them leaves them
    as they are; one whose buffers do not fit (other bins or levels, or mmdet's) resets them with a warning.

    Args:
        bins: number of bins of [0, 1], at least 1.
        momentum: m in [0, 1); 0: every call for itself.
        scope: `'batch'`: a call is the whole batch, so the head must call the loss once per step
            (`single_call_losses = True`; `LossScopeHook` checks it); `'level'`: a head calls it once per level, each
            level has a density, and with a momentum a moving average, of its own.
        num_levels: calls per step of a `'level'` loss; with a momentum `LossScopeHook` checks it and begins every
            step with the first level. Outside of a Runner set `calls` to 0 for that.
        groups: histograms side by side, one per class; None: as many as the first call has.
        normalizer: `'valid_bins'` divides by the bins that are not empty (mmdet), `'all_bins'` by all (paper).
        all_reduce: False: every rank counts for itself, for heads that skip the loss on ranks without positives.
        reduction: `'none'`: beta times loss; `'sum'`; `'mean'`: the sum over N, N being that of all ranks divided by
            their number (DDP averages gradients over ranks).
        loss_weight: factor of the result.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    acc_sum: Tensor
    num_updates: Tensor

    def __init__(
        self,
        bins: int,
        momentum: float,
        scope: str,
        num_levels: int,
        groups: int | None,
        normalizer: str,
        all_reduce: bool,
        reduction: str,
        loss_weight: float,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        for name, number in (('bins', bins), ('num_levels', num_levels)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f'{owner}: {name} must be a whole number from 1 on, got {number!r}')
        if not 0 <= momentum < 1:
            raise ValueError(f'{owner}: momentum must be in [0, 1), got {momentum!r}')
        for name, value, allowed in (
            ('scope', scope, SCOPES),
            ('normalizer', normalizer, NORMALIZERS),
            ('reduction', reduction, REDUCTIONS),
        ):
            _check_choice(owner, name, value, allowed)
        self.bins, self.momentum, self.scope, self.normalizer = bins, momentum, scope, normalizer
        self.num_levels = num_levels if scope == 'level' else 1
        self.groups, self.all_reduce = groups, all_reduce
        self.reduction, self.loss_weight = reduction, loss_weight
        self.calls = 0
        self.register_buffer('acc_sum', torch.zeros(self.num_levels, groups or 0, bins))
        self.register_buffer('num_updates', torch.zeros(self.num_levels, dtype=torch.int64))

    def extra_repr(self) -> str:
        """Options in `print(model)`."""
        return f'bins={self.bins}, momentum={self.momentum}, scope={self.scope!r}, loss_weight={self.loss_weight}'

    def choose_reduction(self, override: str | None) -> str:
        """The reduction of a call."""
        if override is None:
            return self.reduction
        _check_choice(type(self).__name__, 'reduction_override', override, REDUCTIONS)
        return override

    @torch.no_grad()
    def weigh(self, counts: Tensor, reduction: str, dtype: torch.dtype) -> Tensor:
        """The factor of every bin, so that the reduced loss is a plain sum of factor times loss.

        A collective in training mode. No host sync.

        Args:
            counts: (groups * bins,) int64, entries of this rank; overwritten by those of all ranks.
            reduction: `'mean'` gives beta / N, the others beta.
            dtype: float32 or float64.

        Returns:
            (groups * bins,); zero where no entry is.
        """
        ranks = 1
        if self.all_reduce and self.training:
            ranks = get_world_size()
            all_reduce(counts)
        total = counts.sum()
        density = self._average(counts, total > 0, dtype) if self.momentum > 0 else counts.to(dtype)
        filled = counts > 0
        number = filled.sum() if self.normalizer == 'valid_bins' else len(counts)
        # N of beta and N of the mean cancel.
        scale = ranks if reduction == 'mean' else total
        return torch.where(filled, self.loss_weight * scale / (density * number), 0).to(dtype)

    def _average(self, counts: Tensor, occupied: Tensor, dtype: torch.dtype) -> Tensor:
        """The moving average including these counts, (groups * bins,); training stores it."""
        level = self.calls % self.num_levels
        self.calls += 1
        counts = counts.view(-1, self.bins)
        if self.acc_sum.shape[1] != len(counts):
            self._change_groups(len(counts))
        old, new = self.acc_sum[level].to(dtype), counts.to(dtype)
        acc_sum = torch.where(occupied, self.momentum * old + (1 - self.momentum) * new, old)
        num_updates = self.num_updates[level] + occupied
        if self.training:
            self.acc_sum[level].copy_(acc_sum)
            self.num_updates[level].copy_(num_updates)
        return (acc_sum / -torch.expm1(num_updates.to(dtype) * math.log(self.momentum))).flatten()

    def _change_groups(self, groups: int) -> None:
        owner, before = type(self).__name__, self.acc_sum.shape[1]
        if self.groups is not None:
            raise ValueError(f'{owner}: num_classes was set for scores of {self.groups} columns, got {groups}')
        if before:
            warnings.warn(
                f'{owner}: scores have {groups} columns, the moving average is of {before} classes; it starts anew.',
                stacklevel=2,
            )
        self._start(groups)

    def _start(self, groups: int) -> None:
        """Forget the average; in place, since others (DDP, say) may hold the buffers."""
        self.acc_sum.resize_(self.num_levels, groups, self.bins).zero_()
        self.num_updates.zero_()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        kept = self.acc_sum
        super()._apply(fn, recurse)
        if self.acc_sum.dtype != kept.dtype:
            # Half precision ends at 65504 entries.
            self.acc_sum = kept.to(self.acc_sum.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = {'acc_sum': self.acc_sum, 'num_updates': self.num_updates}
        stored = {name: state_dict[prefix + name] for name in own if prefix + name in state_dict}
        if stored:
            groups = self._fitting_groups(stored)
            if groups is None:
                warnings.warn(
                    f'{type(self).__name__}: the moving average {prefix}acc_sum of the checkpoint, of shape '
                    f'{_shape(stored.get("acc_sum"))}, does not fit {self.num_levels} level(s) and {self.bins} bins; '
                    'it starts anew.',
                    stacklevel=2,
                )
            self._start(self.acc_sum.shape[1] if groups is None else groups)
            stored = stored if groups is not None else {}
        # `edges` is mmdet's: the bins follow from their number.
        others = {key: value for key, value in state_dict.items() if key.startswith(prefix) and key != f'{prefix}edges'}
        others |= {prefix + name: stored.get(name, buffer) for name, buffer in own.items()}
        super()._load_from_state_dict(others, prefix, *args)

    def _fitting_groups(self, stored: dict[str, Tensor]) -> int | None:
        """How many groups the stored buffers have, if they fit."""
        shapes = [tuple(stored[name].shape) if name in stored else () for name in ('acc_sum', 'num_updates')]
        groups = shapes[0][1] if len(shapes[0]) == 3 else 0
        expected = [(self.num_levels, groups, self.bins), (self.num_levels,)]
        return groups if shapes == expected and self.groups in (None, groups) else None


def _shape(value: Tensor | None) -> tuple[int, ...]:
    return () if value is None else tuple(value.shape)


def _check_choice(owner: str, name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        choices = ', '.join(map(repr, allowed))
        raise ValueError(f'{owner}: {name} must be one of {choices}, got {value!r}')
