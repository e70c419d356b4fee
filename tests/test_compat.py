"""Version differences of the hosts."""

import io
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import load_checkpoint
from torch import nn

from mmdet_ext import compat
from mmdet_ext.compat import allow_checkpoint_types, cpu_ranks, unwrap_model
from tests.tiny_coco import tiny_run


class _Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def _loads(obj) -> object:
    file = io.BytesIO()
    torch.save(obj, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.fixture
def clean_list():
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def test_history_loads_once_it_is_allowed(clean_list):
    buffer = HistoryBuffer([1.0, 2.5], [1, 1])
    with pytest.raises(pickle.UnpicklingError):
        _loads({'loss': buffer})
    allow_checkpoint_types()
    assert _loads({'loss': buffer})['loss'].data[0].tolist() == [1.0, 2.5]
    assert _loads(buffer).mean() == 1.75


def test_importing_the_package_is_enough():
    assert _loads(HistoryBuffer([2.0], [1])).mean() == 2.0


@pytest.mark.parametrize(
    'attack',
    [
        _Call(os.system, 'touch /tmp/mmdet_ext_was_here'),
        _Call(eval, '1'),
        _Call(getattr, HistoryBuffer, '__init__'),
        _Call(getattr, HistoryBuffer, '__reduce_ex__'),
        _Call(getattr, 'text', 'format'),
    ],
)
def test_everything_else_is_refused(attack):
    with pytest.raises(pickle.UnpicklingError):
        _loads({'state_dict': attack})
    assert not os.path.exists('/tmp/mmdet_ext_was_here')


def test_training_checkpoint_for_inference():
    run = tiny_run()
    path = str(run.work_dir / 'epoch_3.pth')
    model = init_detector(str(run.config), path, device='cpu')
    load_checkpoint(nn.Linear(1, 1), path)
    assert model.dataset_meta['classes'] == ('a', 'b')
    assert torch.equal(model.state_dict()['backbone.conv1.weight'], run.state['backbone.conv1.weight'])


def test_torch_without_a_list(monkeypatch):
    monkeypatch.delattr(torch.serialization, 'add_safe_globals')
    allow_checkpoint_types()


def _one_rank(monkeypatch, **cfg) -> Config:
    for name, value in {'RANK': 0, 'WORLD_SIZE': 1, 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': 0}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setattr(compat, 'get_device', lambda: 'cpu')
    return Config(dict(launcher='pytorch', **cfg))


def test_cpu_rank(monkeypatch):
    cfg = _one_rank(monkeypatch, find_unused_parameters=True, env_cfg={'dist_cfg': {'backend': 'nccl', 'timeout': 60}})
    with cpu_ranks(cfg):
        assert torch.distributed.get_backend() == 'gloo'
        assert cfg.model_wrapper_cfg == {
            'type': 'MMDistributedDataParallel',
            'device_ids': None,
            'broadcast_buffers': False,
            'find_unused_parameters': True,
        }
        with cpu_ranks(cfg):  # a group that exists already is left alone
            pass
        assert torch.distributed.is_initialized()
    assert not torch.distributed.is_initialized()


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are counted as Linux shows them')
def test_no_thread_of_gloo_outlives_the_ranks(monkeypatch):
    def names() -> list[str]:
        return [file.read_text() for file in Path('/proc/self/task').glob('*/comm')]

    cfg = _one_rank(monkeypatch)
    runner = SimpleNamespace()
    with cpu_ranks(cfg):
        plain = nn.Linear(2, 1)
        runner.model = MMDistributedDataParallel(plain, device_ids=None)
        assert any('gloo' in name for name in names())
        unwrap_model(runner)
    assert runner.model is plain
    assert not any('gloo' in name for name in names())


def test_other_wrapper_is_left_alone(monkeypatch):
    cfg = _one_rank(monkeypatch, model_wrapper_cfg={'type': 'MMFullyShardedDataParallel', 'device_id': 'cpu'})
    with cpu_ranks(cfg):
        assert cfg.model_wrapper_cfg == {'type': 'MMFullyShardedDataParallel', 'device_id': 'cpu'}


def test_nothing_to_do(monkeypatch):
    for cfg, device in ((Config({}), 'cpu'), (Config({'launcher': 'pytorch'}), 'cuda')):
        monkeypatch.setattr(compat, 'get_device', lambda device=device: device)
        with cpu_ranks(cfg):
            assert not torch.distributed.is_initialized()
        assert 'model_wrapper_cfg' not in cfg


def test_cpu_ranks_need_torchrun(monkeypatch):
    monkeypatch.setattr(compat, 'get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='started by torchrun'), cpu_ranks(Config({'launcher': 'slurm'})):
        pass
