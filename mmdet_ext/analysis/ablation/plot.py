"""The picture of an ablation: every run a point, every arm its mean and standard deviation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..figures import new_figure, plain_axes, save_figure

_POINT, _MEAN = '#7a9cc6', '#1f3c66'


def plot_ablation(result: Mapping[str, Any], out: str | Path) -> Path:
    """Draw one panel a metric and one line an arm; the dashed line is the mean of the reference.

    Args:
        result: See `collect_results`.
        out: Picture file. Missing folders are made.

    Returns:
        The path written.
    """
    metrics = result['metrics'] or ['no metric']
    height = 1.4 + 0.42 * len(result['arms'])
    figure = new_figure(2 + 3.2 * len(metrics), height)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _draw_panel(axes, result, metric)
    names = list(result['arms'])
    # Long generated names break behind their commas.
    panels[0].set_yticks(range(len(names)), [name.replace(',', ',\n') for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return save_figure(figure, out)


def _draw_panel(axes: Axes, result: Mapping[str, Any], metric: str) -> None:
    plain_axes(axes, metric, grid='x')
    axes.spines['left'].set_visible(False)
    axes.tick_params(axis='y', length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    for index, (name, row) in enumerate(result['arms'].items()):
        spread = row['metrics'].get(metric)
        if spread is None:
            axes.text(
                0.5, index, 'no value', transform=axes.get_yaxis_transform(), ha='center', va='center', color='#999999'
            )
            continue
        values = list(spread['values'].values())
        axes.plot(values, [index] * len(values), 'o', color=_POINT, markersize=5, alpha=0.8)
        axes.errorbar(
            spread['mean'], index, xerr=spread['std'], fmt='|', color=_MEAN, markersize=14, capsize=4, zorder=3
        )
        if name == result['reference']:
            axes.axvline(spread['mean'], color=_MEAN, linestyle='--', linewidth=0.8, zorder=1)
