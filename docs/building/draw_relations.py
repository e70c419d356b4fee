"""Pictures of what relations compute, drawn by their functions."""

from pathlib import Path

import torch
from matplotlib.patches import Rectangle

from mmdet_ext.analysis.figures import new_figure, plain_axes, save_figure
from mmdet_ext.models.relations.geometry import box_geometry, sine_embedding
from mmdet_ext.models.relations.object_count import expected_counts
from mmdet_ext.models.relations.spatial_kernels import PolarGaussians, polar_offsets

COLORS = ('#1f5c8b', '#e4572e', '#76a21e', '#8a4fbe')


def draw_geometry(out: Path) -> None:
    """The four numbers of pairs of boxes, and the embedding of a distance."""
    query = torch.tensor([[[40.0, 40, 60, 70]]])
    keys = torch.tensor([[[62.0, 41, 82, 71], [5, 5, 25, 35], [44, 46, 56, 58], [8, 62, 52, 92]]])
    numbers = box_geometry(query, keys)[0, 0]
    figure = new_figure(9.4, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    x1, y1, x2, y2 = query[0, 0].tolist()
    left.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fc='#dddddd', ec='#333333', lw=1.8))
    left.text(x1 + 1, y1 - 1.5, 'looks', fontsize=8)
    for place, text in enumerate(('|dx|/w', '|dy|/h', "w/w'", "h/h'")):
        left.text(104 + 16 * place, 12, text, fontsize=8, ha='center')
    for line, (box, color, row) in enumerate(zip(keys[0].tolist(), COLORS, numbers.tolist(), strict=True)):
        x1, y1, x2, y2 = box
        left.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=color, lw=1.8))
        for place, number in enumerate(row):
            left.text(104 + 16 * place, 26 + 14 * line, f'{number:.1f}', fontsize=8.5, color=color, ha='center')
    left.set(xlim=(0, 160), ylim=(100, 0), aspect='equal')
    left.set_axis_off()
    left.set_title('logarithms of', fontsize=10, x=0.8, y=0.94)
    distance = torch.linspace(-7, 2, 400)
    waves = sine_embedding(distance[:, None].expand(-1, 4), 64)[:, :16]
    right.imshow(waves.T, aspect='auto', cmap='RdBu', extent=(-7, 2, 16, 0), interpolation='nearest')
    plain_axes(right, 'eight sines and eight cosines of one number')
    right.grid(False)
    right.set(xlabel='log |dx|/w', yticks=[])
    save_figure(figure, out)


def draw_counts(out: Path) -> None:
    """One object and five objects, three boxes each: mean of the scores, and count."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.tensor([[25.0, 25], [70, 20], [50, 55], [20, 78], [78, 76]])
    figure = new_figure(9, 3.0)
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    means, counts = [], []
    for axes, number in zip(panels, (1, 5), strict=False):
        spots = centres[:number, None] + torch.randn(number, 3, 2, generator=generator) * 1.2
        boxes = torch.cat([spots - 9, spots + 9], dim=-1).reshape(1, -1, 4)
        probs = torch.tensor([0.9, 0.1]).expand(1, boxes.shape[1], 2)
        mask = torch.ones(1, boxes.shape[1], dtype=torch.bool)
        means.append(probs[..., 0].mean().item())
        counts.append(expected_counts(boxes, probs, mask).item())
        for x1, y1, x2, y2 in boxes[0].tolist():
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=COLORS[0], lw=1.1))
        axes.set(xlim=(0, 100), ylim=(100, 0), aspect='equal', xticks=[], yticks=[])
        axes.set_title(f'{boxes.shape[1]} boxes on {number} object{"s" if number > 1 else ""}', fontsize=10)
    places = torch.arange(2)
    for offset, heights, name, color in ((-0.2, means, 'mean score', '#9aa3ad'), (0.2, counts, 'count', COLORS[0])):
        bars = panels[2].bar(places + offset, heights, width=0.36, color=color, label=name)
        panels[2].bar_label(bars, fmt='%.1f', fontsize=8)
    plain_axes(panels[2], 'what a box is told', grid='y')
    panels[2].set_xticks(places, ['one', 'five'])
    panels[2].legend(fontsize=8, frameon=False)
    save_figure(figure, out)


def draw_kernels(out: Path) -> None:
    """Weights of four kernels around a box in the middle of an image, as training starts."""
    torch.manual_seed(1)
    kernels = PolarGaussians(4)
    steps = torch.linspace(0, 1, 81)
    y, x = torch.meshgrid(steps, steps, indexing='ij')
    spots = torch.stack([x, y, x, y], dim=-1).reshape(-1, 4)
    # An image for each spot, with a box in the middle and one there.
    boxes = torch.stack([torch.full_like(spots, 0.5), spots], dim=1) * 100
    with torch.no_grad():
        offsets = polar_offsets(boxes, torch.tensor([[100, 100]]).expand(len(boxes), 2))
        weights = kernels(offsets)[:, :, 0, 1].exp().T
    figure = new_figure(9, 2.6)
    for axes, weight in zip(figure.subplots(1, 4), weights, strict=True):
        axes.imshow(weight.reshape(81, 81), cmap='YlGnBu', extent=(0, 1, 1, 0), vmin=0, vmax=1)
        axes.add_patch(Rectangle((0.46, 0.46), 0.08, 0.08, fc='white', ec='#333333', lw=1))
        axes.set(xticks=[], yticks=[])
    save_figure(figure, out)
