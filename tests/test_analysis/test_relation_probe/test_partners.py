"""Weights of RoIs become weights of objects."""

import numpy as np
import pytest
import torch

from mmdet_ext.analysis.relation_probe.partners import group_weights, own_objects, view_image
from mmdet_ext.analysis.relation_probe.record import MapRecorder, PredictionRecorder
from mmdet_ext.evaluation.objects import Objects
from tests.test_analysis.test_relation_probe import probe_case

CLASSES = ('a', 'b')
BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [40, 40, 50, 50], [60, 60, 70, 70]], np.float32)
FOUND = Objects(BOXES[[0, 2]], [0, 1], [0.9, 0.8])


def test_rois_belong_to_what_they_lie_on():
    assert own_objects(BOXES, FOUND, np.array([0, 2])).tolist() == [0, 0, 1, -1, -1]
    # Each detection is its own RoI, also where it overlaps a better one.
    assert own_objects(BOXES, Objects(BOXES[:2], [0, 1], [1, 1]), np.array([0, 1]))[:2].tolist() == [0, 1]
    assert own_objects(BOXES, Objects([], [], []), np.array([], int)).tolist() == [-1] * 5
    assert own_objects(BOXES[:0], FOUND, np.array([], int)).tolist() == []


def test_weights_of_one_object_are_added_up():
    owners = own_objects(BOXES, FOUND, np.array([0, 2]))
    labels = np.array([0, 0, 1, 2, 1])
    listening = group_weights(np.array([0.1, 0.2, 0.3, 0.4, 0.0]), BOXES, labels, owners, FOUND, 0, CLASSES)
    told = [(partner.name, partner.kind, round(partner.share, 6)) for partner in listening.partners]
    assert told == [('background', 'roi', 0.4), ('itself', 'itself', 0.3), ('b', 'object', 0.3)]
    assert listening.objects == pytest.approx(0.6)
    # Three of the four RoIs that have any weight lie on objects.
    assert listening.uniform == pytest.approx(0.75)
    nothing = group_weights(np.zeros(5), BOXES, labels, owners, FOUND, 0, CLASSES)
    assert (nothing.objects, nothing.uniform) == (0, 0)


@pytest.mark.parametrize('cascade', [False, True])
def test_an_image(cascade):
    detector, batch = probe_case.detector(cascade), probe_case.batch(cascade)
    nodes = probe_case.nodes(cascade)
    with PredictionRecorder(detector.model.roi_head) as predictions, MapRecorder(nodes) as recorder:
        samples = detector.predict(batch)
    for index, sample in enumerate(samples):
        view = view_image(sample, index, predictions.last, recorder.seen, nodes, detector.classes, 0.0, max_partners=3)
        assert view.file == sample.img_path
        assert len(view.detections) == len(view.listening) > 0
        names = [listening.relation.split()[0] for listening in view.listening[0]]
        assert names == ['2', '3', '7', '8.1']
        for listening in view.listening[0]:
            shares = [partner.share for partner in listening.partners]
            assert shares == sorted(shares, reverse=True)
            assert 0 < len(shares) <= 3
            assert sum(shares) <= 1 + 1e-5
        parts = view.listening[0][2].partners
        assert {partner.kind for partner in parts} == {'part'}
        assert {partner.name for partner in parts} <= {'left lung', 'right lung'}
        assert set(view.counts) == {'5 ObjectCountRelation'}
        assert set(view.speaks) == {'0 CategoryGraphRelation'}
        assert view.speaks['0 CategoryGraphRelation'].sum() == pytest.approx(1)
    assert torch.is_grad_enabled()


def test_the_parts_of_an_image_are_in_its_own_pixels():
    detector, batch = probe_case.detector(), probe_case.batch()
    nodes = [probe_case.node('7')]
    with PredictionRecorder(detector.model.roi_head) as predictions, MapRecorder(nodes) as recorder:
        (sample, *_) = detector.predict(batch)
    plain = view_image(sample, 0, predictions.last, recorder.seen, nodes, detector.classes, 0.0, max_partners=9)
    sample = sample.clone()
    sample.set_metainfo({'scale_factor': (2.0, 4.0)})
    halved = view_image(sample, 0, predictions.last, recorder.seen, nodes, detector.classes, 0.0, max_partners=9)
    for before, after in zip(plain.listening[0][0].partners, halved.listening[0][0].partners, strict=True):
        np.testing.assert_allclose(after.box, before.box / [2, 4, 2, 4])
    assert len(plain.listening[0][0].partners) == 4


def test_no_roi_at_all():
    detector, batch = probe_case.detector(), probe_case.batch()
    proposals = [batch.proposals[0][:0], *batch.proposals[1:]]
    with PredictionRecorder(detector.model.roi_head) as predictions, MapRecorder(probe_case.nodes()) as recorder:
        samples = detector.predict(type(batch)(batch.maps, proposals, batch.samples))
    view = view_image(samples[0], 0, predictions.last, recorder.seen, probe_case.nodes(), detector.classes, 0.0)
    assert len(view.detections) == 0
    assert view.listening == []
