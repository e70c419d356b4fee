"""The trainings of an ablation, each in a process of its own, one after the other or some at a time."""

import os
import queue
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from ..demo.runs import find_shipped, format_seconds
from .plan import Run

LOG = 'console.log'
# torch puts the rank before each line of several; torchrun's own ChildFailedError says nothing about the cause.
_ERROR = re.compile(
    r'^(?:\[rank\d+\]: )?((?:\w+\.)*(?!ChildFailedError)\w*(?:Error|Exception|Interrupt)(?:: .*)?)$', re.MULTILINE
)
_MARK = '# ablation: '


def make_command(run: Run, launcher: str | None = None) -> list[str]:
    """The command line that starts a run, or goes on with it where it has a checkpoint.

    Args:
        run: The run; its config names its work directory.
        launcher: Template such as `'tools/dist_train.sh {config} 4'` or
            `'tools/slurm_train.sh PARTITION {name} {config} {work_dir}'`; default one process of `tools/train.py`.
            What it starts has to take the flags of `tools/train.py` at its end, and to wait for the training.

    Raises:
        ValueError: The template lacks `{config}`, or has a placeholder that nothing knows.
    """
    fields = {'config': str(run.config), 'work_dir': str(run.folder), 'name': run.name.replace('/', '_')}
    if launcher is None:
        words = [sys.executable, str(find_shipped('tools/train.py')), fields['config']]
    else:
        try:
            words = [word.format(**fields) for word in shlex.split(launcher)]
        except (KeyError, IndexError, ValueError) as error:
            allowed = ', '.join(f'{{{name}}}' for name in fields)
            raise ValueError(f'--launcher {launcher!r}: a placeholder is none of {allowed}') from error
        if '{config}' not in launcher:
            raise ValueError(f'--launcher {launcher!r} has no {{config}}, so every run would be the same')
    # Not for a fresh run: `--resume` without a checkpoint would drop the config's `load_from`.
    return [*words, '--resume'] if run.checkpoint else words


def launch_runs(
    runs: Sequence[Run], launcher: str | None = None, jobs: int = 1, say: Callable[[str], None] = print
) -> None:
    """Do the runs; one that fails leaves its reason in its log, and the others go on.

    Args:
        runs: What is to be done.
        launcher: See `make_command`.
        jobs: Runs at a time. Without a launcher each gets its share of the CPU's threads (unless OMP_NUM_THREADS is
            set), and a GPU of its own as far as there are some.
        say: Prints a line for the user.
    """
    slots: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put({} if launcher else _slot_environment(slot, jobs))
    commands = {run.name: make_command(run, launcher) for run in runs}

    def work(numbered: tuple[int, Run]) -> None:
        number, run = numbered
        environment = slots.get()
        say(f'[{number}/{len(runs)}] {run.name}: {"going on" if run.checkpoint else "training"}, {run.folder / LOG}')
        begun = time.monotonic()
        try:
            code = _call(run, commands[run.name], environment)
        finally:
            slots.put(environment)
        problem = None if run.finished else describe_problem(run.folder)
        outcome = f'done in {format_seconds(time.monotonic() - begun)}' if problem is None else f'FAILED: {problem}'
        say(f'[{number}/{len(runs)}] {run.name}: {outcome}' + (f' (exit status {code})' if problem and code else ''))

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(work, enumerate(runs, start=1)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def describe_problem(folder: Path) -> str:
    """Why a run has no result, from what it left behind: the last error of its log, or how far it got."""
    log = folder / LOG
    if log.is_file():
        # The last attempt counts.
        text = log.read_text(encoding='utf-8', errors='replace').rpartition(f'{_MARK}command ')[2]
        if errors := _ERROR.findall(text):
            return str(errors[-1])[:300]
        if status := re.search(rf'^{_MARK}exit status (-?\d+)$', text, re.MULTILINE):
            if status[1] != '0':
                return f'killed by signal {status[1][1:]}' if status[1][0] == '-' else f'exit status {status[1]}'
            return 'ended without a record: the launcher has to run tools/train.py and to wait for it'
    marker = folder / 'last_checkpoint'
    if marker.is_file():
        return f'not finished, last checkpoint {Path(marker.read_text(encoding="utf-8").strip()).name}'
    return 'not started' if not log.is_file() else 'not finished'


def _call(run: Run, command: Sequence[str], environment: Mapping[str, str]) -> int:
    with (run.folder / LOG).open('a', encoding='utf-8') as log:
        print(f'{_MARK}command {shlex.join(command)}', file=log, flush=True)
        try:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment})
            code = done.returncode
        except OSError as error:
            print(f'{type(error).__name__}: {error}', file=log)
            code = 127
        print(f'{_MARK}exit status {code}', file=log)
    return code


def _slot_environment(slot: int, jobs: int) -> dict[str, str]:
    """Threads and GPU of one of several runs at a time."""
    if jobs == 1:
        return {}
    environment = {}
    if 'OMP_NUM_THREADS' not in os.environ:
        environment['OMP_NUM_THREADS'] = str(max(1, (os.cpu_count() or 1) // jobs))
    count = torch.cuda.device_count()
    if count:
        named = os.environ.get('CUDA_VISIBLE_DEVICES')
        devices = named.split(',') if named else [str(index) for index in range(count)]
        environment['CUDA_VISIBLE_DEVICES'] = devices[slot % len(devices)]
    return environment
