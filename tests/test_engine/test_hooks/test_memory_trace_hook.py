"""What a training holds on to is written down, step by step."""

import csv
import mmap
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS

from mmdet_ext.engine.hooks import memory_trace_hook
from mmdet_ext.engine.hooks.memory_trace_hook import FIELDS, MemoryTraceHook, memory_state


def train(hook, folder, steps, start=0):
    for step in range(start, steps):
        hook.after_train_iter(SimpleNamespace(iter=step, work_dir=str(folder)))


def rows(folder):
    with open(folder / 'memory.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_a_row_every_interval(tmp_path):
    train(HOOKS.build(dict(type='MemoryTraceHook', interval=5)), tmp_path, 12)
    assert [row['iteration'] for row in rows(tmp_path)] == ['5', '10']
    assert tuple(rows(tmp_path)[0]) == FIELDS
    # A resumed training.
    train(MemoryTraceHook(5), tmp_path, 17, start=12)
    assert [row['iteration'] for row in rows(tmp_path)] == ['5', '10', '15']


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_trace_hook, 'is_main_process', lambda: False)
    train(MemoryTraceHook(1), tmp_path, 3)
    assert list(tmp_path.iterdir()) == []


def test_what_is_held_is_seen(tmp_path):
    before = memory_state()
    # Not from the heap, which may have had room for it.
    held = mmap.mmap(-1, 64 << 20)
    held.write(b'x' * (64 << 20))
    with open(tmp_path / 'a', 'w'), open(tmp_path / 'b', 'w'):
        after = memory_state()
    assert 60 < after['resident_mb'] - before['resident_mb'] < 140
    assert after['open_files'] - before['open_files'] == 2
    assert before['threads'] >= 1
    held.close()


def test_memory_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 3 << 20)
    assert memory_state()['allocated_mb'] == 3


def test_a_bad_interval():
    with pytest.raises(ValueError, match='interval must be 1 or more steps, got 0'):
        MemoryTraceHook(0)
