"""The two trainings of the demo: restartable, with a quiet console and a log file that keeps everything."""

import contextlib
import hashlib
import io
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

import mmdet_ext
from mmdet_ext.engine.launch import load_config, test, train

Say = Callable[[str], None]
_STATE = 'demo_state.json'
_PROGRESS = re.compile(
    r'(?:Epoch\(train\)\s+\[(\d+)\]|Iter\(train\) )\[\s*(\d+)/(\d+)\].*?eta: (\S+).*?\bloss: ([\d.naif]+)'
)


@dataclass
class TrainingState:
    """What a folder knows of its training: whose it is, how far, how long.

    Attributes:
        config_hash: Of the whole config, paths of the data left out.
        phantom_hash: Content hash of the data.
        seconds: Time spent training, over all restarts.
        checkpoint: File name of the trained weights; None until the training is finished.
    """

    config_hash: str
    phantom_hash: str
    seconds: float = 0.0
    checkpoint: str | None = None

    def same_run(self, other: 'TrainingState') -> bool:
        """Whether both are of the same config and data."""
        return (self.config_hash, self.phantom_hash) == (other.config_hash, other.phantom_hash)

    def save(self, folder: Path) -> None:
        (folder / _STATE).write_text(json.dumps(asdict(self), indent=2) + '\n', encoding='utf-8')


@dataclass
class _LogWriter(io.TextIOBase):
    """Stands in for the console: appends everything to a file and hands complete lines on."""

    log: Path
    on_line: Callable[[str], None]
    _rest: str = field(default='', init=False)

    def write(self, text: str) -> int:
        # Opened for each write: mmengine's loggers keep this object long after the run.
        with self.log.open('a', encoding='utf-8') as file:
            file.write(text)
        *lines, self._rest = (self._rest + text).split('\n')
        for line in lines:
            self.on_line(line)
        return len(text)


def find_shipped(name: str) -> Path:
    """A file that comes with this package, from an installed package (`.mim/`) or a checkout.

    Args:
        name: Path such as `tools/train.py`.

    Raises:
        FileNotFoundError: Neither place has it.
    """
    package = Path(mmdet_ext.__file__).parent
    places = (package.parent / name, package / '.mim' / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f'{name} is neither {places[0]} nor {places[1]}: install mmdet_ext again')


def find_config(name: str) -> Path:
    """A config of this package by its path below `configs/`, see `find_shipped`."""
    return find_shipped(f'configs/{name}')


@contextlib.contextmanager
def quiet_console(log: Path, on_line: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Send what is printed and logged within the block to a file, and name that file where the block fails.

    Args:
        log: File that is appended to.
        on_line: Called with every complete line; what it prints goes to the console.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    console = sys.stdout

    def call_outside(line: str) -> None:
        with contextlib.redirect_stdout(console):
            on_line(line)

    writer = _LogWriter(log, call_outside)
    try:
        with contextlib.redirect_stdout(writer), contextlib.redirect_stderr(writer):
            yield
    except Exception as error:
        raise RuntimeError(f'{type(error).__name__}: {error} (all that was printed until then: {log})') from error


def read_config(config: Path, options: Mapping[str, Any]) -> Config:
    """Read a config without the console lines that go with it; `train_detector` logs them again."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        return load_config(config, cfg_options=options)


def train_detector(
    config: Path, folder: Path, options: Mapping[str, Any], data: Path, phantom_hash: str, *, fresh: bool, say: Say
) -> TrainingState:
    """Train a detector, unless that was done: a finished training is kept, an interrupted one resumed.

    Args:
        config: Config file.
        folder: Work directory of this training, emptied for another config or other data.
        options: Dotted config key to value.
        data: Folder of the data; where it stands makes no other training.
        phantom_hash: Content hash of the data.
        fresh: Train again from the start in any case.
        say: Prints a line for the user.

    Returns:
        The state of the finished training.

    Raises:
        ValueError: `folder` holds something that the demo did not write.
        RuntimeError: The training failed; the message names its log.
    """
    state = TrainingState(_config_hash(config, options, data), phantom_hash)
    stored = _stored_state(folder)
    resume = False
    if stored is not None and (fresh or not stored.same_run(state)):
        say('  --fresh: starting again' if fresh else '  config or data have changed: starting again')
        shutil.rmtree(folder)
    elif stored is not None:
        state = stored
        if state.checkpoint is not None and (folder / state.checkpoint).is_file():
            say(f'  trained before, same config and data ({format_seconds(state.seconds)}); --fresh trains again')
            return state
        resume = (folder / 'last_checkpoint').is_file()
        say('  interrupted before: resuming from the last checkpoint' if resume else '  starting again')
    folder.mkdir(parents=True, exist_ok=True)
    state.checkpoint = None
    state.save(folder)
    before, begun = state.seconds, time.monotonic()

    def on_line(line: str) -> None:
        if progress := describe_progress(line):
            say(progress)
            state.seconds = before + time.monotonic() - begun
            state.save(folder)

    with quiet_console(folder / 'train.log', on_line):
        train(config, work_dir=folder, cfg_options=_own_visualizer(options, folder), resume='auto' if resume else None)
    state.seconds = before + time.monotonic() - begun
    state.checkpoint = Path((folder / 'last_checkpoint').read_text(encoding='utf-8').strip()).name
    state.save(folder)
    say(f'  done in {format_seconds(state.seconds)}')
    return state


def evaluate_detector(config: Path, folder: Path, checkpoint: str, options: Mapping[str, Any]) -> dict[str, float]:
    """Test the trained weights in `folder` and store the predictions in `folder/predictions.pkl`.

    Returns:
        The metrics, named as the evaluator names them.

    Raises:
        RuntimeError: The test failed; the message names its log.
    """
    with quiet_console(folder / 'test.log'):
        return test(
            config,
            folder / checkpoint,
            work_dir=folder / 'test',
            out=str(folder / 'predictions.pkl'),
            cfg_options=_own_visualizer(options, folder / 'test'),
        )


def describe_progress(line: str) -> str | None:
    """A readable line for a progress line of mmengine's log, None for any other line."""
    match = _PROGRESS.search(line)
    if match is None:
        return None
    epoch, iteration, total, left, loss = match.groups()
    place = '' if epoch is None else f'epoch {epoch}, '
    return f'  {place}iteration {iteration:>{len(total)}}/{total}   loss {float(loss):.3f}   {left} to go'


def format_seconds(seconds: float) -> str:
    """`'48 s'`, `'3 min 05 s'`."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def _own_visualizer(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """mmengine keeps visualizers by name: with a shared name a run would write into another one's folder."""
    return {**options, 'visualizer.name': str(folder)}


def _config_hash(config: Path, options: Mapping[str, Any], data: Path) -> str:
    text = json.dumps(read_config(config, options).to_dict(), sort_keys=True, default=str)
    return hashlib.sha256(text.replace(str(data), '').encode()).hexdigest()


def _stored_state(folder: Path) -> TrainingState | None:
    file = folder / _STATE
    if file.is_file():
        return TrainingState(**json.loads(file.read_text(encoding='utf-8')))
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f'{folder} holds something that the demo did not write: choose another --work-dir')
    return None
