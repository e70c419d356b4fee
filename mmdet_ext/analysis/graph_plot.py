"""Draws a category graph: the matrix on the left, its classes and strongest relations on the right."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mmdet_ext.graphs import CategoryGraph

MAX_CLASSES_WITH_VALUES = 20
MAX_CLASSES_WITH_LEVEL_NAMES = 16
EDGES_PER_CLASS = 2
_COLORMAP = 'YlGnBu'
_EDGE_COLOR = '#1f5c8b'
_NODE_COLOR = '#e4572e'


def plot_category_graph(
    graph: CategoryGraph, out: str | Path, title: str | None = None, top: int | None = None
) -> Path:
    """Write a picture of a category graph.

    Left the matrix with the background last; the diagonal is grey, so that colours spread over the relations. Right the
    classes on a circle, the area of a dot by how often the class occurs, the width of a line by its weight (of the
    stronger direction where the graph is directed), at most `EDGES_PER_CLASS` lines per class, the strongest first.

    Args:
        graph: What to draw.
        out: Picture file; its suffix is the format (.png, .pdf, .svg ...). Missing folders are made.
        title: Line above both. Default: what was counted.
        top: Draw only this many classes, those that occur most often. Default: all.

    Returns:
        The path written.

    Raises:
        ValueError: `top` is below 1.
    """
    if top is not None:
        if top < 1:
            raise ValueError(f'top must be at least 1, got {top}')
        commonest = np.argsort(-np.diagonal(graph.counts), kind='stable')[:top]
        graph = graph.remap([graph.classes[index] for index in sorted(commonest)])
    size = float(np.clip(0.42 * len(graph.classes), 5.5, 17))
    figure = Figure(figsize=(2.35 * size, size + 0.7), layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    figure.suptitle(title or _describe(graph), fontsize=12 + 0.5 * (size - 5.5))
    _draw_matrix(left, graph)
    _draw_circle(right, graph)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    return out


def _describe(graph: CategoryGraph) -> str:
    if graph.kind != 'cooccurrence':
        return f'category graph of kind {graph.kind!r}, {len(graph.classes)} classes'
    return f'{len(graph.classes)} classes in {graph.n_images} images, level {graph.level!r}, norm {graph.norm!r}'


def _font_size(n_items: int) -> float:
    return 10.0 if n_items <= 12 else 9.0


def _draw_matrix(axes: Axes, graph: CategoryGraph) -> None:
    names = [*graph.classes, 'background']
    font = _font_size(len(names))
    off_diagonal = np.ma.masked_array(graph.matrix, mask=np.eye(len(names), dtype=bool))
    limit = float(off_diagonal.max()) or 1.0
    axes.set_facecolor('#d8d8d8')
    image = axes.imshow(off_diagonal, cmap=_COLORMAP, vmin=min(0.0, float(off_diagonal.min())), vmax=limit)
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 45, fontsize=font)
    if len(names) <= 8:
        for label in axes.get_xticklabels():
            label.set(ha='right', rotation_mode='anchor')
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which='minor', color='white', linewidth=0.6)
    axes.tick_params(which='both', length=0)
    axes.spines[:].set_visible(False)
    if len(graph.classes) <= MAX_CLASSES_WITH_VALUES:
        decimals = 2 if np.abs(graph.matrix).max() < 10 else 0
        for (row, column), value in np.ndenumerate(graph.matrix):
            if value:
                dark = row != column and value > 0.55 * limit
                color = 'white' if dark else '#222222'
                axes.text(
                    column, row, f'{value:.{decimals}f}', ha='center', va='center', fontsize=0.85 * font, color=color
                )
    axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, label='weight')


def _draw_circle(axes: Axes, graph: CategoryGraph) -> None:
    n_classes = len(graph.classes)
    angles = np.pi / 2 - 2 * np.pi * np.arange(n_classes) / max(n_classes, 1)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    drawn = _draw_edges(axes, graph, points)
    occurrences = np.diagonal(graph.counts)
    share = occurrences / max(int(occurrences.max(initial=0)), 1)
    area = float(np.clip(5000 / max(n_classes, 1), 160, 400))
    axes.scatter(
        points[:, 0], points[:, 1], s=area * (0.15 + 0.85 * share), color=_NODE_COLOR, edgecolors='white', zorder=3
    )
    # Radial names do not run into each other on a full circle; few names read better level.
    radial = n_classes > MAX_CLASSES_WITH_LEVEL_NAMES
    for name, (x, y) in zip(graph.classes, points, strict=True):
        degrees = np.degrees(np.arctan2(y, x))
        sideways = radial or abs(x) > 0.1
        axes.text(
            1.1 * x,
            1.1 * y,
            name,
            rotation=(degrees if x >= 0 else degrees - 180) if radial else 0,
            rotation_mode='anchor',
            ha=('left' if x >= 0 else 'right') if sideways else 'center',
            va='center' if sideways else 'bottom' if y > 0 else 'top',
            fontsize=_font_size(n_classes),
        )
    margin = 1.4
    axes.set(xlim=(-margin, margin), ylim=(-margin, margin), aspect='equal')
    axes.set_axis_off()
    possible = n_classes * (n_classes - 1) // 2
    axes.set_title(f'the {drawn} strongest of {possible} possible relations' if drawn else 'no relations', fontsize=10)


def _draw_edges(axes: Axes, graph: CategoryGraph, points: np.ndarray) -> int:
    """Draw the strongest edges, the weakest of them first, and return their number."""
    weights = np.abs(graph.matrix[:-1, :-1])
    weights = np.triu(np.maximum(weights, weights.T), k=1)
    order = np.argsort(weights, axis=None, kind='stable')[::-1][: EDGES_PER_CLASS * len(points)]
    order = order[weights.ravel()[order] > 0][::-1]
    if order.size:
        rows, columns = np.unravel_index(order, weights.shape)
        strength = weights[rows, columns] / weights.max()
        segments = np.stack([points[rows], points[columns]], axis=1)
        thickest = 8 if len(points) <= MAX_CLASSES_WITH_LEVEL_NAMES else 5
        axes.add_collection(
            LineCollection(
                list(segments),
                colors=_EDGE_COLOR,
                linewidths=0.4 + thickest * strength,
                alpha=list(0.15 + 0.65 * strength),
                capstyle='round',
            )
        )
    return int(order.size)
