"""Prints what `check_config` finds as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmdet_ext.datasets.image_checks import ImageScope

from .config_check import check_config
from .launch import load_config


def report_problems(
    config: str | Path,
    images: ImageScope = 'sample',
    num_images: int = 200,
    cfg_options: Mapping[str, Any] | None = None,
    dataset: str | Path | None = None,
) -> int:
    """Check a config and print its problems.

    Args:
        config: Config file.
        images: Which images to decode, see `check_images`.
        num_images: Size of the sample of images per data set.
        cfg_options: See `load_config`.
        dataset: See `load_config`.

    Returns:
        Exit code: 1 with errors, 0 with warnings only or nothing.

    Raises:
        ValueError: See `load_config`.
    """
    problems = check_config(load_config(config, dataset=dataset, cfg_options=cfg_options), images, num_images)
    console = Console()
    if not problems:
        console.print(f'{config}: no problems found', highlight=False, markup=False)
        return 0
    table = Table('severity', 'where', 'problem', show_lines=True)
    table.columns[1].overflow = 'fold'
    for problem in problems:
        color = 'red' if problem.severity == 'error' else 'yellow'
        # Class and file names may hold brackets, which rich would take for markup.
        table.add_row(f'[{color}]{problem.severity}[/]', escape(problem.where), escape(problem.message))
    console.print(table)
    return int(any(problem.severity == 'error' for problem in problems))
