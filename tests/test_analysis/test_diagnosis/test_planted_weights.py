"""Faults in the weights, some by training on with a fault: each must be named first."""

import pytest
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.relation_probe.detector import quiet
from tests.test_analysis.test_diagnosis.planted_case import Plant

# One process trains the detectors.
pytestmark = pytest.mark.xdist_group('planted')


@pytest.fixture
def two(tmp_path):
    return Plant('two', tmp_path)


@pytest.fixture
def one(tmp_path):
    return Plant('one', tmp_path)


def fresh(plant):
    init_default_scope('mmdet')
    with quiet():
        model = MODELS.build(plant.cfg.model)
        model.init_weights()
    return model.state_dict()


def test_box_head_frozen_from_the_start(two):
    two.cfg.optim_wrapper.paramwise_cfg.custom_keys = {'roi_head.bbox_head': dict(lr_mult=0.0)}
    two.state |= {key: value for key, value in fresh(two).items() if key.startswith('roi_head.bbox_head')}
    first, *others = two.diagnose()['verdicts']
    assert first['rule'] == 'frozen_parts'
    assert 'roi_head.bbox_head' in first['evidence']
    assert {each['rule']: each['explained_by'] for each in others}['untrained_parts'] == 'frozen_parts'


def test_box_branch_that_has_learnt_nothing(two):
    for key in ('weight', 'bias'):
        two.state[f'roi_head.bbox_head.fc_reg.{key}'] *= 0.02
    verdict = two.named()
    assert verdict['rule'] == 'boxes_not_regressed'
    assert 'roi_head' in verdict['evidence']


def test_everything_is_an_object_to_the_rpn(two):
    two.state['rpn_head.rpn_cls.bias'] += 9
    verdict = two.named()
    assert verdict['rule'] == 'everything_is_object'
    assert 'rpn_head' in verdict['evidence']


@pytest.mark.slow
def test_everything_is_an_object_to_a_one_stage_detector(one):
    name = next(key for key in one.state if key.endswith('cls.bias'))
    one.state[name] += 9
    verdict = one.named()
    assert verdict['rule'] == 'everything_is_object'
    assert 'bbox_head' in verdict['evidence']


def test_rpn_that_ranks_the_wrong_way_round(two):
    # Background first, objects last, and no score above one half.
    two.state['rpn_head.rpn_cls.weight'] *= -1
    two.state['rpn_head.rpn_cls.bias'].fill_(-30.0)
    assert two.named()['rule'] == 'rpn_misses'


def test_weights_that_are_not_finite(two):
    two.state['neck.fpn_convs.1.conv.weight'][0, 0] = float('nan')
    verdict = two.named()
    assert verdict['rule'] == 'not_finite'
    assert 'neck.fpn_convs.1.conv.weight' in verdict['evidence']


def test_a_detector_that_was_never_trained(one):
    one.state = fresh(one)
    assert one.named()['rule'] == 'untrained_parts'


def test_a_detector_that_was_stopped_early(two):
    two.state = fresh(two)
    two.fit(12, lr=5e-4)
    verdict = two.named()
    assert verdict['rule'] == 'undertrained'
    assert 'overfit.py' in verdict['fix']


def test_four_images_learnt_by_heart(two):
    def keep_four(coco):
        coco['images'] = coco['images'][:4]
        coco['annotations'] = [each for each in coco['annotations'] if each['image_id'] < 4]

    two.annotations('train', keep_four)
    two.cfg.train_dataloader.dataset.pipeline = [
        node for node in two.cfg.train_dataloader.dataset.pipeline if node.type != 'RandomFlip'
    ]
    two.state = fresh(two)
    two.fit(130, lr=2e-3)
    assert two.named()['rule'] == 'overfitted'
