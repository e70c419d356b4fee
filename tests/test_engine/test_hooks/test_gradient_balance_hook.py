"""The loss balance while training: when it is measured, what is logged, and that training does not notice."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.model.wrappers import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import distributed as dist
from torch import nn

from mmdet_ext.engine.gradient_balance import balance
from mmdet_ext.engine.hooks import GradientBalanceHook, gradient_balance_hook
from tests.tiny_coco import tiny_run


class Shared(BaseModel):
    """A trunk of weights (3, 4), and heads that pull at it in known ways."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(1, 2, bias=False)
        self.norm = nn.BatchNorm1d(2)

    def extract_feat(self, inputs):
        return (self.stem(inputs),)

    def forward(self, inputs, mode='loss'):
        (feats,) = self.extract_feat(inputs)
        return {
            'loss_cls': (feats * torch.tensor([3.0, 4.0])).sum() / len(feats),
            'loss_bbox': [feats[:, 0].mean() * -2, self.norm(feats).sum() * 0],
            'acc': feats.sum(),
        }


class Runner(SimpleNamespace):
    def __init__(self, hook, model, **wrapper):
        super().__init__(
            hook=hook, model=model.train(), iter=0, message_hub=MessageHub(f'hub {id(self)}'),
            optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), **wrapper),
        )  # fmt: skip
        hook.before_train(self)

    def step(self, inputs):
        self.hook.before_train_iter(self, 0)
        self.model.train_step({'inputs': inputs}, self.optim_wrapper)
        self.hook.after_train_iter(self, 0)
        self.iter += 1

    def logged(self):
        return {name: list(buffer.data[0]) for name, buffer in self.message_hub.log_scalars.items()}


def images(number=2):
    return torch.linspace(-1, 1, number)[:, None]


def clean(model):
    return not {'extract_feat', 'parse_losses'} & vars(model).keys()


def test_what_is_logged_and_when():
    hook = HOOKS.build(dict(type='GradientBalanceHook', interval=3))
    runner = Runner(hook, Shared())
    watched = []
    for _ in range(5):
        hook.before_train_iter(runner, 0)
        watched.append(not clean(runner.model))
        runner.step(images())
        assert clean(runner.model)
    assert watched == [True, False, False, True, False]
    logged = runner.logged()
    # Each of two images takes half.
    half = math.sqrt(0.5)
    assert logged['train/trunk_grad/cls'] == pytest.approx([5 * half] * 2)
    assert logged['train/trunk_grad/bbox'] == pytest.approx([2 * half] * 2)
    total = math.hypot(1, 4)
    assert logged['train/trunk_cos/cls'] == pytest.approx([(3 * 1 + 4 * 4) / 5 / total] * 2)
    assert logged['train/trunk_cos/bbox'] == pytest.approx([-1 / total] * 2)
    assert all('loss' not in name for name in logged)
    assert len(logged) == 4


def test_training_does_not_notice():
    states = []
    for interval in (1, None):
        torch.manual_seed(3)
        hook = GradientBalanceHook(interval or 1000)
        runner = Runner(hook, Shared(), accumulative_counts=2)
        runner.iter = 0 if interval else 1
        for number in (2, 3, 4, 2):
            runner.step(images(number))
        states.append({name: value.clone() for name, value in runner.model.state_dict().items()})
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_loss_scale_is_not_in_it(monkeypatch):
    scales = []
    monkeypatch.setattr(
        gradient_balance_hook,
        'balance',
        lambda terms, trunk, scale: scales.append(scale) or balance(terms, trunk, scale),
    )
    runner = Runner(GradientBalanceHook(1), Shared())
    runner.optim_wrapper.loss_scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    runner.step(images())
    assert scales == [1024.0]
    assert runner.logged()['train/trunk_grad/cls'] == pytest.approx([5 * math.sqrt(0.5)])


def test_means_over_ranks_and_what_is_not_finite(monkeypatch):
    """A rank may lack a term; the overflow of a first step is left out."""
    others = [{'loss_cls': (1.0, float('nan'))}, {'loss_cls': (float('inf'), 0.5), 'loss_mask': (2.0, 1.0)}]
    monkeypatch.setattr(gradient_balance_hook, 'all_gather_object', lambda own: others)
    runner = Runner(GradientBalanceHook(1), Shared())
    runner.step(images())
    assert runner.logged() == {
        'train/trunk_grad/cls': [1.0], 'train/trunk_cos/cls': [0.5],
        'train/trunk_grad/mask': [2.0], 'train/trunk_cos/mask': [1.0],
    }  # fmt: skip


def test_a_step_that_failed_leaves_nothing():
    runner = Runner(GradientBalanceHook(1), Shared())
    with pytest.raises(TypeError):
        runner.step(None)
    assert not clean(runner.model)
    runner.hook.after_train(runner)
    assert clean(runner.model)
    own = runner.model.parse_losses
    runner.model.parse_losses = own
    runner.step(images())
    assert runner.model.parse_losses is own


def test_what_is_refused():
    for interval in (0, 1.5, None):
        with pytest.raises(ValueError, match='interval must be a whole number from 1 on, got'):
            GradientBalanceHook(interval)
    with pytest.raises(ValueError, match='Linear has no `extract_feat`, and so no feature maps that its heads share'):
        Runner(GradientBalanceHook(), nn.Linear(1, 1))

    class FakeShards(Shared):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient_balance_hook, 'is_model_wrapper', lambda model: True)
        with pytest.raises(ValueError, match='FakeShards scatters the weights'):
            Runner(GradientBalanceHook(), FakeShards())


def test_in_a_real_training(tmp_path):
    run = tiny_run()
    hooks = [dict(type='RandomStateHook'), dict(type='GradientBalanceHook', interval=2)]
    options = {'custom_hooks': hooks, 'train_cfg.max_epochs': 1}
    run.train(work_dir=tmp_path / 'run', cfg_options=options)
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert 'trunk_grad/cls: ' in text
    assert 'trunk_cos/bbox: ' in text


def _rank(rank, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = MMDistributedDataParallel(Shared(), device_ids=None, broadcast_buffers=False)
    runner = Runner(GradientBalanceHook(2), model)
    for number in (2, 3, 4):
        runner.step(images(number + 2 * rank))
    torch.save((runner.logged(), model.module.stem.weight.detach()), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_two_ranks_log_the_same(tmp_path):
    torch.multiprocessing.spawn(_rank, (f'file://{tmp_path}/meet', str(tmp_path)), nprocs=2)
    (first, weight), (second, other) = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    assert first == second
    assert torch.equal(weight, other)
    # Batches of 2 and 4, then of 4 and 6.
    expected = [5 * (2**-0.5 + 4**-0.5) / 2, 5 * (4**-0.5 + 6**-0.5) / 2]
    assert first['train/trunk_grad/cls'] == pytest.approx(expected)
