"""Units of FSDP by class, names of an optimiser's parameters, and its clipping; two ranks: tests/test_distributed."""

import copy

import pytest
import torch
import torch.distributed as dist
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import FUNCTIONS, STRATEGIES
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.testing import assert_close

from mmdet_ext.engine.sharded_strategy import ShardedStrategy, _name_params, wrap_classes


def test_registered():
    assert STRATEGIES.get('ShardedStrategy') is ShardedStrategy
    assert FUNCTIONS.get('wrap_classes') is wrap_classes


def test_units_are_chosen_by_class():
    names = ['Linear']
    assert wrap_classes(nn.ReLU(), True, 0, names)
    assert wrap_classes(nn.Linear(1, 1), False, 2, names)
    assert not wrap_classes(nn.ReLU(), False, 0, names)


def test_numbers_of_parameters_become_names():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD([{'params': [value]} for value in model.parameters()], lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    named = _name_params(state, model, optimizer)
    names = [name for name, _ in model.named_parameters()]
    assert [group['params'] for group in named['param_groups']] == [[name] for name in names]
    for number, name in enumerate(names):
        assert named['state'][name] is state['state'][number]
    assert _name_params(named, model, optimizer) is named


@pytest.fixture
def strategy(tmp_path, monkeypatch):
    """A strategy in a group of one rank, with a small model."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr('mmdet_ext.engine.sharded_strategy.get_device', lambda: 'cpu')
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    made = ShardedStrategy(work_dir=str(tmp_path), env_kwargs=dict(launcher='none', randomness=dict(seed=0)))
    made.build_model(nn.Linear(4, 2))
    yield made
    dist.destroy_process_group()


def test_without_a_gpu(strategy):
    assert strategy.model_wrapper == dict(type='MMFullyShardedDataParallel', device_id='cpu')
    assert not strategy.state_dict_config.offload_to_cpu
    assert not strategy.optim_state_dict_config.offload_to_cpu


def test_clip_grad(strategy):
    strategy.model = FullyShardedDataParallel(nn.Linear(4, 2), device_id=torch.device('cpu'), use_orig_params=True)
    cfg = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0), clip_grad=dict(max_norm=0.5))
    wrapper = strategy.build_optim_wrapper(cfg, strategy.model)
    before = torch.cat([value.detach().flatten() for value in strategy.model.parameters()])
    wrapper.update_params(strategy.model(torch.full((3, 4), 10.0)).sum())
    after = torch.cat([value.detach().flatten() for value in strategy.model.parameters()])
    assert_close((after - before).norm(), torch.tensor(0.5))
    by_value = dict(cfg, clip_grad=dict(type='value', clip_value=1.0))
    assert strategy.build_optim_wrapper(by_value, strategy.model).clip_func is torch.nn.utils.clip_grad_value_
    with pytest.raises(ValueError, match='got foreach too'):
        strategy.build_optim_wrapper(dict(cfg, clip_grad=dict(max_norm=0.5, foreach=True)), strategy.model)


def test_what_the_wrapper_keeps_beside_the_optimiser_is_saved(strategy):
    strategy.model = FullyShardedDataParallel(nn.Linear(4, 2), device_id=torch.device('cpu'), use_orig_params=True)
    optimizer = dict(type='AdamW', lr=0.1, weight_decay=0.1)
    cfg = dict(type='OptimWrapper', optimizer=optimizer, paramwise_cfg=dict(bias_decay_mult=0.0))
    strategy.optim_wrapper = strategy.build_optim_wrapper(cfg, strategy.model)
    strategy.optim_wrapper.update_params(strategy.model(torch.ones(3, 4)).sum())
    strategy.optim_wrapper.base_param_settings['lr'] = 0.05
    state = copy.deepcopy(strategy.optim_state_dict())
    assert state['base_param_settings']['lr'] == 0.05
    strategy.optim_wrapper.base_param_settings['lr'] = 0.1
    strategy.load_optim_state_dict(state)
    assert strategy.optim_wrapper.base_param_settings['lr'] == 0.05


@pytest.mark.gpu
def test_amp_scales_over_all_shards(strategy):
    wrapper = strategy.build_optim_wrapper(
        dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1)), nn.Linear(2, 1)
    )
    assert isinstance(wrapper, AmpOptimWrapper)
    assert type(wrapper.loss_scaler).__name__ == 'ShardedGradScaler'
