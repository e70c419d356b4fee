"""Charts of the report: score histograms, proposal recall, anchor coverage, error types, losses, sizes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mmdet_ext.analysis.figures import new_figure, plain_axes

from .evidence import SplitEvidence, StageEvidence
from .record import PLACES, SCORE_BINS

COLORS = {'train': '#8d99a6', 'val': '#0b7a75', 'test': '#0b5d8a'}
_PLACES = {'positive': '#0b7a75', 'negative': '#b3403a', 'ignored': '#b9c2cb'}
_WIDTH, _HEIGHT = 4.6, 3.0


def _panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with up to two panels in a row."""
    columns = min(len(titles), 2)
    rows = -(-len(titles) // 2)
    figure = new_figure(_WIDTH * columns, _HEIGHT * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel().tolist()
    for panel, title in zip(axes, titles, strict=False):
        plain_axes(panel, title)
    for panel in axes[len(titles) :]:
        panel.set_axis_off()
    return figure, axes


def draw_histograms(splits: Mapping[str, SplitEvidence]) -> Figure | None:
    """Scores of positives, negatives and ignored priors of each head; None without heads."""
    shown = [(split, name, stage) for split, each in splits.items() for name, stage in each.stages.items()]
    if not shown:
        return None
    figure, panels = _panels([f'{name}, {split}' for split, name, _ in shown])
    middles = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    for axes, (_, _, stage) in zip(panels, shown, strict=False):
        for place, counts in zip(PLACES, stage.histograms, strict=True):
            if counts.sum():
                axes.step(middles, np.maximum(counts, 0.5), where='mid', label=place, color=_PLACES[place])
        axes.axvline(0.5, color='#5b6875', linewidth=0.8, linestyle=':')
        axes.set(yscale='log', xlim=(0, 1), xlabel='highest foreground score', ylabel='priors')
        axes.legend(fontsize=8, frameon=False)
    return figure


def draw_recall(splits: Mapping[str, SplitEvidence]) -> Figure | None:
    """Recall of the proposals over their number; None without RPN."""
    shown = {split: each for split, each in splits.items() if each.proposals}
    if not shown:
        return None
    figure, panels = _panels(['recall at an overlap of 0.5', 'mean recall at 0.5 to 0.95'])
    for split, each in shown.items():
        for axes, curve in zip(panels, (each.proposals_50, each.proposals), strict=False):
            axes.plot(list(curve), list(curve.values()), marker='o', markersize=4, label=split, color=_color(split))
    for axes in panels:
        axes.set(xscale='log', ylim=(0, 1.03), xlabel='proposals per image', ylabel='recall')
        axes.legend(fontsize=8, frameon=False)
    return figure


def draw_coverage(splits: Mapping[str, SplitEvidence]) -> Figure | None:
    """Share of objects that some prior reaches over the overlap, and priors and positives of each level."""

    def stages(each: SplitEvidence) -> dict[str, StageEvidence]:
        return {name: stage for name, stage in each.stages.items() if stage.kind == 'priors'}

    names = list(dict.fromkeys(name for each in splits.values() for name in stages(each)))
    if not names:
        return None
    titles = [title for name in names for title in (f'best possible recall, {name}', f'positives per level, {name}')]
    figure, panels = _panels(titles)
    for place, name in enumerate(names):
        curve, bars = panels[2 * place : 2 * place + 2]
        own = {split: stages(each)[name] for split, each in splits.items() if name in stages(each)}
        for number, (split, stage) in enumerate(own.items()):
            overlaps = list(stage.best_recall)
            curve.plot(
                overlaps, list(stage.best_recall.values()), marker='o', markersize=4, label=split, color=_color(split)
            )
            levels = np.arange(len(stage.level_positives))
            width = 0.8 / len(own)
            bars.bar(
                levels + (number + 0.5) * width - 0.4, stage.level_positives, width, label=split, color=_color(split)
            )
        curve.set(ylim=(0, 1.03), xlabel='overlap with the best prior', ylabel='share of objects')
        bars.set(xlabel='level', ylabel='positives per image', xticks=range(len(levels)))
        curve.legend(fontsize=8, frameon=False)
    return figure


def draw_errors(splits: Mapping[str, SplitEvidence]) -> Figure | None:
    """AP that each type of error costs; None without detections to judge."""
    shown = {split: each for split, each in splits.items() if each.tide}
    if not shown:
        return None
    return _bars(
        {split: each.tide for split, each in shown.items()}, 'AP lost at an overlap of 0.5', lambda v: f'{v:.3f}'
    )


def draw_gradients(gradients: Mapping[str, float]) -> Figure | None:
    """Norm of the gradient of each loss term; None where none was measured."""
    if not gradients:
        return None
    return _bars({'': gradients}, 'gradient norm at the shared trunk', lambda v: f'{v:.2g}')


def draw_losses(splits: Mapping[str, SplitEvidence]) -> Figure | None:
    """Median and quartiles of every loss term; None without losses."""
    shown = {split: each.losses for split, each in splits.items() if each.losses}
    if not shown:
        return None
    terms = list(dict.fromkeys(term for losses in shown.values() for term in losses))
    figure = new_figure(2 * _WIDTH, 0.8 + 0.36 * len(terms))
    axes = figure.subplots()
    plain_axes(axes, 'loss of single images: median, middle half (bar), nine tenths (line)', grid='x')
    for number, (split, losses) in enumerate(shown.items()):
        for place, term in enumerate(terms):
            if term in losses:
                each = losses[term]
                y = place + (number - (len(shown) - 1) / 2) * 0.3
                axes.plot([each['q25'], each['q90']], [y, y], color=_color(split), linewidth=1)
                label = split if not place else None
                axes.plot([each['q25'], each['q75']], [y, y], color=_color(split), linewidth=6, alpha=0.55, label=label)
                axes.plot(each['median'], y, 'o', color=_color(split), markersize=5)
    axes.set_yticks(range(len(terms)), terms, fontsize=8)
    axes.invert_yaxis()
    lows = [each['q25'] for losses in shown.values() for each in losses.values() if each['q25'] > 0]
    if lows:
        axes.set_xscale('log')
        axes.set_xlim(left=0.7 * min(lows))
        # Losses often lie within one decade, whose inner ticks would be written as powers of ten.
        for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            ticks(ScalarFormatter())
    axes.legend(fontsize=8, frameon=False)
    return figure


def _bars(groups: Mapping[str, Mapping[str, float]], title: str, write: Callable[[float], str]) -> Figure:
    names = list(next(iter(groups.values())))
    figure = new_figure(2 * _WIDTH, 0.8 + 0.34 * len(names) * max(len(groups), 1) ** 0.5)
    axes = figure.subplots()
    plain_axes(axes, title, grid='x')
    height = 0.8 / len(groups)
    for number, (split, values) in enumerate(groups.items()):
        places = np.arange(len(names)) + (number + 0.5) * height - 0.4
        bars = axes.barh(places, [values[name] for name in names], height, color=_color(split), label=split or None)
        axes.bar_label(bars, [write(values[name]) for name in names], fontsize=7.5, padding=3)
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    if any(groups):
        axes.legend(fontsize=8, frameon=False)
    return figure


def _color(split: str) -> str:
    return COLORS.get(split, '#0b5d8a')
