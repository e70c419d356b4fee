"""Keys of `--cfg-options`: known, unknown, useless."""

import argparse
import logging

import mmdet.utils
import pytest
from mmengine.config import Config

from mmdet_ext.engine.cfg_options import CfgOptionsAction, accepted_arguments, check_cfg_options
from tests.tiny_coco import tiny_config


@pytest.fixture(scope='module')
def cfg(tmp_path_factory) -> Config:
    mmdet.utils.register_all_modules(init_default_scope=False)
    path = tmp_path_factory.mktemp('cfg') / 'tiny.py'
    path.write_text(tiny_config({'ann': 'a.json', 'images': 'images'}))
    cfg = Config.fromfile(path)
    cfg.model.test_cfg.rcnn = {'score_thr': 0.05}
    cfg.optim_wrapper.clip_grad = {'max_norm': 35}
    return cfg


@pytest.mark.parametrize(
    'key',
    [
        'model.backbone.depth',
        'model.backbone.with_cp',  # constructor argument the config leaves out
        'model.backbone.init_cfg',
        'model.bbox_head.loss_cls.gamma',
        'model.bbox_head.init_cfg.override',
        'model.backbone.norm_cfg.requires_grad',
        'model.train_cfg.sampler.type',
        'model.bbox_head.reg_decoded_bbox',  # through **kwargs of RetinaHead to AnchorHead
        'train_dataloader.dataset.filter_cfg',  # through **kwargs of CocoDataset
        'train_dataloader.dataset.filter_cfg.min_size',
        'train_dataloader.dataset.pipeline.0.to_float32',
        'train_dataloader.num_workers',
        'train_dataloader.persistent_workers',
        'train_dataloader.batch_sampler.type',
        'train_dataloader.num_batch_per_epoch',
        'train_cfg.val_begin',
        'val_cfg.fp16',
        'optim_wrapper.clip_grad.max_norm',
        'optim_wrapper.clip_grad.norm_type',
        'model.test_cfg.nms.class_agnostic',
        'model.test_cfg.nms.split_thr',
        'optim_wrapper.paramwise_cfg.bias_lr_mult',
        'optim_wrapper.optimizer.weight_decay',
        'param_scheduler.0.end_factor',
        'param_scheduler.0.convert_to_iter_based',
        'default_hooks.timer.interval',
        'default_hooks.checkpoint.max_keep_ckpts',
        'default_hooks.checkpoint.priority',
        'custom_hooks.0.priority',
        'randomness.deterministic',
        'env_cfg.mp_cfg.opencv_num_threads',
        'env_cfg.dist_cfg.timeout',
        'log_processor.num_digits',
        'model_wrapper_cfg.find_unused_parameters',
        'load_from',
        'resume',
        'work_dir',
        'tta_model.type',
        'compile',
        'auto_scale_lr.base_batch_size',
        'visualizer.save_dir',
    ],
)
def test_known(cfg, key):
    assert check_cfg_options(cfg, {key: 1}) == []


@pytest.mark.parametrize(
    ('key', 'nearest'),
    [
        ('modle.backbone.depth', 'model'),
        ('model.backbon.depth', 'model.backbone'),
        ('model.backbone.depht', 'model.backbone.depth'),
        ('model.backbone.with_cpp', 'model.backbone.with_cp'),
        ('model.test_cfg.rcnn.score_thrr', 'model.test_cfg.rcnn.score_thr'),
        ('train_dataloader.batchsize', 'train_dataloader.batch_size'),
        ('train_dataloader.dataset.pipeline.3.scales', 'train_dataloader.dataset.pipeline.3.scale'),
        ('optim_wrapper.optimizer.weight_decai', 'optim_wrapper.optimizer.weight_decay'),
        ('optim_wrapper.clip_grads.max_norm', 'optim_wrapper.clip_grad'),
        ('optim_wrapper.clip_grad.norm_typ', 'optim_wrapper.clip_grad.norm_type'),
        ('model.test_cfg.nms.class_agnostik', 'model.test_cfg.nms.class_agnostic'),
        ('default_hooks.checkpoint.intervall', 'default_hooks.checkpoint.interval'),
        ('train_cfg.max_epoch', 'train_cfg.max_epochs'),
        ('randomness.sed', 'randomness.seed'),
        ('custom_hooks.0.prioritty', 'custom_hooks.0.priority'),
    ],
)
def test_unknown_names_the_nearest(cfg, key, nearest):
    (warning,) = check_cfg_options(cfg, {key: 1})
    assert key in warning
    assert f"the nearest name is '{nearest}'" in warning


def test_unknown_and_nothing_near(cfg):
    (warning,) = check_cfg_options(cfg, {'model.test_cfg.qqq': 1})
    assert warning == "--cfg-options model.test_cfg.qqq: nothing knows 'qqq' in 'model.test_cfg'."


def test_open_arguments_are_accepted(cfg):
    # CheckpointHook hands **kwargs to whoever writes the checkpoint.
    assert check_cfg_options(cfg, {'default_hooks.checkpoint.zzz': 1}) == []


def test_type_given_in_the_same_options_counts(cfg):
    options = {'optim_wrapper.optimizer.type': 'SGD', 'optim_wrapper.optimizer.momentum': 0.9}
    assert check_cfg_options(cfg, options) == []
    assert len(check_cfg_options(cfg, {'optim_wrapper.optimizer.momentum': 0.9})) == 1


def test_runner_type_counts(cfg):
    flexible = Config(dict(cfg, runner_type='FlexibleRunner'))
    assert check_cfg_options(flexible, {'strategy.type': 'DDPStrategy'}) == []
    assert len(check_cfg_options(cfg, {'strategy.type': 'DDPStrategy'})) == 1


@pytest.mark.parametrize('name', ['metainfo', 'train_pipeline', 'vis_backends'])
def test_name_the_runner_does_not_read(cfg, name):
    with pytest.raises(ValueError, match=f"'{name}' is a helper variable .* --dataset FILE"):
        check_cfg_options(cfg, {name: 1})


def test_useless_name_tells_where_it_went(cfg):
    with pytest.raises(ValueError, match=r'perhaps train_dataloader\.dataset\.pipeline \(same value\), instead'):
        check_cfg_options(cfg, {'train_pipeline.0.to_float32': True})
    splits = ', '.join(rf'{split}_dataloader\.dataset\.metainfo' for split in ('train', 'val', 'test'))
    with pytest.raises(ValueError, match=f'override {splits} instead'):
        check_cfg_options(cfg, {'metainfo.classes': 'a'})
    lonely = Config(dict(cfg, data_root='nowhere'))
    with pytest.raises(ValueError, match='override the place that uses it instead'):
        check_cfg_options(lonely, {'data_root': 'x'})


def test_useless_name_is_sought_by_name_before_value(cfg):
    # Strides of 16 are many; only `max_epochs` is named so.
    epochs = Config(dict(cfg, max_epochs=16, train_cfg=dict(cfg.train_cfg, max_epochs=16)))
    with pytest.raises(ValueError, match=r'override train_cfg\.max_epochs instead'):
        check_cfg_options(epochs, {'max_epochs': 1})
    computed = Config(dict(epochs, max_epochs=8))
    with pytest.raises(ValueError, match=r'override train_cfg\.max_epochs instead'):
        check_cfg_options(computed, {'max_epochs': 1})
    by_chance = Config(dict(cfg, seconds=2))
    with pytest.raises(ValueError, match='overriding it changes nothing; override the place') as caught:
        check_cfg_options(by_chance, {'seconds': 1})
    assert str(caught.value).count(' or ') == 3  # three places, and `, or lay another data config`
    assert 'perhaps' in str(caught.value)


def test_the_check_is_silent(cfg, monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, *_, level=0, **__: said.append((level, text)))
    assert check_cfg_options(cfg, {'model.backbone.depth': 18, 'train_dataloader.dataset.filter_cfg': None}) == []
    assert [text for level, text in said if level >= logging.WARNING] == []


def test_list_index(cfg):
    assert check_cfg_options(cfg, {'param_scheduler.0.start_factor': 1}) == []
    for index in ('1', 'first'):
        with pytest.raises(ValueError, match=f"list of 1 entries, '{index}' is none of its indices 0 to 0"):
            check_cfg_options(cfg, {f'param_scheduler.{index}.start_factor': 1})
    with pytest.raises(ValueError, match=r"'model.backbone.depth' is 18, which has no entries"):
        check_cfg_options(cfg, {'model.backbone.depth.x': 1})


def test_accepted_arguments():
    class Base:
        def __init__(self, a, *, b=1):
            pass

    class Child(Base):
        def __init__(self, c=1, **kwargs):
            super().__init__(**kwargs)

    class Open:
        def __init__(self, d, **kwargs):
            pass

    assert accepted_arguments(Child) == ({'a', 'b', 'c'}, False)
    assert accepted_arguments(Open) == ({'d'}, True)
    assert accepted_arguments(lambda x, y: None) == ({'x', 'y'}, False)
    assert accepted_arguments(dict)[1]


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('1e-3', 1e-3),
        ('true', True),
        ('None', None),
        ('a,b', ['a', 'b']),
        ('[1, 2]', [1, 2]),
        ('[(1,2),(3,4)]', [(1, 2), (3, 4)]),
        ("('multiple nodules', 'mass')", ('multiple nodules', 'mass')),
        ('[a, b]', ['a', 'b']),
        ('/my data/set', '/my data/set'),
        ("'/my data/set'", '/my data/set'),
    ],
)
def test_values(text, value):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptionsAction)
    assert parser.parse_args(['--cfg-options', f'k={text}']).cfg_options == {'k': value}


def test_unquoted_name_with_a_blank_in_a_list():
    with pytest.raises(argparse.ArgumentTypeError, match='put each name of the list in quotes'):
        CfgOptionsAction._parse_iterable('[multiple nodules,mass]')
