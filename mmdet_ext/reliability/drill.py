"""The whole drill: every way to lose a training that we know of, and every kind of file that could mislead us."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import collect_versions, utc_now

from .damaged_checkpoints import damaged_checkpoints
from .damaged_images import truncated_images
from .dead_processes import dead_rank, dead_worker
from .full_disk import file_limit, full_disk, read_only
from .kill import kill_anywhere, kill_while_writing
from .results import CaseResult
from .runs import Trainings

PARTS = ('training', 'files')


def run_drill(
    out: str | Path,
    *,
    kills: int = 20,
    cases: int = 10_000,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
    repository: str | Path = '.',
    command: str = '',
    tell: Callable[[str], None] = print,
) -> list[str]:
    """Break trainings and feed bad files to readers, and write the figures.

    Args:
        out: JSON file; a part that is not run keeps its figures there.
        kills: Points at which a training is killed.
        cases: Bad files.
        seed: Of both choices.
        parts: `training`, `files` or both.
        repository: With `tools/dist_train.sh`, for the case of two ranks.
        command: Kept beside the figures.
        tell: Gets a line for each case when it is done.

    Returns:
        What was not as it should be, one sentence each.

    Raises:
        ValueError: An unknown part, or a number below 1.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f'the drill has the parts {", ".join(PARTS)}, not {unknown[0]!r}')
    if kills < 1 or cases < 1:
        raise ValueError(f'kills and cases must be 1 or more, got {kills} and {cases}')
    path = Path(out)
    content = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
    for part in parts:
        start = time.perf_counter()
        found = _training(kills, seed, repository, tell) if part == 'training' else _files(cases, seed, tell)
        for figures in found:
            # After each case: a drill that is killed keeps what it has.
            facts = {'seconds': round(time.perf_counter() - start, 1), 'seed': seed, 'command': command}
            facts |= {'versions': collect_versions(), 'date': utc_now()}
            content[part] = {**figures, **facts}
            write_json(path, content, indent=1)
    return faults(content)


def _training(kills: int, seed: int, repository: str | Path, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Figures after each case."""
    with tempfile.TemporaryDirectory(prefix='drill_') as folder:
        trainings = Trainings(folder)
        runs: list[Callable[[], CaseResult]] = [
            lambda: kill_anywhere(trainings, kills, seed),
            lambda: kill_while_writing(trainings, seed=seed),
            lambda: kill_while_writing(trainings, seed=seed, stock=True),
            lambda: full_disk(trainings),
            lambda: file_limit(trainings),
            lambda: read_only(trainings),
            lambda: damaged_checkpoints(trainings, seed),
            lambda: truncated_images(trainings),
            lambda: dead_worker(trainings),
            lambda: dead_rank(trainings, repository),
        ]
        results = []
        for run in runs:
            results.append(run())
            tell(_line(results[-1]))
            figures = [result.as_json() for result in results]
            yield {'kills': kills, 'deeds': trainings.whole[1].deeds, 'cases': figures}


def _line(result: CaseResult) -> str:
    if result.skipped:
        return f'{result.name}: {result.skipped}'
    return '\n  '.join(
        [
            f'{result.name}: {result.trials} trials, lost {result.lost}, resumed equal {result.resumed} '
            f'({result.seconds:.0f} s)',
            *result.faults,
        ]
    )


def _files(cases: int, seed: int, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Figures after each kind."""
    from .hostile.search import search  # needs hypothesis, which the other part does not

    kinds = []
    for found in search(cases, seed, tell=tell):
        kinds.append(found.as_json())
        yield {'cases': kinds}


def faults(content: Mapping[str, Any]) -> list[str]:
    """What is wrong in a file of results, one sentence each."""
    cases = content.get('training', {}).get('cases', [])
    found = [f'{case["name"]}: {fault}' for case in cases for fault in case['faults']]
    kinds = content.get('files', {}).get('cases', [])
    return found + [f'{kind["name"]}: {place}: {what}' for kind in kinds for place, what in kind['defects'].items()]
