"""Version differences of the hosts."""

import io
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmcv.ops import nms
from mmcv.ops.nms import NMSop
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import checkpoint as checkpoint_io
from mmengine.runner import load_checkpoint
from torch import nn

from mmdet_ext import compat
from mmdet_ext.compat import allow_checkpoint_types, cpu_ranks, unwrap_model, widen_nms_scores
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


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_nms_takes_what_autocast_gives(dtype):
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10]])
    scores = torch.tensor([0.5, 0.75, 0.25])
    _, kept = nms(boxes, scores, 0.5)
    assert kept.tolist() == [1, 2]
    assert nms(boxes, scores.to(dtype), 0.5)[1].tolist() == [1, 2]
    assert nms(boxes.to(dtype), scores.to(dtype), 0.5)[1].tolist() == [1, 2]


def test_nms_is_widened_once():
    forward = NMSop.forward
    widen_nms_scores()
    assert NMSop.forward is forward


@pytest.mark.parametrize('address', [False, True])
def test_no_loader_of_mmengine_runs_code(tmp_path, monkeypatch, address):
    """Neither of a local file, where the fork falls back, nor of a download, where torch does not look by default."""
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': _Call(os.mkdir, 'harm_was_done')}, 'evil.pth')
    name = 'evil.pth'
    if address:
        monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
        (tmp_path / 'checkpoints').mkdir()
        (tmp_path / 'evil.pth').rename(tmp_path / 'checkpoints' / 'evil.pth')
        name = 'https://example.org/evil.pth'
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        checkpoint_io.CheckpointLoader.load_checkpoint(name, map_location='cpu')
    assert not os.path.exists('harm_was_done')


def test_a_download_of_weights_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    torch.save({'state_dict': {'a': torch.ones(2)}, 'h': HistoryBuffer([1.0], [1])}, tmp_path / 'checkpoints' / 'g.pth')
    loaded = checkpoint_io.CheckpointLoader.load_checkpoint('https://example.org/g.pth', map_location='cpu')
    assert loaded['state_dict']['a'].tolist() == [1, 1]


def test_the_stand_in_for_the_forks_loader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'h': HistoryBuffer([1.0], [1])}, 'good.pth')
    assert compat._load_weights('good.pth', map_location='cpu')['h'].mean() == 1
    torch.save({'x': _Call(os.mkdir, 'harm_was_done')}, 'evil.pth')
    with pytest.raises(ValueError, match=r'The checkpoint evil\.pth is refused: .* could run code; .* torch says: '):
        compat._load_weights('evil.pth')
    assert not os.path.exists('harm_was_done')
    # Whoever says so himself is obeyed.
    compat._load_weights('evil.pth', weights_only=False)
    assert os.path.exists('harm_was_done')
