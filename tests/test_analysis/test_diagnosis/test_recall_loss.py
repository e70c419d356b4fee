"""What threshold, NMS and limit cost."""

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict

from mmdet_ext.analysis.diagnosis.recall_loss import DetectionCut, cut_detections, read_cut, recall_loss
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record

A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]
NMS = dict(type='nms', iou_threshold=0.5)


def test_the_score_threshold_costs():
    one = record(truth=objects([A, B]), raw=objects([A, B], scores=[0.9, 0.02]))
    found = recall_loss([one, faulty()], 1, DetectionCut(0.05, NMS, 100))
    assert found.recall == {'any_class': 1, 'raw': 1, 'score_thr': 0.5, 'nms': 0.5, 'max_per_img': 0.5}
    assert (found.ap, found.ap_50) == pytest.approx((51 / 101, 51 / 101))
    other = found.others['score_thr']
    assert (other.value, other.best, other.recall_gain) == (0.05, 0.001, 0.5)
    assert found.gains == pytest.approx({'score_thr': 50 / 101, 'nms': 0, 'max_per_img': 0})
    assert found.others['nms'].best == 0.5


def test_nms_costs_crowded_objects():
    """Two objects that overlap by 2/3: an NMS of 0.5 leaves one box, one of 0.7 both."""
    near = [0, 0, 10, 12], [0, 2, 10, 14]
    one = record(truth=objects(near), raw=objects(near, scores=[0.9, 0.8]))
    found = recall_loss([one], 1, DetectionCut(0.05, NMS, 100))
    assert (found.recall['score_thr'], found.recall['nms']) == (1, 0.5)
    # 10 / 14 is above 0.7, so the first that is high enough is 0.8.
    assert (found.others['nms'].value, found.others['nms'].best) == (0.5, 0.8)
    assert found.gains['nms'] == pytest.approx(50 / 101)


def test_nms_that_leaves_duplicates_costs():
    doubled = [A, [0, 0, 10, 9], B]
    one = record(truth=objects([A, B]), raw=objects(doubled, scores=[0.9, 0.8, 0.7]))
    found = recall_loss([one], 1, DetectionCut(0.05, NMS | dict(iou_threshold=0.95), 100))
    assert found.gains['nms'] == pytest.approx(1 - (51 + 50 * 2 / 3) / 101)
    assert found.others['nms'].best == 0.3  # the first of equals


def test_the_limit_costs():
    one = record(truth=objects([A, B, C]), raw=objects([A, B, C], scores=[0.9, 0.8, 0.7]))
    found = recall_loss([one], 1, DetectionCut(0.05, NMS, 1))
    assert (found.recall['nms'], found.recall['max_per_img']) == (1, pytest.approx(1 / 3))
    assert (found.others['max_per_img'].best, found.gains['max_per_img']) == (100, pytest.approx(1 - 34 / 101))


def test_the_wrong_class_is_lost_before():
    one = record(truth=objects([A], [0]), raw=objects([A], [1]))
    found = recall_loss([one], 2, DetectionCut(0.05, NMS, 100))
    assert list(found.recall.values()) == [1, 0, 0, 0, 0]


def test_settings_that_the_config_lacks():
    one = record(truth=objects([A]), raw=objects([A]))
    assert set(recall_loss([one], 1, DetectionCut()).others) == {'score_thr'}
    assert recall_loss([one], 1, DetectionCut(0.0)).others['score_thr'].best == 0
    soft = dict(type='soft_nms', iou_threshold=0.5)
    assert recall_loss([one], 1, DetectionCut(0.05, soft, 100)).ap == pytest.approx(1)


def test_nothing():
    for records in ([], [record()], [record(raw=objects([A]))]):
        found = recall_loss(records, 2, DetectionCut(0.05, NMS, 100))
        assert np.isnan([found.ap, found.ap_50, *found.recall.values()]).all()
        assert set(found.gains.values()) == {0}
    found = recall_loss([record(truth=objects([A]))], 2, DetectionCut(0.05, NMS, 100))
    assert (found.ap, set(found.recall.values()), set(found.gains.values())) == (0, {0}, {0})


def test_cut_equals_that_of_mmdet():
    """As the heads do: threshold, `batched_nms`, limit."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 30, (80, 2))
    raw = objects(np.concatenate([low, low + rng.uniform(5, 20, (80, 2))], 1), rng.integers(0, 3, 80), rng.random(80))
    for nms in (NMS, NMS | dict(class_agnostic=True)):
        found = cut_detections(raw, DetectionCut(0.1, nms, 20))
        keep = raw.scores > 0.1
        boxes, scores, labels = (torch.from_numpy(array[keep]) for array in (raw.boxes, raw.scores, raw.labels))
        dets, order = batched_nms(boxes, scores, labels, nms)
        np.testing.assert_allclose(found.boxes, dets[:20, :4])
        np.testing.assert_allclose(found.scores, dets[:20, 4])
        assert found.labels.tolist() == labels[order[:20]].tolist()
    assert len(cut_detections(raw, DetectionCut(0.0))) == 80
    assert len(cut_detections(raw, DetectionCut(0.0, None, 0))) == 0
    assert cut_detections(raw, DetectionCut(0.0)).scores.tolist() == sorted(raw.scores.tolist(), reverse=True)
    assert len(cut_detections(objects([[0, 0, np.nan, 1]]), DetectionCut(0.0, NMS))) == 0


@pytest.mark.parametrize(
    ('test_cfg', 'expected'),
    [
        (dict(score_thr=0.02, nms=NMS, max_per_img=200, nms_pre=1000), DetectionCut(0.02, NMS, 200)),
        (dict(rpn=dict(max_per_img=1000), rcnn=dict(score_thr=0.05, nms=NMS, max_per_img=100)),
         DetectionCut(0.05, NMS, 100)),
        (dict(rcnn=[dict(score_thr=0.1), dict(score_thr=0.3, max_per_img=-1)]), DetectionCut(0.3)),
        (dict(rpn=dict(nms=NMS, max_per_img=1000)), DetectionCut(0.0, NMS, 1000)),
        ({}, DetectionCut(0.0)),
        (None, DetectionCut(0.0)),
    ],
)  # fmt: skip
def test_cut_of_a_config(test_cfg, expected):
    assert read_cut(None if test_cfg is None else ConfigDict(test_cfg)) == expected
