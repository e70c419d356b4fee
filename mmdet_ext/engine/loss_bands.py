"""The band in which each loss moved over a stretch of a training, whether it is the one expected, and plateaus."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .loss_alarms import TOTAL, Alarm, find_stall, loss_terms, stretch_means

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
HEAD = ('first', 'last', 'loss', 'iterations', 'nonfinite', 'min', 'q05', 'q25', 'median', 'q75', 'q95', 'max')

Limits = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Band:
    """Values of one loss over some iterations.

    Attributes:
        name: Of the loss.
        values: The finite ones, sorted.
        nonfinite: How many are NaN or infinite.
        quantiles: Of the finite ones, at `QUANTILES`, interpolated; empty where there is none.
    """

    name: str
    values: tuple[float, ...]
    nonfinite: int
    quantiles: tuple[float, ...]

    def __str__(self) -> str:
        if not self.quantiles:
            return f'{self.name} never finite'
        bad = f', {self.nonfinite} not finite' if self.nonfinite else ''
        return f'{self.name} {self.quantiles[3]:.4g} [{self.quantiles[1]:.4g}, {self.quantiles[5]:.4g}]{bad}'


def train_losses(scalars: Mapping[str, Any], last: int | None = None) -> dict[str, np.ndarray]:
    """Total and terms of a training as mmengine's message hub keeps them.

    Args:
        scalars: `message_hub.log_scalars`.
        last: Only so many values, the newest ones.
    """
    keys = {key.removeprefix('train/'): key for key in scalars if key.startswith('train/')}
    names = [name for name in [TOTAL, *loss_terms(keys)] if name in keys]
    return {name: scalars[keys[name]].data[0][-(last or 0) :] for name in names}


def measure_band(name: str, values: Sequence[float] | np.ndarray) -> Band:
    """The band of some values."""
    array = np.asarray(values, dtype=float)
    finite = np.sort(array[np.isfinite(array)])
    quantiles = np.quantile(finite, QUANTILES).tolist() if len(finite) else []
    return Band(name, tuple(finite.tolist()), len(array) - len(finite), tuple(quantiles))


def band_rows(bands: Iterable[Band], first: int, last: int) -> list[list[Any]]:
    """Cells of the table under `HEAD`.

    Args:
        bands: One row for each.
        first: First iteration, from 1 on.
        last: Last iteration.
    """
    rows = []
    for band in bands:
        cells = [f'{value:.6g}' for value in band.quantiles] or [''] * len(QUANTILES)
        rows.append([first, last, band.name, len(band.values) + band.nonfinite, band.nonfinite, *cells])
    return rows


def find_outside(bands: Iterable[Band], limits: Limits, when: str) -> dict[str, str]:
    """Losses whose median is not where it is expected, each with a sentence.

    Args:
        bands: Of some iterations.
        limits: Lowest and highest expected value of a loss; of some losses.
        when: What the iterations are.
    """
    found = {}
    for band in bands:
        low, high = limits.get(band.name, (-math.inf, math.inf))
        if not band.quantiles or low <= band.quantiles[3] <= high:
            continue
        outside = sum(not low <= value <= high for value in band.values)
        share = 100 * outside / len(band.values)
        found[band.name] = (
            f'{band.name} is outside of the expected band {low:g} to {high:g}: its median is {band.quantiles[3]:.4g} '
            f'in {when}, {share:.0f} % of the values are outside.'
        )
    return found


def find_plateaus(
    losses: Mapping[str, np.ndarray], length: int, stretches: int, when: str, min_change: float
) -> list[Alarm]:
    """Losses, total and terms, that did not change over the last stretches; see `loss_alarms.find_stall`.

    Args:
        losses: Values of every iteration so far.
        length: Iterations in a stretch.
        stretches: Over how many of them a loss has to change.
        when: What they are, for the sentence.
        min_change: A smaller share of the value is no change.
    """
    found: list[Alarm] = []
    for name, values in losses.items():
        if len(values) >= length * stretches:
            means = stretch_means(values[-length * stretches :], length)
            found += find_stall(means, when, min_change, name)
    return found


def check_limits(owner: str, limits: Limits) -> None:
    """Refuse bands that nothing can be in.

    Raises:
        ValueError: A band is not two numbers, or the first is above the second.
    """
    for name, band in limits.items():
        numbers = isinstance(band, Sequence) and len(band) == 2 and all(isinstance(end, int | float) for end in band)
        if not numbers or not band[0] <= band[1]:
            raise ValueError(f'{owner}: expected[{name!r}] must be (lowest, highest), got {band!r}')
