"""Faults on schedule, inside of the process that trains."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class KillClock:
    """Counts what a process does, and ends it with SIGKILL before its n-th deed.

    A deed is the begin of an iteration, or one of the operations on files that Python tells its audit hooks: opening
    to write, renaming, removing. So every step of a save is a point at which the process can die, and the same number
    is the same point on every machine, which a delay in seconds is not.

    Args:
        folder: Only files below count.
        kill_at: Number of the deed, from 1; None only counts.
    """

    def __init__(self, folder: str | Path, kill_at: int | None = None) -> None:
        self.folder, self.kill_at, self.count = os.path.join(folder, ''), kill_at, 0

    def tick(self) -> None:
        """Count one, and die if it is the one."""
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """For `sys.addaudithook`."""
        writing = event in ('os.rename', 'os.remove') or (event == 'open' and args[2] & _WRITES)
        if writing and str(args[0]).startswith(self.folder):
            self.tick()


clock: KillClock | None = None
"""That of this process; set in the child of a drill."""


@HOOKS.register_module()
class FaultHook(Hook):
    """Notes every save when it is done, and kills what it is told to.

    It comes after the hook that saves, so an epoch in the journal is one whose checkpoint the run believes safe.

    Args:
        journal: File that gets a line with the number of each saved epoch.
        kill_iter: Iteration, from 0, before which a process gets SIGKILL.
        victim: `'worker'`, a worker of the data loader, or `'rank'`, the process itself, where it is the last rank.
    """

    priority = 'LOWEST'

    def __init__(self, journal: str, kill_iter: int | None = None, victim: str = 'rank') -> None:
        self.journal, self.kill_iter, self.victim = journal, kill_iter, victim

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count the iteration, and kill."""
        if clock is not None:
            clock.tick()
        if runner.iter != self.kill_iter:
            return
        if self.victim == 'worker':
            os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
        elif get_rank() == runner.world_size - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_train_epoch(self, runner: Runner) -> None:
        """Note that the checkpoint of this epoch is saved."""
        if get_rank() == 0:
            with open(self.journal, 'a', encoding='utf-8') as file:
                file.write(f'{runner.epoch + 1}\n')
