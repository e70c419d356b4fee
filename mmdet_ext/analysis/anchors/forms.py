"""What each anchor generator can make: its free numbers, the config they stand for, and their best values for boxes.

A fit goes in turns, as k-means does: every box is given to the anchor that covers it best, then the numbers are set to
the mean (or median) of what their boxes want, in logarithms. `anchor_fit` takes the turns.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.registry import TASK_UTILS
from numpy.typing import NDArray

from .clusters import Centre, Floats, cluster

Numbers = dict[str, Floats]
Ints = NDArray[np.int64]
CENTRES: dict[Centre, Callable[[Floats], Any]] = {'mean': np.mean, 'median': np.median}


class AnchorForm(ABC):
    """Free numbers of a generator, all as logarithms, and how they become anchors.

    Args:
        options: Config of the generator; what is not fitted stays as it is there.
        centre: How the boxes of an anchor are summed up.
        seed: Of the clusters a fit starts from.
    """

    def __init__(self, options: Mapping[str, Any], centre: Centre = 'mean', seed: int = 0) -> None:
        self.options = dict(options)
        self.built = TASK_UTILS.build(dict(options))
        self.centre = CENTRES[centre]
        self.seed = seed
        self.strides = np.log(np.array([min(stride) for stride in self.built.strides], np.float64))
        self.levels = len(self.strides)

    @abstractmethod
    def current(self) -> Numbers:
        """Those of the config."""

    @abstractmethod
    def start(self, sizes: Floats, ratios: Floats) -> Numbers:
        """Those that clusters of the boxes suggest.

        Args:
            sizes: (N,) log of sqrt(w h).
            ratios: (N,) log of h / w.
        """

    @abstractmethod
    def update(self, numbers: Numbers, sizes: Floats, ratios: Floats, anchors: Ints) -> Numbers:
        """Those that suit the boxes best that each anchor was given; an anchor without boxes follows its neighbours.

        Args:
            numbers: Those the anchors were made of.
            sizes: See `start`.
            ratios: See `start`.
            anchors: (N,) anchor of each box, in mmdet's order.
        """

    @abstractmethod
    def config(self, numbers: Numbers) -> dict[str, Any]:
        """Config of the generator with them, rounded to what a reader wants to see."""

    def _level_clusters(self, sizes: Floats, num: int) -> Floats:
        """(num,) ascending clusters of the sizes; fewer different ones are spread over the levels."""
        num_different = len(np.unique(sizes))
        found = np.sort(cluster(sizes[:, None], min(num, num_different), distance='euclid', seed=self.seed)[:, 0])
        return np.interp(np.linspace(0, 1, num), np.linspace(0, 1, len(found)), found)

    def _by_stride(self, ascending: Floats) -> Floats:
        """Values for the levels, the largest for that of the largest stride."""
        values = np.empty_like(ascending)
        values[np.argsort(self.strides, kind='stable')] = ascending
        return values

    def _group(self, values: Floats, groups: Ints, old: Floats) -> Floats:
        """Centre of the values of each group; a group without values keeps its old one."""
        return np.array(
            [self.centre(values[groups == k]) if (groups == k).any() else old[k] for k in range(len(old))], np.float64
        )

    def _follow(self, values: Floats, old: Floats, filled: NDArray[np.bool_]) -> Floats:
        """Levels without boxes move by as much as the nearest level with boxes does."""
        if not filled.any():
            return values
        known = np.flatnonzero(filled)
        near = known[np.abs(self.strides[:, None] - self.strides[known]).argmin(1)]
        return np.where(filled, values, old + values[near] - old[near])


class ProductForm(AnchorForm):
    """`AnchorGenerator`: every level has each of its scales in each of the ratios.

    Numbers: `base` (L,) of the levels, `scales` (S,), `ratios` (R,) h / w. With octaves the scales keep their steps.

    Args:
        options: See `AnchorForm`.
        centre: See `AnchorForm`.
        seed: See `AnchorForm`.
        keep_base_sizes: Fit ratios and scales (or `octave_base_scale`) alone; the levels keep their base sizes.
    """

    def __init__(
        self, options: Mapping[str, Any], centre: Centre = 'mean', seed: int = 0, keep_base_sizes: bool = False
    ) -> None:
        super().__init__(options, centre, seed)
        # With one level its base size and the scales say the same.
        self.keep = keep_base_sizes or self.levels == 1
        self.octave = options.get('scales_per_octave')

    def current(self) -> Numbers:
        scales, ratios = (values.double().numpy() for values in (self.built.scales, self.built.ratios))
        return {
            'base': np.log(np.array(self.built.base_sizes, np.float64)),
            'scales': np.log(scales),
            'ratios': np.log(ratios),
        }

    def start(self, sizes: Floats, ratios: Floats) -> Numbers:
        numbers = self.current()
        steps = numbers['scales'] - numbers['scales'].mean()
        numbers['ratios'] = self._level_clusters(ratios, len(numbers['ratios']))
        if not self.keep:
            levels = self._by_stride(self._level_clusters(sizes, self.levels))
            numbers['base'] = levels - numbers['scales'].mean()
        elif self.levels == 1 and not self.octave:
            numbers['scales'] = self._level_clusters(sizes - numbers['base'], len(steps))
        else:
            numbers['scales'] = steps + np.median(sizes) - np.median(numbers['base'])
        return numbers

    def update(self, numbers: Numbers, sizes: Floats, ratios: Floats, anchors: Ints) -> Numbers:
        base, scales = numbers['base'], numbers['scales']
        level, scale, ratio = self._places(len(scales), len(numbers['ratios']))
        level, scale, ratio = level[anchors], scale[anchors], ratio[anchors]
        if self.keep and self.octave:
            scales = scales + self.centre(sizes - base[level] - scales[scale])
        elif self.keep:
            scales = self._group(sizes - base[level], scale, scales)
        else:
            # The size of an anchor is the sum of two numbers: each is set in turn with the other as it is.
            filled = np.bincount(level, minlength=self.levels) > 0
            base = self._follow(self._group(sizes - scales[scale], level, base), base, filled)
            if not self.octave:
                free = self._group(sizes - base[level], scale, scales)
                # Larger scales with smaller bases would be the same anchors: the first scale stays.
                shift = free[0] - scales[0]
                scales, base = free - shift, base + shift
        return {'base': base, 'scales': scales, 'ratios': self._group(ratios, ratio, numbers['ratios'])}

    def _places(self, scales: int, ratios: int) -> tuple[Ints, Ints, Ints]:
        """Level, scale and ratio of every anchor in mmdet's order."""
        shape = (self.levels, ratios, scales) if self.built.scale_major else (self.levels, scales, ratios)
        level, first, second = (axis.reshape(-1) for axis in np.indices(shape))
        return (level, second, first) if self.built.scale_major else (level, first, second)

    def config(self, numbers: Numbers) -> dict[str, Any]:
        left = ('base_sizes', 'scales', 'octave_base_scale', 'ratios')
        options = {key: value for key, value in self.options.items() if key not in left}
        scales = rounded(np.sort(numbers['scales']), 3)
        options |= {'octave_base_scale': scales[0]} if self.octave else {'scales': scales}
        options['ratios'] = rounded(np.sort(numbers['ratios']), 3)
        if not self.keep:
            options['base_sizes'] = rounded(numbers['base'], 2)
        elif self.options.get('base_sizes') is not None:
            options['base_sizes'] = self.options['base_sizes']
        return options


class SSDForm(AnchorForm):
    """`SSDAnchorGenerator`: on every level a square, a larger square, and pairs of lying and standing boxes.

    Numbers: `small` (L,) side of the first square, `large` (L,) of the second (`max_sizes` is large^2 / small), and
    for level l `ratios_l` (R_l,), above 0. `scale_major` becomes False, as SSD means it: with True mmdet mixes up the
    order of its anchors.
    """

    # A square that is hardly larger, or a pair that is hardly longer, would be an anchor lost.
    _LEAST = np.log(1.05)

    def current(self) -> Numbers:
        small = np.log(np.array(self.built.base_sizes, np.float64))
        steps = np.log(np.array([float(scales[1]) for scales in self.built.scales]))
        ratios = {
            f'ratios_{level}': np.log(np.array(self.options['ratios'][level], np.float64))
            for level in range(self.levels)
        }
        return {'small': small, 'large': small + steps, **ratios}

    def start(self, sizes: Floats, ratios: Floats) -> Numbers:
        small = self._level_clusters(sizes, self.levels)
        gaps = np.diff(small)
        last = gaps[-1] if len(gaps) else 2 * self._LEAST
        large = small + np.maximum(np.append(gaps, last) / 2, self._LEAST)
        return {**self.current(), 'small': self._by_stride(small), 'large': self._by_stride(large)}

    def update(self, numbers: Numbers, sizes: Floats, ratios: Floats, anchors: Ints) -> Numbers:
        counts = [2 + 2 * len(numbers[f'ratios_{level}']) for level in range(self.levels)]
        level = np.repeat(np.arange(self.levels), counts)[anchors]
        place = np.concatenate([np.arange(count) for count in counts])[anchors]
        # mmdet's order: small square, large square, then 1 / r and r for each ratio.
        is_large = place == 1
        small = self._group(sizes[~is_large], level[~is_large], numbers['small'])
        filled = np.bincount(level[~is_large], minlength=self.levels) > 0
        small = self._follow(small, numbers['small'], filled)
        shift = np.where(filled, 0.0, small - numbers['small'])
        large = self._group(sizes[is_large], level[is_large], numbers['large'] + shift)
        updated = {'small': small, 'large': np.maximum(large, small + self._LEAST)}
        for number in range(self.levels):
            old = numbers[f'ratios_{number}']
            mine = (level == number) & (place > 1)
            found = self._group(np.abs(ratios[mine]), (place[mine] - 2) // 2, old)
            updated[f'ratios_{number}'] = np.maximum(found, self._LEAST)
        return updated

    def config(self, numbers: Numbers) -> dict[str, Any]:
        left = ('basesize_ratio_range', 'input_size')
        options = {key: value for key, value in self.options.items() if key not in left}
        return {
            **options,
            'scale_major': False,
            'min_sizes': rounded(numbers['small'], 2),
            'max_sizes': rounded(2 * numbers['large'] - numbers['small'], 2),
            'ratios': [rounded(numbers[f'ratios_{level}'], 3) for level in range(self.levels)],
        }


def rounded(logs: Sequence[float] | Floats, digits: int) -> list[float]:
    """Values of logarithms, positive after rounding, too."""
    return [max(round(float(value), digits), 10.0**-digits) for value in np.exp(logs)]


def yolo_config(options: Mapping[str, Any], shapes: Floats) -> dict[str, Any]:
    """Config of a `YOLOAnchorGenerator` with these anchors: the largest for the level of the largest stride.

    Args:
        options: Config of the generator, with as many anchors.
        shapes: (A, 2) widths and heights, by area.
    """
    built = TASK_UTILS.build(dict(options))
    strides = [min(stride) for stride in built.strides]
    parts = np.split(shapes, len(strides))
    base_sizes: list[Any] = [None] * len(strides)
    for part, level in zip(parts, np.argsort(strides, kind='stable'), strict=True):
        base_sizes[level] = [tuple(rounded(np.log(shape), 1)) for shape in part]
    return {**options, 'base_sizes': base_sizes}
