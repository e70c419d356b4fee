"""A file beside the checkpoints that says how a training ended: metrics, time, memory, and what it was made with."""

import math
import platform
import resource
import shlex
import statistics
import sys
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import collect_versions, find_commit

RECORD = 'run_record.json'
# The first steps allocate memory and choose kernels.
WARM_UP = 10


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes `run_record.json` into the work directory when a training is finished; no file, no finished training.

    It holds `metrics` (of the validation after the last step; a run that was stopped between its last checkpoint and
    that validation makes up for it), `iterations`, `step_seconds` (median, data loading included, without the first
    `WARM_UP` steps), `peak_memory_mb` (of the first rank since the last start: allocated by torch on a GPU, else the
    resident set of the process), `device`, `world_size`, `threads`, `seed`, `command`, `commit` (of the folder the
    run was started in) and `versions`. A metric that is not finite is null.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._measured_at = -1
        self._peak = 0

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Note the memory: mmengine's logger resets the peak whenever it writes a line."""
        if torch.cuda.is_available():
            self._peak = max(self._peak, torch.cuda.max_memory_allocated())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the newest metrics, and how much was trained by then."""
        self._metrics, self._measured_at = metrics or {}, runner.iter

    def after_train(self, runner: Runner) -> None:
        """Validate if the last step is not, and write the file."""
        if runner.val_loop is not None and self._measured_at != runner.iter:
            runner.val_loop.run()
        if not is_main_process():
            return
        scalars = runner.message_hub.log_scalars
        times = scalars['train/time'].data[0].tolist() if 'train/time' in scalars else []
        # Very short trainings are all warm-up.
        times = times[min(WARM_UP, len(times) // 2) :]
        record = {
            'metrics': {key: _finite(value) for key, value in self._metrics.items() if isinstance(value, Real)},
            'iterations': runner.iter,
            'step_seconds': statistics.median(times) if times else None,
            'peak_memory_mb': round((self._peak or _resident_set()) / 2**20),
            'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
            'world_size': get_world_size(),
            'threads': torch.get_num_threads(),
            'machine': platform.platform(),
            'seed': runner.seed,
            'command': shlex.join(sys.orig_argv),
            'commit': find_commit(),
            'versions': collect_versions() | {'pycocotools': version('pycocotools')},
        }
        write_json(Path(runner.work_dir, RECORD), record, indent=2)


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _resident_set() -> int:
    """Peak of this process in bytes; Linux counts in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
