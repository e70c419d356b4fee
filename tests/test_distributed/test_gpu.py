"""What needs a GPU: batch norm over two ranks, which share one, and a training by DeepSpeed."""

import os

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.engine.launch import train
from tests.test_models.small_detector import CONFIGS, shrink

from .two_ranks import run_two_ranks, write_config

pytestmark = pytest.mark.gpu
NECK = dict(
    type='FPNSSH', in_channels=(8, 16), out_channels=8, num_outs=2, norm_cfg=dict(type='BN', requires_grad=True)
)
DEEPSPEED = CONFIGS / 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_deepspeed-zero2_chest-phantom.py'


class Loss(nn.Module):
    """A scalar of a neck's maps, as the forward that DDP wants."""

    def __init__(self, neck):
        super().__init__()
        self.neck = neck

    def forward(self, maps):
        return torch.stack([(level**2).mean() for level in self.neck(maps)]).sum()


def neck_step(rank=None, world=2):
    """Gradients and running statistics of a neck with batch norm, by all images or by those of a rank."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    module = Loss(MODELS.build(NECK)).cuda().train()
    maps = [torch.randn(4, width, side, side, device='cuda') for width, side in ((8, 16), (16, 8))]
    if rank is not None:
        module = DistributedDataParallel(convert_sync_batchnorm(module), device_ids=[0], broadcast_buffers=False)
        maps = [level[rank::world] for level in maps]
    module(maps).backward()
    inner = getattr(module, 'module', module)
    grads = {name: value.grad.cpu() for name, value in inner.named_parameters()}
    return grads, {name: value.cpu() for name, value in inner.named_buffers()}


def test_sync_batch_norm(tmp_path):
    ranks = run_two_ranks(neck_step, tmp_path, gpu=True)
    grads, buffers = neck_step()
    for found, statistics in ranks:
        assert_close(found, grads, rtol=1e-4, atol=1e-6)
        assert_close(statistics, buffers, rtol=1e-4, atol=1e-6)


def test_deepspeed_trains(tmp_path, monkeypatch):
    pytest.importorskip('deepspeed')
    data = tmp_path / 'chest_phantom'
    make_chest_phantom(data, train=4, val=2, size=64, preview=False, progress=False)
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(data))
    for name, value in dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=29533).items():
        monkeypatch.setitem(os.environ, name, str(value))
    cfg = shrink(Config.fromfile(DEEPSPEED))
    cfg.train_dataloader.batch_size = 2
    options = {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 5, 'train_cfg.val_begin': 5}
    runner = train(
        write_config(cfg, tmp_path / 'c.py'), work_dir=tmp_path / 'run', launcher='pytorch', cfg_options=options
    )
    assert (tmp_path / 'run/epoch_1.pth').is_dir()
    assert runner.iter == 2
    torch.distributed.destroy_process_group()
