"""Checkpoints: read them safely, find the newest one a run can resume from, and see whether one fits a model."""

import enum
import logging
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import nn

from ..compat import allow_checkpoint_types


def read_checkpoint(path: str | Path, *, whole: bool = True) -> dict[str, Any]:
    """Read a checkpoint on the CPU without ever running code from it (`weights_only=True`).

    Tensors of a local file are mapped, not copied. torch does not look at the checksums that it writes: a flipped bit
    on the disk would be a weight like any other. So they are compared here, about a second per GB.

    Args:
        path: Local file, or an address mmengine knows (`https://`, `torchvision://` ...).
        whole: Compare the checksums; without, a look at a large checkpoint is cheap.

    Returns:
        The checkpoint's dict.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is half-written, damaged or no checkpoint, or holds objects other than tensors and plain
            data.
    """
    if re.match(r'[\w-]+:', str(path)):
        return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint {path}.')
    # The fork's loader takes the types off the list again after each of its loads.
    allow_checkpoint_types()
    zipped = zipfile.is_zipfile(path)
    if whole and zipped and (damaged := _damaged_part(path)) is not None:
        raise ValueError(f'{path} is damaged: {damaged}; copy it again, or use another checkpoint.')
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        refused = re.search(r'(?:GLOBAL|Unsupported (?:global|class))\W+(?:GLOBAL )?([\w.]+)', str(error))
        if refused is None:
            raise ValueError(f'{path} is half-written or no checkpoint: it cannot be read.') from error
        raise ValueError(
            f'{path} is refused: it holds a Python object ({refused[1]}), and loading that could run code.'
        ) from error
    except Exception as error:  # the unpickler fails in any way on bytes that are no pickle
        raise ValueError(f'{path} is half-written or no checkpoint: it cannot be read.') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{path} is no checkpoint: it holds a {type(checkpoint).__name__}, not a dict.')
    return checkpoint


def _damaged_part(path: Path) -> str | None:
    """What of an archive does not fit its checksum; None where all of it does. Files of old torch have none."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except Exception as error:  # a damaged table of contents raises anything
        return f'its table of contents cannot be read ({error})'
    return None if part is None else f'the checksum of {part!r} in it is wrong'


class Resumes(enum.Enum):
    """How a run can go on from a checkpoint."""

    EXACTLY = enum.auto()
    WITHOUT_OPTIMIZER = enum.auto()
    NOT = enum.auto()


def _state_of(path: Path, *, whole: bool) -> tuple[Resumes, str | None]:
    """How a run can resume from a file, and what is wrong with it when it cannot even be read."""
    try:
        checkpoint = read_checkpoint(path, whole=whole)
    except (FileNotFoundError, ValueError) as error:
        return Resumes.NOT, str(error)
    meta = checkpoint.get('meta')
    if 'message_hub' not in checkpoint or not isinstance(meta, Mapping) or not {'epoch', 'iter'} <= set(meta):
        return Resumes.NOT, None
    return (Resumes.EXACTLY if 'optimizer' in checkpoint else Resumes.WITHOUT_OPTIMIZER), None


def find_resumable(work_dir: str | Path) -> Path | None:
    """The checkpoint that `--resume` without a path continues from.

    That is the one `last_checkpoint` names, as in mmengine; when it is half-written, damaged or gone, the newest one in
    the directory that is whole, those without optimizer state (the best one) last. Every unreadable one is named in a
    warning.

    Args:
        work_dir: Directory of the interrupted run.

    Returns:
        The file (a directory for DeepSpeed checkpoints, which are not looked into), or None to start from scratch.
    """
    work_dir = Path(work_dir)
    marker = work_dir / 'last_checkpoint'
    # Nothing, or no text, stands there after a crash while it was written.
    marked = [Path(name)] if marker.is_file() and (name := marker.read_text(errors='replace').strip('\0 \n')) else []
    if marked and marked[0].is_dir():
        return marked[0]
    others = sorted(work_dir.glob('*.pth'), key=lambda file: file.stat().st_mtime, reverse=True)
    candidates = marked + [file for file in others if not marked or file.resolve() != marked[0].resolve()]
    states = {file: _state_of(file, whole=False) for file in candidates}
    chosen = None
    # A best checkpoint has no optimizer: going on from it gives other numbers, so it comes last.
    for file in sorted(candidates, key=lambda file: states[file][0] is not Resumes.EXACTLY):
        # Only those that might be taken are read as a whole.
        if chosen is None and states[file][0] is not Resumes.NOT:
            states[file] = _state_of(file, whole=True)
            chosen = None if states[file][0] is Resumes.NOT else file
    for _, problem in states.values():
        if problem is not None:
            instead = f'resuming from {chosen}' if chosen else 'no readable one is left, training starts from scratch'
            print_log(f'{problem} Ignored: {instead}.', 'current', logging.WARNING)
    if chosen is not None and states[chosen][0] is Resumes.WITHOUT_OPTIMIZER:
        print_log(
            f'{chosen} has no state of the optimizer, and no better one is left: the optimizer starts anew, so numbers '
            'will differ from those of an uninterrupted run.',
            'current',
            logging.WARNING,
        )
    return chosen


def check_resumable(path: str | Path) -> None:
    """Refuse to resume from a file that cannot be resumed from, and name one that can.

    Args:
        path: The checkpoint given to `--resume`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file cannot be read, or holds weights only.
    """
    if re.match(r'[\w-]+:', str(path)) or Path(path).is_dir():
        return
    state, problem = _state_of(Path(path), whole=True)
    if state is not Resumes.NOT:
        return
    problem = problem or f'{path} holds weights but no training state; give it as load_from, not to --resume.'
    good = find_resumable(Path(path).parent)
    hint = f' Resume from {good}, or with --resume alone.' if good else ''
    raise (ValueError if Path(path).is_file() else FileNotFoundError)(problem + hint)


def require_init(path: str, config: str | Path) -> None:
    """Refuse to start from a checkpoint that is not there, and name the command that makes it.

    Args:
        path: The config's `load_from`; where it is in the folder of a run, that of the config of this name.
        config: The config file that wants it; the other one is looked for beside it.

    Raises:
        FileNotFoundError: No such file.
    """
    if re.match(r'[\w-]+:', path) or Path(path).expanduser().exists():
        return
    maker = Path(config).with_name(f'{Path(path).parent.name}.py')
    known = maker.is_file() and maker.resolve() != Path(config).resolve()
    hint = f'train it first: python tools/train.py {maker}; or' if known else 'correct load_from; or'
    raise FileNotFoundError(
        f'{config} starts from the checkpoint {path}, which is not there; {hint} give another one with --cfg-options '
        'load_from=FILE, or start from nothing with load_from=None.'
    )


@dataclass(frozen=True)
class WeightsMatch:
    """How a checkpoint fits a model: names of the model's tensors that it lacks, or holds in another shape.

    `plain`: it is of a plain detector, and the model has a relation head.
    """

    total: int
    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    origin: str | None
    plain: bool = False

    @property
    def complete(self) -> bool:
        """Every tensor of the model is there."""
        return not self.missing and not self.other_shape

    @property
    def nothing(self) -> bool:
        """Not a single tensor of the model is there."""
        return len(self.missing) + len(self.other_shape) == self.total

    def summary(self, path: str | Path) -> str:
        """One sentence for a person."""
        first = ', '.join((*self.other_shape, *self.missing)[:3])
        origin = f' The checkpoint was made by {self.origin}.' if self.origin else ''
        plain = ' It is of a plain detector, from which a training may start.' if self.plain else ''
        return (
            f"{path} does not fit the model: of the model's {self.total} tensors {len(self.missing)} are missing in "
            f'it and {len(self.other_shape)} have another shape (first: {first}).{origin}{plain}'
        )

    def listing(self) -> str:
        """Every tensor that does not fit, one a line."""
        rows = [f'  another shape: {name}' for name in self.other_shape] + [
            f'  missing: {name}' for name in self.missing
        ]
        return '\n'.join(rows)


def _inner(model: Any) -> nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def match_weights(model: nn.Module, checkpoint: Mapping[str, Any]) -> WeightsMatch:
    """Load a checkpoint into a model and report what did not fit.

    The weights are really loaded, because modules may rename or reshape old keys while loading.

    Args:
        model: Detector, possibly wrapped for DDP or test-time augmentation.
        checkpoint: As returned by `read_checkpoint`, or a bare state dict.

    Returns:
        The comparison; `num_batches_tracked` counters of old checkpoints do not count.
    """
    model = _inner(model)
    state = {re.sub(r'^module\.', '', key): value for key, value in checkpoint.get('state_dict', checkpoint).items()}
    names = [name for name in model.state_dict() if not name.endswith('num_batches_tracked')]
    try:
        missing, other_shape = model.load_state_dict(state, strict=False).missing_keys, []
    except RuntimeError as error:
        other_shape = re.findall(r'size mismatch for (\S+?):', str(error))
        if not other_shape:
            raise
        rest = {key: value for key, value in state.items() if key not in other_shape}
        missing = model.load_state_dict(rest, strict=False).missing_keys
    # A relation head takes over a plain one's weights: nothing is missing then, but it has not learnt anything either.
    starts: list[Any] = [getattr(module, 'warm_start_report', None) for module in model.modules()]
    fresh = {start.prefix + key for start in starts if start for key, _ in (*start.fresh, *start.zeroed)}
    lacking = [name for name in names if name in (fresh | set(missing)) - set(other_shape)]
    meta = checkpoint.get('meta')
    origin = meta.get('experiment_name') if isinstance(meta, Mapping) else None
    misfits = tuple(n for n in names if n in other_shape)
    return WeightsMatch(len(names), tuple(lacking), misfits, origin, plain=any(starts))


def check_weights(model: nn.Module, path: str | Path, *, strict: bool) -> WeightsMatch:
    """Compare a checkpoint with the model it is to be loaded into.

    Args:
        model: Detector, possibly wrapped.
        path: The checkpoint.
        strict: Every tensor of the model has to be there (testing, resuming). Otherwise a part is enough
            (fine-tuning), and what is missing is said in a warning.

    Returns:
        The comparison.

    Raises:
        ValueError: `strict` and something is missing, or nothing at all fits.
    """
    match = match_weights(model, read_checkpoint(path))
    if match.nothing or (strict and not match.complete):
        raise ValueError(match.summary(path) + ' Use the config it was trained with, or another checkpoint.')
    if not match.complete:
        print_log(
            f'{match.summary(path)} These keep their initial values:\n{match.listing()}', 'current', logging.WARNING
        )
    return match
