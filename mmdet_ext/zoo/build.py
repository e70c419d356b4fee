"""`make zoo`: train, publish and test what the metafiles mark, and write what came out into them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmdet_ext.analysis.ablation.grid import Arm, Grid, nearest
from mmdet_ext.analysis.ablation.identity import digest
from mmdet_ext.analysis.ablation.launch import describe_problem, launch_runs
from mmdet_ext.analysis.ablation.plan import Run, plan_runs
from mmdet_ext.analysis.demo.runs import evaluate_detector
from mmdet_ext.analysis.readme_tables import update_readmes
from mmdet_ext.engine.hooks.run_record_hook import RECORD
from mmdet_ext.utils.json_file import write_json

from .check import find_problems
from .figures import describe_training, format_results
from .metafile import Entry, entries_of, read_entries, read_metafile, replace_entry, write_metafile
from .publish import check_published, publish_model

SEED = 0
_print = partial(print, flush=True)


@dataclass(frozen=True)
class Job:
    """An entry, its training, and where its result is stored."""

    entry: Entry
    run: Run
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / f'{self.entry.name}.json'

    @property
    def identity(self) -> str:
        """Of config and data: with others the result is another one."""
        return digest({**self.run.identity, **self.run.data})


def build_zoo(
    root: str | Path = '.',
    *,
    only: Sequence[str] = (),
    work_dir: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    url: str | None = None,
    launcher: str | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = _print,
) -> list[dict[str, Any]]:
    """Train (seed 0, from scratch), publish and test the entries, then write metafiles and README tables.

    Everything is checked before the first training. What is finished is kept, an interrupted training goes on from its
    last checkpoint; config or data that have changed since are an error that names the folder. The figures are those
    of the published file.

    Args:
        root: Of the repository.
        only: Names of entries; default all that are marked `Zoo`.
        work_dir: Published checkpoints and `NAME.json` with all figures; trainings in `training/NAME` below it.
            Default `work_dirs/zoo`, or `work_dirs/zoo_trial` with options.
        options: Dotted config key to value, for a trial: metafiles and READMEs stay as they are.
        url: Address of the folder that the checkpoints are (or will be) served from; default their local path.
        launcher: See `launch_runs`.
        jobs: Trainings at a time.
        say: Prints a line for the user.

    Returns:
        What was stored of each entry: `name`, `weights` (file name), `metrics`, `record`, `cost`, `identity`.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: A fault in a metafile, an entry, an option, `url`, `jobs` or the data; one line each.
        RuntimeError: Trainings or tests failed; the others are written.
    """
    root = Path(root)
    if jobs < 1:
        raise ValueError(f'--jobs must be at least 1, got {jobs}')
    if url is not None and '://' not in url:
        raise ValueError(f'--url {url} is no address: write https://HOST/FOLDER.')
    if problems := find_problems(root, weights=False):
        raise ValueError('\n'.join(problems))
    folder = Path(work_dir) if work_dir else root / 'work_dirs' / ('zoo_trial' if options else 'zoo')
    planned = _plan(select_entries(root, only), root, folder, options or {})
    results = {job.entry.name: stored for job in planned if (stored := _stored(job, say)) is not None}
    todo = [job for job in planned if job.entry.name not in results]
    say(f'{len(planned)} entries: {len(results)} finished, {len(todo)} to do')
    launch_runs([job.run for job in todo if not job.run.finished], launcher, jobs, say)
    failures = []
    for job in todo:
        try:
            results[job.entry.name] = _finish(job, say)
        except (FileNotFoundError, RuntimeError, ValueError) as error:  # noqa: PERF203  (the others go on)
            failures.append(f'{job.entry.name}: {error}')
    if options:
        say('A trial: metafiles and READMEs stay as they are.')
    else:
        for file in _record([job for job in planned if job.entry.name in results], results, root, url):
            say(f'{file}: written')
    if failures:
        raise RuntimeError(f'{len(failures)} of {len(planned)} entries failed:\n' + '\n'.join(failures))
    return list(results.values())


def select_entries(root: str | Path = '.', only: Iterable[str] = ()) -> list[Entry]:
    """The entries that `make zoo` trains, in the order of the index.

    Args:
        root: Of the repository.
        only: Their names; default all that are marked.

    Raises:
        ValueError: A name is no entry, or one that is not marked.
    """
    entries = {entry.name: entry for entry in read_entries(root)}
    for name in only:
        if name not in entries:
            raise ValueError(f'--only {name}: no metafile has it; {nearest(name, entries)}')
        if not entries[name].zoo:
            raise ValueError(
                f"--only {name}: {entries[name].metafile} does not mark it with 'Zoo: true'; train it by hand"
            )
    return [entries[name] for name in only] or [entry for entry in entries.values() if entry.zoo]


def list_zoo(root: str | Path = '.') -> str:
    """The entries that `make zoo` trains, one a line: name, data, and where the weights are.

    Args:
        root: Of the repository.
    """
    lines = []
    for entry in select_entries(root):
        data = (entry.content.get('Metadata') or {}).get('Training Data', '')
        lines.append(f'{entry.name}  ({data})  {entry.content["Weights"] if entry.trained else "not trained yet"}')
    return '\n'.join(lines)


def _plan(entries: Sequence[Entry], root: Path, folder: Path, options: Mapping[str, Any]) -> list[Job]:
    planned, faults = [], []
    for entry in entries:
        arm = Arm(entry.name, str(root / entry.content['Config']), options)
        grid = Grid(root / entry.metafile, (arm,), (SEED,), folder / 'training', arm.name)
        try:
            planned.append(Job(entry, plan_runs(grid)[0], folder))
        except (FileNotFoundError, ValueError) as error:
            text = str(error).replace('Name another work_dir in the grid file', 'Give another --work-dir')
            faults.append(f'{entry.name}: {text}')
    if faults:
        raise ValueError('\n'.join(faults))
    return planned


def _stored(job: Job, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The stored result, where it is of this config and these data and its checkpoint is whole."""
    if not job.file.is_file():
        return None
    stored = json.loads(job.file.read_text(encoding='utf-8'))
    if stored['identity'] != job.identity:
        say(f'{job.entry.name}: config or data have changed since {job.file}')
        return None
    try:
        check_published(job.folder / stored['weights'])
    except (FileNotFoundError, ValueError) as error:
        say(f'{job.entry.name}: {error} It is made anew.')
        return None
    return stored


def _finish(job: Job, say: Callable[[str], None]) -> dict[str, Any]:
    """Publish the last checkpoint of a training and test the published file."""
    folder, name = job.run.folder, job.entry.name
    if not job.run.finished:
        raise RuntimeError(describe_problem(folder))
    last = Path((folder / 'last_checkpoint').read_text(encoding='utf-8').strip()).name
    weights = publish_model(folder / last, job.folder, job.run.config, name)
    say(f'{name}: testing {weights}')
    # mmengine keeps loggers by name, and every config of a training is called seed_0.
    metrics = evaluate_detector(job.run.config, folder, str(weights.absolute()), {'experiment_name': f'test_{name}'})
    for row in format_results(metrics, name):
        say(f'{name}: ' + ', '.join(f'{metric} {value}' for metric, value in row['Metrics'].items()))
    result = {
        'name': name,
        'weights': weights.name,
        'metrics': metrics,
        'record': json.loads((folder / RECORD).read_text(encoding='utf-8')),
        'cost': job.run.cost,
        'identity': job.identity,
    }
    write_json(job.file, result, indent=2)
    return result


def _record(jobs: Sequence[Job], results: Mapping[str, Mapping], root: Path, url: str | None) -> list[Path]:
    """Write results into the metafiles, and the tables beside them; the files that were written."""
    contents = {job.entry.metafile: read_metafile(root / job.entry.metafile) for job in jobs}
    for job in jobs:
        content, result = contents[job.entry.metafile], results[job.entry.name]
        old = next(entry for entry in entries_of(job.entry.metafile, content) if entry.name == job.entry.name)
        about = {**old.content['Metadata'], **describe_training(job.entry.name, result)}
        filled = {
            **{key: value for key, value in old.content.items() if key not in ('Metadata', 'Results', 'Weights')},
            'Metadata': about,
            'Results': format_results(result['metrics'], about['Training Data']),
            'Weights': _address(job.folder / result['weights'], root, url),
        }
        contents[job.entry.metafile] = replace_entry(content, filled)
    for name, content in contents.items():
        write_metafile(root / name, content)
    readmes = [readme for name in contents if (readme := (root / name).with_name('README.md')).is_file()]
    return [*(root / name for name in contents), *update_readmes(readmes, root)]


def _address(file: Path, root: Path, url: str | None) -> str:
    if url is not None:
        return f'{url.rstrip("/")}/{file.name}'
    path, top = file.resolve(), root.resolve()
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path)
