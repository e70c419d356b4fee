"""Faults in the config of a healthy detector: each must be named first, with the line to change."""

import pytest

from tests.test_analysis.test_diagnosis.planted_case import SIZE, Plant
from tests.test_analysis.test_diagnosis.test_self_checks import CHECKS

# One process trains the detectors. Each fault is planted once in `make test`; its variants are slow ones.
pytestmark = pytest.mark.xdist_group('planted')


@pytest.fixture
def two(tmp_path):
    return Plant('two', tmp_path)


@pytest.fixture
def one(tmp_path):
    return Plant('one', tmp_path)


@pytest.mark.parametrize('kind', ['two', 'one'])
def test_a_healthy_detector_gets_a_clean_verdict(kind, tmp_path):
    summary = Plant(kind, tmp_path).diagnose(pictures=kind == 'one', worst=1)
    assert summary['AP'] >= 0.6
    assert summary['verdicts'] == []
    assert summary['healthy']
    assert {name: check['passed'] for name, check in summary['checks'].items()} == dict.fromkeys(CHECKS, True)
    if kind == 'one':
        assert 'Nothing is wrong that this diagnosis looks for' in (tmp_path / 'out' / 'report.html').read_text()


@pytest.mark.parametrize('kind', ['two', pytest.param('one', marks=pytest.mark.slow)])
def test_channels_swapped(kind, tmp_path):
    plant = Plant(kind, tmp_path)
    plant.cfg.model.data_preprocessor.bgr_to_rgb = False
    verdict = plant.named()
    assert verdict['rule'] == 'channels_swapped'
    assert 'bgr_to_rgb=True' in verdict['fix']


@pytest.mark.slow
def test_channels_swapped_in_validation_only(two):
    two.pictures('val', lambda image: image[..., ::-1])
    verdict = two.named()
    assert verdict['rule'] == 'channels_swapped'
    assert 'in val' in verdict['cause']
    assert 'images of val' in verdict['fix']


def test_other_normalisation(one):
    one.cfg.model.data_preprocessor.update(mean=[0.4, 0.4, 0.4], std=[0.2, 0.2, 0.2])
    verdict = one.named()
    assert verdict['rule'] == 'normalisation'
    assert 'model.data_preprocessor' in verdict['fix']


@pytest.mark.parametrize(('size', 'trial'), [
    (SIZE * 7 // 16, 'double'), pytest.param(SIZE * 2, 'half', marks=pytest.mark.slow),
])  # fmt: skip
def test_test_images_of_another_size(two, size, trial):
    two.resize('val', scale=(size, size))
    two.resize('test', scale=(size, size))
    verdict = two.named()
    assert verdict['rule'] == 'test_size'
    assert f'an input of {trial} size' in verdict['evidence']


def test_objects_shrunk_by_the_resize(two):
    for split in ('train', 'val', 'test'):
        two.resize(split, scale=(SIZE * 7 // 16, SIZE * 7 // 16))
    verdict = two.named()
    assert verdict['rule'] == 'objects_too_small'
    assert 'scale' in verdict['fix']


@pytest.mark.slow
def test_objects_enlarged_by_the_resize(two):
    for split in ('train', 'val', 'test'):
        two.resize(split, scale=(SIZE * 2, SIZE * 2))
    assert two.named()['rule'] == 'objects_too_large'


def test_images_stretched_at_test_time(two):
    for split in ('val', 'test'):
        two.resize(split, scale=(SIZE * 3 // 2, SIZE * 2 // 3), keep_ratio=False)
    verdict = two.named()
    assert verdict['rule'] == 'images_distorted'
    assert 'wider' in verdict['evidence']


def test_anchors_of_wrong_sizes(two):
    two.cfg.model.rpn_head.anchor_generator.scales = [48]
    verdict = two.named()
    assert verdict['rule'] == 'anchors'
    assert 'model.rpn_head.anchor_generator' in verdict['fix']


@pytest.mark.slow
def test_anchors_of_wrong_sizes_in_a_one_stage_detector(one):
    one.cfg.model.bbox_head.anchor_generator.octave_base_scale = 40
    verdict = one.named()
    assert verdict['rule'] == 'anchors'
    assert 'model.bbox_head.anchor_generator' in verdict['fix']


def test_overlap_for_positives_too_high(two):
    two.cfg.model.train_cfg.rpn.assigner.update(pos_iou_thr=0.92, min_pos_iou=0.92, match_low_quality=False)
    verdict = two.named()
    assert verdict['rule'] == 'positives_too_rare'
    assert 'model.train_cfg.rpn.assigner.pos_iou_thr' in verdict['fix']


def test_wrong_num_classes(two):
    head = two.cfg.model.roi_head.bbox_head
    head.num_classes = 6
    for key in ('weight', 'bias'):
        name = f'roi_head.bbox_head.fc_cls.{key}'
        old = two.state[name]
        two.state[name] = old.new_zeros(7, *old.shape[1:]) - (20 if key == 'bias' else 0)
        two.state[name][[0, 1, 2, 3, 6]] = old
        name = f'roi_head.bbox_head.fc_reg.{key}'
        two.state[name] = two.state[name].new_zeros(24, *two.state[name].shape[1:])
    verdict = two.named()
    assert verdict['rule'] == 'num_classes'
    assert 'num_classes=4' in verdict['fix']


def test_coder_with_other_stds_than_in_training(two):
    two.cfg.model.roi_head.bbox_head.bbox_coder.target_stds = [1.0, 1.0, 1.0, 1.0]
    verdict = two.named()
    assert verdict['rule'] == 'regression_makes_worse'
    assert 'model.roi_head.bbox_head.bbox_coder.target_means' in verdict['fix']


def test_score_threshold_eats_recall(two):
    two.cfg.model.test_cfg.rcnn.score_thr = 0.97
    verdict = two.named()
    assert verdict['rule'] == 'score_thr'
    assert 'model.test_cfg.rcnn.score_thr=0.001' in verdict['fix']


def test_too_few_detections(one):
    one.cfg.model.test_cfg.max_per_img = 2
    verdict = one.named()
    assert verdict['rule'] == 'max_per_img'
    assert 'model.test_cfg.max_per_img=100' in verdict['fix']


def test_nms_that_leaves_everything(one):
    one.cfg.model.test_cfg.nms.iou_threshold = 0.95
    verdict = one.named()
    assert verdict['rule'] == 'nms'
    assert 'model.test_cfg.nms.iou_threshold' in verdict['fix']


def test_too_few_proposals(two):
    two.cfg.model.test_cfg.rpn.max_per_img = 2
    verdict = two.named()
    assert verdict['rule'] == 'too_few_proposals'
    assert 'model.test_cfg.rpn.max_per_img' in verdict['fix']


def test_a_term_that_weighs_nothing(one):
    one.cfg.model.bbox_head.loss_bbox.loss_weight = 1e-4
    verdict = one.named()
    assert verdict['rule'] == 'loss_balance'
    assert 'loss_bbox' in verdict['fix']


def test_rate_for_another_batch(two):
    two.cfg.auto_scale_lr.base_batch_size = 256
    assert two.named()['rule'] == 'batch_size'


def test_evaluator_with_other_annotations(two):
    def move(coco):
        for each in coco['annotations']:
            each['bbox'][0] += each['bbox'][2] * 0.4

    file = two.root / 'old.json'
    file.write_text((two.root / 'val.json').read_text())
    (two.root / 'val.json').rename(two.root / 'kept.json')
    file.rename(two.root / 'val.json')
    two.annotations('val', move)
    (two.root / 'val.json').rename(file)
    (two.root / 'kept.json').rename(two.root / 'val.json')
    two.cfg.val_evaluator.ann_file = str(file)
    verdict = two.named()
    assert verdict['rule'] == 'truth_as_predictions'
    assert 'ann_file' in verdict['fix']
