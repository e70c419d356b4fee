"""Rules that read a training from its losses: nothing changes, one term is nearly all, something is not finite.

All of them look at means over stretches of a training (an epoch, as a rule): the loss of a single iteration, such as
the last of an epoch, is mostly noise. The hook that watches a training (`LossAlarmHook`) and the tool that reads its
log (`mmdet_ext.analysis.logs.loss_curves`) share them.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

TOTAL = 'loss'
# Of the absolute value of a normal variable, in standard deviations.
_MEDIAN = 0.6745
Cause = Literal['not finite', 'one term', 'nothing changes']


@dataclass(frozen=True)
class Alarm:
    """One finding.

    Attributes:
        cause: Which rule it is of.
        name: Of the loss.
        message: A sentence with the figures, and what it may come from.
    """

    cause: Cause
    name: str
    message: str

    @property
    def key(self) -> tuple[str, str]:
        """Two alarms of one key say the same, of different stretches."""
        return self.cause, self.name


@dataclass(frozen=True)
class Change:
    """How a loss has moved from the first half of some stretches to the second.

    Attributes:
        before: Mean of the first half.
        after: Mean of the second.
        noise: Two standard errors of their difference, see `measure_change`.
    """

    before: float
    after: float
    noise: float

    def is_none(self, min_change: float) -> bool:
        """Whether the difference is within the noise, or below this share of the value before."""
        return abs(self.after - self.before) <= max(self.noise, min_change * abs(self.before))


def loss_terms(names: Iterable[str]) -> list[str]:
    """The terms of the total: mmengine adds up whatever has 'loss' in its name; `loss` itself is the sum."""
    return [name for name in names if 'loss' in name and name != TOTAL]


def stretch_means(values: Sequence[float] | np.ndarray, length: int) -> list[float]:
    """Means of consecutive stretches of `length` values; the last one ends with the values, a rest before the first
    stretch is left out.

    Raises:
        ValueError: `length` is below 1.
    """
    if length < 1:
        raise ValueError(f'a stretch must have at least 1 value, got {length}')
    array = np.asarray(values, dtype=float)
    rest = len(array) % length
    return [float(mean) for mean in array[rest:].reshape(-1, length).mean(axis=1)]


def measure_change(means: Sequence[float]) -> Change | None:
    """Compare the halves of a row of means; of an odd number the one in the middle counts for neither.

    The noise of a single mean is estimated by the medians of the first and of the second differences, whose standard
    deviations are sqrt(2) and sqrt(6) of its own, and the smaller one counts: the first hardly see a step, such as the
    one after a drop of the learning rate, the second no steady trend. Neither is taken for noise.

    Returns:
        None where there are fewer than four means, or one is not finite.
    """
    half = len(means) // 2
    if half < 2 or not all(map(math.isfinite, means)):
        return None
    array = np.asarray(means, dtype=float)
    deviation = min(
        statistics.median_low(np.abs(np.diff(array, n=order)).tolist()) / (_MEDIAN * scale)
        for order, scale in ((1, math.sqrt(2)), (2, math.sqrt(6)))
    )
    noise = 2 * deviation * math.sqrt(2 / half)
    return Change(statistics.fmean(means[:half]), statistics.fmean(means[-half:]), noise)


def shares(means: Mapping[str, float]) -> dict[str, float]:
    """Share of each term in the sum of their absolute values; nothing where that is zero or not finite.

    Args:
        means: Mean of each loss; what is no term, the total too, does not count.
    """
    sizes = {name: abs(means[name]) for name in loss_terms(means)}
    total = sum(sizes.values())
    return {name: size / total for name, size in sizes.items()} if 0 < total < math.inf else {}


def find_not_finite(means: Mapping[str, float], when: str) -> list[Alarm]:
    """Losses that are NaN or infinite; the total only where no term is."""
    bad = [name for name in means if (name == TOTAL or 'loss' in name) and not math.isfinite(means[name])]
    terms = loss_terms(bad)
    return [
        Alarm(
            'not finite',
            name,
            f'{name} is {means[name]} in the mean of {when}: look for a division by zero, a logarithm of zero or an '
            'overflow in it; if it grew before, lower the learning rate or clip the gradients.',
        )
        for name in terms or bad
    ]


def find_dominant(means: Mapping[str, float], when: str, share: float = 0.9) -> list[Alarm]:
    """A term that is at least `share` of the total, where there are two terms or more."""
    found = shares(means)
    if len(found) < 2:
        return []
    total = sum(abs(means[name]) for name in found)
    return [
        Alarm(
            'one term',
            name,
            f'{name} is {100 * part:.0f} % of the total loss ({means[name]:.4g} of {total:.4g}, mean of {when}), so '
            'the other terms hardly train: is it a sum where it should be a mean, is its loss_weight right, are its '
            'targets in the units of its predictions?',
        )
        for name, part in found.items()
        if part >= share
    ]


def find_stall(means: Sequence[float], when: str, min_change: float = 0.01, name: str = TOTAL) -> list[Alarm]:
    """A loss that is the same in the first half of some stretches and in the second, see `measure_change`.

    Args:
        means: Of the last stretches.
        when: What they are, for the sentence.
        min_change: A smaller share of the value is no change.
        name: Of the loss.
    """
    change = measure_change(means)
    if change is None or not change.is_none(min_change):
        return []
    return [
        Alarm(
            'nothing changes',
            name,
            f'{name} does not change over {when} ({change.before:.4g}, then {change.after:.4g}; noise '
            f'{change.noise:.2g}). At the end of a schedule that is as it should be; before, look at the learning '
            'rate, at frozen parameters, and at the targets and the reduction of the loss.',
        )
    ]


def find_alarms(
    means: Mapping[str, Sequence[float]],
    stretch: str,
    unit: str = 'epochs',
    *,
    epochs: int = 5,
    min_change: float = 0.01,
    share: float = 0.9,
) -> list[Alarm]:
    """All rules at the end of a stretch.

    Args:
        means: Mean of each loss in every stretch so far; names as mmengine logs them (`loss` is the total).
        stretch: What the last one is, such as 'epoch 7'.
        unit: What stretches are, in the plural.
        epochs: Over how many stretches the total has to change.
        min_change: See `find_stall`.
        share: See `find_dominant`.
    """
    last = {name: values[-1] for name, values in means.items() if values}
    alarms = find_not_finite(last, stretch) or find_dominant(last, stretch, share)
    total = means.get(TOTAL, ())
    if len(total) >= epochs:
        alarms += find_stall(total[-epochs:], f'the last {epochs} {unit}, up to {stretch}', min_change)
    return alarms


def check_options(owner: str, epochs: int, min_change: float, share: float) -> None:
    """Refuse options that no rule can work with.

    Raises:
        ValueError: `epochs` below 4, `min_change` negative, or `share` not above 0.5 and up to 1.
    """
    if not isinstance(epochs, int) or epochs < 4:
        raise ValueError(f'{owner}: epochs must be a whole number from 4 on (two halves with a spread), got {epochs!r}')
    if not min_change >= 0:
        raise ValueError(f'{owner}: min_change must be a share of at least 0, got {min_change!r}')
    if not 0.5 < share <= 1:
        raise ValueError(f'{owner}: share must be above 0.5 and at most 1, got {share!r}')
