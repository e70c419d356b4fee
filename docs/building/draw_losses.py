"""Pictures of losses and of the assigner, drawn by running them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_ext.analysis.figures import new_figure, plain_axes, save_figure
from mmdet_ext.models.losses import GHMCLoss, complete_iou_loss
from mmdet_ext.models.task_modules.assigners import YOLOAssigner

COLORS = ('#1f5c8b', '#e4572e', '#76a21e')
BACKGROUND, IGNORED = '#c9ced4', '#fff3c4'


def draw_complete_iou(out: Path) -> None:
    """Loss of a box that slides over its target; pull of the overlap with and without a gradient of alpha."""
    shift = torch.linspace(-150, 150, 601)
    edge = torch.zeros_like(shift)
    target = torch.stack([edge, edge, edge + 40, edge + 40], dim=1)
    moved = target + shift[:, None] * torch.tensor([1.0, 0, 1, 0])
    overlap = (40 - shift.abs()).clamp(min=0)
    figure = new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    left.plot(shift, 1 - overlap / (80 - overlap), color='#9aa3ad', label='1 - IoU')
    left.plot(shift, complete_iou_loss(moved, target, reduction='none'), color=COLORS[0], label='complete IoU')
    plain_axes(left, 'loss')
    left.set_xlabel('shift of a box of 40 pixels')
    shape = torch.linspace(0, 0.6, 200)
    for iou, color in zip((0.9, 0.7, 0.4), COLORS, strict=True):
        miss = torch.full_like(shape, 1 - iou, requires_grad=True)
        (pull,) = torch.autograd.grad((miss + shape.square() / (miss + shape)).sum(), miss)
        right.plot(shape, pull, color=color, label=f'alpha differentiated, IoU {iou}')
    right.axhline(1, color='#333333', linestyle='--', label='alpha a constant')
    plain_axes(right, 'pull of the overlap, dL / d(1 - IoU)')
    right.set(xlabel='v, how wrong the shape is', ylim=(0, 1.08))
    for axes in (left, right):
        axes.legend(fontsize=8, frameon=False)
    save_figure(figure, out)


def draw_gradient_density(out: Path) -> None:
    """Counts and weights of the bins of a batch like that of a one-stage detector."""
    generator = torch.Generator().manual_seed(0)
    easy, middle, hopeless = (torch.rand(number, generator=generator) for number in (100_000, 20_000, 6_000))
    sizes = torch.cat([easy.pow(6), middle, 1 - hopeless.pow(2) * 0.15])
    # Of a negative the gradient is the score.
    logits = torch.logit(sizes.clamp(1e-4, 1 - 1e-4))[:, None]
    loss = GHMCLoss(bins=20)
    weighed = loss(logits, torch.zeros_like(logits), reduction_override='none')[:, 0]
    plain = torch.nn.functional.softplus(logits)[:, 0]
    index = (logits.sigmoid()[:, 0] * 20).long().clamp(max=19)
    counts = torch.bincount(index, minlength=20)
    beta = torch.zeros(20).index_put_((index,), weighed / plain)
    figure = new_figure(9, 3.0)
    left, right = figure.subplots(1, 2)
    for axes, heights, title, color in (
        (left, counts, 'entries', '#9aa3ad'),
        (right, beta, 'weight of an entry', COLORS[0]),
    ):
        axes.bar((torch.arange(20) + 0.5) / 20, heights, width=0.046, color=color)
        axes.set_yscale('log')
        axes.set_xlabel('size of the gradient, |score - target|')
        plain_axes(axes, title, grid='y')
    save_figure(figure, out)


def _scene(
    priors: Sequence[Sequence[float]], objects: Sequence[Sequence[float]], ignored: Sequence[Sequence[float]]
) -> tuple[InstanceData, ...]:
    def boxes(rows: Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)

    return (
        InstanceData(priors=boxes(priors)),
        InstanceData(bboxes=boxes(objects), labels=torch.zeros(len(objects), dtype=torch.long)),
        InstanceData(bboxes=boxes(ignored)),
    )


def _draw_scene(axes: Axes, scene: tuple[InstanceData, ...], assigned: list[int]) -> None:
    """Priors filled in the colour of what they learn, objects as frames."""
    priors, objects, ignored = scene[0].priors, scene[1].bboxes, scene[2].bboxes
    for (x1, y1, x2, y2), number in zip(priors.tolist(), assigned, strict=True):
        color = COLORS[number - 1] if number > 0 else IGNORED if number < 0 else BACKGROUND
        axes.add_patch(Rectangle((x1 + 0.4, y1 + 0.4), x2 - x1 - 0.8, y2 - y1 - 0.8, color=color, alpha=0.75, lw=0))
    for (x1, y1, x2, y2), color in zip(objects.tolist(), COLORS, strict=False):
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=color, lw=2.2))
    for x1, y1, x2, y2 in ignored.tolist():
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec='#555555', lw=1.2, ls=':'))
    axes.set(xlim=(-3, 45), ylim=(43, -3), aspect='equal')
    axes.set_axis_off()


def draw_assigner(out: Path) -> None:
    """Four scenes, assigned by mmdet's assigner and by ours."""
    cells = [[x, y, x + 12, y + 12] for y in (0, 13) for x in (0, 13, 26)]
    scenes = {
        'an object without a prior': _scene(cells, [[0, 0, 12, 12], [30, 31, 41, 41]], []),
        'one best prior for two': _scene(cells, [[12, 0, 24, 12], [18, 1, 30, 13]], []),
        'a region to be ignored': _scene(cells, [[13, 0, 25, 13]], [[11, -1, 40, 27]]),
        'two equally good priors': _scene(cells, [[6, 0, 19, 12]], []),
    }
    figure = new_figure(9.4, 4.5)
    rows = figure.subplots(2, len(scenes))
    for column, (title, scene) in enumerate(scenes.items()):
        for row, assigner in enumerate((MaxIoUAssigner(0.6, 0.4, ignore_iof_thr=0.5), YOLOAssigner(0.6, 0.4))):
            axes = rows[row, column]
            _draw_scene(axes, scene, assigner.assign(*scene).gt_inds.tolist())
            if row == 0:
                axes.set_title(title, fontsize=9)
            if column == 0:
                axes.text(-6, 20, type(assigner).__name__, rotation=90, ha='center', va='center', fontsize=9)
    legend = 'frames: objects; filled: what a prior learns; grey: background; yellow: ignored; dotted: to be ignored'
    figure.supxlabel(legend, fontsize=8)
    save_figure(figure, out)
