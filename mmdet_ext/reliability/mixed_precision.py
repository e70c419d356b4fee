"""Some hundred steps of each family in mixed precision: without NaN, how fast, and with how much memory?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tabulate import tabulate

from mmdet_ext.utils.json_file import write_json

from .family_trainings import (
    FAMILIES,
    add_hooks,
    check_families,
    draw_phantoms,
    family_config,
    read_rows,
    row_origin,
    train_family,
)

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
    out, work_dir = Path(out), Path(work_dir).absolute()
    stored = read_rows(out)
    draw_phantoms(work_dir, seed)
    rows = {}
    for name in families:
        figures: dict[str, dict[str, Any]] = {}
        origin: dict[str, Any] = {}
        for dtype in dtypes:
            folder = work_dir / Path(FAMILIES[name]).stem / f'{dtype}_{steps}_steps_{workers}_workers_seed_{seed}'
            try:
                record = train_family(
                    mixed_config(name, dtype, repository, work_dir, steps, workers, seed), folder, repository
                )
            except RuntimeError as error:
                figures[dtype] = {'error': str(error)}
            else:
                figures[dtype] = {'seconds': record['step_seconds'], 'peak_mb': record['peak_memory_mb']}
                origin = row_origin(name, record, workers, seed, command)
            say(f'{name}, {dtype}: {_cell(figures[dtype])}')
        rows[name] = {'dtypes': figures, 'steps': steps, **origin}
        stored[name] = rows[name]
        write_json(out, {'rows': stored})
    return rows


def mixed_config(
    name: str, dtype: str, repository: str | Path, data: Path, steps: int, workers: int, seed: int
) -> Config:
    """The config of a family in mixed precision; arguments as those of `family_config`."""
    cfg = family_config(name, repository, data, steps, workers, seed)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    add_hooks(cfg, 'CheckInvalidLossHook', interval=1)
    return cfg


def format_mixed_precision(content: Mapping[str, Any]) -> str:
    """Markdown table of a file that `run_mixed_precision` wrote."""
    rows = content['rows']
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row['dtypes']))
    lines = [
        [name, row['steps'], *(_cell(row['dtypes'][kind]) if kind in row['dtypes'] else '' for kind in kinds)]
        for name, row in rows.items()
    ]
    return tabulate(lines, ['family', 'steps', *kinds], tablefmt='github', disable_numparse=True) + '\n'


def _cell(figures: Mapping[str, Any]) -> str:
    if 'error' in figures:
        return f'failed: {figures["error"]}'
    return f'{figures["seconds"] * 1000:.0f} ms, {figures["peak_mb"]} MB'
