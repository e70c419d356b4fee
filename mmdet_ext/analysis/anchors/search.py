"""Anchors that fit the boxes of a data set: clusters, a fitted generator, and what both reach."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmdet_ext.engine.launch import load_config

from .boxes import read_boxes
from .clusters import Centre, Distance
from .fit import fit_anchors
from .heads import AnchorGrid, find_anchor_head
from .overlap import measure
from .report import (
    coverage_table,
    describe_uncovered,
    format_report,
    level_table,
    make_snippet,
    plot_anchors,
    write_anchor_table,
)

THRESHOLDS = (0.5, 0.6, 0.7)
_print = partial(print, flush=True)


def run_anchor_search(
    config: str | Path,
    *,
    head: str | None = None,
    distance: Distance = 'iou',
    centre: Centre = 'mean',
    keep_base_sizes: bool = False,
    iou_thrs: Sequence[float] = THRESHOLDS,
    num: int | None = None,
    augmented: bool = False,
    seed: int = 0,
    starts: int = 5,
    iterations: int = 100,
    out: str | Path | None = None,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = _print,
) -> dict[str, Any]:
    """Fit the anchors of a config to its training data and write `anchors.{py,md,csv,png}`.

    The generator keeps its kind, its levels and the number of anchors of each, so checkpoints still fit; `anchors.py`
    is the config with the new anchors, ready to train.

    Args:
        config: Any detector's with an `AnchorGenerator`, `SSDAnchorGenerator` or `YOLOAnchorGenerator`.
        head: Config key of the head, where several have anchors.
        distance: Of the clusters: 'iou' or 'euclid'.
        centre: Of clusters and fit: 'mean' or 'median'.
        keep_base_sizes: `AnchorGenerator` only: fit ratios and scales (or `octave_base_scale`) alone.
        iou_thrs: Thresholds of the recall columns.
        num: Number of training images, drawn at random; None for all.
        augmented: Take the boxes that the whole training pipeline packs, see `read_boxes`.
        seed: Of everything random.
        starts: Of the clusters.
        iterations: At most, of clusters and fit.
        out: Folder for the files; default `work_dirs/anchors/<config stem>`.
        dataset: See `load_config`.
        cfg_options: See `load_config`.
        say: Prints a line for the user.

    Returns:
        `options` (config of the fitted generator), `snippet`, `boxes`, `images`, `ignored`, `no_size` (counts), and
        `coverage`: for 'config', 'fitted' and 'free clusters' the `Coverage`.

    Raises:
        FileNotFoundError: Config, annotation file or image are not there.
        ValueError: A bad number, no training data or boxes, or no anchor generator of the three kinds.
    """
    if not iou_thrs or not all(0 < thr <= 1 for thr in iou_thrs):
        raise ValueError(f'thresholds must be above 0 and at most 1, got {list(iou_thrs)}')
    if starts < 1 or iterations < 1:
        raise ValueError(f'starts and iterations must be at least 1, got {starts} and {iterations}')
    cfg = load_config(config, dataset=dataset, cfg_options=cfg_options)
    found = find_anchor_head(cfg, head)
    boxes = read_boxes(cfg, num, seed, augmented)
    say(
        f'{len(boxes)} boxes of {boxes.images} images; left out: {boxes.ignored} to be ignored, {boxes.no_size} '
        'without a size'
    )
    options, shapes = fit_anchors(
        found,
        boxes,
        distance=distance,
        centre=centre,
        seed=seed,
        starts=starts,
        iterations=iterations,
        keep_base_sizes=keep_base_sizes,
    )
    grids = {'config': AnchorGrid.of(found.options), 'fitted': AnchorGrid.of(options)}
    threshold, thresholds = found.pos_iou_thr, sorted(set(iou_thrs))
    coverage = {name: measure(boxes, grid.shapes, grid, threshold, thresholds) for name, grid in grids.items()}
    coverage['free clusters'] = measure(boxes, shapes, None, threshold, thresholds)
    snippet = make_snippet(cfg, config, found.key, options)
    old, new = coverage['config'], coverage['fitted']
    sentences = [
        f'{found.key}: best possible recall at IoU {threshold:g} {old.possible:.3f} -> {new.possible:.3f}, mean IoU on '
        f'the grid {old.grid_iou:.3f} -> {new.grid_iou:.3f}.',
        *filter(None, [describe_uncovered(boxes, grids['fitted'], new, threshold)]),
        *boxes.notes,
    ]
    levels = {name: level_table(grid, coverage[name]) for name, grid in grids.items()}
    text = format_report(coverage_table(coverage, threshold), levels, sentences)
    folder = Path(out) if out is not None else Path('work_dirs', 'anchors', Path(config).stem)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'anchors.py').write_text(snippet, encoding='utf-8')
    (folder / 'anchors.md').write_text(text, encoding='utf-8')
    write_anchor_table(folder / 'anchors.csv', grids)
    sets = {**{name: grid.shapes for name, grid in grids.items()}, 'free clusters': shapes}
    plot_anchors(boxes, sets, coverage, folder / 'anchors.png')
    say(f'\n{text}\n{snippet}')
    say(f'Config, tables and picture: {folder}/anchors.py, .md, .csv, .png')
    return {
        'options': options,
        'snippet': snippet,
        'boxes': len(boxes),
        'images': boxes.images,
        'ignored': boxes.ignored,
        'no_size': boxes.no_size,
        'coverage': coverage,
    }
