"""Evidence from records: every field is what the analyses say, and nothing breaks where nothing is known."""

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis import gather
from mmdet_ext.analysis.diagnosis.gather import split_evidence
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record, stage

CLASSES = ('a', 'b')
TEST_CFG = {'rcnn': {'score_thr': 0.05, 'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100}}
TRUTH = [[0, 0, 10, 10], [20, 20, 60, 60]]


def found(records, classes=CLASSES, test_cfg=TEST_CFG):
    return split_evidence('val', lambda: iter(records), classes, test_cfg)


def whole(index=0, labels=(0, 1), **fields):
    """Both objects are found, with these names."""
    detections = objects(TRUTH, list(labels), [0.9, 0.8])
    values = {
        'truth': objects(TRUTH, [0, 1]), 'detections': detections, 'raw': detections, 'ori_shape': (100, 100),
        'input_shape': (200, 200), 'losses': {'loss_cls': 1.0 + index, 'loss_bbox': 2.0},
        'pixels': np.full((2, 3), float(index)), 'proposals': objects(TRUTH, [0, 0], [0.9, 0.8]),
        'stages': {'rpn_head': stage([(1, 1), (3, 1), (2, 0)], [2, 0], [0.7, 0.5], overlaps=np.array([0.6, 0.8]))},
    }  # fmt: skip
    return record(index, **(values | fields))


def test_figures():
    each = found([whole(0), whole(1), faulty()])
    assert (each.n_images, each.n_objects, each.faults) == (2, 4, [('9.png', 'cannot be read')])
    assert each.ap == each.ap_50 == pytest.approx(1.0)
    assert each.class_ap == {'a': pytest.approx(1.0), 'b': pytest.approx(1.0)}
    assert each.class_objects == {'a': 2, 'b': 2}
    assert each.size_ap == {'small': pytest.approx(1.0), 'medium': pytest.approx(1.0), 'large': None}
    assert each.losses['total']['median'] == each.loss == pytest.approx(3.5)
    assert each.losses['loss_cls']['max'] == 2.0
    assert each.names.tolist() == [[2, 0, 0], [0, 2, 0]]
    assert (each.label_shift, each.renamed) == ((0, 1.0, 1.0), {})
    assert each.proposals_50[10] == each.proposals[1000] == pytest.approx(1.0)
    assert each.costs == {'score_thr': 0.0, 'nms': 0.0, 'max_per_img': 0.0}
    assert each.best_settings == {'score_thr': 0.05, 'nms': 0.5, 'max_per_img': 100}
    assert each.object_sizes.tolist() == [20.0, 80.0] * 2
    assert each.pixels.tolist() == [[0.5] * 3] * 2
    assert each.image_pixels.shape == (2, 2, 3)
    assert each.confident_background == 0.0


def test_heads():
    head = found([whole(0), whole(1)]).stages['rpn_head']
    assert (head.kind, head.positives, head.negatives, head.ignored) == ('priors', 2.0, 4.0, 2.0)
    assert head.above_half == 0.25
    assert (head.best_recall[0.5], head.best_recall[0.6], head.best_recall[0.8]) == (1.0, 0.5, 0.0)
    assert head.without_positive == 0.5
    assert head.without_positive_by_size == {'small': 0.0, 'medium': 1.0, 'large': None}
    assert (head.overlap_before, head.overlap_after) == (pytest.approx(0.6), pytest.approx(0.8))
    assert head.level_positives == [1.0, 0.0]


def test_a_head_that_regresses_nothing():
    head = found([whole(stages={'rpn_head': stage([(1, 0), (1, 0), (0, 0)], [1, 0], [0.7, 0.5])})]).stages['rpn_head']
    assert (head.overlap_before, head.overlap_after) == (None, None)


def test_names_shifted_and_exchanged():
    assert found([whole(labels=(1, 0))], ('a', 'b')).label_shift[0] == 1
    three = [whole(labels=(2, 1), truth=objects(TRUTH, [0, 1]))]
    each = found(three, ('a', 'b', 'c'))
    assert each.label_shift == (0, 0.5, 1.0)
    assert each.renamed['c'] == 'a'


def test_confident_detections_on_nothing():
    extra = objects([*TRUTH, [70, 70, 90, 90], [80, 0, 99, 9]], [0, 1, 0, 0], [0.9, 0.8, 0.9, 0.3])
    assert found([whole(detections=extra)]).confident_background == pytest.approx(1 / 3)
    assert found([whole(detections=extra, ignored=np.array([[65, 65, 95, 95]]))]).confident_background == 0.0


def test_detections_of_classes_that_the_data_lack():
    each = found([whole(detections=objects(TRUTH, [0, 7], [0.9, 0.8]))])
    assert each.class_ap == {'a': pytest.approx(1.0), 'b': pytest.approx(0.0)}


def test_nothing_known():
    each = found([faulty()])
    assert (each.n_images, each.ap, each.losses, each.stages, len(each.faults)) == (0, None, {}, {}, 1)
    bare = found([record(ori_shape=(9, 9), input_shape=(9, 9))], test_cfg=None)
    assert (bare.n_images, bare.n_objects, bare.ap, bare.proposals, bare.loss) == (1, 0, None, {}, None)
    empty = found([record(ori_shape=(9, 9), input_shape=(9, 9), proposals=objects(), stages={'rpn_head': stage()})])
    head = empty.stages['rpn_head']
    assert (empty.proposals, head.without_positive, head.best_iou, head.best_recall[0.5]) == ({}, 0.0, 1.0, 1.0)


def test_confident_detections_in_a_large_ignored_region():
    """A crowd: the detection covers little of it, but lies within."""
    extra = objects([*TRUTH, [70, 70, 74, 74]], [0, 1, 0], [0.9, 0.8, 0.9])
    assert found([whole(detections=extra)]).confident_background == pytest.approx(1 / 3)
    assert found([whole(detections=extra, ignored=np.array([[60, 60, 100, 100]]))]).confident_background == 0.0


def test_records_are_read_few_times_and_raw_boxes_of_few_images(monkeypatch):
    records, passes, raw = [whole(index) for index in range(10)], [], []

    def read():
        passes.append(None)
        return iter(records)

    plain = gather.recall_loss

    def spy(given, *args):
        given = list(given)
        raw.extend(record.index for record in given)
        return plain(given, *args)

    monkeypatch.setattr(gather, 'recall_loss', spy)
    everything = split_evidence('val', read, CLASSES, TEST_CFG)
    assert (len(passes), raw) == (4, list(range(10)))
    raw.clear()
    monkeypatch.setattr(gather, 'MOST_IMAGES', 4)
    some = split_evidence('val', read, CLASSES, TEST_CFG)
    assert raw == [0, 3, 6, 9]
    assert (some.ap, some.n_images, some.proposals_50) == (everything.ap, 10, everything.proposals_50)
