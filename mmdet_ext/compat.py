"""The only place that acts on version differences of torch, mmengine and the onedl fork."""

import contextlib
import datetime
import functools
import gc
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmcv.ops.nms import NMSop
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner import checkpoint as checkpoint_io
from torch.hub import load_state_dict_from_url

from mmdet_ext.utils.host_versions import untested_hosts

# The value for `mmdet_ext` in mmengine's MODULE2PACKAGE: a module of ours, not our distribution. mmengine 0.10.7 looks
# for a distribution's package in its `location`, where an editable install has none; a name that is no distribution it
# leaves to importlib, which is right in a wheel, an editable install and a checkout alike, and in the fork.
CONFIG_PACKAGE = 'mmdet_ext.version'


def check_versions() -> None:
    """Warn once, never fail, when a host package is outside the tested range."""
    untested = untested_hosts()
    if untested:
        what = '; '.join(untested)
        warnings.warn(f'mmdet_ext was not tested with: {what}. Going on; tools/check_env.py tells more.', stacklevel=2)


def _statistic(owner: Any, name: str) -> Any:
    """Stand-in for the `getattr` in a pickled `HistoryBuffer`: it gives its statistics functions and nothing else."""
    if owner is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr of {owner!r} and {name!r}')
    return HistoryBuffer._statistics_methods[name]


def _checkpoint_types() -> list[Callable | tuple[Callable, str]]:
    """What mmengine puts into a checkpoint beside tensors: loss histories, which are numpy arrays in an object.

    A history also pickles its statistics functions, as a call of `getattr`; the fork allows all of `getattr` for it.
    """
    HistoryBuffer()  # fills the table of statistics
    core = np._core if hasattr(np, '_core') else np.core  # numpy < 2
    numbers = (np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32, np.uint32, np.int64, np.bool_, np.str_)
    rebuild = [core.multiarray._reconstruct, core.multiarray.scalar, np.ndarray, np.dtype]
    return [HistoryBuffer, (_statistic, 'builtins.getattr'), *rebuild, *{type(np.dtype(number)) for number in numbers}]


def allow_checkpoint_types() -> None:
    """Let `torch.load(weights_only=True)` read mmengine's checkpoints in this process; called by `import mmdet_ext`.

    mmengine 0.10.7 calls `torch.load` plainly, and torch >= 2.6 then refuses the loss histories of a training
    checkpoint, in resuming as in `init_detector`. The types allowed here only hold numbers; everything else stays
    refused. Older torch has no list.
    """
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(_checkpoint_types())


def refuse_unsafe_checkpoints() -> None:
    """Let mmengine load checkpoints with `weights_only=True` alone; called by `import mmdet_ext`.

    What `load_from`, `init_cfg=dict(type='Pretrained')` and `init_detector` are given may come from anywhere. The
    fork's loader tries again with `weights_only=False` when it meets an object, which is what a harmful file has; and
    the downloads of both stacks load whatever came, because torch's `load_url` does unless told otherwise.
    """
    if hasattr(checkpoint_io, '_safe_torch_load'):
        checkpoint_io._safe_torch_load = _load_weights
    checkpoint_io.load_url = _load_url


def _load_weights(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """Stand-in for the fork's loader."""
    if weights_only is False:
        return torch.load(file, map_location=map_location, weights_only=False)
    allow_checkpoint_types()
    with _refusing(file):
        return torch.load(file, map_location=map_location, weights_only=True)


def _load_url(url: str, *args: Any, **kwargs: Any) -> Any:
    """Stand-in for torch's `load_url` in mmengine's loaders."""
    allow_checkpoint_types()
    with _refusing(url):
        return load_state_dict_from_url(url, *args, **{'weights_only': True, **kwargs})


@contextlib.contextmanager
def _refusing(what: Any) -> Iterator[None]:
    """Say in a sentence that a checkpoint was refused."""
    try:
        yield
    except pickle.UnpicklingError as error:
        reason = str(error).split('\n', maxsplit=1)[0][:200]
        raise ValueError(
            f'The checkpoint {what} is refused: it is damaged, or holds Python objects, and loading those could run '
            f'code; use one of tensors and plain data. torch says: {reason}'
        ) from error


def widen_nms_scores() -> None:
    """Let mmcv's NMS take what autocast gives it on a CPU; called by `import mmdet_ext`.

    Boxes are decoded in float32 while scores stay in half precision, and the kernel wants one type: without this an RPN
    cannot propose anything under `torch.autocast('cpu')`. On a GPU scores are only sorted.
    """
    if not hasattr(NMSop.forward, 'widened'):
        NMSop.forward = staticmethod(_wide_nms(NMSop.forward))


def _wide_nms(forward: Callable) -> Callable:
    """The forward pass of NMS, in float32 at least where boxes and scores are on a CPU."""

    @functools.wraps(forward)
    def wide(ctx: Any, bboxes: torch.Tensor, scores: torch.Tensor, *args: Any) -> torch.Tensor:
        if bboxes.device.type == 'cpu':
            kind = torch.promote_types(torch.promote_types(bboxes.dtype, scores.dtype), torch.float32)
            bboxes, scores = bboxes.to(kind), scores.to(kind)
        return forward(ctx, bboxes, scores, *args)

    wide.widened = True  # type: ignore[attr-defined]
    return wide


def unwrap_model(runner: Runner) -> None:
    """Take the model of a runner that is done out of its wrapper, where the ranks are on CPUs.

    The wrapper holds the process group, so that gloo's threads outlive `destroy_process_group`; one that is still there
    while Python shuts down ends the process now and then with 'terminate called without an active exception'.
    """
    if get_device() == 'cpu' and is_model_wrapper(runner.model):
        runner.model = runner.model.module
        gc.collect()


@contextlib.contextmanager
def cpu_ranks(cfg: Config) -> Iterator[None]:
    """Make several ranks work on a machine without accelerator, over gloo; elsewhere do nothing.

    mmengine would call `torch.cuda.set_device` for each rank and hand DDP a device number. It does neither when a
    process group exists already and the wrapper's config says `device_ids=None`. The group is closed at the end.

    Args:
        cfg: Config of the Runner; `model_wrapper_cfg` is set in it.

    Raises:
        ValueError: A launcher other than torchrun (`pytorch`), on a machine without accelerator.
    """
    if cfg.get('launcher', 'none') == 'none' or get_device() != 'cpu' or torch.distributed.is_initialized():
        yield
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(f"--launcher {cfg.launcher} needs GPUs; ranks on CPUs are started by torchrun ('pytorch').")
    options: dict[str, Any] = {}
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    if timeout is not None:
        options['timeout'] = datetime.timedelta(seconds=timeout)
    os.environ.setdefault('LOCAL_RANK', '0')
    torch.distributed.init_process_group('gloo', **options)
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    if 'DistributedDataParallel' in str(wrapper['type']):
        wrapper.setdefault('device_ids', None)
        wrapper.setdefault('broadcast_buffers', False)
        wrapper.setdefault('find_unused_parameters', cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = wrapper
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
