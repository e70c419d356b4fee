"""A process beside the one that trains dies: a worker of the data loader, or another rank."""

import os
import subprocess
import sys
import time
from pathlib import Path

from .results import CaseResult
from .runs import PATIENCE, Fault, Outcome, Trainings

_LAUNCHER = 'tools/dist_train.sh'
_SENTENCE = r'(rank|local_rank)\W+\d.*Signal 9 \(SIGKILL\) received|Signal 9 \(SIGKILL\)'


def dead_worker(trainings: Trainings) -> CaseResult:
    """A worker gets SIGKILL, as the kernel does when memory is short."""
    result = CaseResult('loader worker dies')
    work_dir = trainings.new('worker')
    outcome = trainings.run(work_dir, Fault(kill_iter=trainings.iterations, victim='worker', workers=2))
    result.expect('worker', outcome, 'worker of a data loader died .* go on with --resume')
    lost = trainings.lost(work_dir)
    result.add('worker', lost=lost, resumed=trainings.recovers(work_dir))
    return result


def dead_rank(trainings: Trainings, repository: str | Path) -> CaseResult:
    """One of two ranks gets SIGKILL: the launcher ends the other one, and both go on together.

    Args:
        trainings: Where to run; two ranks are compared with two ranks.
        repository: With `tools/dist_train.sh`.
    """
    result = CaseResult('one of two ranks dies')
    launcher = Path(repository, _LAUNCHER)
    if not launcher.is_file():
        result.skipped = f'needs {_LAUNCHER} of the repository'
        return result
    whole, work_dir = trainings.new('ranks'), trainings.new('rank')
    if _launch(launcher, trainings.config(whole), whole).code:
        raise RuntimeError(f'Two ranks fail without any fault; see {whole}.log')
    # A rank has half of the iterations, rounded up.
    killed = Fault(kill_iter=(trainings.iterations + 1) // 2)
    outcome = _launch(launcher, trainings.config(work_dir, killed), work_dir)
    result.expect('rank', outcome, _SENTENCE)
    lost = trainings.lost(work_dir)
    resumed = _launch(launcher, trainings.config(work_dir), work_dir, '--resume')
    same = resumed.code == 0 and trainings.result(work_dir) == trainings.result(whole)
    result.add('rank', lost=lost, resumed=same)
    return result


def _launch(launcher: Path, config: Path, work_dir: Path, *arguments: str) -> Outcome:
    """Train on two ranks without a GPU; the sentence is what the launcher says at its end."""
    ranks = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
    environment = {key: value for key, value in os.environ.items() if key not in ranks}
    environment |= {'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'}
    command = [str(launcher), str(config), '2', '--work-dir', str(work_dir), *arguments]
    start = time.perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as done:
        try:
            out, error = done.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as hung:
            # Not killed: the launcher then ends its ranks, which would go on without it.
            done.terminate()
            raise TimeoutError(f'Two ranks hung: {config} was not done after {PATIENCE:g} s.') from hung
    work_dir.with_name(f'{work_dir.name}.log').write_text(out + error, encoding='utf-8')
    return Outcome(done.returncode, error[-2500:], 0, out, time.perf_counter() - start)
