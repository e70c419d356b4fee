"""Faults on schedule."""

import multiprocessing
import os
import signal
from types import SimpleNamespace

import pytest

from mmdet_ext.reliability import fault_hook
from mmdet_ext.reliability.fault_hook import FaultHook, KillClock


@pytest.fixture
def killed(monkeypatch) -> list[tuple[int, int]]:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, 'kill', lambda *call: calls.append(call))
    return calls


def test_the_nth_deed_is_the_last(killed):
    clock = KillClock('/w', kill_at=2)
    clock.tick()
    assert killed == []
    clock.tick()
    assert killed == [(os.getpid(), signal.SIGKILL)]
    clock.tick()
    assert (clock.count, len(killed)) == (3, 1)


@pytest.mark.parametrize(
    ('event', 'args', 'counts'),
    [
        ('open', ('/w/a.pth', 'wb', os.O_WRONLY | os.O_CREAT), True),
        ('open', ('/w/a.pth', 'rb', os.O_RDONLY), False),
        ('open', ('/where/a.pth', 'wb', os.O_WRONLY), False),
        ('open', (3, 'wb', os.O_WRONLY), False),
        ('os.rename', ('/w/a.part', '/w/a', -1, -1), True),
        ('os.remove', ('/w/a', -1), True),
        ('os.mkdir', ('/w/a', 511, -1), False),
    ],
)
def test_what_counts(killed, event, args, counts):
    clock = KillClock('/w')
    clock.audit(event, args)
    assert clock.count == counts


def _runner(iteration: int) -> SimpleNamespace:
    return SimpleNamespace(iter=iteration, epoch=4, world_size=1)


def test_the_hook_ticks_kills_and_notes(killed, tmp_path, monkeypatch):
    monkeypatch.setattr(fault_hook, 'clock', KillClock(tmp_path))
    hook = FaultHook(str(tmp_path / 'journal'), kill_iter=1)
    hook.before_train_iter(_runner(0), 0)
    assert killed == []
    hook.before_train_iter(_runner(1), 1)
    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert fault_hook.clock.count == 2
    hook.after_train_epoch(_runner(1))
    hook.after_train_epoch(_runner(1))
    assert (tmp_path / 'journal').read_text() == '5\n5\n'


def test_a_worker_is_the_victim(killed, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, 'active_children', lambda: [SimpleNamespace(pid=77), SimpleNamespace(pid=78)])
    FaultHook(str(tmp_path / 'j'), kill_iter=0, victim='worker').before_train_iter(_runner(0), 0)
    assert killed == [(77, signal.SIGKILL)]


def test_another_rank_lives(killed, tmp_path):
    runner = SimpleNamespace(iter=0, world_size=2)
    FaultHook(str(tmp_path / 'j'), kill_iter=0).before_train_iter(runner, 0)
    assert killed == []


def test_registered():
    from mmdet.registry import HOOKS

    assert HOOKS.get('FaultHook') is FaultHook
