"""Three remedies for imbalance in one grid: every arm trains, and takes the priors that it says."""

from copy import deepcopy

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS, shrink

from mmdet_ext.analysis.ablation.grid import read_grid
from mmdet_ext.engine.dataset_overlay import overlay_dataset

pytestmark = pytest.mark.usefixtures('read_bases_once')
GRID = read_grid(CONFIGS / 'single_shot/ablations/imbalance.yml')
ARMS = {arm.name: arm for arm in GRID.arms}


def detector(name):
    """The detector of an arm, small."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(ARMS[name].config)
    cfg.merge_from_dict(deepcopy(dict(ARMS[name].options)))
    overlay_dataset(cfg, Config.fromfile(GRID.dataset))
    torch.manual_seed(0)
    model = MODELS.build(shrink(cfg).model)
    model.init_weights()
    return model


def step(name, num_items):
    """Losses of a training step on two images with that many objects, and the detector."""
    model = detector(name)
    data = demo_mm_inputs(2, image_shapes=[(3, 64, 96)] * 2, num_items=num_items, num_classes=3)
    losses = model.train().forward(**model.data_preprocessor(data, True), mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    return model, logged


def test_the_remedies():
    assert GRID.reference == 'no remedy'
    assert set(ARMS) == {
        'no remedy',
        'sampled priors',
        'sampled losses',
        'weighted losses, focal',
        'weighted losses, GHM-C',
    }


@pytest.mark.parametrize('num_items', [[3, 1], [0, 0]], ids=['objects', 'empty'])
@pytest.mark.parametrize('name', ARMS)
def test_every_arm_trains(name, num_items):
    model, logged = step(name, num_items)
    assert all(torch.isfinite(value).all() for value in logged.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    assert logged['loss_cls'] > 0
    assert (logged['num_pos'] > 0) == (sum(num_items) > 0)


def test_which_negatives_take_part():
    plain, sampled = (step(name, [3, 1])[1] for name in ('no remedy', 'sampled priors'))
    assert plain['num_pos'] == sampled['num_pos'] > 0
    assert plain['num_neg'] > 20 * plain['num_pos']
    assert sampled['num_neg'] == 3 * sampled['num_pos']
    assert sampled['num_ignored'] == plain['num_ignored'] + plain['num_neg'] - sampled['num_neg']
