"""What was learnt about classes: gradients against finite differences, attention against a loop."""

import numpy as np
import pytest
import torch

from mmdet_ext.analysis.relation_probe.effects import ClassEffects, node_gradients
from mmdet_ext.analysis.relation_probe.nodes import replaced
from mmdet_ext.analysis.relation_probe.record import MapRecorder, PredictionRecorder, pairwise_weights
from tests.test_analysis.test_relation_probe import probe_case


def roi_classes(detector, batch):
    with PredictionRecorder(detector.model.roi_head) as predictions:
        detector.predict(batch)
    return predictions.last.classes()


@pytest.mark.parametrize(('place', 'cascade'), [('0', False), ('1', False), ('8.0', False), ('0', True)])
def test_gradients_are_differences(place, cascade):
    detector, batch = probe_case.detector(cascade), probe_case.batch(cascade)
    node = probe_case.node(place, cascade)
    classes = torch.cat(roi_classes(detector, batch))
    table = node_gradients(detector, batch, node, classes)
    adjacency = node.relation.adjacency
    matrix = torch.eye(11) if adjacency is None else adjacency
    label = int(classes[classes < 10].mode()[0])
    step, sums = 0.05, []
    for node_class in (label, 10):
        values = []
        for sign in (1, -1):
            gain = torch.ones(11)
            gain[node_class] += sign * step
            with torch.no_grad(), replaced(node.relation, 'adjacency', matrix * gain):
                values.append(detector.probabilities(batch)[classes == label, label].sum().item())
        sums.append((values[0] - values[1]) / (2 * step))
    assert np.abs(table).max() > 0
    np.testing.assert_allclose(table[label, [label, 10]], sums, rtol=0.05, atol=2e-5)
    assert (table[[c for c in range(10) if c not in classes]] == 0).all()
    assert node.relation.adjacency is adjacency
    assert all(value.grad is None for value in detector.model.parameters())


def test_tables():
    detector, batch = probe_case.detector(), probe_case.batch()
    effects = ClassEffects(detector, probe_case.nodes())
    effects.look(batch)
    effects.look(batch)
    tables = {(table.relation.split()[0], table.kind): table for table in effects.tables()}
    assert list(tables) == [
        ('0', 'effect'),
        ('1', 'effect'),
        ('2', 'attention'),
        ('3', 'attention'),
        ('8.0', 'effect'),
        ('8.1', 'attention'),
    ]
    classes = roi_classes(detector, batch)
    with MapRecorder(probe_case.nodes()) as recorder:
        detector.predict(batch)
    table = tables['3', 'attention']
    rois = np.bincount(torch.cat(classes), minlength=11)[:10]
    assert (table.rois == 2 * rois).all()
    weights = pairwise_weights(recorder.seen['3 GeometryAttentionRelation'])
    given, even = np.zeros((10, 11)), np.zeros((10, 11))
    for image, labels in enumerate(classes):
        for row, own in enumerate(labels):
            for column, other in enumerate(labels):
                if own < 10:
                    given[own, other] += weights[image, row, column]
                    even[own, other] += 1 / len(labels)
    expected = np.where(even > 0, given / np.where(even > 0, even, 1), np.nan)
    np.testing.assert_allclose(table.values, expected, rtol=1e-4)
    effect = tables['0', 'effect']
    absent = rois == 0
    assert np.isnan(effect.values[absent]).all()
    assert np.isfinite(effect.values[~absent]).all()


def test_images_without_rois_add_nothing():
    detector, batch = probe_case.detector(), probe_case.batch()
    effects = ClassEffects(detector, probe_case.nodes())
    effects.look(type(batch)(batch.maps, [each[:0] for each in batch.proposals], batch.samples))
    assert all(np.isnan(table.values).all() for table in effects.tables())
    assert {table.kind for table in effects.tables()} == {'effect'}
