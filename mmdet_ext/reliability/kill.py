"""kill -9 at random points of a training."""

import random
import signal

from .results import CaseResult
from .runs import Fault, Trainings


def kill_anywhere(trainings: Trainings, kills: int = 20, seed: int = 0) -> CaseResult:
    """Kill as many runs, each before another of its deeds (see `KillClock`), and resume them.

    Args:
        trainings: Where to run.
        kills: Number of runs; at most the deeds of one.
        seed: Of the choice of points.
    """
    result = CaseResult('kill -9 at random points')
    deeds = trainings.whole[1].deeds
    for point in sorted(random.Random(seed).sample(range(1, deeds + 1), min(kills, deeds))):
        work_dir = trainings.new('killed')
        outcome = trainings.run(work_dir, Fault(kill_at=point))
        trial = f'deed {point} of {deeds}'
        result.expect_signal(trial, outcome, signal.SIGKILL)
        lost = trainings.lost(work_dir)
        result.add(trial, lost=lost, resumed=trainings.recovers(work_dir))
    return result


def kill_while_writing(trainings: Trainings, kills: int = 4, seed: int = 0, *, stock: bool = False) -> CaseResult:
    """End a run in the middle of the write of its second checkpoint, after a random number of bytes.

    Args:
        trainings: Where to run.
        kills: Number of runs.
        seed: Of the numbers of bytes.
        stock: Save by mmengine's own hook, to compare. What it loses is counted, and is no fault of ours.
    """
    name = 'killed in the middle of a write'
    result = CaseResult(f"{name}, with mmengine's hook" if stock else name)
    rng = random.Random(seed)
    for _ in range(kills):
        work_dir = trainings.new('writing')
        trainings.run(work_dir, Fault(kill_iter=trainings.iterations, stock=stock))
        _, saved = trainings.newest(work_dir)
        size = saved.stat().st_size if saved else 0
        # Configs and logs of a run, and the best weights, are shorter.
        limit = rng.randrange(size // 2, size)
        outcome = trainings.run(work_dir, Fault(file_limit=limit, die_at_limit=True, stock=stock), resume='auto')
        trial = f'after {limit} bytes'
        result.expect_signal(trial, outcome, signal.SIGXFSZ)
        lost = trainings.lost(work_dir)
        result.add(trial, lost=lost, resumed=trainings.recovers(work_dir))
    if stock:
        result.faults.clear()
    return result
