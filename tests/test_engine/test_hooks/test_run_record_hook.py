"""The record of a finished training: metrics after the last step, step time, memory, origin."""

import json
import math
import os
import shlex
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmdet_ext.engine.hooks import run_record_hook
from mmdet_ext.engine.hooks.run_record_hook import RECORD, WARM_UP, RunRecordHook
from tests.tiny_coco import tiny_run

HOOKS = {'custom_hooks': [dict(type='RunRecordHook')]}


class FakeRunner(SimpleNamespace):
    """What the hook reads of a Runner; its validation gives 0.25 and counts its calls."""

    def __init__(self, folder, hook, times=()):
        scalars = {'train/time': HistoryBuffer(list(times), [1] * len(times))} if times else {}
        super().__init__(work_dir=str(folder), iter=20, seed=7, message_hub=SimpleNamespace(log_scalars=scalars))
        self.validated = 0
        self.hook = hook
        self.val_loop = SimpleNamespace(run=self.validate)

    def validate(self):
        self.validated += 1
        self.hook.after_val_epoch(self, {'coco/bbox_mAP': np.float64(0.25), 'nothing': math.nan, 'text': 'x'})


def finish(tmp_path, **kwargs):
    hook = RunRecordHook()
    runner = FakeRunner(tmp_path, hook, **kwargs)
    hook.after_train(runner)
    return json.loads((tmp_path / RECORD).read_text()), runner


def test_a_real_training_resumed_after_its_last_checkpoint_is_validated(tmp_path):
    run = tiny_run()
    work_dir = run.copy(tmp_path / 'killed', 1, 2, 3)
    run.train(work_dir=work_dir, resume='auto', cfg_options=HOOKS)
    record = json.loads((work_dir / RECORD).read_text())
    assert 0 <= record['metrics']['coco/bbox_mAP'] <= record['metrics']['coco/bbox_mAP_50'] <= 1
    assert record['metrics']['coco/bbox_mAP_l'] == -1
    assert (record['iterations'], record['seed'], record['world_size']) == (6, 1, 1)
    # The times of all six steps came with the checkpoint.
    assert 0 < record['step_seconds'] < 60
    assert 100 < record['peak_memory_mb'] < 100_000
    assert record['command'] == shlex.join(sys.orig_argv)
    assert record['versions']['pycocotools']


def test_metrics_of_the_last_step_are_taken_as_they_are(tmp_path):
    hook = RunRecordHook()
    runner = FakeRunner(tmp_path, hook)
    runner.validate()
    hook.after_train(runner)
    assert runner.validated == 1
    record = json.loads((tmp_path / RECORD).read_text())
    assert record['metrics'] == {'coco/bbox_mAP': 0.25, 'nothing': None}
    assert record['step_seconds'] is None
    assert os.listdir(tmp_path) == [RECORD]


def test_older_metrics_are_not(tmp_path):
    hook = RunRecordHook()
    runner = FakeRunner(tmp_path, hook)
    runner.iter = 10
    hook.after_val_epoch(runner, {'coco/bbox_mAP': 0.9})
    runner.iter = 20
    hook.after_train(runner)
    assert json.loads((tmp_path / RECORD).read_text())['metrics']['coco/bbox_mAP'] == 0.25


@pytest.mark.parametrize(
    ('times', 'median'), [([9.0] * WARM_UP + [1.0, 2.0, 4.0] * 5, 2.0), ([9.0, 9.0, 1.0, 3.0], 2.0), ([5.0], 5.0)]
)
def test_the_first_steps_do_not_count(tmp_path, times, median):
    assert finish(tmp_path, times=times)[0]['step_seconds'] == median


def test_the_peak_survives_the_logger_which_resets_it(tmp_path, monkeypatch):
    peaks = iter([300, 900, 100])
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: next(peaks) * 2**20)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'a card')
    hook = RunRecordHook()
    runner = FakeRunner(tmp_path, hook)
    for index in range(3):
        hook.after_train_iter(runner, index)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    hook.after_train_iter(runner, 3)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    hook.after_train(runner)
    record = json.loads((tmp_path / RECORD).read_text())
    assert (record['peak_memory_mb'], record['device']) == (900, 'a card')


def test_resident_set_is_in_bytes(monkeypatch):
    usage = SimpleNamespace(ru_maxrss=2048)
    monkeypatch.setattr(run_record_hook.resource, 'getrusage', lambda _: usage)
    monkeypatch.setattr(sys, 'platform', 'linux')
    assert run_record_hook._resident_set() == 2 * 2**20
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert run_record_hook._resident_set() == 2048


def test_one_rank_writes_and_a_run_without_validation_has_no_metrics(tmp_path, monkeypatch):
    hook = RunRecordHook()
    runner = FakeRunner(tmp_path, hook)
    runner.val_loop = None
    monkeypatch.setattr(run_record_hook, 'is_main_process', lambda: False)
    hook.after_train(runner)
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    hook.after_train(runner)
    assert json.loads((tmp_path / RECORD).read_text())['metrics'] == {}
