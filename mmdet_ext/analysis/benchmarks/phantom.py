"""Relation detector against plain ones on the chest phantom: every arm tuned alike, reported on several seeds.

Each arm is tried with the same number of settings on a *tuning phantom*, drawn from another seed. The setting with the
best mean AP over the six context classes there is trained again with several seeds on the phantom that is reported, so
nothing is chosen on the images the table speaks of.
"""

import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import dump
from tabulate import tabulate

from mmdet_ext.datasets.chest_phantom import CLASSES, make_chest_phantom
from mmdet_ext.utils.environment import set_variables
from mmdet_ext.utils.provenance import collect_versions

from ..demo.demo import DATA_VARIABLE, SIZE, TRAIN, VAL, count_parameters, summarize_metrics
from ..demo.report import CONTEXT_CLASSES
from ..demo.runs import evaluate_detector, find_config, read_config, train_detector

ARMS = {
    'plain': 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'control': 'scratch_gn/faster-rcnn_r18-gn_fpn_wide-fcs_chest-phantom.py',
    'relation': 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py',
}
# The same settings for every arm.
TRIALS: tuple[dict[str, Any], ...] = (
    {'optim_wrapper.optimizer.lr': 5e-4},
    {'optim_wrapper.optimizer.lr': 1e-3},
    {'optim_wrapper.optimizer.lr': 2e-3},
)
_BLOCK = re.compile(r'(<!-- benchmark: begin.*?-->)\n.*?(<!-- benchmark: end -->)', re.DOTALL)
SEEDS = (0, 1, 2)
TUNING_PHANTOM, REPORT_PHANTOM = 1000, 0


@dataclass(frozen=True)
class Job:
    """One training: an arm, its options, the seed of the training and the phantom it runs on."""

    arm: str
    options: tuple[tuple[str, Any], ...]
    seed: int
    data: Path
    phantom: str
    folder: Path
    threads: int


def run_job(job: Job) -> dict[str, Any]:
    """Train and test one detector; a finished one is not repeated. Returns its metrics and where it ran."""
    torch.set_num_threads(job.threads)
    config = find_config(ARMS[job.arm])
    options = {**dict(job.options), 'randomness.seed': job.seed}

    def say(line: str) -> None:
        print(f'[{job.folder.name}]{line}', flush=True)

    with set_variables({DATA_VARIABLE: str(job.data)}):
        state = train_detector(config, job.folder, options, job.data, job.phantom, fresh=False, say=say)
        metrics = evaluate_detector(config, job.folder, str(state.checkpoint), options)
        parameters = count_parameters(read_config(config, options))
    say(f' context mAP {summarize_metrics(metrics)["context_mAP"]}')
    return {
        'arm': job.arm,
        'options': dict(job.options),
        'seed': job.seed,
        'seconds': round(state.seconds),
        'parameters': parameters,
        **summarize_metrics(metrics),
    }


def best_trial(trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The trial of highest mean AP over the context classes."""
    return max(trials, key=lambda trial: trial['context_mAP'])


def summarize(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation over the seeds, per arm."""
    table: dict[str, dict[str, Any]] = {}
    for arm in dict.fromkeys(run['arm'] for run in runs):
        own = [run for run in runs if run['arm'] == arm]
        row: dict[str, Any] = {
            'options': own[0]['options'],
            'parameters': own[0]['parameters'],
            'seeds': [run['seed'] for run in own],
        }
        for name in ('bbox_mAP', 'bbox_mAP_50', 'context_mAP', 'seconds'):
            values = [run[name] for run in own]
            row[name] = round(statistics.mean(values), 4)
            row[f'{name}_std'] = round(statistics.stdev(values), 4) if len(values) > 1 else None
        classes = own[0]['per_class']
        row['per_class'] = {name: round(statistics.mean(run['per_class'][name] for run in own), 4) for name in classes}
        table[arm] = row
    return table


def format_table(result: Mapping[str, Any]) -> str:
    """The table of the README: arms as columns, so that it stays narrow, and a sentence on what was measured."""
    table = result['summary']
    rate = 'optim_wrapper.optimizer.lr'
    rows = [
        ['parameters', *(f'{row["parameters"] / 1e6:.2f} M' for row in table.values())],
        ['learning rate, tuned', *(f'{row["options"].get(rate, 0):g}' for row in table.values())],
        ['mAP', *(_spread(row, 'bbox_mAP') for row in table.values())],
        ['**mean of the six context classes**', *(f'**{_spread(row, "context_mAP")}**' for row in table.values())],
    ]
    names = [*CONTEXT_CLASSES, *(name for name in CLASSES if name not in CONTEXT_CLASSES)]
    rows += [[name, *(f'{row["per_class"][name]:.3f}' for row in table.values())] for name in names]
    lines = tabulate(rows, headers=['AP at IoU 0.50 to 0.95', *table], tablefmt='github', disable_numparse=True)
    seeds = len(next(iter(table.values()))['seeds'])
    images = result['images']
    trials = len(result['trials']) // len(table)
    note = (
        f'Chest phantom, {images["train"]} + {images["val"]} images of {SIZE} px, from scratch; mean and standard '
        f'deviation of {seeds} seeds. Each detector was tuned with {trials} trials on another phantom. `control` has '
        'the plain head with as many parameters as the relation detector. Command, versions and every run: '
        '`benchmarks/chest_phantom.json`.'
    )
    return f'{lines}\n\n{note}'


def update_readme(readme: str | Path, result: Mapping[str, Any]) -> None:
    """Write the table between the two markers of a Markdown file.

    Raises:
        ValueError: The file lacks the markers.
    """
    path = Path(readme)
    text, found = _BLOCK.subn(lambda match: f'{match[1]}\n{format_table(result)}\n{match[2]}', path.read_text('utf-8'))
    if not found:
        raise ValueError(f'{path} has no lines "<!-- benchmark: begin ... -->" and "<!-- benchmark: end -->"; add them')
    path.write_text(text, 'utf-8')


def _spread(row: Mapping[str, Any], name: str) -> str:
    std = row[f'{name}_std']
    return f'{row[name]:.3f}' if std is None else f'{row[name]:.3f} ± {std:.3f}'


def run_benchmark(
    out: str | Path,
    work_dir: str | Path,
    *,
    train: int = TRAIN,
    val: int = VAL,
    trials: Sequence[Mapping[str, Any]] = TRIALS,
    seeds: Sequence[int] = SEEDS,
    jobs: int = 2,
    command: str = '',
) -> dict[str, Any]:
    """Tune every arm, train the chosen settings with every seed, write everything that was measured to `out`.

    Args:
        out: JSON file.
        work_dir: Folder of phantoms and trainings; what is finished there is not repeated.
        train: Number of training images.
        val: Number of validation images.
        trials: Options of each trial, the same for every arm.
        seeds: Training seeds that are reported.
        jobs: Trainings at a time; the cores are shared out among them.
        command: Stored next to the numbers.

    Returns:
        What was written: `summary`, `runs`, `trials`, phantom hashes, versions, command.
    """
    work_dir = Path(work_dir).resolve()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    phantoms = {}
    for role, seed in (('tuning', TUNING_PHANTOM), ('report', REPORT_PHANTOM)):
        data = work_dir / f'chest_phantom_{seed}'
        phantoms[role] = (data, make_chest_phantom(data, train=train, val=val, size=SIZE, seed=seed)['hash'])

    def job(role: str, arm: str, options: Mapping[str, Any], seed: int, name: str) -> Job:
        data, phantom = phantoms[role]
        return Job(arm, tuple(options.items()), seed, data, phantom, work_dir / role / name, threads)

    tuning = [job('tuning', arm, trial, 0, f'{arm}_{k}') for k, trial in enumerate(trials) for arm in ARMS]
    # Spawned: a fork after torch has started its threads may hang.
    with ProcessPoolExecutor(jobs, mp_context=get_context('spawn')) as pool:
        tried = list(pool.map(run_job, tuning))
        chosen = {arm: best_trial([run for run in tried if run['arm'] == arm])['options'] for arm in ARMS}
        reported = [job('report', arm, chosen[arm], seed, f'{arm}_seed{seed}') for seed in seeds for arm in ARMS]
        runs = list(pool.map(run_job, reported))
    result = {
        'summary': summarize(runs),
        'runs': runs,
        'trials': tried,
        'phantoms': {
            role: {'hash': value, 'seed': seed}
            for (role, (_, value)), seed in zip(phantoms.items(), (TUNING_PHANTOM, REPORT_PHANTOM), strict=True)
        },
        'images': {'train': train, 'val': val},
        'configs': ARMS,
        'command': command,
        'threads': threads,
        'machine': platform.platform(),
        'versions': collect_versions(),
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    dump(result, str(out), indent=2)
    return result
