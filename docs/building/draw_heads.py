"""Pictures of what is wired to what."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from mmdet_ext.analysis.figures import new_figure, save_figure

PLAIN, OURS, EDGE = '#e8edf3', '#d9ead3', '#45525f'


def _block(
    axes: Axes, x: float, y: float, text: str, color: str = PLAIN, width: float = 1.7, height: float = 0.62
) -> None:
    """A rounded block around (x, y)."""
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle='round,pad=0,rounding_size=0.09',
        fc=color,
        ec=EDGE,
        lw=0.9,
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha='center', va='center', fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = '') -> None:
    style = dict(arrowstyle='-|>', color=EDGE, lw=0.9, shrinkA=0, shrinkB=0)
    axes.annotate('', end, start, arrowprops=style)
    if text:
        axes.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.1, text, ha='center', fontsize=8, color=EDGE)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(0, height), aspect='equal')
    axes.set_axis_off()
    return figure, axes


def draw_head(out: Path) -> None:
    """The way of RoI features through `RelationBBoxHead`."""
    figure, axes = _canvas(9.6, 3.0)
    _block(axes, 1.0, 2.2, 'RoI features')
    _block(axes, 3.3, 2.2, 'shared layers')
    _block(axes, 3.3, 0.6, 'base classifier', OURS)
    _block(axes, 5.7, 0.6, 'relations', OURS)
    _block(axes, 5.7, 2.2, 'fusion', OURS)
    _block(axes, 8.2, 2.2, 'classes, boxes')
    _block(axes, 8.2, 0.6, 'feature maps,\nparts, box places', '#fbf3d9')
    _arrow(axes, (1.85, 2.2), (2.45, 2.2))
    _arrow(axes, (4.15, 2.2), (4.85, 2.2))
    _arrow(axes, (6.55, 2.2), (7.35, 2.2))
    _arrow(axes, (3.3, 1.89), (3.3, 0.91))
    _arrow(axes, (4.15, 0.6), (4.85, 0.6), 'scores,')
    axes.text(4.5, 0.4, 'weights', ha='center', fontsize=8, color=EDGE)
    _arrow(axes, (5.7, 0.91), (5.7, 1.89))
    _arrow(axes, (4.05, 1.89), (5.05, 0.91))
    _arrow(axes, (7.35, 0.6), (6.55, 0.6))
    axes.text(3.3, 0.08, 'losses of its own', ha='center', fontsize=8, color=EDGE)
    axes.text(9.5, 2.85, 'green: ours', ha='right', fontsize=8, color=EDGE)
    save_figure(figure, out)


def draw_ssh(out: Path) -> None:
    """The context module behind every level."""
    figure, axes = _canvas(9.6, 2.9)
    _block(axes, 0.9, 1.45, 'level, C', width=1.3)
    for x, y, text in (
        (4.7, 2.4, '3 x 3, C/2'),
        (2.8, 0.95, '3 x 3, C/4'),
        (4.7, 1.45, '3 x 3, C/4'),
        (4.7, 0.45, '3 x 3, C/4'),
        (6.5, 0.45, '3 x 3, C/4'),
    ):
        _block(axes, x, y, text, OURS, width=1.4, height=0.55)
    _block(axes, 8.8, 1.45, 'side by\nside, C', width=1.2)
    _arrow(axes, (1.55, 1.62), (4.0, 2.4))
    _arrow(axes, (1.55, 1.28), (2.1, 0.95))
    _arrow(axes, (3.5, 1.05), (4.0, 1.45))
    _arrow(axes, (3.5, 0.85), (4.0, 0.45))
    _arrow(axes, (5.4, 0.45), (5.8, 0.45))
    _arrow(axes, (5.4, 2.4), (8.2, 1.65))
    _arrow(axes, (5.4, 1.45), (8.2, 1.45))
    _arrow(axes, (7.2, 0.45), (8.2, 1.25))
    for y, text in ((2.25, 'sees 3 x 3'), (1.52, 'sees 5 x 5')):
        axes.text(6.75, y, text, ha='center', fontsize=8, color=EDGE)
    axes.text(8.05, 0.6, 'sees 7 x 7', ha='left', fontsize=8, color=EDGE)
    save_figure(figure, out)
