"""Numbers of classes in model configs and in built models."""

import mmdet.utils
import pytest
from mmdet.models.detectors import RPN
from torch import nn

from mmdet_ext.engine.class_counts import config_class_counts, model_class_counts


@pytest.fixture(autouse=True)
def _modules():
    mmdet.utils.register_all_modules(init_default_scope=True)


def test_config_names_every_head():
    model = {
        'rpn_head': {'num_classes': 1},
        'backbone': {'num_classes': 1000},
        'roi_head': {'bbox_head': [{'num_classes': 3}, {'num_classes': 4}], 'semantic_head': {'num_classes': 183}},
    }
    assert list(config_class_counts(model)) == [
        ('model.roi_head.bbox_head[0].num_classes', 3),
        ('model.roi_head.bbox_head[1].num_classes', 4),
    ]


def test_a_head_without_the_number_counts_with_the_default_of_its_class():
    model = {'bbox_head': {'type': 'Shared2FCBBoxHead'}, 'mask_head': {'type': 'FCNMaskHead'}}
    assert list(config_class_counts(model)) == [
        ('model.bbox_head.num_classes', 80),
        ('model.mask_head.num_classes', 80),
    ]
    assert list(config_class_counts({'roi_head': {'type': 'StandardRoIHead'}})) == []
    assert list(config_class_counts({'bbox_head': {'type': 'RetinaHead'}})) == []  # has no default


@pytest.mark.parametrize('part', ['language_model', 'tracker'])
def test_open_models_have_no_fixed_number(part):
    assert list(config_class_counts({part: {}, 'bbox_head': {'num_classes': 256}})) == []
    model = nn.Module()
    model.bbox_head = nn.Module()
    model.bbox_head.num_classes = 256
    assert list(model_class_counts(model)) == [('model.bbox_head.num_classes', 256)]
    setattr(model, part, nn.Identity())
    assert list(model_class_counts(model)) == []


@pytest.mark.parametrize('number', [None, 0, -1, '3'])
def test_no_number_of_classes(number):
    assert list(config_class_counts({'bbox_head': {'num_classes': number}})) == []


def test_built_model():
    model = nn.Module()
    model.num_classes = 9  # the model itself is no head
    model.rpn_head = nn.Linear(1, 1)
    model.rpn_head.num_classes = 1
    model.heads = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    model.heads[1].num_classes = 5
    assert list(model_class_counts(model)) == [('model.heads.1.num_classes', 5)]


def test_an_rpn_that_is_trained_alone_tells_objects_from_the_rest():
    model = RPN.__new__(RPN)
    nn.Module.__init__(model)
    model.bbox_head = nn.Linear(1, 1)
    model.bbox_head.num_classes = 1
    assert list(model_class_counts(model)) == []
    assert list(config_class_counts({'type': 'RPN', 'rpn_head': {'type': 'RPNHead'}})) == []
