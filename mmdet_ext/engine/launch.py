"""Train and test from a config file: what `tools/train.py` and `tools/test.py` call."""

# ruff: noqa: PT028  (`test` is no pytest function)

import argparse
import copy
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.evaluation import DumpDetResults
from mmdet.registry import MODELS, RUNNERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import nn

from ..compat import cpu_ranks, unwrap_model
from .cfg_options import check_cfg_options
from .checkpoint import check_resumable, check_weights, find_resumable, require_init
from .config_check import check_config, raise_on_problems
from .config_file import read_config
from .dataset_overlay import overlay_dataset
from .dataset_spec import Split
from .engine_check import check_engine
from .failures import explained_failures, require_writable


def load_config(
    config: str | Path,
    *,
    work_dir: str | Path | None = None,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
) -> Config:
    """Read a config and apply what the command line adds: the data config first, then the options.

    Args:
        config: Config file, or `package::family/name.py`, see `read_config`.
        work_dir: Where logs and checkpoints go; default the config's `work_dir`, else `work_dirs/<config stem>`.
        dataset: Config whose data part replaces the config's, see `overlay_dataset`.
        cfg_options: Dotted key to value; an unknown key gives a warning, see `check_cfg_options`.
        launcher: `none`, `pytorch`, `slurm` or `mpi`.

    Returns:
        The config, ready for the Runner.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: An option that would change nothing, a data config without the needed parts, or an unknown package.
    """
    setup_cache_size_limit_of_dynamo()
    cfg = read_config(config)
    cfg.launcher = launcher
    if dataset is not None:
        overlay_dataset(cfg, read_config(dataset))
    if cfg_options:
        for warning in check_cfg_options(cfg, cfg_options):
            print_log(warning, 'current', logging.WARNING)
        cfg.merge_from_dict(dict(cfg_options))
        if any(key.startswith('custom_imports') for key in cfg_options):
            import_modules_from_strings(**cfg.custom_imports)
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config).stem)
    return cfg


def _set_resume(cfg: Config, resume: str | None) -> None:
    """Decide which checkpoint a run continues from, before the Runner looks for one itself."""
    if resume not in (None, 'auto'):
        cfg.resume, cfg.load_from = True, resume
    if resume == 'auto' or (cfg.get('resume') and cfg.get('load_from') is None):
        found = find_resumable(cfg.work_dir)
        # A run that has not saved anything yet begins as its config says.
        cfg.resume, cfg.load_from = found is not None, cfg.get('load_from') if found is None else str(found)
    elif cfg.get('resume'):
        check_resumable(cfg.load_from)


def _custom_hook(cfg: Config, kind: str) -> ConfigDict:
    """The config's hook of that type, added with its defaults where a config (mmdet's own, say) has none."""
    hooks = list(cfg.get('custom_hooks') or [])
    hook = next((hook for hook in hooks if hook.get('type') == kind), None)
    if hook is None:
        cfg.custom_hooks = [*hooks, dict(type=kind)]
        hook = cfg.custom_hooks[-1]
    return hook


def _set_durable_checkpoints(cfg: Config) -> None:
    """Take our checkpoint hook in the place of mmengine's, which can lose the last one while it saves the next."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('checkpoint', ConfigDict(type='CheckpointHook'))
    if hook is not None and hook.get('type') in ('CheckpointHook', 'mmengine.CheckpointHook'):
        hook.type = 'DurableCheckpointHook'


def _check_data(cfg: Config, splits: Sequence[Split]) -> None:
    """Check data and heads before anything is built; the hook, which does so in other tools, is told what is done."""
    hook = _custom_hook(cfg, 'DatasetCheckHook')
    # One process looks; where it fails, the launcher ends the others.
    if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0':
        options = {name: hook[name] for name in ('images', 'num_images') if name in hook}
        raise_on_problems(check_config(cfg, splits=splits, **options), strict=hook.get('strict', True))
    hook.checked = tuple(splits)


def _build_runner(cfg: Config, *, strict: bool) -> Runner:
    """Build the Runner, and compare the checkpoint it will load with its model."""
    require_writable(cfg.work_dir)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    # The checkpoints of some engines are directories of shards.
    if cfg.get('load_from') and not Path(cfg.load_from).is_dir():
        # FlexibleRunner builds its model later, and FSDP loads what fits without a word about the rest.
        model = runner.model if isinstance(runner.model, nn.Module) else MODELS.build(cfg.model)
        check_weights(model, cfg.load_from, strict=strict)
    return runner


def train(
    config: str | Path,
    *,
    work_dir: str | Path | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    resume: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    dataset: str | Path | None = None,
) -> Runner:
    """Train a detector, as mmdet's `tools/train.py` does.

    Args:
        config: Config file.
        work_dir: See `load_config`.
        amp: Train with automatic mixed precision.
        auto_scale_lr: Scale the learning rate with the whole batch size (the config's `auto_scale_lr`).
        resume: A checkpoint, or `'auto'` for the newest readable one in the work directory.
        cfg_options: See `load_config`.
        launcher: See `load_config`.
        dataset: See `load_config`.

    Returns:
        The runner after training.

    Raises:
        ValueError: `amp` without a GPU, `auto_scale_lr` without `base_batch_size` in the config, faulty data, a
            checkpoint that does not fit or cannot be read, or a faulty option.
        FileNotFoundError: The checkpoint to resume or to start from is not there.
        OSError: The work directory or the disk does not take what is to be written, see `failures`.
        RuntimeError: A worker of a data loader died.
    """
    cfg = load_config(config, work_dir=work_dir, dataset=dataset, cfg_options=cfg_options, launcher=launcher)
    _custom_hook(cfg, 'RandomStateHook')
    _custom_hook(cfg, 'LossScopeHook')
    _set_durable_checkpoints(cfg)
    check_engine(cfg, amp=amp)
    if amp:
        if get_device() == 'cpu':
            raise ValueError('--amp: automatic mixed precision needs a GPU, and there is none here; leave --amp out.')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(f'--auto-scale-lr: {config} has no auto_scale_lr=dict(base_batch_size=...); add it.')
        cfg.auto_scale_lr.enable = True
    _set_resume(cfg, resume)
    if cfg.get('load_from'):
        require_init(str(cfg.load_from), config)
    _check_data(cfg, ('train', 'val'))
    with cpu_ranks(cfg), explained_failures(cfg.work_dir):
        runner = _build_runner(cfg, strict=cfg.get('resume', False))
        runner.train()
        unwrap_model(runner)
    return runner


def _set_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model for test-time augmentation; without a recipe in the config, a horizontal flip."""
    if 'tta_model' not in cfg:
        warnings.warn('The config has no tta_model: LandmarkTTAModel with NMS at IoU 0.5, 100 boxes.', stacklevel=2)
        nms = {'type': 'nms', 'iou_threshold': 0.5}
        # DetTTAModel, and landmarks too where there are any.
        cfg.tta_model = {'type': 'LandmarkTTAModel', 'tta_cfg': {'nms': nms, 'max_per_img': 100}}
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    if 'tta_pipeline' not in cfg:
        warnings.warn('The config has no tta_pipeline: the test pipeline, plain and flipped.', stacklevel=2)
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
        flips = [{'type': 'RandomFlip', 'prob': 1.0}, {'type': 'RandomFlip', 'prob': 0.0}]
        *before, pack = copy.deepcopy(dataset.pipeline)
        # Ground truth stays that of the image as it is; landmarks would be asked to follow a flip.
        loads = [place for place, node in enumerate(before) if 'Annotations' in str(node['type'])]
        place = loads[0] if loads else len(before)
        after = [[node] for node in before[place:]]
        steps = [flips, *after, [{**pack, 'meta_keys': keys}]]
        cfg.tta_pipeline = [*before[:place], {'type': 'TestTimeAug', 'transforms': steps}]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def test(
    config: str | Path,
    checkpoint: str | Path,
    *,
    work_dir: str | Path | None = None,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2,
    tta: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    dataset: str | Path | None = None,
) -> dict[str, float]:
    """Evaluate a checkpoint on the test set, as mmdet's `tools/test.py` does.

    Args:
        config: Config file.
        checkpoint: The weights; each of the model's has to be in it.
        work_dir: See `load_config`.
        out: `.pkl` file for the predictions.
        show: Show the predictions in a window.
        show_dir: Directory below `work_dir/<time>/` for pictures of the predictions.
        wait_time: Seconds between pictures shown.
        tta: Test-time augmentation by `tta_model` and `tta_pipeline` of the config, or defaults.
        cfg_options: See `load_config`.
        launcher: See `load_config`.
        dataset: See `load_config`.

    Returns:
        The metrics.

    Raises:
        ValueError: The checkpoint belongs to another model or cannot be read, `out` is no pickle file, or a faulty
            option.
        FileNotFoundError: The checkpoint is not there.
        OSError: Nothing can be written to the work directory.
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out {out}: predictions are written as a pickle, name a .pkl file.')
    cfg = load_config(config, work_dir=work_dir, dataset=dataset, cfg_options=cfg_options, launcher=launcher)
    cfg.load_from, cfg.resume = str(checkpoint), False
    if Path(checkpoint).is_file():
        # What FSDP has put together again into one file needs no FSDP to be tested.
        cfg.pop('runner_type', None)
        cfg.pop('strategy', None)
    if show or show_dir:
        trigger_visualization_hook(cfg, argparse.Namespace(show=show, show_dir=show_dir, wait_time=wait_time))
    if tta:
        _set_test_time_augmentation(cfg)
    _check_data(cfg, ('test',))
    with cpu_ranks(cfg):
        runner = _build_runner(cfg, strict=True)
        if out is not None:
            runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
        metrics = runner.test()
        unwrap_model(runner)
    return metrics
