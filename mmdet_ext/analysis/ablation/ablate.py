"""Ablations: configs and options from a grid file, trained with several seeds, in one table."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .grid import read_grid
from .launch import launch_runs, make_command
from .plan import plan_runs, unfinished
from .plot import plot_ablation
from .results import collect_results
from .table import format_markdown, write_tables

_print = partial(print, flush=True)


def run_ablation(
    grid_file: str | Path,
    *,
    launcher: str | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    collect: bool = False,
    restore: str | Path | None = None,
    say: Callable[[str], None] = _print,
) -> dict[str, Any] | None:
    """Train what is not trained yet, then write `ablation.{md,csv,json,png}` into the grid's work directory.

    Everything is checked before the first training. A finished run is kept, an interrupted one goes on from its last
    checkpoint, one that fails leaves an empty cell with its reason.

    Args:
        grid_file: See `ablation_grid`.
        launcher: Template of the command line of a run, see `make_command`.
        jobs: Runs at a time.
        dry_run: Only write the configs and print the command lines of the unfinished runs, for a queue.
        collect: Only gather what is there.
        restore: An `ablation.json` whose finished runs count as done: of another machine, or of folders that are gone.
        say: Prints a line for the user.

    Returns:
        See `collect_results`; None for a dry run.

    Raises:
        FileNotFoundError: The grid file, a config or data are not there.
        ValueError: A fault in the grid file, a folder with other runs, or runs that do not compare.
    """
    if jobs < 1:
        raise ValueError(f'--jobs must be at least 1, got {jobs}')
    grid = read_grid(grid_file)
    runs = plan_runs(grid, restore, collect)
    todo = unfinished(runs)
    if dry_run:
        for run in todo:
            say(shlex.join(make_command(run, launcher)))
        return None
    if not collect:
        say(f'{len(grid.arms)} arms, {len(grid.seeds)} seeds: {len(todo)} of {len(runs)} runs to do')
        launch_runs(todo, launcher, jobs, say)
    result = collect_results(grid, runs)
    write_tables(result, grid.work_dir)
    plot_ablation(result, grid.work_dir / 'ablation.png')
    say(f'\n{format_markdown(result)}')
    say(f'Table, numbers and plot: {grid.work_dir}/ablation.md, .csv, .json, .png')
    return result
