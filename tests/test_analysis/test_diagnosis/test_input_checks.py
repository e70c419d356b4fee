"""Self-checks of input size, pixels and batch size."""

import json

import pytest
from mmengine.config import Config

from mmdet_ext.analysis.diagnosis.input_checks import check_batch_size, check_inputs
from tests.tiny_coco import make_tiny_coco, tiny_config


@pytest.fixture
def config(tmp_path):
    def write(**changes):
        file = tmp_path / 'c.py'
        file.write_text(tiny_config(make_tiny_coco(tmp_path / 'data')))
        cfg = Config.fromfile(file)
        for split in ('train', 'val'):
            cfg[f'{split}_dataloader'].dataset.pipeline = [
                {**node, **changes.get(split, {})} if node.type == 'Resize' else node
                for node in cfg[f'{split}_dataloader'].dataset.pipeline
                if node.type != 'RandomCrop' or changes.get('crop')
            ]
        return cfg

    return write


def named(cfg, checkpoint='w.pth'):
    return {check.name: check for check in check_inputs(cfg, checkpoint)}


def test_equal_sizes_pass(config):
    found = named(config())
    assert found['input_size'].passed
    assert found['input_shape'].passed
    assert found['input_size'].figures == {'ratio': pytest.approx(1.0)}


def test_test_images_half_as_large(config):
    found = named(config(val={'scale': (32, 32)}))
    assert found['input_size'].figures == {'ratio': pytest.approx(2.0)}
    assert found['input_size'].passed is False
    assert found['input_shape'].passed


def test_test_images_twice_as_wide(config):
    found = named(config(val={'scale': (90, 45), 'keep_ratio': False}))
    assert found['input_size'].passed
    assert found['input_shape'].passed is False
    assert '2.00 times wider' in found['input_shape'].sentence


def test_training_that_draws_sizes(config):
    choice = {'type': 'RandomChoiceResize', 'scales': [(32, 32), (128, 128)], 'keep_ratio': True, 'scale': None}
    cfg = config()
    place = next(i for i, node in enumerate(cfg.train_dataloader.dataset.pipeline) if node['type'] == 'Resize')
    choice.pop('scale')
    cfg.train_dataloader.dataset.pipeline[place] = choice
    assert named(cfg)['input_size'].passed


def test_sizes_that_cannot_be_compared(config):
    found = named(config(crop=True))
    assert found['input_size'].passed is found['input_shape'].passed is None
    assert 'RandomCrop of the training pipeline' in found['input_size'].sentence
    cfg = config()
    cfg.val_dataloader.dataset.pipeline = [
        node for node in cfg.val_dataloader.dataset.pipeline if node['type'] != 'Resize'
    ]
    assert 'no Resize to compare' in named(cfg)['input_shape'].sentence


def test_pixels_that_are_not_normalised_or_not_there(config, tmp_path):
    cfg = config()
    cfg.model.data_preprocessor.update(mean=None, std=None)
    check = named(cfg)['pixels']
    assert check.passed is False
    assert check.sentence == check.fix
    (tmp_path / 'data' / 'images' / '0.png').write_bytes(b'no picture')
    assert named(cfg)['pixels'].passed is None


def test_pixels(config):
    cfg = config()
    cfg.model.data_preprocessor.update(mean=[30.0] * 3, std=[40.0] * 3)
    assert named(cfg)['pixels'].passed
    cfg.model.data_preprocessor.update(mean=[0.5] * 3, std=[0.5] * 3)
    check = named(cfg)['pixels']
    assert check.passed is False
    assert 'multiply by 255' in check.fix


def test_no_training_set(config):
    cfg = config()
    cfg.train_dataloader.dataset.ann_file = 'none.json'
    found = named(cfg)
    assert found['input_size'].passed is None
    assert 'none.json' in found['pixels'].sentence


@pytest.mark.parametrize(
    ('base', 'batch', 'world', 'passed'),
    [(16, 2, None, True), (64, 2, None, False), (16, 2, 8, True), (16, 2, 1, False), (2, 32, None, False)],
)
def test_batch_size(tmp_path, base, batch, world, passed):
    if world:
        (tmp_path / 'run_record.json').write_text(json.dumps({'world_size': world}))
    cfg = Config({
        'auto_scale_lr': {'base_batch_size': base}, 'train_dataloader': {'batch_size': batch},
        'optim_wrapper': {'optimizer': {'lr': 0.01}},
    })  # fmt: skip
    check = check_batch_size(cfg, tmp_path / 'w.pth')
    assert check.passed is passed
    assert check.figures['factor'] == batch * (world or 1) / base


def test_batch_size_that_is_scaled_or_not_known(tmp_path):
    scaled = {'auto_scale_lr': {'base_batch_size': 99, 'enable': True}, 'train_dataloader': {'batch_size': 1}}
    assert check_batch_size(Config(scaled), tmp_path / 'w.pth').passed
    assert check_batch_size(Config({}), tmp_path / 'w.pth').passed is None


@pytest.mark.parametrize('text', ['', '{"world', '[]'])
def test_a_damaged_record_of_the_run(tmp_path, text):
    (tmp_path / 'run_record.json').write_text(text)
    cfg = Config(dict(train_dataloader=dict(batch_size=2), auto_scale_lr=dict(base_batch_size=4)))
    check = check_batch_size(cfg, tmp_path / 'epoch_1.pth')
    assert check.passed
    assert 'on each process' in check.sentence
