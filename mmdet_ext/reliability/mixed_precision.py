"""Some hundred steps of each family in mixed precision: without NaN, how fast, and with how much memory?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_ext.analysis.tables import markdown_table

from .family_trainings import FAMILIES, add_hook, check_families, draw_phantoms, family_config, train_table

DTYPES = ('float16', 'bfloat16')


def run_mixed_precision(
    out: str | Path,
    *,
    steps: int = 300,
    workers: int = 2,
    dtypes: Sequence[str] = DTYPES,
    families: Sequence[str] = tuple(FAMILIES),
    work_dir: str | Path = 'work_dirs/endurance',
    repository: str | Path = '.',
    seed: int = 0,
    command: str = '',
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Train each family in each type by mmengine's `AmpOptimWrapper`, which wants a GPU, in a process of its own.

    A loss that is not finite ends a training; a failed one is written down and the next one begins.

    Args:
        out: JSON file; families that are not run now keep their row.
        steps: Of each training.
        workers: Of the data loader.
        dtypes: Of `DTYPES`.
        families: Of `FAMILIES`.
        work_dir: Data and trainings; a finished one is not repeated.
        repository: With `configs/` and `tools/train.py`.
        seed: Of data and trainings.
        command: Kept with the figures.
        say: Gets a line for each training.

    Returns:
        By family, for each type `seconds` of a step and `peak_mb`, or `error`.

    Raises:
        ValueError: An unknown family or type.
    """
    check_families(families)
    unknown = [dtype for dtype in dtypes if dtype not in DTYPES]
    if unknown:
        raise ValueError(f'mixed precision is {" or ".join(DTYPES)}, not {unknown[0]!r}')
    work_dir = Path(work_dir).absolute()
    draw_phantoms(work_dir, seed)
    trainings = {
        name: {
            dtype: (
                mixed_config(name, dtype, repository, work_dir, steps, workers, seed),
                work_dir / Path(FAMILIES[name]).stem / f'{dtype}_{steps}_steps_{workers}_workers_seed_{seed}',
            )
            for dtype in dtypes
        }
        for name in families
    }
    return train_table(
        out, 'dtypes', trainings, repository, _cell, say, {'steps': steps}, workers=workers, seed=seed, command=command
    )


def mixed_config(
    name: str, dtype: str, repository: str | Path, data: Path, steps: int, workers: int, seed: int
) -> Config:
    """The config of a family in mixed precision; arguments as those of `family_config`."""
    cfg = family_config(name, repository, data, steps, workers, seed)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    add_hook(cfg, 'CheckInvalidLossHook', interval=1)
    return cfg


def format_mixed_precision(content: Mapping[str, Any]) -> str:
    """Markdown table of a file that `run_mixed_precision` wrote."""
    rows = content['rows']
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row['dtypes']))
    lines = [
        [name, str(row['steps']), *(_cell(row['dtypes'][kind]) if kind in row['dtypes'] else '' for kind in kinds)]
        for name, row in rows.items()
    ]
    return markdown_table(['family', 'steps', *kinds], lines) + '\n'


def _cell(figures: Mapping[str, Any]) -> str:
    if 'error' in figures:
        return f'failed: {figures["error"]}'
    return f'{figures["seconds"] * 1000:.0f} ms, {figures["peak_mb"]} MB'
