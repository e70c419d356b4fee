"""Findings on weights: each is planted, and weights that have been trained give none."""

import copy
import json

import pytest
import torch
from torch import nn

from mmdet_ext.analysis.diagnosis.weights import fresh_model, head_facts, learning_rates, parts, weight_findings
from tests.test_analysis.test_diagnosis import detector_case as case


def trained(family):
    """Every parameter and statistic has moved."""
    detector = case.detector(family)
    model = copy.deepcopy(detector.model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]:
            value += 0.2 * torch.rand(value.shape, generator=generator)
    return copy.deepcopy(detector.cfg), model


@pytest.mark.parametrize('family', ['faster', 'cascade', 'yolo_iou', 'retina_face', 'single_shot', 'fcos'])
def test_trained_weights_are_fine_and_fresh_ones_are_not(family):
    cfg, model = trained(family)
    assert weight_findings(cfg, model, {'epoch': 3}) == {}
    found = weight_findings(cfg, fresh_model(cfg, seed=7))
    assert found.keys() <= {'untrained', 'norm_statistics'}
    heads = {'faster': "'roi_head.bbox_head'", 'cascade': "'roi_head.bbox_head.0'"}
    assert heads.get(family, "'bbox_head'") in found['untrained']
    assert 'backbone' not in found['untrained']


def test_a_single_layer_that_was_never_trained():
    cfg, model = trained('faster')
    fresh = fresh_model(cfg, seed=3)
    model.roi_head.bbox_head.fc_reg.load_state_dict(fresh.roi_head.bbox_head.fc_reg.state_dict())
    assert weight_findings(cfg, model) == {
        'untrained': "'roi_head.bbox_head.fc_reg': as initialised, what begins with a fixed value (biases, norms) "
        'still has it, the rest has the spread of fresh weights'
    }
    # Weights that are much larger than fresh ones have learnt something, whatever the bias says.
    with torch.no_grad():
        model.roi_head.bbox_head.fc_reg.weight *= 2
    assert weight_findings(cfg, model) == {}


def test_fresh_models_are_drawn_aside():
    cfg, _ = trained('retina')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='https://nowhere/never.pth')
    torch.manual_seed(4)
    state = torch.get_rng_state()
    one, two, other = (fresh_model(cfg, seed).bbox_head.retina_cls for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'


def test_numbers_that_are_none_and_layers_of_zeros():
    cfg, model = trained('retina')
    with torch.no_grad():
        model.bbox_head.retina_reg.bias[1] = float('inf')
        model.backbone.conv1.weight[0, 0, 0, 0] = float('nan')
        model.bbox_head.cls_convs[0].conv.weight.zero_()
    found = weight_findings(cfg, model)
    assert found['not_finite'] == (
        "'backbone.conv1.weight', 'bbox_head.retina_reg.bias' hold values that are not finite numbers"
    )
    assert found['zero'] == "all weights of 'bbox_head.cls_convs.0.conv' are zero"


WHY = 'kept from training by the config (requires_grad, or a learning rate of 0 in paramwise_cfg)'


def test_frozen_parts():
    cfg, model = trained('faster')
    for part in (model.rpn_head, model.roi_head.bbox_head.fc_reg, model.backbone):
        part.requires_grad_(False)
    assert weight_findings(cfg, model) == {
        'frozen': f"'rpn_head', 'roi_head.bbox_head.fc_reg': {WHY}",
        'frozen_backbone': f'the whole backbone: {WHY}',
    }
    # Some stages of a backbone are what nearly every config freezes.
    model.backbone.requires_grad_(True)
    model.backbone.layer1.requires_grad_(False)
    assert 'frozen_backbone' not in weight_findings(cfg, model)


def test_a_learning_rate_of_zero():
    cfg, model = trained('retina')
    cfg.optim_wrapper = dict(
        type='AmpOptimWrapper',
        optimizer=dict(type='SGD', lr=0.5),
        paramwise_cfg=dict(custom_keys={'retina_reg': dict(lr_mult=0.0), 'neck': dict(lr_mult=0.1)}),
    )
    rates = learning_rates(cfg, model)
    assert rates['bbox_head.retina_reg.weight'] == 0
    assert rates['neck.lateral_convs.0.conv.weight'] == pytest.approx(0.05)
    assert rates['backbone.conv1.weight'] == 0.5
    assert weight_findings(cfg, model) == {'frozen': f"'bbox_head.retina_reg': {WHY}"}
    cfg.optim_wrapper.optimizer.type = 'NoSuchOptimizer'
    assert learning_rates(cfg, model) == {}
    assert weight_findings(cfg, model) == {}
    assert learning_rates(cfg.__class__({}), model) == {}


def test_norms_that_never_saw_an_image():
    cfg, model = trained('retina_face')
    norm = model.backbone.stem[0].bn
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    assert weight_findings(cfg, model)['norm_statistics'].startswith(
        "the statistics of 'backbone.stem.0.bn' are those of"
    )


def test_a_checkpoint_from_the_beginning():
    cfg, model = trained('retina')
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)
    assert weight_findings(cfg, model, {'epoch': 5, 'iter': 9}) == {'early': 'the checkpoint is of 5 of 12 epochs'}
    assert weight_findings(cfg, model, {'epoch': 6}) == {}
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=100)
    assert weight_findings(cfg, model, {'iter': 9}) == {'early': 'the checkpoint is of 9 of 100 iterations'}
    assert weight_findings(cfg, model, {}) == {}


def test_parts_of_a_detector():
    kinds = ('bbox_roi_extractor', 'bbox_head', 'mask_roi_extractor', 'mask_head')
    inner = {f'roi_head.{kind}.{stage}' for kind in kinds for stage in range(3)}
    assert set(parts(case.detector('cascade').model)) == {'backbone', 'neck', 'rpn_head', *inner}
    assert parts(nn.Sequential(nn.Linear(1, 1))) == ['0']


def test_facts_of_heads():
    facts = head_facts(case.detector('faster').model)
    assert json.loads(json.dumps(facts)) == facts
    assert facts['rpn_head']['coder'] == 'DeltaXYWHBBoxCoder'
    assert facts['rpn_head']['stds'] == [1, 1, 1, 1]
    assert facts['roi_head.bbox_head']['stds'] == [0.1, 0.1, 0.2, 0.2]
    assert facts['rpn_head']['strides'] == [[side] * 2 for side in (4, 8, 16, 32, 64)]
    # A scale of 3 cells, ratios 0.5, 1, 2.
    assert facts['rpn_head']['sizes'][0][1] == [12, 12]
    assert head_facts(case.detector('fcos').model)['bbox_head'] == {'coder': 'DistancePointBBoxCoder'}
