"""Tables, config snippet and pictures of fitted anchors."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ..figures import new_figure, plain_axes, save_figure
from ..report import format_number
from ..tables import markdown_table, write_csv
from .boxes import BoxSet, Floats
from .heads import AnchorGrid
from .overlap import Coverage, share_from

# Dots in the picture of shapes.
_DOTS = 4000
_COLOURS = {'config': '#c44e52', 'fitted': '#2a6fb0', 'free clusters': '#777777'}


def coverage_table(rows: Mapping[str, Coverage], threshold: float) -> tuple[list[str], list[list[str]]]:
    """Head and cells: for each set of anchors what it reaches.

    Args:
        rows: By name of the set; all with the same thresholds.
        threshold: IoU from which an anchor is positive.
    """
    thresholds = list(next(iter(rows.values())).recall)
    head = ['anchors', 'mean IoU', *(f'recall at {thr:g}' for thr in thresholds), 'mean IoU on the grid']
    head.append(f'best possible recall at {threshold:g}')
    cells = [
        [
            name,
            format_number(row.mean_iou),
            *(format_number(row.recall[thr]) for thr in thresholds),
            format_number(row.grid_iou),
            format_number(row.possible),
        ]
        for name, row in rows.items()
    ]
    return head, cells


def level_table(grid: AnchorGrid, coverage: Coverage) -> tuple[list[str], list[list[str]]]:
    """Head and cells: for each level its anchors, and the share of the boxes that they cover best."""
    level_of_box = grid.levels[coverage.numbers]
    cells = []
    for level, stride in enumerate(grid.strides):
        mine = level_of_box == level
        shapes = ', '.join(f'{w:.0f}x{h:.0f}' for w, h in grid.shapes[grid.levels == level])
        mean = float(coverage.overlaps[mine].mean()) if mine.any() else None
        cells.append([f'{stride.min():g}', shapes, f'{mine.mean():.1%}', format_number(mean)])
    return ['stride', 'anchors (w x h)', 'boxes', 'mean IoU on the grid'], cells


def describe_uncovered(boxes: BoxSet, grid: AnchorGrid, coverage: Coverage, threshold: float) -> str | None:
    """A sentence on the boxes that no anchor reaches, if they are more than a few."""
    low = coverage.overlaps < threshold - 1e-6
    if low.mean() < 0.01:
        return None
    finest = grid.strides.min()
    small = low & (boxes.shapes.min(1) < finest)
    sentence = f'{low.sum()} of {len(boxes)} boxes have no anchor with an IoU of {threshold:g}'
    if share_from(small[low].astype(np.float64), 1.0) > 0.25:
        return (
            f'{sentence}; {small.sum()} of them have a side below {finest:g} pixels, the finest stride: a finer level '
            'or larger images would reach them.'
        )
    return f'{sentence}: more ratios or scales would reach them, or a lower pos_iou_thr; forced matches serve some.'


def make_snippet(cfg: Config, config: str | Path, key: str, options: Mapping[str, Any]) -> str:
    """Text of a config that is the given one with other anchors.

    Args:
        cfg: The config as it was read.
        config: Its name, which becomes the base: a path is made absolute, `mmdet::...` stays.
        key: Config key of the generator.
        options: Its new config.
    """
    base = str(config) if '::' in str(config) else str(Path(config).resolve())
    parts = key.split('.')
    # mmengine replaces lists as a whole, so from the first one on all is written.
    until = next((place for place, part in enumerate(parts) if part.isdigit()), None)
    if until is None:
        value: Any = {'_delete_': True, **options}
        outer = parts
    else:
        outer = parts[:until]
        value = copy.deepcopy(_value(cfg, outer))
        node: Any = value
        for part in parts[until:-1]:
            node = node[int(part) if part.isdigit() else part]
        node[parts[-1]] = dict(options)
    for part in reversed(outer[1:]):
        value = {part: value}
    return f'_base_ = {base!r}\n{outer[0]} = {_spell(value)}\n'


def _value(node: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        node = node[part]
    return node


def _spell(node: Any, indent: str = '') -> str:
    """A value as a config file has it: a line for each key, numbers side by side (mmengine gives each its own line)."""
    inner = f'{indent}    '
    if isinstance(node, Mapping):
        lines = [f'{inner}{key}={_spell(value, inner)},\n' for key, value in node.items()]
        return f'dict(\n{"".join(lines)}{indent})'
    if isinstance(node, list | tuple):
        parts = [_spell(value, indent) for value in node]
        if isinstance(node, tuple):
            return f'({", ".join(parts)}{"," if len(parts) == 1 else ""})'
        return f'[{", ".join(parts)}]'
    return repr(node.item() if isinstance(node, np.generic) else node)


def write_anchor_table(path: Path, sets: Mapping[str, AnchorGrid]) -> Path:
    """Every anchor as a row of a CSV file."""
    rows = [
        [name, int(level), grid.strides[level].min(), *(round(float(side), 3) for side in shape)]
        for name, grid in sets.items()
        for level, shape in zip(grid.levels, grid.shapes, strict=True)
    ]
    return write_csv(path, ['anchors', 'level', 'stride', 'width', 'height'], rows)


def plot_anchors(boxes: BoxSet, sets: Mapping[str, Floats], rows: Mapping[str, Coverage], out: str | Path) -> Path:
    """Draw the shapes of boxes and anchors, and the share of boxes over the IoU that anchors reach.

    Args:
        boxes: The boxes; of many some are drawn.
        sets: (A, 2) shapes by name.
        rows: What they reach, by the same names.
        out: Picture file. Missing folders are made.

    Returns:
        The path written.
    """
    figure = new_figure(12, 5)
    left, right = figure.subplots(1, 2)
    plain_axes(left, 'widths and heights, in pixels of the resized image')
    dots = boxes.sample(_DOTS, 0).shapes
    left.plot(dots[:, 0], dots[:, 1], '.', color='#bbbbbb', markersize=2, label='boxes')
    for (name, shapes), mark in zip(sets.items(), 'x+.', strict=False):
        left.plot(shapes[:, 0], shapes[:, 1], mark, color=_COLOURS[name], markersize=7, label=name)
    left.set(xscale='log', yscale='log', xlabel='width', ylabel='height')
    plain_axes(right, 'share of the boxes with an anchor of that IoU or more')
    thresholds = np.linspace(0, 1, 101)
    for name, row in rows.items():
        where = 'on the grid' if row.grid_iou is not None else 'shapes alone'
        shares = [share_from(row.overlaps, thr) for thr in thresholds]
        style = '-' if row.grid_iou is not None else '--'
        right.plot(thresholds, shares, style, color=_COLOURS[name], linewidth=1.6, label=f'{name}, {where}')
    right.set(xlabel='IoU', ylim=(0, 1.02), xlim=(0, 1))
    for axes in (left, right):
        axes.legend(fontsize=8, frameon=False)
    return save_figure(figure, out)


def format_report(
    coverage: tuple[Sequence[str], Sequence[Sequence[str]]],
    levels: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]],
    sentences: Sequence[str],
) -> str:
    """The Markdown: what the anchors reach, the levels of each set, and the sentences."""
    lines = [markdown_table(*coverage)]
    for name, table in levels.items():
        lines += ['', f'Levels, {name}:', '', markdown_table(*table)]
    return '\n'.join([*lines, '', *(f'- {sentence}' for sentence in sentences)]) + '\n'
