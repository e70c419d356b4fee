"""A grid over the tiny detector, and runs that look finished without a training."""

import json
from pathlib import Path

from mmdet_ext.analysis.ablation.grid import Grid, read_grid
from mmdet_ext.analysis.ablation.plan import Run, plan_runs
from mmdet_ext.engine.hooks.run_record_hook import RECORD
from tests.tiny_coco import make_tiny_coco, tiny_config

GRID = """
base: tiny.py
seeds: [0, 1]
work_dir: {work_dir}
{more}
arms:
  slow: {{}}
  fast: {{options: {{optim_wrapper.optimizer.lr: 1e-2}}}}
"""
COST = {'parameters': 5, 'flops': 7, 'flops_note': 'one image'}
VERSIONS = {'mmdet_ext': '0.1', 'mmdet': '3.3.0', 'pycocotools': '2.0.8', 'torch': '2.13.0'}


def write_grid(folder: Path, more: str = '', text: str = GRID) -> Path:
    """Write data, `tiny.py` (one epoch) and `grid.yml` into a folder; returns the grid file."""
    if not (folder / 'tiny.py').exists():
        (folder / 'tiny.py').write_text(tiny_config(make_tiny_coco(folder / 'data', n=4), epochs=1))
    (folder / 'grid.yml').write_text(text.format(work_dir=folder / 'out', more=more))
    return folder / 'grid.yml'


def plan(folder: Path, more: str = '', text: str = GRID) -> tuple[Grid, list[Run]]:
    """The grid and its runs."""
    grid = read_grid(write_grid(folder, more, text))
    return grid, plan_runs(grid)


def finish(run: Run, value: float, **changes) -> None:
    """Write the record of a finished training."""
    record = {
        'metrics': {'coco/bbox_mAP': value, 'coco/bbox_mAP_50': 2 * value, 'coco/bbox_mAP_l': -1.0, 'loss': 3.0},
        'iterations': 2,
        'step_seconds': 0.1 * (1 + run.seed),
        'peak_memory_mb': 400 + run.seed,
        'device': 'cpu',
        'world_size': 1,
        'threads': 1,
        'machine': 'here',
        'seed': run.seed,
        'command': 'python tools/train.py',
        'commit': 'abc',
        'versions': VERSIONS,
        **changes,
    }
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / RECORD).write_text(json.dumps(record))
