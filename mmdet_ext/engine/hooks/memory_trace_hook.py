"""What a training holds on to, step by step: memory, open files, threads."""

import csv
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

TRACE = 'memory.csv'
FIELDS = ('iteration', 'resident_mb', 'allocated_mb', 'open_files', 'threads')


def memory_state() -> dict[str, float]:
    """What this process holds now (Linux): resident memory without that of loader workers, files, threads.

    `allocated_mb` is what torch has allocated on the GPU, 0 without one.
    """
    lines = Path('/proc/self/status').read_text(encoding='ascii', errors='replace').splitlines()
    status = dict(line.split(':', 1) for line in lines if ':' in line)
    allocated = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    return {
        'resident_mb': int(status['VmRSS'].split()[0]) / 1024,
        'allocated_mb': allocated / 2**20,
        'open_files': len(list(Path('/proc/self/fd').iterdir())),
        'threads': int(status['Threads']),
    }


@HOOKS.register_module()
class MemoryTraceHook(Hook):
    """Writes `memory.csv` into the work directory: a row every `interval` steps, of the first rank.

    mmengine logs memory on a GPU only, and only its peak, which hides a slow leak. A resumed training goes on with the
    file of the one before.

    Args:
        interval: Steps between two rows.

    Raises:
        ValueError: `interval` is below 1.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 20) -> None:
        if interval < 1:
            raise ValueError(f'MemoryTraceHook: interval must be 1 or more steps, got {interval}')
        self.interval = interval

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Add a row."""
        if not self.every_n_train_iters(runner, self.interval) or not is_main_process():
            return
        file = Path(runner.work_dir, TRACE)
        new = not file.is_file()
        with open(file, 'a', newline='', encoding='utf-8') as out:
            writer = csv.DictWriter(out, FIELDS)
            if new:
                writer.writeheader()
            writer.writerow({'iteration': runner.iter + 1, **memory_state()})
