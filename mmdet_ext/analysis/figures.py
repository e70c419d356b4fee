"""Figures without a window: made, given a plain look, and written."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches; it needs no display and stays out of pyplot's list."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, title: str, grid: str = 'both') -> None:
    """Title, a light grid behind the data, and no frame on the top and on the right.

    Args:
        axes: Panel of a figure.
        title: Above it.
        grid: Axis whose values get lines: 'x', 'y' or 'both'.
    """
    axes.set_title(title, fontsize=10)
    axes.grid(axis=grid, color='#dddddd', linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def save_figure(figure: Figure, out: str | Path) -> Path:
    """Write it; the suffix is the format, missing folders are made.

    Returns:
        The path written.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    return out
