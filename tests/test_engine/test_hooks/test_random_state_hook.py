"""A killed and resumed training gives the losses and weights of an uninterrupted one, bit for bit."""

import random

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from torch.utils.data import DataLoader, Dataset

from mmdet_ext.engine import launch
from mmdet_ext.engine.hooks.random_state_hook import RandomStateHook, SeededFetch, set_random_state
from tests.tiny_coco import tiny_run


def _same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_resume_equals_uninterrupted(tmp_path):
    run = tiny_run()
    losses, state = run.train(work_dir=run.copy(tmp_path / 'killed', 1), resume='auto')
    assert len(run.losses) == 6
    assert losses == run.losses
    assert _same(state, run.state)


def test_without_the_hook_it_does_not(tmp_path, monkeypatch):
    run = tiny_run()
    monkeypatch.setattr(launch, '_custom_hook', lambda cfg, kind: ConfigDict())
    losses, state = run.train(
        work_dir=run.copy(tmp_path / 'killed', 1), resume='auto', cfg_options={'custom_hooks': []}
    )
    assert losses[:2] == run.losses[:2]
    assert losses[2:] != run.losses[2:]
    assert not _same(state, run.state)


@pytest.mark.parametrize('persistent', [True, False])
def test_workers_give_the_same_numbers_as_none(tmp_path, persistent):
    run = tiny_run()
    options = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': persistent}
    # From the first epoch on for persistent workers (their second epoch), resumed for others.
    work_dir = tmp_path / 'new' if persistent else run.copy(tmp_path / 'killed', 1)
    losses, state = run.train(work_dir=work_dir, resume=None if persistent else 'auto', cfg_options=options)
    assert losses == run.losses
    assert _same(state, run.state)


def test_unset_seed_is_resumed(tmp_path):
    run = tiny_run()
    options = {'randomness.seed': None, 'randomness.diff_rank_seed': True, 'train_cfg.max_epochs': 2}
    losses, state = run.train(work_dir=tmp_path / 'run', cfg_options=options)
    (tmp_path / 'run' / 'epoch_2.pth').unlink()
    resumed = run.train(work_dir=tmp_path / 'run', resume=str(tmp_path / 'run' / 'epoch_1.pth'), cfg_options=options)
    assert losses != run.losses[:4]
    assert resumed[0] == losses
    assert _same(resumed[1], state)


def test_iteration_loop_resumes_mid_epoch(tmp_path):
    run = tiny_run()
    options = {
        'train_cfg.type': 'IterBasedTrainLoop',
        'train_cfg.max_iters': 6,
        'train_cfg.val_interval': 2,
        'train_dataloader.sampler.type': 'InfiniteSampler',
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 3,
        'log_processor.by_epoch': False,
    }
    config = tmp_path / 'iter.py'
    config.write_text(run.config.read_text().replace('max_epochs=3, ', ''))
    losses, state = run.train(config=config, work_dir=tmp_path / 'run', cfg_options=options)
    (tmp_path / 'run' / 'iter_6.pth').unlink()
    resumed = run.train(config=config, work_dir=tmp_path / 'run', resume='auto', cfg_options=options)
    assert len(losses) == 6
    assert resumed[0] == losses
    assert _same(resumed[1], state)


def test_other_number_of_ranks_is_said(tmp_path, caplog):
    run = tiny_run()
    work_dir = run.copy(tmp_path / 'killed', 2)
    checkpoint = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
    assert checkpoint['random_state'] == {'seed': 1, 'sampler_seed': 1, 'world_size': 1}
    checkpoint['random_state']['world_size'] = 2
    torch.save(checkpoint, work_dir / 'epoch_2.pth')
    run.train(work_dir=work_dir, resume='auto')
    (log,) = work_dir.glob('*/*.log')
    assert 'Resumed on 1 ranks, the checkpoint comes from 2' in log.read_text()


def test_state_is_a_function_of_the_key():
    def draw(*key: int) -> tuple[float, float, float]:
        set_random_state(*key)
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    assert draw(1, 2, 3) == draw(1, 2, 3)
    values = [draw(*key) for key in [(1, 2, 3), (1, 2, 4), (1, 3, 2), (2, 1, 3), (0, 0, 0)]]
    assert all(len(set(column)) == len(values) for column in zip(*values, strict=True))


class _Numbers(Dataset):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> float:
        return random.random()


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_batches_do_not_depend_on_the_workers(workers):
    def epoch(loader: DataLoader, clock: torch.Tensor, start: int) -> list[float]:
        clock.fill_(start)
        values = []
        for index, batch in enumerate(loader):
            clock[1] = start + index + 1
            values += batch.tolist()
        return values

    dataset, clock = _Numbers(), torch.zeros(2, dtype=torch.int64).share_memory_()
    dataset.__getitems__ = SeededFetch(dataset, 0, clock)
    loader = DataLoader(dataset, 2, num_workers=workers, persistent_workers=workers > 0)
    first, second = epoch(loader, clock, 0), epoch(loader, clock, 5)
    expected = []
    for iteration in range(10):
        set_random_state(0, 0, 0, iteration)
        expected += [random.random(), random.random()]
    assert first + second == pytest.approx(expected, abs=1e-12)


def test_registered():
    from mmdet.registry import HOOKS

    assert HOOKS.get('RandomStateHook') is RandomStateHook
