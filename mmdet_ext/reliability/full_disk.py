"""No room to save."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from .results import CaseResult
from .runs import Fault, Trainings

SENTENCE = r'could not be saved: .+ (saved before is still there|go on with --resume)'


def file_limit(trainings: Trainings) -> CaseResult:
    """A limit on the size of files (`ulimit -f`, a quota) that the second checkpoint breaks."""
    result = CaseResult('file size limit while saving')
    work_dir = _one_epoch(trainings, trainings.new('limit'))
    outcome = trainings.run(work_dir, Fault(file_limit=1_000_000), resume='auto')
    result.expect('limit', outcome, SENTENCE)
    lost = trainings.lost(work_dir)
    result.add('limit', lost=lost, resumed=trainings.recovers(work_dir))
    return result


def full_disk(trainings: Trainings) -> CaseResult:
    """A file system of its own that is full before the second checkpoint, and has room again afterwards."""

    def fill(work_dir: Path) -> None:
        _, saved = trainings.newest(work_dir)
        room = os.statvfs(work_dir).f_bavail * os.statvfs(work_dir).f_frsize
        (work_dir / 'filler').write_bytes(bytes(room - (saved.stat().st_size if saved else 0) // 2))

    def empty(work_dir: Path) -> None:
        (work_dir / 'filler').unlink()

    return _on_a_disk(trainings, 'full', 'disk full while saving', fill, SENTENCE, empty)


def read_only(trainings: Trainings) -> CaseResult:
    """A work directory that cannot be written to, at the start of a run that is to go on."""

    def lock(work_dir: Path) -> None:
        _mount('-o', 'remount,ro', str(work_dir))

    def unlock(work_dir: Path) -> None:
        _mount('-o', 'remount,rw', str(work_dir))

    sentence = r'Nothing can be written to the work directory .+Read-only'
    return _on_a_disk(trainings, 'read-only', 'work directory is read-only', lock, sentence, unlock)


def _on_a_disk(
    trainings: Trainings,
    name: str,
    title: str,
    spoil: Callable[[Path], None],
    sentence: str,
    mend: Callable[[Path], None],
) -> CaseResult:
    """One epoch on a file system of its own, which is spoilt, tried, and mended."""
    result = CaseResult(title)
    work_dir = trainings.new(name)
    with mounted(work_dir, megabytes=32) as problem:
        if problem:
            result.skipped = problem
            return result
        _one_epoch(trainings, work_dir)
        spoil(work_dir)
        result.expect(name, trainings.run(work_dir, resume='auto'), sentence)
        lost = trainings.lost(work_dir)
        mend(work_dir)
        result.add(name, lost=lost, resumed=trainings.recovers(work_dir))
    return result


def _one_epoch(trainings: Trainings, work_dir: Path) -> Path:
    """A run that was killed after its first epoch was saved."""
    trainings.run(work_dir, Fault(kill_iter=trainings.iterations))
    return work_dir


@contextlib.contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[str]:
    """A small file system in memory at this place.

    Yields:
        Why there is none ('' where there is): mounting wants root on Linux.
    """
    folder.mkdir(parents=True)
    problem = _mount('-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', str(folder))
    try:
        yield f'needs the right to mount a tmpfs ({problem})' if problem else ''
    finally:
        if not problem:
            subprocess.run(['umount', str(folder)], check=True)


def _mount(*arguments: str) -> str:
    """What `mount` complains of, '' where it works."""
    try:
        done = subprocess.run(['mount', *arguments], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or (f'mount ended with {done.returncode}' if done.returncode else '')
