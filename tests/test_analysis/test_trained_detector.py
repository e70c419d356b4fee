"""Weights, classes and names of images, as every look into a detector begins."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.trained_detector import learnt_classes, load_detector, name_places, no_such_image
from tests.tiny_coco import make_tiny_coco, tiny_config


def test_a_detector_has_the_weights_and_is_ready(tmp_path):
    cfg = Config.fromstring(tiny_config(make_tiny_coco(tmp_path, n=1)), '.py')
    before = cfg.to_dict()
    state = {name: value.double().fill_(0.25).to(value.dtype) for name, value in _model(cfg).state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'weights.pth')
    model = load_detector(cfg, tmp_path / 'weights.pth')
    assert not model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert cfg.to_dict() == before
    with pytest.raises(FileNotFoundError, match=r'There is no checkpoint .*none\.pth'):
        load_detector(cfg, tmp_path / 'none.pth')
    torch.save({'state_dict': {'other': torch.ones(1)}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth does not fit the model'):
        load_detector(cfg, tmp_path / 'other.pth')


def _model(cfg):
    init_default_scope('mmdet')
    return MODELS.build(copy.deepcopy(cfg.model))


@pytest.mark.parametrize('stored', [{}, {'meta': None}, {'meta': {}}, {'meta': {'dataset_meta': {'palette': []}}}])
def test_a_checkpoint_that_does_not_name_its_classes(stored):
    assert learnt_classes(stored) is None


def test_classes_of_a_checkpoint():
    assert learnt_classes({'meta': {'dataset_meta': {'classes': ['a', 'b']}}}) == ('a', 'b')


class Images:
    """Three images, two of one name."""

    infos = [
        {'img_path': '/data/one/1.png', 'img_id': 7},
        {'img_path': '/data/two/1.png', 'img_id': 8},
        {'img_path': '/data/one/x.jpg', 'img_id': 'scan'},
    ]

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return self.infos[index]


def test_names_of_images():
    assert name_places(Images()) == {
        '7': 0, '1': 0, '1.png': 0, '/data/one/1.png': 0, '8': 1, '/data/two/1.png': 1,
        'scan': 2, 'x': 2, 'x.jpg': 2, '/data/one/x.jpg': 2,
    }  # fmt: skip


def test_an_id_comes_before_the_file_name_of_another():
    """Files from 1 on, ids from 0 on."""
    data = Images()
    data.infos = [{'img_path': f'/data/{number + 1}.png', 'img_id': number} for number in range(3)]
    assert [name_places(data)[name] for name in ('0', '1', '2', '3', '1.png')] == [0, 1, 2, 2, 0]


def test_an_unknown_image_is_named_with_the_nearest():
    error = no_such_image('scam', name_places(Images()), '--image-ids', 'the data')
    assert str(error) == '--image-ids: the data has no image with the file name or id scam; did you mean scan?'
    assert str(no_such_image('zzz', [], '--images', 'the test set')).endswith('file name or id zzz')
