"""Random numbers that depend on seed, rank and iteration only, so that a resumed run repeats an uninterrupted one."""

import logging
import random
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import get_worker_info

# Different streams of one iteration: the pipeline that draws its batch, and the model that trains on it.
_DATA, _MODEL = 0, 1


def set_random_state(*key: int) -> None:
    """Put the generators of python, numpy and torch (all devices) into a state that is a function of the key.

    Args:
        key: Non-negative numbers; keys that differ anywhere give unrelated streams.
    """
    words = np.random.SeedSequence(key).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(words[0])  # noqa: NPY002  (transforms draw from the global generator)
    torch.manual_seed(int(words[0]) | int(words[1] >> 1) << 32)


class SeededFetch:
    """A data set's `__getitems__` that seeds each batch by its iteration.

    torch's DataLoader asks for a batch through this method, in the worker process if there are any. Batches go to the
    workers in turn, so a worker knows the iteration of its n-th batch; the numbers are the same for any number of
    workers, persistent or not.

    Args:
        dataset: The data set to fetch from.
        seed: Seed of the run.
        clock: Shared (2,) int64 tensor: iteration at which the epoch began, iteration to be trained next.
    """

    def __init__(self, dataset: Any, seed: int, clock: torch.Tensor) -> None:
        self.dataset = dataset
        self.key = (seed, get_rank(), _DATA)
        self.clock = clock
        self.epoch_start, self.fetched = -1, 0

    def __call__(self, indices: list[Any]) -> list[Any]:
        """Fetch the samples of one batch."""
        worker = get_worker_info()
        start, iteration = self.clock.tolist()
        if worker is not None:
            if start != self.epoch_start:
                self.epoch_start, self.fetched = start, 0
            iteration = start + self.fetched * worker.num_workers + worker.id
            self.fetched += 1
        set_random_state(*self.key, iteration)
        return [self.dataset[index] for index in indices]


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Makes `--resume` exact: mmengine stores no random state, and its workers repeat their numbers every epoch.

    Instead of storing the generators of every rank and worker, each iteration starts from a state derived from (seed,
    rank, iteration). Any checkpoint can then be resumed with the numbers of an uninterrupted run, whatever drew random
    numbers in between (a validation, for instance) and whatever the number of workers. With another number of ranks
    the numbers are other ones, but still the same on every repetition; the hook says so.

    A checkpoint gets `random_state = dict(seed, sampler_seed, world_size)`, plain integers. An unset seed
    (`randomness=dict(seed=None)`) is thereby resumed as well.

    `IterBasedTrainLoop` starts its workers before any hook runs: there, exactness with `num_workers > 0` is mmengine's
    own (the workers' fixed seeds and its replay of the skipped batches), and needs `randomness.seed` to be set.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._resumed: dict[str, int] | None = None
        self._clock = torch.zeros(2, dtype=torch.int64).share_memory_()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the state of the run the checkpoint belongs to."""
        self._resumed = checkpoint.get('random_state')

    def before_train(self, runner: Runner) -> None:
        """Take over the sampler's seed when resuming, and seed the batches."""
        loader = runner.train_loop.dataloader
        if runner.iter > 0 and self._resumed is not None:
            sampler = _sampler(loader)
            if self._resumed['sampler_seed'] is not None and hasattr(sampler, 'seed'):
                sampler.seed = self._resumed['sampler_seed']
            if self._resumed['world_size'] != get_world_size():
                print_log(
                    f'Resumed on {get_world_size()} ranks, the checkpoint comes from {self._resumed["world_size"]}: '
                    'random numbers are derived anew from seed, rank and iteration, and differ from those of an '
                    'uninterrupted run.',
                    'current',
                    logging.WARNING,
                )
        loader.dataset.__getitems__ = SeededFetch(loader.dataset, runner.seed, self._clock)

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the workers at which iteration the epoch begins."""
        self._clock.fill_(runner.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the model's random numbers of this iteration."""
        self._clock[1] = runner.iter + 1
        set_random_state(runner.seed, get_rank(), _MODEL, runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store what the derivation starts from."""
        checkpoint['random_state'] = {
            'seed': runner.seed,
            'sampler_seed': getattr(_sampler(runner.train_loop.dataloader), 'seed', None),
            'world_size': get_world_size(),
        }


def _sampler(loader: Any) -> Any:
    """The sampler that shuffles; mmdet's batch samplers wrap it."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)
