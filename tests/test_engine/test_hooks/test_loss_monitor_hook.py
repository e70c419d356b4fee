"""A loss that is not finite: what is said, what is kept, and that no weight has seen it; bands and plateaus."""

import csv
import math

import pytest
import torch
from mmdet.engine.hooks import CheckInvalidLossHook
from mmdet.models.losses import FocalLoss
from mmdet.registry import HOOKS
from mmengine.logging import HistoryBuffer
from mmengine.model.wrappers import MMDistributedDataParallel
from mmengine.optim import OptimWrapperDict
from torch import distributed as dist

from mmdet_ext.engine.hooks import LossMonitorHook, loss_monitor_hook
from mmdet_ext.engine.step_record import replay_step
from tests.test_engine.monitor_case import FakeRunner, Toy, batch, same, untouched, weights
from tests.tiny_coco import tiny_run


def make(folder, model=None, wrapper=None, epoch=4, **options):
    options = {'epochs': None, 'stretch': 1000, **options}
    hook = HOOKS.build(dict(type='LossMonitorHook', **options))
    return FakeRunner(hook, model or Toy(), folder, epoch=epoch, **(wrapper or {}))


def test_it_is_mmdets_check():
    assert issubclass(LossMonitorHook, CheckInvalidLossHook)


def test_the_sentence_and_weights_that_have_not_seen_it(tmp_path):
    runner = make(tmp_path)
    runner.step(batch())
    before = weights(runner.model)
    with pytest.raises(FloatingPointError) as error:
        runner.step(batch(1))
    file = tmp_path / 'loss_monitor' / 'iter_2_rank_0.pth'
    text = str(error.value)
    assert text.startswith('LossMonitorHook: Iteration 2 (epoch 1): loss_a is nan, loss_b is nan (loss_c 0.')
    assert text.endswith(
        'Images: folder/0.png, folder/1.png. The first module to give one is breaker (Breaker): 1 NaN of 32 values, of '
        f"'1.png'; what went into it was finite. The batch is in {file}. No weight has been changed by it."
    )
    # The norm's running mean has seen the batch, as the docstring says; the file has the one of before.
    parameters = dict(runner.model.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in parameters.items())
    assert untouched(runner.model)
    replayed = Toy()
    replay = replay_step(replayed, file)
    assert same(weights(replayed), before)
    assert "breaker (Breaker): 1 NaN of 32 values, of '1.png'" in replay.report
    assert {key: replay.facts[key] for key in ('iteration', 'epoch', 'rank', 'world_size')} == {
        'iteration': 2,
        'epoch': 1,
        'rank': 0,
        'world_size': 1,
    }
    assert math.isnan(replay.facts['losses']['loss_a'])


def test_training_goes_on_as_without_it(tmp_path):
    states = []
    for action in ('stop', 'skip', None):
        torch.manual_seed(2)
        hook = {'interval': 1000} if action is None else {'action': action}
        runner = make(tmp_path, **hook)
        for _ in range(3):
            runner.step(batch())
            assert untouched(runner.model)
        states.append(weights(runner.model))
    assert same(states[0], states[2])
    assert same(states[1], states[2])


def test_a_skipped_batch_is_as_if_it_had_not_been(tmp_path):
    first, last = batch(), batch()
    states = []
    for marked in (batch(0), None):
        torch.manual_seed(1)
        runner = make(tmp_path, action='skip')
        runner.step(first)
        before, generator = weights(runner.model), torch.get_rng_state()
        if marked is not None:
            outputs = runner.step(marked)
            assert math.isnan(outputs['loss'])
            assert same(weights(runner.model), before)
            assert runner.model.calls == 1
            assert runner.texts()[0].endswith('iter_2_rank_0.pth. Its update is left out.')
            assert 'update_params' not in vars(runner.optim_wrapper)
        # The random numbers of a batch stay drawn.
        torch.set_rng_state(generator)
        runner.step(last)
        states.append(weights(runner.model))
    assert same(*states)
    assert not same(states[0], before)


def test_too_many_skips_in_a_row_stop(tmp_path):
    runner = make(tmp_path, action='skip', max_skips=3, max_reports=1)
    for data in (batch(0), batch(0), batch(), batch(0), batch(1)):
        runner.step(data)
    with pytest.raises(FloatingPointError, match='3 updates in a row were left out: the batch is not to blame'):
        runner.step(batch(0))
    assert len(list((tmp_path / 'loss_monitor').iterdir())) == 1
    assert 'first module' in runner.texts()[0]
    assert 'first module' not in runner.texts()[1]
    assert 'Images: folder/0.png' in runner.texts()[1]


def test_a_warning_only_and_then_weights_are_to_blame(tmp_path):
    runner = make(tmp_path, action='warn', dump=False)
    plain = make(tmp_path, interval=1000)
    plain.model.load_state_dict(weights(runner.model))
    states = []
    for candidate in (runner, plain):
        torch.manual_seed(4)
        candidate.step(batch(0))
        states.append((torch.get_rng_state(), weights(candidate.model)['norm.num_batches_tracked']))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert runner.model.calls == plain.model.calls == 1
    assert runner.texts()[0].endswith('The update follows.')
    assert runner.model.stem.weight.isnan().any()
    runner.step(batch())
    assert "Weights are not finite already: 'stem.weight', 'stem.bias'" in runner.texts()[1]
    assert not (tmp_path / 'loss_monitor').exists()


def test_only_every_interval(tmp_path):
    runner = make(tmp_path, interval=2, action='warn', dump=False)
    looking = []
    for _ in range(4):
        runner.hook.before_train_iter(runner, 0)
        looking.append(not untouched(runner.model))
        runner.hook.after_train(runner)
        runner.step(batch(0))
    assert looking == [False, True, False, True]
    assert [text.split(' (')[0] for text in runner.texts()] == [
        'LossMonitorHook: Iteration 2',
        'LossMonitorHook: Iteration 4',
    ]


@pytest.mark.parametrize('action', ['stop', 'warn'])
def test_after_the_update_where_it_cannot_be_before(tmp_path, action):
    model = Toy()
    original = model.train_step
    model.train_step = lambda *args, **kwargs: original(*args, **kwargs)
    model.train_step._torchdynamo_orig_callable = original
    runner = make(tmp_path, model, action=action)
    runner.step(batch())
    if action == 'stop':
        with pytest.raises(FloatingPointError, match=r'Images: folder/0.png, .*The update is done already'):
            runner.step(batch(1))
    else:
        runner.step(batch(1))
        assert 'start again from the last checkpoint' in runner.texts()[0]


def test_a_train_step_that_updates_by_itself_cannot_skip(tmp_path):
    class Own(Toy):
        def train_step(self, data, optim_wrapper):
            loss, log_vars = self.parse_losses(self(**data, mode='loss'))
            optim_wrapper.backward(loss)
            optim_wrapper.step()
            return log_vars

    with pytest.raises(FloatingPointError, match=r"action='skip' needs a train_step .* that of Own does not"):
        make(tmp_path, Own(), action='skip').step(batch(0))


def test_a_model_that_is_not_called_by_forward(tmp_path):
    class Own(Toy):
        def train_step(self, data, optim_wrapper):
            loss, log_vars = self.parse_losses(self.forward(**data, mode='loss'))
            optim_wrapper.update_params(loss)
            return log_vars

    with pytest.raises(FloatingPointError, match=r'loss_c 0\.\d+\)\. No weight has been changed by it\.$'):
        make(tmp_path, Own()).step(batch(0))


def test_accumulation_cannot_skip(tmp_path):
    with pytest.raises(ValueError, match="action='skip' needs one optimizer without gradient accumulation"):
        make(tmp_path, action='skip', wrapper={'accumulative_counts': 2})
    runner = make(tmp_path)
    runner.optim_wrapper = OptimWrapperDict(a=runner.optim_wrapper)
    runner.hook.action = 'skip'
    with pytest.raises(ValueError, match='needs one optimizer'):
        runner.hook.before_train(runner)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'interval': 0}, 'interval must be a whole number from 1 on, got 0'),
        ({'max_reports': 0}, 'max_reports must be'),
        ({'max_skips': 1.5}, 'max_skips must be'),
        ({'stretch': 0}, 'stretch must be'),
        ({'action': 'ignore'}, "action must be one of stop, skip, warn, got 'ignore'"),
        ({'epochs': 3}, 'epochs must be a whole number from 4 on'),
        ({'min_change': -1}, 'min_change must be a share'),
        ({'expected': {'loss': (3, 1)}}, r"expected\['loss'\] must be"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=f'LossMonitorHook: {sentence}'):
        LossMonitorHook(**options)


def test_bands_plateaus_and_expected_bands_once_while_they_last(tmp_path):
    runner = make(tmp_path, stretch=2, epochs=4, expected={'loss': (0, 30)}, epoch=2)

    def stretch(*totals):
        for total in totals:
            runner.log({'loss': total, 'loss_a': 2.0, 'lr': 0.1})
            runner.hook.after_train_iter(runner, 0)
            runner.iter += 1

    stretch(100.0, 90.0)
    assert runner.texts('INFO') == [
        'LossMonitorHook: median and [5 %, 95 %] in iterations 1 to 2: loss 95 [90.5, 99.5]; loss_a 2 [2, 2]'
    ]
    assert runner.texts()[0].startswith(
        'LossMonitorHook: loss is outside of the expected band 0 to 30: its median is 95'
    )
    stretch(80.0, 70.0, 20.0, 10.0)
    assert len(runner.texts()) == 1
    stretch(9.0, 8.0)
    assert 'loss_a does not change over the last 4 epochs, up to iterations 7 to 8' in runner.texts()[1]
    stretch(50.0, 60.0)
    # Out of its band again; the term has not left its plateau.
    assert 'loss is outside of the expected band' in runner.texts()[2]
    assert sum('loss_a does not change' in text for text in runner.texts()) == 1
    with (tmp_path / 'loss_bands.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['first'], row['last'], row['loss']) for row in rows[:3]] == [
        ('1', '2', 'loss'),
        ('1', '2', 'loss_a'),
        ('3', '4', 'loss'),
    ]
    assert rows[0]['median'] == '95'
    assert len(rows) == 10


def test_an_epoch_is_a_stretch_unless_it_is_short_and_a_history_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_monitor_hook, 'MIN_ITERATIONS', 3)
    runner = make(tmp_path, stretch=None, epochs=4, epoch=1)
    runner.message_hub.log_scalars['train/loss'] = HistoryBuffer([5.0] * 12, [1] * 12)
    runner.iter = 11
    runner.hook.after_train_iter(runner, 0)
    assert 'over the last 4 stretches of 3 iterations, up to iterations 10 to 12' in runner.texts()[0]


def test_only_the_main_process_looks_back(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_monitor_hook, 'is_main_process', lambda: False)
    runner = make(tmp_path, stretch=1, action='warn', dump=False)
    runner.step(batch(0))
    assert runner.said == list(tmp_path.iterdir()) == []


def _rank(rank, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    found = {}
    for action in ('stop', 'skip', 'warn'):
        torch.manual_seed(0)
        model = MMDistributedDataParallel(Toy(), device_ids=None, broadcast_buffers=False)
        runner = make(f'{folder}/{action}', model, action=action)
        torch.manual_seed(rank)
        runner.step(batch())
        before, error = weights(model), ''
        try:
            # On the second rank only.
            runner.step(batch(*[1] * rank))
        except FloatingPointError as stopped:
            error = str(stopped)
        after = weights(model)
        if action == 'skip':
            runner.step(batch())
        found[action] = before, after, weights(model), error, runner.texts()
    torch.save(found, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_two_ranks_decide_the_same(tmp_path):
    torch.multiprocessing.spawn(_rank, (f'file://{tmp_path}/meet', str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    parameters = [name for name, _ in Toy().named_parameters()]

    def part(state):
        return {name: state[f'module.{name}'] for name in parameters}

    for ranks in (first, second):
        before, after, _, error, _ = ranks['stop']
        assert error == first['stop'][3]
        assert 'Iteration 2 (epoch 1, rank 1): loss_a is nan' in error
        assert 'rank 0' not in error
        assert "breaker (Breaker): 1 NaN of 32 values, of '1.png'" in error
        assert same(part(before), part(after))
        before, after, last, error, _ = ranks['skip']
        assert error == ''
        assert same(before, after)
        assert not same(part(after), part(last))
        assert all(value.isfinite().all() for value in last.values())
        assert any(value.isnan().any() for value in ranks['warn'][1].values())
    # The step after the skipped one is one of both ranks again.
    assert same(part(first['skip'][2]), part(second['skip'][2]))
    assert 'rank 1): loss_a is nan' in first['skip'][4][0]
    assert second['skip'][4] == []
    assert [path.name for path in (tmp_path / 'stop' / 'loss_monitor').iterdir()] == ['iter_2_rank_1.pth']


def test_in_a_real_training_nothing_changes(tmp_path):
    run = tiny_run()
    hooks = [dict(type='RandomStateHook'), dict(type='LossMonitorHook', stretch=2, epochs=None)]
    losses, state = run.train(work_dir=tmp_path, cfg_options={'custom_hooks': hooks})
    assert losses == run.losses
    assert same(state, run.state)
    stored, plain = (torch.load(folder / 'epoch_3.pth', weights_only=False) for folder in (tmp_path, run.work_dir))
    assert stored.keys() == plain.keys()
    assert same(stored['state_dict'], plain['state_dict'])
    (file,) = tmp_path.glob('*/loss_bands.csv')
    # Total and two terms of three epochs, under a head.
    assert len(file.read_text().splitlines()) == 10
    (log,) = tmp_path.glob('*/*.log')
    assert 'LossMonitorHook: median and [5 %, 95 %] in iterations 5 to 6: loss ' in log.read_text()


def test_in_a_real_training_it_stops_with_the_weights_of_before(tmp_path, monkeypatch):
    run = tiny_run()
    forward, calls = FocalLoss.forward, []

    def broken(self, *args, **kwargs):
        calls.append(1)
        # Two levels, two iterations in an epoch: from the second epoch on.
        return forward(self, *args, **kwargs) * (math.nan if len(calls) > 4 else 1)

    monkeypatch.setattr(FocalLoss, 'forward', broken)
    hooks = [dict(type='RandomStateHook'), dict(type='LossMonitorHook')]
    with pytest.raises(FloatingPointError) as error:
        run.train(work_dir=tmp_path, cfg_options={'custom_hooks': hooks})
    text = str(error.value)
    assert 'Iteration 3 (epoch 2): loss_cls is nan (loss_bbox ' in text
    assert text.count('.png') == 2
    assert (
        'The first module to give one is bbox_head.loss_cls (FocalLoss): 1 NaN of 1 values; what went into it' in text
    )
    content = torch.load(tmp_path / 'loss_monitor' / 'iter_3_rank_0.pth', weights_only=False)
    after_epoch = torch.load(run.work_dir / 'epoch_1.pth', weights_only=False)['state_dict']
    assert same(dict(content['weights']), dict(after_epoch))
    assert content['kwargs']['inputs'].shape == (2, 3, 64, 64)
    assert all(path in text for path in content['images'])
