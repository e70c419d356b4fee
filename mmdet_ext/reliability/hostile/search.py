"""Feeds bad files to the readers and looks for one that does not say what is wrong."""

import contextlib
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from .mutations import misplace
from .pickles import MARK
from .targets import TARGETS, Target

PATIENCE = 20.0
"""Seconds after which a reader counts as hung; it takes milliseconds."""
MEMORY = 3 * 2**30
"""Bytes that a reader may take beyond what the process has; it needs megabytes."""
_WORDS = 5


class DefectError(Exception):
    """A reader crashed, hung, ran code, gave a wrong result, or complained without a sentence."""


class _HungError(BaseException):
    """Raised in a reader that takes too long; no `except Exception` catches it."""


@dataclass
class Findings:
    """What became of the files of one kind.

    Attributes:
        name: Of the kind.
        cases: Files tried.
        refused: Those refused with a sentence; the others were read to a right result.
        defects: One for each place in the code, with what happened and the file's first bytes.
        seconds: All together.
    """

    name: str
    cases: int = 0
    refused: int = 0
    defects: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return asdict(self)


def try_case(target: Target, rng: random.Random, folder: Path) -> bool:
    """Make one bad file, and read it.

    Args:
        target: The kind of file.
        rng: All choices; hypothesis' `randoms` can stand here.
        folder: An empty folder.

    Returns:
        Whether it was refused with a sentence.

    Raises:
        DefectError: See there.
    """
    path = folder / target.file
    if rng.random() < 0.03:
        misplace(path, rng)
    else:
        path.write_bytes(target.mutate(_good(target), rng))
    try:
        with _time_limit(), _memory_limit(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            target.read(path)
    except (ValueError, KeyError, FileNotFoundError) as error:
        sentence = str(error)
        if len(sentence.split()) < _WORDS or str(folder) not in sentence:
            raise DefectError(f'no sentence that names a file: {type(error).__name__}: {sentence[:200]}') from error
        return True
    except _HungError as error:
        raise DefectError(f'not done after {PATIENCE:g} s') from error
    except Exception as error:
        raise DefectError(f'{type(error).__name__}: {str(error)[:200]}') from error
    finally:
        if os.path.lexists(MARK) or (folder / MARK).exists():
            raise DefectError('code of the file was run')
    return False


_KNOWN: dict[str, bytes] = {}


def _good(target: Target) -> bytes:
    """The good file; made once, with the same numbers each time."""
    if target.name not in _KNOWN:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            _KNOWN[target.name] = target.good()
    return _KNOWN[target.name]


@contextlib.contextmanager
def _memory_limit() -> Iterator[None]:
    """Let a reader that wants gigabytes run into a MemoryError, not the machine out of memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    statistics = Path('/proc/self/statm')
    if not statistics.is_file():  # not Linux
        yield
        return
    used = int(statistics.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class _time_limit:
    """Raises `_HungError` in the main thread when the body takes longer than `PATIENCE`."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._raise)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def __exit__(self, *_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    @staticmethod
    def _raise(number: int, frame: FrameType | None) -> None:
        raise _HungError


def fresh_folder(root: Path) -> Path:
    """The same folder, emptied."""
    folder = root / 'case'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def search(
    cases: int, seed: int = 0, targets: Sequence[Target] = TARGETS, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Findings]:
    """Try as many files, spread evenly over the kinds, and tell of each kind; a defect does not end the search.

    Args:
        cases: Number of files in all.
        seed: Of hypothesis, which makes the choices.
        targets: Kinds of files.
        tell: Gets a line for each kind.
    """
    each = -(-cases // len(targets))
    for target in targets:
        found = _search_one(target, each, seed)
        tell(f'{target.name}: {found.cases} files, {found.refused} refused, {len(found.defects)} defects')
        yield found


def _search_one(target: Target, cases: int, seed: int) -> Findings:
    """Try files of one kind."""
    import hypothesis  # of requirements/tests.txt: whoever only reads results needs none
    from hypothesis import strategies

    found, start = Findings(target.name), time.perf_counter()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategies.integers(0, 2**63))
    def run(number: int) -> None:
        folder = fresh_folder(root)
        found.cases += 1
        try:
            found.refused += try_case(target, random.Random(number), folder)
        except DefectError as defect:
            file = folder / target.file
            content = file.read_bytes()[:200] if file.is_file() else b'no file'
            found.defects.setdefault(_place(defect), f'{defect} | number {number} | {content!r}')

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run()
    found.seconds = time.perf_counter() - start
    return found


def _place(defect: DefectError) -> str:
    """Where in the code it comes from: the innermost frame."""
    cause = defect.__cause__
    if cause is None:
        return 'harm'
    frame = traceback.extract_tb(cause.__traceback__)[-1]
    return f'{Path(frame.filename).name}:{frame.lineno} {type(cause).__name__}'
