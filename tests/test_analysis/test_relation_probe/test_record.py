"""Recording changes nothing, and knows which RoI became which detection."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet_ext.analysis.relation_probe.record import (
    MapRecorder,
    PredictionRecorder,
    RecordedRelation,
    match_detections,
    pairwise_weights,
)
from tests.test_analysis.test_relation_probe import probe_case


@pytest.mark.parametrize('cascade', [False, True])
def test_recording_changes_no_detection(cascade):
    detector, batch = probe_case.detector(cascade), probe_case.batch(cascade)
    plain = [sample.pred_instances.clone() for sample in detector.predict(batch)]
    roi_head = detector.model.roi_head
    with PredictionRecorder(roi_head) as predictions, MapRecorder(probe_case.nodes(cascade)) as recorder:
        seen = [sample.pred_instances for sample in detector.predict(batch)]
    for before, after in zip(plain, seen, strict=True):
        assert torch.equal(before.bboxes, after.bboxes)
        assert torch.equal(before.scores, after.scores)
    assert len(plain[0]) > 0
    leaves = {node.name for node in probe_case.nodes(cascade) if not node.members}
    assert set(recorder.seen) == leaves
    assert not any(hasattr(head, '_forward_hooks') and head._forward_hooks for head in roi_head.modules())
    head = roi_head.bbox_head[-1] if cascade else roi_head.bbox_head
    assert 'predict_by_feat' not in vars(head)
    assert predictions.last is not None
    recorder.clear()
    assert not recorder.seen


@pytest.mark.parametrize('cascade', [False, True])
def test_a_detection_knows_its_roi(cascade):
    detector, batch = probe_case.detector(cascade), probe_case.batch(cascade)
    with PredictionRecorder(detector.model.roi_head) as predictions:
        samples = detector.predict(batch)
    for sample, scores, boxes in zip(samples, predictions.last.scores, predictions.last.boxes, strict=True):
        found = sample.pred_instances
        assert torch.equal(scores[found.roi_index, found.labels], found.scores)
        best = scores[found.roi_index, :-1].argmax(-1) == found.labels
        assert best.any()
        torch.testing.assert_close(boxes[found.roi_index][best], found.bboxes[best], atol=1e-3, rtol=0)


def test_of_equal_boxes_the_score_decides():
    boxes = torch.tensor([[[0.0, 0, 9, 9]], [[0.0, 0, 9, 9]], [[5.0, 5, 9, 9]]])
    scores = torch.tensor([[0.2, 0.1], [0.6, 0.3], [0.5, 0.4]])
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 9], [5, 5, 9, 9]]),
        scores=torch.tensor([0.6, 0.2, 0.1]),
        labels=torch.zeros(3, dtype=torch.long),
    )
    assert match_detections(found, scores, boxes).tolist() == [1, 0, 2]
    per_class = torch.stack([boxes[:, 0], boxes[:, 0].flip(0)], dim=1)
    found.labels = torch.ones(3, dtype=torch.long)
    assert match_detections(found[2:], scores, per_class).tolist() == [0]
    assert match_detections(found[:0], scores, boxes).tolist() == []


def test_no_roi_in_an_image():
    detector, batch = probe_case.detector(), probe_case.batch()
    with PredictionRecorder(detector.model.roi_head) as predictions:
        for numbers in ((0, 5, 5), (0, 0, 0)):
            predictions.last = None
            proposals = [each[:number] for each, number in zip(batch.proposals, numbers, strict=True)]
            results = detector.model.roi_head.predict(batch.maps, proposals, batch.samples, rescale=True)
            assert len(results[0]) == 0
            assert (predictions.last is None) == (not any(numbers))


def test_weights_between_rois():
    weights = torch.rand(2, 3, 4, 2).softmax(-1)
    index = torch.tensor([[3, 1], [0, 2]])
    spread = pairwise_weights(RecordedRelation(None, {'attention': weights, 'key_index': index}))
    assert spread.shape == (2, 4, 4)
    mean = weights.mean(1)
    assert torch.equal(spread[0][:, 3], mean[0][:, 0])
    assert torch.equal(spread[1][:, 2], mean[1][:, 1])
    assert torch.equal(spread[0][:, 0], torch.zeros(4))
    per_kernel = torch.rand(2, 8, 4, 4)
    assert torch.equal(pairwise_weights(RecordedRelation(None, {'weights_0': per_kernel})), per_kernel.mean(1))
    assert pairwise_weights(RecordedRelation(None, {'attention': weights})) is None
