"""The picture of training logs: a panel for every scalar, the runs over each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ..figures import new_figure, plain_axes, save_figure
from .training_log import TrainingLog, is_noisy, running_mean

_COLUMNS = 4
# Losses that span more are drawn on a logarithmic axis.
_WIDE = 30.0


def plot_loss_curves(
    logs: Sequence[TrainingLog], names: Sequence[str], windows: Sequence[int], out: str | Path
) -> Path:
    """Draw what was logged as a thin line and its running mean as a thick one, of each run in its colour.

    A learning rate and the metrics of the validation are drawn as they are.

    Args:
        logs: One or more trainings.
        names: Scalars, in the order of the panels.
        windows: Of the running mean of each training, in iterations.
        out: Picture file. Missing folders are made.

    Returns:
        The path written.
    """
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(4.2 * columns, 2.7 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _draw_panel(axes, logs, name, windows)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    handles = [line for line in panels[0].lines if line.get_linewidth() > 1]
    figure.legend(
        handles, [log.name for log in logs], loc='outside upper center', ncols=min(len(logs), 4), frameon=False
    )
    return save_figure(figure, out)


def _draw_panel(axes: Axes, logs: Sequence[TrainingLog], name: str, windows: Sequence[int]) -> None:
    plain_axes(axes, name)
    axes.tick_params(labelsize=8)
    seen: list[float] = []
    for index, log in enumerate(logs):
        color = f'C{index % 10}'
        iterations, values = log.points(name)
        shown = values
        if is_noisy(name):
            axes.plot(iterations, values, color=color, linewidth=0.8, alpha=0.35)
            shown = running_mean(iterations, values, windows[index])
        axes.plot(iterations, shown, color=color, linewidth=1.8, marker=_mark(values))
        seen += values[np.isfinite(values)].tolist()
    if not seen:
        axes.text(0.5, 0.5, 'no finite value', transform=axes.transAxes, ha='center', va='center', color='#999999')
    elif 'loss' in name and min(seen) > 0 and max(seen) > _WIDE * min(seen):
        axes.set_yscale('log')
        axes.yaxis.set_minor_formatter(NullFormatter())


def _mark(values: np.ndarray) -> str | None:
    """Few points are no line."""
    return 'o' if len(values) < 10 else None
