"""The tiny data set and config; that they train is what every other test shows."""

import json

from mmengine.config import Config

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.reliability.tiny_training import data_config, make_tiny_coco, tiny_config


def test_data_are_faultless_and_the_same_each_time(tmp_path):
    paths = make_tiny_coco(tmp_path / 'a', n=3, classes=('x', 'y'))
    assert check_coco(paths['ann'], ('x', 'y'), paths['images'], images='all') == []
    other = make_tiny_coco(tmp_path / 'b', n=3, classes=('x', 'y'))
    assert json.loads((tmp_path / 'a/ann.json').read_text()) == json.loads((tmp_path / 'b/ann.json').read_text())
    assert (tmp_path / 'a/images/2.png').read_bytes() == (tmp_path / 'b/images/2.png').read_bytes()
    assert other['root'] == str(tmp_path / 'b')


def test_config_takes_its_numbers(tmp_path):
    paths = make_tiny_coco(tmp_path / 'a', n=1)
    text = tiny_config(paths, ('x', 'y', 'z'), epochs=5, batch_size=3)
    cfg = Config.fromstring(text, '.py')
    assert (cfg.model.bbox_head.num_classes, cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (3, 5, 3)
    assert text.endswith(data_config(paths, ('x', 'y', 'z'), batch_size=3))
