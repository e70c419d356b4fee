"""The table of activations: when it is measured, what is in it, and that training does not notice."""

import csv
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS

from mmdet_ext.engine.hooks import ActivationStatsHook, activation_stats_hook
from tests.test_engine.monitor_case import FakeRunner, Toy, batch, same, untouched, weights
from tests.tiny_coco import tiny_run


def read(folder):
    with (folder / 'activation_stats.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def test_every_interval_and_nothing_between(tmp_path):
    hook = HOOKS.build(dict(type='ActivationStatsHook', interval=3))
    runner = FakeRunner(hook, Toy(), tmp_path)
    looking = []
    for _ in range(7):
        hook.before_train_iter(runner, 0)
        looking.append(not untouched(runner.model))
        runner.step(batch())
        assert untouched(runner.model)
    assert looking == [True, False, False, True, False, False, True]
    rows = read(tmp_path)
    assert [row['iteration'] for row in rows] == ['1'] * 5 + ['4'] * 5 + ['7'] * 5
    assert [row['module'] for row in rows[:5]] == ['breaker', 'stem', 'norm', 'drop', 'head']
    assert 'grad_mean' not in rows[0]
    assert [text[:35] for text in runner.texts('INFO')] == [f'ActivationStatsHook: iteration {n}: 5' for n in (1, 4, 7)]


def test_known_activations_in_the_table(tmp_path):
    model = Toy()
    torch.nn.init.constant_(model.stem.weight, 0)
    torch.nn.init.constant_(model.stem.bias, 4)
    runner = FakeRunner(ActivationStatsHook(modules=['stem', 'norm', 'head'], gradients=True), model, tmp_path)
    runner.step(batch())
    stem, norm, head = read(tmp_path)
    assert (stem['order'], stem['kind'], stem['calls'], stem['values']) == ('0', 'Conv2d', '1', '128')
    assert [stem[key] for key in ('mean', 'std', 'abs_max', 'zero_share', 'nonfinite_share')] == [
        '4',
        '0',
        '4',
        '0',
        '0',
    ]
    # BatchNorm makes zeros of a constant, and there is nothing to compare the head's growth with.
    assert (stem['growth'], norm['zero_share'], norm['growth'], head['growth']) == ('', '1', '0', '')
    # The head's bias on both levels: 32 and 8 values.
    assert (head['calls'], head['values'], head['std']) == ('2', '40', '0')
    assert float(head['mean']) == pytest.approx(float(head['abs_max']) * (1 if float(head['mean']) > 0 else -1))
    assert float(head['grad_abs_max']) > 0
    assert head['grad_nonfinite_share'] == '0'


def test_the_first_nan_is_said_as_a_warning(tmp_path):
    runner = FakeRunner(ActivationStatsHook(gradients=True), Toy(), tmp_path)
    runner.step(batch(0))
    assert 'first output that is not finite: breaker (Breaker), 3.12 % of its values' in runner.texts()[0]
    assert read(tmp_path)[0]['nonfinite_share'] == '0.03125'
    # Nothing before it has weights, so it has no gradient.
    assert read(tmp_path)[0]['grad_mean'] == ''


def test_the_loss_scale_is_that_of_before_the_step(tmp_path):
    scaler = SimpleNamespace(value=4.0, get_scale=lambda: scaler.value)
    heads = []
    for scale in (None, scaler):
        torch.manual_seed(0)
        hook = ActivationStatsHook(modules=['head'], gradients=True)
        folder = tmp_path / str(len(heads))
        runner = FakeRunner(hook, Toy(), folder)
        if scale is not None:
            runner.optim_wrapper.loss_scaler = scale
            runner.optim_wrapper.scale_loss = lambda loss: (setattr(scaler, 'value', 99.0), loss * 4.0)[1]
        runner.step(batch())
        heads.append(read(folder)[0])
    assert float(heads[1]['grad_abs_max']) == pytest.approx(float(heads[0]['grad_abs_max']), rel=1e-5)


def test_only_the_main_process_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(activation_stats_hook, 'is_main_process', lambda: False)
    runner = FakeRunner(ActivationStatsHook(), Toy(), tmp_path)
    runner.hook.before_train_iter(runner, 0)
    assert untouched(runner.model)
    runner.step(batch())
    assert list(tmp_path.iterdir()) == runner.said == []


def test_a_step_that_failed_leaves_nothing(tmp_path):
    runner = FakeRunner(ActivationStatsHook(interval=2), Toy(), tmp_path)
    with pytest.raises(TypeError):
        runner.step({'unknown': torch.ones(1)})
    runner.iter += 1
    runner.step(batch())
    assert list(tmp_path.iterdir()) == []
    runner.hook.before_train_iter(runner, 0)
    runner.hook.after_train(runner)
    assert untouched(runner.model)


def test_a_compiled_model_is_measured_uncompiled(tmp_path):
    model = Toy()
    calls = []
    original = model.train_step

    def compiled(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    compiled._torchdynamo_orig_callable = original
    model.train_step = compiled
    runner = FakeRunner(ActivationStatsHook(interval=2), model, tmp_path)
    for _ in range(3):
        runner.step(batch())
    assert len(calls) == 1
    assert model.train_step is compiled
    assert len(read(tmp_path)) == 10


def test_training_and_checkpoints_do_not_notice(tmp_path):
    run = tiny_run()
    hooks = [dict(type='RandomStateHook'), dict(type='ActivationStatsHook', interval=2, gradients=True)]
    losses, state = run.train(work_dir=tmp_path, cfg_options={'custom_hooks': hooks})
    assert losses == run.losses
    assert same(state, run.state)
    stored, plain = (
        torch.load(folder / 'epoch_3.pth', weights_only=False)['state_dict'] for folder in (tmp_path, run.work_dir)
    )
    assert same(stored, plain)
    (file,) = tmp_path.glob('*/activation_stats.csv')
    rows = read(file.parent)
    assert {row['iteration'] for row in rows} == {'1', '3', '5'}
    heads = [row for row in rows if row['module'] == 'bbox_head.retina_cls' and row['iteration'] == '1']
    assert [row['calls'] for row in heads] == ['2']
    assert all(float(row['nonfinite_share']) == 0 for row in rows if row['nonfinite_share'])
    # GroupNorm gives a mean of 0 and a spread of 1, before its activation.
    norm = next(row for row in rows if row['module'] == 'backbone.gn1')
    assert float(norm['mean']) == pytest.approx(0, abs=1e-4)
    assert float(norm['std']) == pytest.approx(1, rel=1e-2)
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('ActivationStatsHook: iteration ') == 3


def test_bad_options(tmp_path):
    for interval in (0, 1.5, None):
        with pytest.raises(ValueError, match='interval must be a whole number from 1 on, got'):
            ActivationStatsHook(interval=interval)
    for modules in ('backbone', []):
        with pytest.raises(ValueError, match='modules must be a list such as'):
            ActivationStatsHook(modules=modules)
    with pytest.raises(ValueError, match="no module of Toy has a name like 'neck"):
        FakeRunner(ActivationStatsHook(modules=['neck.*']), Toy(), tmp_path)


def test_the_state_of_the_model_is_the_same_with_and_without(tmp_path):
    states = []
    for interval in (1, 10**6):
        torch.manual_seed(1)
        runner = FakeRunner(ActivationStatsHook(interval=interval, gradients=True), Toy(), tmp_path / str(interval))
        for _ in range(3):
            runner.step(batch())
        states.append(weights(runner.model))
    assert same(*states)
