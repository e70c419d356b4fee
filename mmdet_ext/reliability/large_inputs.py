"""A few steps of each family on inputs beyond the usual: a thousand objects and proposals, 4000 pixels."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from .family_trainings import (
    FAMILIES,
    GRAPH,
    add_hook,
    check_families,
    draw_phantoms,
    family_config,
    train_table,
)
from .large_picture import make_large_picture


class Large(NamedTuple):
    """A picture.

    Attributes:
        side: In pixels.
        objects: On it, and as many proposals and RoIs where the family has any.
    """

    side: int
    objects: int


# Both at once is out of mmdet's reach: its assigner's table of all anchors by all objects would take 12 GB.
SIZES = {'1000 objects': Large(1024, 1000), '4000 pixels': Large(4000, 20)}
STEPS = 3


def run_large_inputs(
    out: str | Path,
    *,
    workers: int = 2,
    families: Sequence[str] = tuple(FAMILIES),
    sizes: Mapping[str, Large] | None = None,
    work_dir: str | Path = 'work_dirs/endurance',
    repository: str | Path = '.',
    seed: int = 0,
    command: str = '',
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Train each family for a few steps on a picture of each kind, in a process of its own.

    A loss that is not finite ends a training; a failed one is written down and the next one begins. A finished one is
    not repeated.

    Args:
        out: JSON file; families that are not run now keep their row.
        workers: Of the data loader.
        families: Of `FAMILIES`.
        sizes: Pictures by name; default `SIZES`.
        work_dir: Data and trainings.
        repository: With `configs/` and `tools/train.py`.
        seed: Of data and trainings.
        command: Kept with the figures.
        say: Gets a line for each training.

    Returns:
        By family, for each kind of picture `seconds` of a step and `peak_mb` of the training process, or `error`.

    Raises:
        ValueError: An unknown family.
    """
    check_families(families)
    work_dir = Path(work_dir).absolute()
    chosen = SIZES if sizes is None else sizes
    sources = draw_phantoms(work_dir, seed)
    folders = {}
    for kind, large in chosen.items():
        folders[kind] = work_dir / f'{large.objects}_objects_{large.side}_pixels'
        for source in sources:
            make_large_picture(source, folders[kind] / source.name, large.side, large.objects)
        # Classes that stand together do so in any picture.
        shutil.copy(work_dir / 'chest_phantom' / GRAPH, folders[kind] / 'chest_phantom')
    trainings = {
        name: {
            kind: (
                large_config(name, large, repository, folders[kind], workers, seed),
                folders[kind] / Path(FAMILIES[name]).stem / f'{workers}_workers_seed_{seed}',
            )
            for kind, large in chosen.items()
        }
        for name in families
    }
    return train_table(out, 'sizes', trainings, repository, _cell, say, workers=workers, seed=seed, command=command)


def large_config(name: str, large: Large, repository: str | Path, data: Path, workers: int, seed: int) -> Config:
    """The config of a family for a few steps on one large picture.

    Args:
        name: Of `FAMILIES`.
        large: The picture; two-stage detectors get as many proposals and RoIs as it has objects, if that is more.
        repository: With `configs/`.
        data: Folder with both phantoms made large.
        workers: Of the data loader.
        seed: Of the training.
    """
    cfg = family_config(name, repository, data, STEPS, workers, seed)
    cfg.train_dataloader.batch_size = 1
    for transform in cfg.train_dataloader.dataset.pipeline:
        if 'scale' in transform:
            transform.scale = (large.side, large.side)
        if transform.get('with_mask'):
            # As bitmaps the masks of a thousand objects take a thousand times the picture.
            transform.poly2mask = False
    if 'rpn_head' in cfg.model:
        train_cfg = cfg.model.train_cfg
        proposal = train_cfg.rpn_proposal
        proposal.max_per_img = max(proposal.max_per_img, large.objects)
        proposal.nms_pre = max(proposal.nms_pre, 2 * proposal.max_per_img)
        for stage in train_cfg.rcnn if isinstance(train_cfg.rcnn, list) else [train_cfg.rcnn]:
            stage.sampler.num = max(stage.sampler.num, large.objects)
    elif cfg.model.train_cfg.assigner.type == 'MaxIoUAssigner':
        # 800,000 anchors by 1000 objects: mmdet's tables of all pairs take more than 20 GB, ours has none.
        cfg.model.train_cfg.assigner = dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
    add_hook(cfg, 'CheckInvalidLossHook', interval=1)
    return cfg


def format_large_inputs(content: Mapping[str, Any]) -> str:
    """Markdown table of a file that `run_large_inputs` wrote."""
    kinds = list(dict.fromkeys(kind for row in content['rows'].values() for kind in row['sizes']))
    lines = [f'| family | {" | ".join(kinds)} |', f'|---|{"--:|" * len(kinds)}']
    for name, row in content['rows'].items():
        cells = [_cell(row['sizes'][kind]) if kind in row['sizes'] else '' for kind in kinds]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def _cell(figures: Mapping[str, Any]) -> str:
    if 'error' in figures:
        return f'failed: {figures["error"]}'
    return f'{figures["seconds"]:.1f} s, {figures["peak_mb"] / 1000:.1f} GB'
