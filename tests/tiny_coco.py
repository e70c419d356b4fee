"""A COCO data set of a few small pictures, and a detector that trains on it in a second."""

import functools
import gc
import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from mmdet_ext.engine.launch import train
from mmdet_ext.reliability.tiny_training import data_config, make_tiny_coco, tiny_config

__all__ = ['TinyRun', 'data_config', 'make_tiny_coco', 'tiny_config', 'tiny_run']


@functools.cache
def tiny_run() -> 'TinyRun':
    """One training of three epochs, shared by every test of the process."""
    return TinyRun()


class TinyRun:
    """Files and result of a short training; tests copy what they change.

    Attributes:
        root: Directory of everything, removed when the process ends.
        paths: Of the data set, see `make_tiny_coco`.
        config: Config file.
        work_dir: With `epoch_1.pth` to `epoch_3.pth`.
        losses: Loss of every iteration.
        state: Weights after training.
    """

    def __init__(self) -> None:
        self._count = itertools.count()
        self._directory = tempfile.TemporaryDirectory()
        self.root = Path(self._directory.name)
        self.paths = make_tiny_coco(self.root / 'data', n=4)
        self.config = self.root / 'tiny.py'
        self.config.write_text(tiny_config(self.paths))
        self.work_dir = self.root / 'run'
        self.losses, self.state = self.train(work_dir=self.work_dir)

    def train(self, **options: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
        """Train on one thread; losses of all iterations (resumed ones too) and the weights."""
        # mmengine names a run by config and second, and two runs of one name share their history.
        name = f'tiny_{next(self._count)}'
        cfg_options = {**options.pop('cfg_options', {}), 'experiment_name': name}
        torch.set_num_threads(1)
        runner = train(options.pop('config', self.config), cfg_options=cfg_options, **options)
        losses = runner.message_hub.get_scalar('train/loss').data[0].tolist()
        state = {key: value.clone() for key, value in runner.model.state_dict().items()}
        del runner
        gc.collect()  # ends the workers, which a later run's workers would otherwise inherit and wait for
        return losses, state

    def copy(self, target: Path, *epochs: int) -> Path:
        """A work directory as if training had been killed after the last of these epochs."""
        target.mkdir(parents=True)
        for epoch in epochs:
            shutil.copy(self.work_dir / f'epoch_{epoch}.pth', target)
        (target / 'last_checkpoint').write_text(str(target / f'epoch_{epochs[-1]}.pth'))
        return target
