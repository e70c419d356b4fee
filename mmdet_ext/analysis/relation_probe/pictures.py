"""Pictures of the relation probe: partners of detections, tables of classes, kernels."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from mmdet_ext.models.relations import SpatialGraphRelation

from ..detection_pictures import class_colors, place_label
from .partners import ImageView, Listening

MAX_CLASSES_WITH_VALUES = 20
_PANEL_INCHES = 3.5
_COLUMNS = 4
_DPI = 130
_FOCUS, _ELSEWHERE, _PART = '#ffffff', '#9fb3c8', '#ffb347'
# Weaker partners would only be hair lines.
_MIN_SHARE = 0.01


def save(figure: Figure, out: str | Path) -> Path:
    """Write a picture; missing folders are made."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=_DPI)
    return out


def draw_partners(view: ImageView, classes: Sequence[str], max_detections: int = 2) -> Figure | None:
    """The image once for each of its best detections and each relation with weights.

    White: the detection. Coloured: other detections, the colour is their class. Grey: a box elsewhere. Orange: parts.
    A line is the wider the more the detection listens.

    Args:
        view: What to draw.
        classes: Class names.
        max_detections: How many detections, best first.

    Returns:
        None where no relation shows weights, or nothing was detected.

    Raises:
        FileNotFoundError: The image is missing or cannot be read.
    """
    pixels = cv2.imread(str(view.file))
    if pixels is None:
        raise FileNotFoundError(f'image {view.file} is missing or not readable')
    pairs = [
        (place, listening)
        for place in range(min(max_detections, len(view.detections)))
        for listening in view.listening[place]
    ]
    if not pairs:
        return None
    height, width = pixels.shape[:2]
    columns = min(_COLUMNS, len(view.listening[0]))
    rows = -(-len(view.listening[0]) // columns) * min(max_detections, len(view.detections))
    size = (columns * _PANEL_INCHES, rows * (_PANEL_INCHES * height / width + 0.62))
    figure = Figure(figsize=size, facecolor='white')
    FigureCanvasAgg(figure)
    figure.dpi = _DPI
    panels = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.004, 0.004, 0.996, 1 - 0.6 / size[1], wspace=0.03, hspace=0.62 / _PANEL_INCHES)
    for axes in panels.flat:
        axes.set_axis_off()
    per_detection = rows // min(max_detections, len(view.detections))
    for index, (place, listening) in enumerate(pairs):
        own = index % len(view.listening[0])
        axes = panels[place * per_detection + own // columns, own % columns]
        axes.imshow(pixels[..., ::-1], interpolation='bicubic')
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        _draw_listening(axes, view, place, listening, classes)
    return figure


def _draw_listening(axes: Axes, view: ImageView, place: int, listening: Listening, classes: Sequence[str]) -> None:
    focus = view.detections.boxes[place]
    colors = class_colors(classes)
    centre = (focus[:2] + focus[2:]) / 2
    scale = max((partner.share for partner in listening.partners), default=1.0)
    title = f'{listening.relation}\n{classes[view.detections.labels[place]]} {view.detections.scores[place]:.2f}'
    if listening.uniform:
        title += f': {listening.objects:.0%} on objects (even: {listening.uniform:.0%})'
    axes.set_title(title, fontsize=9, pad=4, color='#1d2733')
    _box(axes, focus, _FOCUS, 2.2, '-')
    shown = [partner for partner in listening.partners if partner.share >= _MIN_SHARE]
    for partner in shown:
        strength = partner.share / scale
        color = {'roi': _ELSEWHERE, 'part': _PART}.get(partner.kind) or colors.get(partner.name, _FOCUS)
        if partner.kind == 'itself':
            continue
        _box(axes, partner.box, color, 1.0 if partner.kind == 'roi' else 1.5, ':' if partner.kind == 'roi' else '-')
        target = (partner.box[:2] + partner.box[2:]) / 2
        axes.plot(
            *zip(centre, target, strict=True), color=color, lw=0.6 + 5.4 * strength, alpha=0.75, solid_capstyle='round'
        )
    taken: list[Bbox] = []
    boxes = np.array([partner.box for partner in shown]).reshape(-1, 4)
    for index, partner in enumerate(shown):
        plain = partner.kind == 'roi'
        text = f'{partner.share:.0%}' if plain else f'{partner.name} {partner.share:.0%}'
        color = {'itself': _FOCUS, 'roi': _ELSEWHERE, 'part': _PART}.get(partner.kind) or colors[partner.name]
        taken.append(place_label(axes, text, boxes, index, color, taken))


def _box(axes: Axes, box: NDArray, color: str, width: float, style: str) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, lw=width, ls=style))


def draw_table(
    values: NDArray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    write: Callable[[float], str],
    spread: float,
    labels: tuple[str, str] = ('', ''),
    note: str = '',
    colors: str = 'RdBu',
) -> Figure:
    """A table of numbers with colours to both sides of zero; what is not a number stays empty.

    Args:
        values: (n, m).
        rows: n names.
        columns: m names.
        write: A number as it is written into its cell.
        spread: Number that has at least the darkest colour, so that small differences look small.
        labels: Of the vertical and the horizontal axis.
        note: What the colours mean.
        colors: Colour map.
    """
    n_rows, n_columns = values.shape
    size = (3.2 + 0.62 * n_columns, 1.9 + 0.36 * n_rows)
    figure = Figure(figsize=(max(size[0], 6.5), max(size[1], 3.2)), layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shown = np.ma.masked_invalid(values)
    spread = max(spread, float(np.abs(shown).max()) if shown.count() else 0.0)
    axes.set_facecolor('#e6e6e6')
    image = axes.imshow(shown, cmap=colors, vmin=-spread, vmax=spread, aspect='auto')
    axes.set_xticks(range(n_columns), columns, rotation=45, ha='right', rotation_mode='anchor', fontsize=9)
    axes.set_yticks(range(n_rows), rows, fontsize=9)
    axes.set(ylabel=labels[0], xlabel=labels[1])
    axes.set_xticks(np.arange(n_columns - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n_rows - 1) + 0.5, minor=True)
    axes.grid(which='minor', color='white', linewidth=0.8)
    axes.tick_params(which='both', length=0)
    axes.spines[:].set_visible(False)
    if n_columns <= MAX_CLASSES_WITH_VALUES + 1:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                color = 'white' if abs(value) > 0.62 * spread else '#222222'
                text = write(float(value)).replace('-', '−')
                axes.text(column, row, text, ha='center', va='center', fontsize=8, color=color)
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, label=note)
    return figure


@torch.no_grad()
def draw_kernels(relation: SpatialGraphRelation, max_kernels: int = 8) -> Figure:
    """Each kernel of each layer over distance and direction, as seen from a box in the centre.

    Args:
        relation: A spatial graph with kernels.
        max_kernels: How many per layer.
    """
    radius, angle = torch.linspace(0, 1, 60), torch.linspace(-torch.pi, torch.pi, 120)
    grid = torch.stack(torch.meshgrid(radius, angle, indexing='ij'), dim=-1)[None]
    device = next(relation.parameters()).device
    logs = [kernel(grid.to(device))[0, :max_kernels].cpu() for kernel in relation.kernels]
    columns = max(map(len, logs))
    figure = Figure(figsize=(1.55 * columns + 0.3, 1.95 * len(logs)), facecolor='white')
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(logs), columns, squeeze=False, subplot_kw={'projection': 'polar'})
    figure.subplots_adjust(0.02, 0.03, 0.98, 0.88, wspace=0.12, hspace=0.32)
    for axes in panels.flat:
        axes.set_axis_off()
    for layer, log in enumerate(logs):
        # Where the edge weight is equal, only ratios within a kernel count.
        for index, kernel in enumerate((log - log.amax((1, 2), keepdim=True)).exp()):
            _draw_kernel(panels[layer, index], radius, angle, kernel, f'layer {layer + 1}, kernel {index + 1}')
    return figure


def _draw_kernel(axes: Any, radius: torch.Tensor, angle: torch.Tensor, kernel: torch.Tensor, title: str) -> None:
    axes.set_axis_on()
    axes.grid(False)
    axes.pcolormesh(angle.numpy(), radius.numpy(), kernel.numpy(), cmap='magma', vmin=0, vmax=1, shading='gouraud')
    # y grows downwards in an image.
    axes.set_theta_direction(-1)
    axes.set_xticks(np.arange(0, 2 * np.pi, np.pi / 2), ['', '', '', ''])
    axes.set_yticks([0.5], [''])
    axes.grid(True, color='white', alpha=0.35, lw=0.6)
    axes.set_title(title, fontsize=7.5, pad=3)
