"""Parameters and operations of a detector."""

import copy

import pytest
import torch
from mmengine.config import Config

from mmdet_ext.analysis.ablation.cost import measure_cost
from tests.tiny_coco import make_tiny_coco, tiny_config


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / 'tiny.py').write_text(tiny_config(make_tiny_coco(tmp_path / 'data', n=1)))
    return Config.fromfile(tmp_path / 'tiny.py')


def test_a_wider_head_costs_what_its_layers_cost(cfg):
    plain = measure_cost(cfg)
    assert plain['flops_note'] == 'one image of 64 x 64'
    cfg.model.bbox_head.stacked_convs = 2
    more = measure_cost(cfg)
    # One 3 x 3 convolution, 16 to 16 channels, in both branches, on maps of 4 x 4 and 2 x 2 (64 px, strides 16, 32).
    assert more['parameters'] - plain['parameters'] == 2 * (16 * 16 * 9 + 16)
    assert more['flops'] - plain['flops'] == 2 * 16 * 16 * 9 * (4 * 4 + 2 * 2)


def test_the_config_stays(cfg):
    before = copy.deepcopy(cfg.model)
    measure_cost(cfg)
    assert cfg.model == before


def test_the_callers_random_numbers_stay(cfg):
    state = torch.get_rng_state()
    first = measure_cost(cfg)
    assert torch.equal(torch.get_rng_state(), state)
    assert measure_cost(cfg) == first


def test_a_pass_that_fails_leaves_its_reason(cfg):
    cfg.val_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile')]
    cost = measure_cost(cfg)
    assert cost['parameters'] > 0
    assert cost['flops'] is None
    assert cost['flops_note'].startswith('KeyError: ')
    cfg.val_dataloader.dataset.pipeline = [dict(type='Silent', _scope_='mmdet')]
    assert measure_cost(cfg)['flops_note'].startswith('KeyError: ')
