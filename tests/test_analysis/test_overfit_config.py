"""What becomes of a config: the first images with objects, nothing random, a short schedule."""

import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.analysis import overfit_config
from mmdet_ext.analysis.demo.runs import find_config
from mmdet_ext.analysis.overfit_config import make_overfit_config
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from tests.tiny_coco import make_tiny_coco, tiny_config


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """Text of the tiny config, and its annotation file."""
    paths = make_tiny_coco(tmp_path_factory.mktemp('data'), n=8)
    return tiny_config(paths, batch_size=4), paths


def make(text, num=4, iters=60, target=0.9):
    return make_overfit_config(Config.fromstring(text, '.py'), num, iters, target)


def names(loader):
    return [node['type'] for node in loader['dataset']['pipeline']]


def ids(cfg):
    init_default_scope('mmdet')
    built = [DATASETS.build({**cfg[f'{split}_dataloader']['dataset'], 'pipeline': []}) for split in ('train', 'val')]
    found = [[dataset.get_data_info(index)['img_id'] for index in range(len(dataset))] for dataset in built]
    assert found[0] == found[1]
    return found[0]


def test_nothing_random_is_left_and_both_loaders_see_the_same(tiny):
    cfg, notes = make(tiny[0])
    assert names(cfg.train_dataloader) == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'PackDetInputs']
    assert names(cfg.val_dataloader) == ['LoadImageFromFile', 'Resize', 'PackDetInputs']
    assert 'instances' in cfg.val_dataloader.dataset.pipeline[-1]['meta_keys']
    assert ids(cfg) == [0, 1, 2, 3]
    assert cfg.test_dataloader == cfg.val_dataloader
    assert notes == ['Transforms left out: RandomCrop, RandomFlip.']


def test_schedule_and_hooks(tiny):
    text = tiny[0] + "\ncustom_hooks = [dict(type='EMAHook'), dict(type='RandomStateHook')]\n"
    cfg, notes = make(text, num=3, iters=120, target=0.8)
    assert dict(cfg.train_cfg) == {'type': 'IterBasedTrainLoop', 'max_iters': 120, 'val_interval': 20}
    assert [(part['begin'], part['end']) for part in cfg.param_scheduler] == [(0, 12), (12, 120)]
    assert [hook['type'] for hook in cfg.custom_hooks] == ['RandomStateHook', 'EarlyStoppingHook']
    assert 0.799 < cfg.custom_hooks[-1]['stopping_threshold'] < 0.8
    assert notes[-1] == 'Hooks left out: EMAHook.'
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.default_hooks.logger.interval == cfg.log_processor.window_size == 2
    cfg, _ = make(tiny[0], num=8, iters=1)
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.val_interval) == (4, 1)


def test_images_without_objects_or_with_ignored_ones_are_passed_over(tiny, tmp_path):
    text, paths = tiny
    content = json.loads(Path(paths['ann']).read_text())
    content['annotations'][0]['iscrowd'] = 1
    content['annotations'] = [annotation for annotation in content['annotations'] if annotation['image_id'] != 2]
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    text = text.replace(paths['ann'], str(tmp_path / 'ann.json'))
    assert ids(make(text, num=3)[0]) == [1, 3, 4]
    assert len(ids(make(text, num=6)[0])) == 6
    with pytest.raises(ValueError, match=r'only 6 images of .*ann.json have objects of the classes, and --num 7 are'):
        make(text, num=7)
    (tmp_path / 'ann.json').write_text(json.dumps({**content, 'annotations': []}))
    with pytest.raises(ValueError, match=r"no image of .*ann.json has an object of the classes \('a', 'b'\)"):
        make(text)


def test_wrappers_mixing_and_several_sets(tiny):
    text = (
        tiny[0]
        + """
inner = train_dataloader['dataset']
train_dataloader['dataset'] = dict(
    type='MultiImageMixDataset', dataset=dict(type='ConcatDataset', datasets=[inner, inner]),
    pipeline=[dict(type='Mosaic', img_scale=(64, 64)), dict(type='PackDetInputs')])
train_dataloader['batch_sampler'] = dict(type='AspectRatioBatchSampler')
model['data_preprocessor']['batch_augments'] = [dict(type='BatchSyncRandomResize')]
"""
    )
    cfg, notes = make(text)
    assert cfg.train_dataloader.dataset.type == 'CocoDataset'
    assert names(cfg.train_dataloader) == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'PackDetInputs']
    assert 'batch_sampler' not in cfg.train_dataloader
    assert cfg.model.data_preprocessor.batch_augments is None
    assert notes == ['Transforms left out: RandomCrop, RandomFlip, Mosaic.', 'Of 2 training sets the first is used.']


def test_fit_to_one_process_on_a_cpu(tiny, monkeypatch):
    text = (
        tiny[0]
        + """
model['backbone']['norm_cfg'] = dict(type='SyncBN', requires_grad=True)
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.1))
val_dataloader['collate_fn'] = dict(type='pseudo_collate')
"""
    )
    monkeypatch.setattr(overfit_config, 'get_device', lambda: 'cpu')
    cfg, _ = make(text)
    assert cfg.model.backbone.norm_cfg == {'type': 'BN', 'requires_grad': True}
    assert cfg.optim_wrapper == {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}
    assert cfg.val_dataloader.collate_fn == {'type': 'pseudo_collate'}
    monkeypatch.setattr(overfit_config, 'get_device', lambda: 'cuda')
    assert make(text)[0].optim_wrapper.type == 'AmpOptimWrapper'


def test_parts_of_the_training_images_are_loaded(tmp_path, monkeypatch):
    make_chest_phantom(tmp_path, train=3, val=2, size=64)
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(tmp_path))
    name = 'relation_rcnn/sar-net_r18-gn_fpn_chest-phantom.py'
    cfg, _ = make_overfit_config(Config.fromfile(find_config(name)), 1, 10, 0.9)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        (parts,) = [node for node in loader.dataset.pipeline if node['type'] == 'LoadParts']
        assert parts['part_file'].endswith('parts_train.json')
    assert names(cfg.val_dataloader) == ['LoadImageFromFile', 'LoadParts', 'Resize', 'PackPartInputs']


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ('train_dataloader = None', 'has no training set that mmdet knows how to cut'),
        ("train_dataloader['dataset'] = dict(type='Strange')", 'has no training set that mmdet knows how to cut'),
        ('val_dataloader = test_dataloader = None', 'has neither val_dataloader nor test_dataloader'),
        ('train_pipeline.pop()', 'the train pipeline has no PackDetInputs'),
        ('test_pipeline.pop()', 'the val pipeline has no PackDetInputs'),
        ("test_pipeline[1] = dict(type='RandomCenterCropPad')", 'pads its test images by RandomCenterCropPad'),
    ],
)
def test_configs_that_cannot_be_used(tiny, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(f'{tiny[0]}\n{change}\n')


def test_the_test_loader_will_do(tiny):
    cfg, _ = make(f'{tiny[0]}\nval_dataloader = None\n')
    assert names(cfg.val_dataloader) == ['LoadImageFromFile', 'Resize', 'PackDetInputs']
