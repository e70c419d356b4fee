"""Trainings that are meant to fail: started in a child process, watched, and resumed."""

import functools
import gc
import hashlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import config as mmengine_config

from mmdet_ext.engine import launch
from mmdet_ext.engine.checkpoint import find_resumable, read_checkpoint

from . import fault_hook
from .tiny_training import make_tiny_coco, tiny_config

EPOCHS = 3
PATIENCE = 300.0
"""Seconds after which a run counts as hung."""


@dataclass(frozen=True)
class Fault:
    """What happens to a run.

    Attributes:
        kill_at: The process gets SIGKILL before this deed, see `KillClock`.
        kill_iter: A process gets SIGKILL before this iteration, see `FaultHook`.
        victim: Which process, see `FaultHook`.
        file_limit: No file may become longer than so many bytes.
        die_at_limit: Whether the process dies there at once, in the middle of the write; else the write fails.
        workers: Workers of the data loader.
        stock: Save by mmengine's CheckpointHook instead of ours.
        keep: `max_keep_ckpts`; 1 leaves no second copy to fall back on.
    """

    kill_at: int | None = None
    kill_iter: int | None = None
    victim: str = 'rank'
    file_limit: int | None = None
    die_at_limit: bool = False
    workers: int = 0
    stock: bool = False
    keep: int = 1


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        code: Exit code; negative for the signal that killed it.
        sentence: What the run said last: the exception's text, '' where it ended well or was killed.
        deeds: Number of deeds, see `KillClock`; 0 where it was killed.
        log: All that it printed.
        seconds: From start to end.
    """

    code: int
    sentence: str
    deeds: int
    log: str
    seconds: float


def digest_weights(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 of names and bytes of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Trainings:
    """Runs of one tiny detector on one tiny data set, each in a work directory of its own.

    Args:
        root: Folder for data and runs.
        images: Number of pictures; two make a batch.
    """

    def __init__(self, root: str | Path, images: int = 6) -> None:
        self.root = Path(root)
        self.paths = make_tiny_coco(self.root / 'data', n=images)
        self.iterations = images // 2
        self._count = 0
        # Every optimizer imports it, for a second; the children inherit it.
        importlib.import_module('torch._dynamo')

    def new(self, name: str) -> Path:
        """A work directory that is not there yet."""
        self._count += 1
        return self.root / f'{name}_{self._count}'

    def config(self, work_dir: Path, fault: Fault = Fault()) -> Path:
        """Write the config of a run beside its work directory."""
        hook = dict(type='FaultHook', journal=str(_journal(work_dir)), kill_iter=fault.kill_iter, victim=fault.victim)
        saving = dict(type='CheckpointHook', interval=1, max_keep_ckpts=fault.keep, save_best='coco/bbox_mAP')
        path = work_dir.with_name(f'{work_dir.name}.py')
        path.write_text(
            f'{tiny_config(self.paths, epochs=EPOCHS)}\n'
            "custom_imports['imports'].append('mmdet_ext.reliability')\n"
            f'custom_hooks.append({hook!r})\n'
            f"default_hooks['checkpoint'] = {saving!r}\n"
            f"train_dataloader['num_workers'] = {fault.workers}\n"
            f'work_dir = {str(work_dir)!r}\n',
            encoding='utf-8',
        )
        return path

    def run(self, work_dir: Path, fault: Fault = Fault(), resume: str | None = None) -> Outcome:
        """Train in a child process and wait for its end.

        Args:
            work_dir: Of the run.
            fault: What happens to it.
            resume: As for `launch.train`.

        Raises:
            TimeoutError: It did not end within `PATIENCE`.
        """
        config, report = self.config(work_dir, fault), work_dir.with_name(f'{work_dir.name}.txt')
        report.unlink(missing_ok=True)
        start = time.perf_counter()
        child = multiprocessing.get_context('fork').Process(
            target=_train, args=(config, work_dir, fault, resume, report)
        )
        child.start()
        child.join(PATIENCE)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise TimeoutError(f'The run in {work_dir} hung: it was not done after {PATIENCE:g} s ({fault}).')
        deeds, _, sentence = report.read_text(encoding='utf-8').partition('\n') if report.is_file() else ('0', '', '')
        log = report.with_suffix('.log').read_text(encoding='utf-8', errors='replace')
        return Outcome(child.exitcode, sentence, int(deeds), log, time.perf_counter() - start)

    @functools.cached_property
    def whole(self) -> tuple[str, Outcome]:
        """Weights of an uninterrupted run, hashed, and how it went; other cases are compared with it."""
        work_dir = self.new('whole')
        outcome = self.run(work_dir)
        if outcome.code:
            raise RuntimeError(f'The training itself fails, without any fault: {outcome.sentence}')
        return self.result(work_dir), outcome

    def result(self, work_dir: Path) -> str:
        """Hash of the weights after the last epoch; '' where it is not reached."""
        epoch, path = self.newest(work_dir)
        return digest_weights(read_checkpoint(path)['state_dict']) if path is not None and epoch == EPOCHS else ''

    def newest(self, work_dir: Path) -> tuple[int, Path | None]:
        """Epoch and file of the newest checkpoint that a run can resume from exactly; 0 and None without."""
        path = find_resumable(work_dir)
        checkpoint = {} if path is None else read_checkpoint(path)
        # The best weights have no state of the optimizer.
        return (checkpoint['meta']['epoch'], path) if 'optimizer' in checkpoint else (0, None)

    def lost(self, work_dir: Path) -> int:
        """Number of epochs that were saved, as the run itself noted, and are in no checkpoint any more."""
        journal = _journal(work_dir)
        saved = max((int(line) for line in journal.read_text().split()), default=0) if journal.is_file() else 0
        return max(0, saved - self.newest(work_dir)[0])

    def recovers(self, work_dir: Path) -> bool:
        """Whether `--resume`, without any fault, ends with the weights of the uninterrupted run."""
        outcome = self.run(work_dir, resume='auto')
        return outcome.code == 0 and self.result(work_dir) == self.whole[0]


def _journal(work_dir: Path) -> Path:
    return work_dir.with_name(f'{work_dir.name}.journal')


def _train(config: Path, work_dir: Path, fault: Fault, resume: str | None, report: Path) -> None:
    """What the child does; it ends the process."""
    log = os.open(report.with_suffix('.log'), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    torch.set_num_threads(1)
    # What the parent has imported is not looked through by every collection.
    gc.freeze()
    _write_configs_plainly()
    fault_hook.clock = clock = fault_hook.KillClock(work_dir, fault.kill_at)
    sys.addaudithook(clock.audit)
    if fault.stock:
        launch._set_durable_checkpoints = lambda cfg: None
    if fault.file_limit is not None:
        if fault.die_at_limit:
            # Python ignores it, to get an error instead.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.file_limit, resource.RLIM_INFINITY))
    sentence = ''
    try:
        launch.train(config, work_dir=work_dir, resume=resume, cfg_options={'experiment_name': work_dir.name})
    except Exception as error:
        sentence = f'{type(error).__name__}: {error}'
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    report.write_text(f'{clock.count}\n{sentence}', encoding='utf-8')
    if sentence:
        sys.exit(1)


def _write_configs_plainly() -> None:
    """A Runner has yapf format its whole config several times, which takes longer than a tiny training."""
    # The fork imports it where it is needed.
    fork = not hasattr(mmengine_config, 'FormatCode')
    owner: Any = importlib.import_module('yapf.yapflib.yapf_api') if fork else mmengine_config
    owner.FormatCode = lambda text, **_: (text, True)
