"""Two gloo ranks on this machine that run a function, and one training on them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.config import config as config_module
from mmengine.runner import Runner

from mmdet_ext.engine.launch import train

# What a launcher would say; the group itself is made beforehand, without a port.
_DDP = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def run_two_ranks(work: Callable[..., Any], folder: Path, *args: Any, gpu: bool = False) -> list[Any]:
    """What `work(rank, *args)` gives on each of two ranks.

    Args:
        work: A function of a module; tensors and plain data are what it may give.
        folder: Empty, for the meeting place and the results.
        *args: For the function.
        gpu: Leave a GPU visible, which the two share; by default they see none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.multiprocessing.spawn(_rank, (work, str(folder), args, gpu), nprocs=2)
    return [torch.load(folder / f'{rank}.pth', weights_only=False) for rank in range(2)]


def _rank(rank: int, work: Callable[..., Any], folder: str, args: tuple[Any, ...], gpu: bool) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    if not gpu:
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    owner = (
        config_module if hasattr(config_module, 'FormatCode') else __import__('yapf.yapflib.yapf_api').yapflib.yapf_api
    )
    with mock.patch.object(owner, 'FormatCode', lambda text, **_: (text, True)):
        torch.save(work(rank, *args), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def train_here(config: Path, work_dir: Path, **options: Any) -> Runner:
    """Train by our launcher: on both ranks where there are two, else alone.

    Runs of a process must not share a name, or they share their log.
    """
    cfg_options = {'experiment_name': work_dir.name, **options.pop('cfg_options', {})}
    if dist.is_initialized():
        cfg_options.setdefault('model_wrapper_cfg', _DDP)
        options['launcher'] = 'pytorch'
    return train(config, work_dir=work_dir, cfg_options=cfg_options, **options)


def losses_of(runner: Runner) -> list[float]:
    """The total loss of every step; a resumed run has those before, too."""
    return runner.message_hub.get_scalar('train/loss').data[0].tolist()


def write_config(cfg: Config, path: Path) -> Path:
    """The config as one file, for the launcher."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)
    return path
