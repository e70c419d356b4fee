"""Checkpoints that are cut, flipped, emptied or replaced by something harmful."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from .results import CaseResult
from .runs import EPOCHS, Fault, Trainings


class _Harmful:
    """Unpickling it would call a function."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ('harm_was_done',)


def _cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def _flip(path: Path, rng: random.Random) -> None:
    """One bit among the weights, which leaves a file that torch reads without a word."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content) // 4, len(content) // 2)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _zero(path: Path, rng: random.Random) -> None:
    """A block that never reached the disk."""
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content) // 4, len(content) // 2)
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)


def _empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b'')


def _replace(path: Path, rng: random.Random) -> None:
    torch.save({'state_dict': _Harmful(), 'meta': {}}, path)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    'cut': _cut,
    'flipped bit': _flip,
    'zeroed block': _zero,
    'empty': _empty,
    'harmful pickle': _replace,
}
SENTENCE = r'(half-written or no checkpoint|is damaged|is refused)'


def damaged_checkpoints(trainings: Trainings, seed: int = 0) -> CaseResult:
    """Damage the newest checkpoint of a run: named by itself it is refused, else the one before it is taken."""
    result = CaseResult('newest checkpoint damaged')
    source = trainings.new('source')
    trainings.run(source, Fault(kill_iter=2 * trainings.iterations, keep=EPOCHS))
    for kind, damage in DAMAGES.items():
        work_dir = trainings.new('damaged')
        shutil.copytree(source, work_dir)
        newest = work_dir / f'epoch_{EPOCHS - 1}.pth'
        (work_dir / 'last_checkpoint').write_text(str(newest), encoding='utf-8')
        damage(newest, random.Random(seed))
        outcome = trainings.run(work_dir, Fault(keep=EPOCHS), resume=str(newest))
        result.expect(kind, outcome, SENTENCE)
        lost = EPOCHS - 2 - trainings.newest(work_dir)[0]
        result.add(kind, lost=lost, resumed=trainings.recovers(work_dir))
    return result
