"""The config of an overfit test: any detector on the first images of its training set, without augmentation."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmdet_ext.engine.dataset_spec import DatasetSpec, dataset_specs, transform_name

METRIC = 'coco/bbox_mAP'
# They change the images or the weights that are measured.
_HOOKS = ('EMA', 'Switch', 'EarlyStopping', 'Visualization')
VALIDATIONS, LOG_LINES = 6, 60


def make_overfit_config(cfg: Config, num: int, iters: int, target: float) -> tuple[Config, list[str]]:
    """Rewrite a config, in place, so that it learns a few images by heart.

    - Data: the first `num` images of the (first) training set with an object that is not ignored; batches of at most
      the config's size. Loaded as for training, then resized and padded as for testing; random transforms, and those
      that mix images or act on batches, are left out. Validation is on the same images, with their own annotations.
    - Schedule: `iters` iterations, warm-up over a tenth of them, then a cosine to zero; validation a few times, and an
      end as soon as the AP reaches `target`. A config with `auto_scale_lr` can have its learning rate scaled with the
      smaller batch.
    - Hooks that average weights, switch pipelines or stop early are left out.

    Args:
        cfg: Config with model and training data.
        num: Number of images.
        iters: Number of iterations.
        target: AP (COCO's, IoU 0.5 to 0.95) at which training may end.

    Returns:
        The config, and the sentences that say what was left out of it.

    Raises:
        ValueError: There is no training set of images with boxes, or too few of its images have objects.
    """
    source, specs = _training_set(cfg)
    spec = specs[0]
    dataset = dict(source)
    filter_cfg = {**(dataset.get('filter_cfg') or {}), 'filter_empty_gt': True}
    dataset |= {'filter_cfg': filter_cfg, 'test_mode': False}
    dataset['indices'] = first_with_objects(dataset, num, spec)
    train, val, notes = _pipelines(cfg, spec)
    if len(specs) > 1:
        notes.append(f'Of {len(specs)} training sets the first is used.')
    batch = min(num, cfg.train_dataloader.get('batch_size', 1))
    loader = {'batch_size': batch, 'num_workers': 0, 'persistent_workers': False}
    sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.train_dataloader = dict(**loader, sampler=sampler, dataset={**dataset, 'pipeline': train})
    if 'collate_fn' in (old := cfg.get('val_dataloader') or {}):
        loader['collate_fn'] = old['collate_fn']
    cfg.val_dataloader = dict(
        **loader,
        drop_last=False,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset={**dataset, 'pipeline': val},
    )
    # Without a file it takes the boxes that the pipeline packs.
    cfg.val_evaluator = dict(type='CocoMetric', metric='bbox')
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.val_cfg, cfg.test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
    interval = max(1, iters // VALIDATIONS)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=interval)
    warm_up = max(1, iters // 10)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
        dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=warm_up, end=max(iters, warm_up + 1)),
    ]
    notes += _set_hooks(cfg, iters, interval, target)
    _fit_to_process(cfg)
    return cfg, notes


def first_with_objects(dataset: Mapping[str, Any], num: int, spec: DatasetSpec) -> list[int]:
    """Places of the first `num` images with an object that is not ignored, in a data set as its config filters it.

    Raises:
        ValueError: It has fewer.
    """
    init_default_scope('mmdet')
    # A data set without a single image cannot be serialised.
    with contextlib.redirect_stdout(io.StringIO()):
        built = DATASETS.build({**dataset, 'pipeline': [], 'lazy_init': False, 'serialize_data': False})
    found: list[int] = []
    for index in range(len(built)):
        if any(not instance.get('ignore_flag') for instance in built.get_data_info(index)['instances']):
            found.append(index)
            if len(found) == num:
                return found
    raise ValueError(
        f'only {len(found)} images of {spec.ann_file} have objects of the classes, and --num {num} are wanted; lower it'
        if found
        else f'no image of {spec.ann_file} has an object of the classes {tuple(spec.classes or ())}; check both with '
        'tools/dataset_tools/check_dataset.py'
    )


def _training_set(cfg: Config) -> tuple[Mapping[str, Any], list[DatasetSpec]]:
    """Config of the first training set without its wrappers, and what is known of all of them."""
    node: Any = (cfg.get('train_dataloader') or {}).get('dataset')
    init_default_scope('mmdet')
    specs = [] if node is None else dataset_specs(node, 'train_dataloader.dataset', 'train')
    if not specs:
        raise ValueError(
            f'{cfg.filename} has no training set that mmdet knows how to cut: train_dataloader.dataset must be, or '
            'wrap, a data set of images with boxes'
        )
    while 'dataset' in node or 'datasets' in node:
        node = node['dataset'] if 'dataset' in node else node['datasets'][0]
    return node, specs


def _pipelines(cfg: Config, spec: DatasetSpec) -> tuple[list[Any], list[Any], list[str]]:
    """Pipelines of training and validation without anything random, and what was left out."""
    split = 'val' if cfg.get('val_dataloader') else 'test'
    loader = cfg.get(f'{split}_dataloader')
    tests = dataset_specs(loader['dataset'], f'{split}_dataloader.dataset', split) if loader else []  # type: ignore[arg-type]
    if not tests:
        raise ValueError(
            f'{cfg.filename} has neither val_dataloader nor test_dataloader, whose pipeline resizes images'
        )
    loads = [node for node in spec.pipeline if transform_name(node).startswith('Load')]
    fits = [node for node in tests[0].pipeline if not transform_name(node).startswith(('Load', 'Pack'))]
    if any(transform_name(node) == 'RandomCenterCropPad' for node in fits):
        raise ValueError(
            f'{cfg.filename} pads its test images by RandomCenterCropPad (CornerNet, CenterNet), which moves an image '
            'without its boxes, so that nothing can be trained on them; --dataset brings a pipeline with Resize and Pad'
        )
    packs = {}
    for name, pipeline in (('train', spec.pipeline), ('val', tests[0].pipeline)):
        packs[name] = [dict(node) for node in pipeline if transform_name(node).startswith('Pack')][-1:]
        if not packs[name]:
            raise ValueError(
                f'{cfg.filename}: the {name} pipeline has no PackDetInputs, with which every pipeline ends'
            )
    pack = packs['val'][0]
    keys = pack.get('meta_keys', ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
    pack['meta_keys'] = tuple(dict.fromkeys([*keys, 'img_id', 'ori_shape', 'instances']))
    images = [node for node in loads if 'Annotations' not in transform_name(node)]
    kept = {transform_name(node) for node in [*loads, *fits]}
    left = dict.fromkeys(transform_name(node) for node in spec.pipeline)
    left_out = [name for name in left if name not in kept and not name.startswith('Pack')]
    notes = [f'Transforms left out: {", ".join(left_out)}.'] if left_out else []
    return [*loads, *fits, *packs['train']], [*images, *fits, pack], notes


def _set_hooks(cfg: Config, iters: int, interval: int, target: float) -> list[str]:
    hooks: Sequence[Mapping[str, Any]] = cfg.get('custom_hooks') or []
    dropped = [hook for hook in hooks if any(part in str(hook['type']) for part in _HOOKS)]
    stop = dict(type='EarlyStoppingHook', monitor=METRIC, rule='greater', min_delta=0.0, patience=VALIDATIONS * 2)
    # It stops above its threshold, not at it; AP has three digits.
    stop['stopping_threshold'] = target - 1e-4
    cfg.custom_hooks = [*(hook for hook in hooks if hook not in dropped), stop]
    lines = max(1, iters // LOG_LINES)
    default = dict(cfg.get('default_hooks') or {})
    default['logger'] = dict(type='LoggerHook', interval=lines, log_metric_by_epoch=False)
    # Beside every validation: the one that ends the training leaves its weights.
    default['checkpoint'] = dict(type='CheckpointHook', interval=interval, by_epoch=False, max_keep_ckpts=1)
    cfg.default_hooks = default
    cfg.log_processor = dict(type='LogProcessor', window_size=lines, by_epoch=False)
    return [f'Hooks left out: {", ".join(str(hook["type"]) for hook in dropped)}.'] if dropped else []


def _fit_to_process(cfg: Config) -> None:
    """One process, on whatever device is there."""
    preprocessor = cfg.model.get('data_preprocessor')
    if preprocessor and preprocessor.get('batch_augments'):
        preprocessor['batch_augments'] = None
    _plain_norm(cfg.model)
    if get_device() == 'cpu' and str(cfg.optim_wrapper.get('type')) == 'AmpOptimWrapper':
        cfg.optim_wrapper['type'] = 'OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)


def _plain_norm(node: Any) -> None:
    """Synchronised batch norm is batch norm in one process, and does not run on a CPU."""
    if isinstance(node, Mapping):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'  # type: ignore[index]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            _plain_norm(child)
