"""The rules on losses during a training: once for each cause, at the end of a stretch, from mmengine's own history."""

import logging
from types import SimpleNamespace

import pytest
from mmdet.registry import HOOKS
from mmengine.logging import HistoryBuffer

from mmdet_ext.engine.hooks import LossAlarmHook, loss_alarm_hook
from tests.tiny_coco import tiny_run


class FakeRunner(SimpleNamespace):
    """What the hook reads of a Runner; `step` trains an iteration."""

    def __init__(self, hook, epoch=4):
        self.said = []
        logger = SimpleNamespace(log=lambda level, text: self.said.append((level, text)))
        hub = SimpleNamespace(log_scalars={'train/lr': HistoryBuffer(), 'val/loss_x': HistoryBuffer()})
        super().__init__(hook=hook, iter=0, train_dataloader=range(epoch), message_hub=hub, logger=logger)

    def step(self, **losses):
        for name, value in losses.items():
            self.message_hub.log_scalars.setdefault(f'train/{name}', HistoryBuffer()).update(value)
        self.hook.after_train_iter(self, batch_idx=self.iter, data_batch=None, outputs=None)
        self.iter += 1

    @property
    def texts(self):
        return [text for _, text in self.said]


def test_registered():
    assert HOOKS.build(dict(type='LossAlarmHook', epochs=7)).options['epochs'] == 7


def test_each_cause_once_at_the_end_of_a_stretch():
    runner = FakeRunner(LossAlarmHook(interval=2, epochs=4))
    runner.step(loss=10.0, loss_a=9.5, loss_b=0.5)
    assert runner.said == []
    runner.step(loss=10.0, loss_a=9.5, loss_b=0.5)
    assert len(runner.said) == 1
    level, text = runner.said[0]
    assert level == logging.WARNING
    assert text.startswith('LossAlarmHook: loss_a is 95 % of the total loss (9.5 of 10, mean of iterations 1 to 2)')
    for _ in range(10):
        runner.step(loss=10.0, loss_a=9.5, loss_b=0.5)
    assert len(runner.said) == 2
    assert 'loss does not change over the last 4 stretches of 2 iterations, up to iterations 7 to 8' in runner.texts[1]


def test_single_iterations_do_not_count():
    runner = FakeRunner(LossAlarmHook(interval=4))
    for a in (99.0, 1.0, 1.0, 1.0):
        runner.step(loss=a + 30.0, loss_a=a, loss_b=30.0)
    assert runner.said == []


def test_a_loss_that_falls_says_nothing():
    runner = FakeRunner(LossAlarmHook(interval=1, epochs=4))
    for number in range(12):
        runner.step(loss=10.0 * 0.9**number, loss_a=6.0, loss_b=4.0)
    assert runner.said == []


def test_an_epoch_is_a_stretch_unless_it_is_short(monkeypatch):
    monkeypatch.setattr(loss_alarm_hook, 'MIN_ITERATIONS', 3)
    runner = FakeRunner(LossAlarmHook(epochs=4), epoch=4)
    for _ in range(16):
        runner.step(loss=1.0)
    assert 'over the last 4 epochs, up to iterations 13 to 16' in runner.texts[0]
    runner = FakeRunner(LossAlarmHook(epochs=4), epoch=1)
    for _ in range(12):
        runner.step(loss=1.0)
    assert 'over the last 4 stretches of 3 iterations, up to iterations 10 to 12' in runner.texts[0]


def test_a_resumed_training_goes_on_with_the_history_of_its_checkpoint():
    runner = FakeRunner(LossAlarmHook(interval=2, epochs=4))
    runner.message_hub.log_scalars['train/loss'] = HistoryBuffer([5.0] * 7, [1] * 7)
    runner.iter = 7
    runner.step(loss=5.0)
    assert 'up to iterations 7 to 8' in runner.texts[0]


def test_not_finite_and_only_the_main_process(monkeypatch):
    runner = FakeRunner(LossAlarmHook(interval=1))
    monkeypatch.setattr(loss_alarm_hook, 'is_main_process', lambda: False)
    runner.step(loss=float('nan'), loss_a=float('nan'), loss_b=1.0)
    assert runner.said == []
    monkeypatch.undo()
    runner.step(loss=float('nan'), loss_a=float('nan'), loss_b=1.0)
    assert [text[:30] for text in runner.texts] == ['LossAlarmHook: loss_a is nan i']


def test_in_a_real_training(tmp_path):
    hook = dict(type='LossAlarmHook', interval=1, epochs=4, min_change=1e9)
    tiny_run().train(work_dir=tmp_path, cfg_options={'custom_hooks': [hook], 'visualizer.name': str(tmp_path)})
    (log,) = tmp_path.glob('*/*.log')
    said = [line for line in log.read_text().splitlines() if 'LossAlarmHook: ' in line]
    assert [line.split('LossAlarmHook: ')[1][:24] for line in said if 'change' in line] == ['loss does not change ove']
    assert 'up to iterations 4 to 4' in said[-1]


@pytest.mark.parametrize('interval', [0, 2.5, 'epoch'])
def test_bad_interval(interval):
    with pytest.raises(ValueError, match='interval must be a whole number from 1 on, or None, got'):
        LossAlarmHook(interval=interval)


def test_bad_share():
    with pytest.raises(ValueError, match='LossAlarmHook: share must be above'):
        LossAlarmHook(share=0)
