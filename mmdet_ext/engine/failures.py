"""Failures of the machine around a training, told in a sentence that says what to do."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORKER = 'DataLoader worker'


def require_writable(work_dir: str | Path) -> None:
    """Refuse a work directory that nothing can be written to, before anything is built.

    Raises:
        OSError: It cannot be made or written to.
    """
    try:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir) as file:
            file.write(b'\n')
    except OSError as error:
        raise OSError(
            f'Nothing can be written to the work directory {work_dir} ({error.strerror}): logs and checkpoints '
            'would be lost; make it writable, make room, or give another one with --work-dir.'
        ) from error


@contextlib.contextmanager
def explained_failures(work_dir: str | Path) -> Iterator[None]:
    """Say what a full disk or a dead loader worker means for the run; other exceptions pass.

    Args:
        work_dir: Of the run, for the sentence.

    Raises:
        RuntimeError: A worker of a data loader died.
        OSError: A file could not be written for want of room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OSError(
            f'The run stopped because {error.filename or "a file"} could not be written: {error.strerror}. Checkpoints '
            f'in {work_dir} are kept: make room and go on with --resume.'
        ) from error
    except RuntimeError as error:
        if _WORKER not in str(error):
            raise
        raise RuntimeError(
            f'The run stopped because a worker of a data loader died ({_first_sentence(error)}): most often the '
            'machine ran out of memory or of shared memory. Checkpoints are kept: lower num_workers or batch_size of '
            f'the loader and go on with --resume (work directory {work_dir}).'
        ) from error


def _first_sentence(error: Exception) -> str:
    return str(error).split('. ', maxsplit=1)[0].splitlines()[0].strip()
