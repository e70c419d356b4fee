"""Every rule by itself, on evidence made by hand: it fires where it should and is silent where it should not."""

from dataclasses import replace

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis.rules import RULES
from mmdet_ext.datasets.problems import Problem
from tests.test_analysis.test_diagnosis.evidence_case import (
    both,
    check,
    config,
    evidence,
    split,
    stage,
    trial,
    verdicts,
)

ERROR = Problem('error', 'a.json', 'the boxes are wrong; correct them')
CLASSES_WRONG = Problem('error', 'model.bbox_head.num_classes', '`num_classes` is 80, but the data have 3')
ORDER_WRONG = Problem('error', 'a.json', 'the categories stand in another order than in `metainfo`')


def train_and_val(train, val):
    return {'train': split('train', **train), 'val': split('val', **val)}


def heads(name='rpn_head', **changes):
    return both(stages={name: stage(kind='rois' if name.startswith('roi') else 'priors', **changes)})


# Rule -> what makes it fire, and a word that its sentences must have.
FIRES = {
    'not_finite': ({'weights': {'not_finite': "'a' hold NaN"}}, 'clip_grad'),
    'num_classes': ({'problems': [CLASSES_WRONG]}, 'model.bbox_head.num_classes=3'),
    'class_order': ({'problems': [ORDER_WRONG]}, 'metainfo'),
    'labels_shifted': ({'trials': trial('labels_up', ap=0.7)}, 'all labels one up'),
    'boxes_transposed': ({'trials': trial('transposed')}, '[y, x, h, w]'),
    'boxes_as_corners': ({'checks': check('box_format', val=0.7)}, 'x1, y1, x2, y2'),
    'channels_swapped': ({'trials': trial('channels')}, 'bgr_to_rgb=False'),
    'normalisation': ({'trials': trial('pixels_imagenet')}, '123.675'),
    'test_size': ({'checks': check('input_size', ratio=2.0)}, 'another size'),
    'truth_as_predictions': ({'checks': check('truth_as_predictions', ap=0.4)}, 'evaluator'),
    'box_coder': ({'checks': check('coders', rpn_head=0.2)}, 'coder'),
    'score_thr': ({'splits': both(costs={'score_thr': 0.1})}, 'model.test_cfg.rcnn.score_thr=0.05'),
    'nms': ({'splits': both(costs={'nms': 0.1})}, 'model.test_cfg.rcnn.nms.iou_threshold=0.6'),
    'max_per_img': ({'splits': both(costs={'max_per_img': 0.1})}, 'model.test_cfg.rcnn.max_per_img=100'),
    'class_without_training': ({'checks': check('untrained_classes', bird=9.0)}, 'not in the training set'),
    'unreadable_images': ({'splits': both(faults=[('x.png', 'x.png is damaged')])}, 'x.png is damaged'),
    'leakage': ({'checks': check('leakage', val=0.1)}, 'leaks'),
    'ignored_objects': ({'checks': check('ignored', val=0.6)}, 'ignored'),
    'duplicate_annotations': ({'checks': check('duplicates', train=0.5)}, 'twice'),
    'anchors': ({'splits': heads(best_recall={0.3: 0.2, 0.5: 0.1})}, 'model.rpn_head.anchor_generator'),
    'positives_too_rare': ({'splits': heads('roi_head', without_positive=0.6)}, 'model.train_cfg.rcnn.assigner'),
    'too_few_proposals': (
        {
            'cfg': config(test_cfg={'rpn': {'max_per_img': 5}, 'rcnn': {}}),
            'splits': both(proposals_50={10: 0.5, 1000: 0.5}, proposals={10: 0.4}),
        },
        'model.test_cfg.rpn.max_per_img',
    ),
    'regression_makes_worse': ({'splits': heads('roi_head', overlap_after=0.4)}, 'model.roi_head.bbox_head.bbox_coder'),
    'boxes_not_regressed': ({'splits': heads('roi_head.1', overlap_after=0.605)}, 'roi_head.1'),
    'everything_is_object': ({'splits': heads('bbox_head', above_half=0.9)}, 'model.train_cfg.assigner'),
    'objects_too_small': ({'trials': trial('double')}, 'slice_coco'),
    'objects_too_large': ({'trials': trial('half')}, 'half size'),
    'images_distorted': ({'checks': check('input_shape', ratio=1.6)}, 'stretched'),
    'domain_gap': (
        {'splits': train_and_val({'ap': 0.8}, {'ap': 0.4, 'image_pixels': np.full((20, 2, 3), 3.0)})},
        'another source',
    ),
    'unlabelled_objects': (
        {'splits': train_and_val({'ap': 0.8}, {'ap': 0.4, 'confident_background': 0.5})},
        'not annotated',
    ),
    'untrained_parts': ({'weights': {'untrained': "'roi_head' look fresh"}}, "'roi_head' look fresh"),
    'rpn_misses': ({'splits': both(proposals_50={10: 0.2, 1000: 0.3})}, 'rpn_head.loss_cls'),
    'classes_exchanged': (
        {'splits': both(renamed={'cat': 'dog', 'dog': 'cat'}, label_shift=(0, 0.3, 0.9))},
        "'cat' for 'dog'",
    ),
    'faulty_data': ({'problems': [ERROR, ERROR]}, 'check_dataset.py'),
    'overfitted': ({'splits': train_and_val({'ap': 0.9}, {'ap': 0.4})}, 'by heart'),
    'undertrained': (
        {'splits': both(ap=0.02, stages={}), 'weights': {'early': 'the checkpoint is of 1 of 9 epochs'}},
        '1 of 9',
    ),
    'loss_balance': ({'gradients': {'loss_cls': 1.0, 'loss_bbox': 1e-4}}, 'loss_bbox'),
    'frozen_parts': ({'weights': {'frozen': "'x': kept from training"}}, 'lr_mult'),
    'batch_size': ({'checks': check('batch_size', factor=0.01)}, 'images per step'),
    'empty_images': ({'checks': check('empty_images', train=0.9)}, 'background'),
    'confused_classes': (
        {'splits': both(names=np.array([[10, 10, 0, 0], [10, 10, 0, 0], [0, 0, 20, 0]]))},
        "'cat' and 'dog'",
    ),
    'weak_class': ({'splits': both(class_ap={'cat': 0.8, 'dog': 0.8, 'bird': 0.1})}, "'bird'"),
    'small_objects': ({'splits': both(size_ap={'small': 0.1, 'medium': 0.7, 'large': None})}, 'small'),
    **{
        f'{name}_errors': (
            {'splits': both(tide={name: 0.3}, tide_counts={name: 7})},
            f'7 errors of the type "{name}" cost 0.300 AP',
        )
        for name in ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
    },
}


def test_a_healthy_detector_fires_nothing():
    assert verdicts() == {}


def test_every_rule_is_tested():
    assert set(FIRES) == {rule.name for rule in RULES}


@pytest.mark.parametrize('name', FIRES)
def test_rule_fires(name):
    changes, words = FIRES[name]
    found = verdicts(**changes)
    assert next(iter(found)) == name, list(found)
    verdict = found[name]
    told = f'{verdict.evidence} {verdict.cause} {verdict.fix}'
    assert words in told
    assert all(text.endswith('.') for text in (verdict.evidence, verdict.cause, verdict.fix))
    assert (verdict.gain == 0) == (name in ('leakage', 'ignored_objects'))
    assert 0 <= verdict.gain <= evidence(**changes).headroom


@pytest.mark.parametrize('name', FIRES)
def test_rule_needs_no_other_evidence_than_its_own(name):
    """Nothing known at all is no fault, and no crash."""
    bare = evidence(
        splits={'val': split(ap=None, losses={}, proposals={}, proposals_50={}, stages={}, size_ap={}, tide={})},
        trials={}, gradients={},
    )  # fmt: skip
    rule = next(each for each in RULES if each.name == name)
    assert rule.find(bare, rule.limits) is None


@pytest.mark.parametrize('name', ['channels', 'transposed', 'labels_up', 'pixels_raw', 'double', 'half'])
def test_a_trial_must_help_clearly(name):
    assert verdicts(trials=trial(name, loss=0.75)) == {}


def test_ap_of_a_trial_is_the_gain():
    (verdict,) = verdicts(trials=trial('channels', loss=0.1, ap=0.45)).values()
    assert verdict.gain == pytest.approx(0.25)
    assert 'AP at 0.5 goes from 0.200 to 0.450' in verdict.evidence


def test_a_loss_that_falls_without_ap_is_no_help():
    assert verdicts(trials=trial('half', loss=0.1, ap=0.1)) == {}


def test_without_ap_the_fall_of_the_loss_is_the_gain():
    (verdict,) = verdicts(trials=trial('channels', loss=0.1)).values()
    assert verdict.gain == pytest.approx(0.4 * 0.9)


def test_channels_of_one_split_only():
    (verdict,) = verdicts(trials=trial('channels', splits=('val',))).values()
    assert 'exchanged in val' in verdict.cause
    assert 'images of val are loaded' in verdict.fix


def test_normalisation_must_help_everywhere():
    assert verdicts(trials=trial('pixels_raw', splits=('val',))) == {}


def test_normalisation_that_is_far_off_without_a_trial():
    checks = check('pixels')
    far = both(pixels=np.array([[40.0, 40, 40], [1, 1, 1]]))
    assert list(verdicts(checks=checks, splits=far)) == ['normalisation']
    assert verdicts(checks=checks) == {}


def test_labels_of_one_split_only():
    (verdict,) = verdicts(trials=trial('labels_down', splits=('val',))).values()
    assert 'Labels of val' in verdict.cause
    assert 'annotation file of val' in verdict.fix


def test_known_order_of_classes_says_more_than_a_shift():
    assert list(verdicts(trials=trial('labels_up'), problems=[ORDER_WRONG])) == ['class_order']


def test_two_classes_cannot_be_shifted():
    changed = evidence(trials=trial('labels_up'), classes=('cat', 'dog'))
    rule = next(each for each in RULES if each.name == 'labels_shifted')
    assert rule.find(changed, rule.limits) is None


def test_heads_are_judged_on_all_splits():
    only_val = train_and_val({}, {'stages': {'rpn_head': stage(above_half=0.9)}})
    assert verdicts(splits=only_val) == {}


def test_a_wrong_class_name_in_the_checkpoint():
    (verdict,) = verdicts(checks=check('class_names', fix='Write these.')).values()
    assert (verdict.rule, verdict.fix) == ('class_order', 'Write these.')


def test_tiny_objects_without_a_trial():
    found = verdicts(splits=both(object_sizes=np.full(60, 5.0)))
    assert list(found) == ['objects_too_small']
    assert '100 % smaller than 8' in found['objects_too_small'].evidence


def test_more_proposals_are_not_asked_for_where_there_are_enough():
    missing = both(proposals_50={10: 0.5, 1000: 0.5}, stages={})
    assert verdicts(splits=missing) == {}


def test_a_detector_whose_head_mends_boxes_has_learnt():
    assert verdicts(splits=both(ap=0.02)) == {}


def test_a_gap_is_explained_by_its_cause():
    changed = train_and_val({'ap': 0.8}, {'ap': 0.4, 'image_pixels': np.full((20, 2, 3), 3.0)})
    found = verdicts(splits=changed)
    assert found['overfitted'].explained_by == 'domain_gap'


def test_warnings_are_no_faults():
    assert verdicts(problems=[Problem('warning', 'a.json', 'boxes are thin')]) == {}


@pytest.mark.parametrize('name', ['score_thr', 'nms', 'max_per_img', 'overfitted', 'small_objects', 'missed_errors'])
def test_ap_of_few_objects_is_chance(name):
    changes = FIRES[name][0]
    few = {key: replace(each, n_objects=19) for key, each in changes['splits'].items()}
    assert verdicts(splits=few) == {}
    assert name in verdicts(splits={key: replace(each, n_objects=20) for key, each in few.items()})


def test_a_setting_of_an_rpn_alone():
    changes = {'cfg': config(test_cfg={'rpn': {'max_per_img': 5}}), 'splits': both(costs={'nms': 0.1})}
    assert verdicts(**changes)['nms'].fix == 'Set model.test_cfg.rpn.nms.iou_threshold=0.6.'
