"""Runs that were finished elsewhere, or whose folders are gone: back from the `ablation.json` with their figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdet_ext.engine.hooks.run_record_hook import RECORD

from .identity import describe_difference

if TYPE_CHECKING:
    from .plan import Run


def restore_records(file: str | Path, runs: 'Sequence[Run]') -> 'list[Run]':
    """Write the records of a stored result into the folders of runs that have none.

    Args:
        file: An `ablation.json`.
        runs: Of the grid; one that the file lacks, or has no figures of, stays as it is.

    Returns:
        The runs that were restored.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no result of an ablation, or has a run of another config or on other data.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f'There is no result {path} to restore runs from')
    try:
        stored = {(record['arm'], record['seed']): record for record in json.loads(path.read_text('utf-8'))['runs']}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is no ablation.json: {type(error).__name__}: {error}') from error
    restored = []
    for run in runs:
        record = stored.get((run.arm, run.seed))
        if run.finished or record is None or record['problem'] is not None:
            continue
        if difference := describe_difference(record['data'], run.data):
            raise ValueError(f'{path}: {run.name} is of other data, stored and now: {difference}')
        if record.get('config') != run.cost['config']:
            raise ValueError(
                f'{path}: {run.name} is of another config (hash {record.get("config")}, now {run.cost["config"]}); '
                'leave the file out, and the run is done anew'
            )
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / RECORD).write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
        restored.append(run)
    return restored
