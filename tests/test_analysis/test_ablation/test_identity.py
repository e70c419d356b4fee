"""Same training or not: places do not count, contents do."""

import os
import shutil

import pytest
from mmengine.config import Config

from mmdet_ext.analysis.ablation.identity import (
    config_identity,
    data_identity,
    describe_difference,
    digest,
    evaluation_settings,
)
from tests.tiny_coco import make_tiny_coco, tiny_config


def read(folder, **kwargs):
    """The tiny config on data in this folder."""
    paths = make_tiny_coco(folder, n=2, **kwargs)
    (folder / 'tiny.py').write_text(tiny_config(paths))
    return Config.fromfile(folder / 'tiny.py')


def test_moved_data_are_the_same_and_other_data_are_not(tmp_path):
    one, moved, other = (read(tmp_path / name, seed=seed) for name, seed in (('a', 0), ('b', 0), ('c', 1)))
    assert config_identity(one) == config_identity(moved)
    assert data_identity(one) == data_identity(moved)
    assert digest(config_identity(one)) == digest(config_identity(moved)) != digest(config_identity(other))
    assert 'test_dataloader.dataset.ann_file is' in describe_difference(config_identity(one), config_identity(other))
    differing = {key for key, value in data_identity(one).items() if data_identity(other)[key] != value}
    parts = ('ann_file', 'data_prefix.img')
    assert differing == {f'{split}_dataloader.dataset.{part}' for split in ('train', 'val') for part in parts}


def test_a_picture_more_is_other_data(tmp_path):
    one, two = (read(tmp_path / name) for name in 'ab')
    shutil.copy(tmp_path / 'b/images/0.png', tmp_path / 'b/images/1234.png')
    (tmp_path / 'b/images/notes.txt').touch()
    difference = describe_difference(data_identity(one), data_identity(two))
    assert difference.startswith('train_dataloader.dataset.data_prefix.img is 2 files')
    assert '3 files' in difference
    assert difference.endswith('(and 1 more)')


def test_seed_and_work_dir_do_not_count_but_options_and_weights_do(tmp_path):
    cfg = read(tmp_path / 'a')
    identity = config_identity(cfg)
    cfg.merge_from_dict({'randomness.seed': 99, 'work_dir': 'x', 'launcher': 'slurm'})
    assert config_identity(cfg) == identity
    weights = tmp_path / 'w.pth'
    weights.write_bytes(b'one')
    cfg.load_from = str(weights)
    first = config_identity(cfg)
    assert first != identity
    cfg.load_from = str(shutil.copy(weights, tmp_path / 'same.pth'))
    assert config_identity(cfg) == first
    weights.write_bytes(b'other')
    os.utime(weights, (1, 1))
    cfg.load_from = str(weights)
    assert config_identity(cfg) != first
    cfg.load_from = 'https://somewhere/w.pth'
    assert config_identity(cfg)['load_from'] == "'https://somewhere/w.pth'"


def test_hooks_that_only_look_do_not_count(tmp_path):
    cfg = read(tmp_path / 'a')
    cfg.custom_hooks = [dict(type='LossMonitorHook'), dict(type='ActivationStatsHook'), dict(type='EMAHook')]
    assert [name in str(config_identity(cfg)) for name in ('Monitor', 'Stats', 'EMA')] == [False, False, True]
    cfg.custom_hooks[0].action = 'skip'
    assert 'Monitor' in str(config_identity(cfg))


def test_differences_are_named():
    assert describe_difference({'a': '1'}, {'a': '1'}) is None
    assert describe_difference({'a': '1', 'b': '2'}, {'a': '1', 'b': '3'}) == 'b is 2 in one and 3 in the other'
    assert describe_difference({}, {'b': '3'}) == 'b is not there in one and 3 in the other'


def test_evaluation_is_the_evaluator_alone(tmp_path):
    settings = evaluation_settings(config_identity(read(tmp_path / 'a')))
    assert settings['val_evaluator.metric'] == "'bbox'"
    assert {key.split('.')[0] for key in settings} == {'val_evaluator'}


def test_missing_data_are_named(tmp_path):
    cfg = read(tmp_path / 'a')
    cfg.val_dataloader.dataset.ann_file = str(tmp_path / 'gone.json')
    with pytest.raises(FileNotFoundError, match=r'val_dataloader\.dataset\.ann_file is .*gone\.json.*docs/data\.md'):
        data_identity(cfg)
    cfg.val_dataloader.dataset.metainfo.source = ['Run make_it,', 'then wait.']
    with pytest.raises(FileNotFoundError, match=r'which is not there\. Run make_it, then wait\.'):
        data_identity(cfg)


def test_remote_data_and_a_config_without_a_split(tmp_path):
    cfg = read(tmp_path / 'a')
    cfg.train_dataloader = None
    cfg.val_dataloader.dataset.ann_file = 's3://bucket/val.json'
    assert list(data_identity(cfg)) == ['val_dataloader.dataset.data_prefix.img']
