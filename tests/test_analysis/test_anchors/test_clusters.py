"""Clusters of shapes: closed forms, scipy's k-means, and points that are hard on k-means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.evaluation.functional import bbox_overlaps
from scipy.cluster.vq import kmeans2

from mmdet_ext.analysis.anchors import clusters as anchor_clusters
from mmdet_ext.analysis.anchors.clusters import cluster, find_nearest, shape_iou

RNG = np.random.default_rng(0)
GROUPS = np.array([[10.0, 20.0], [60.0, 30.0], [200.0, 220.0]])


def blobs(n=40, spread=0.02):
    return np.concatenate([group * RNG.normal(1, spread, (n, 2)) for group in GROUPS])


def test_shape_iou_is_the_iou_of_boxes_with_one_centre():
    a, b = RNG.uniform(1, 50, (7, 2)), RNG.uniform(1, 50, (5, 2))
    boxes = [np.concatenate([-shape / 2, shape / 2], axis=1) for shape in (a, b)]
    np.testing.assert_allclose(shape_iou(a, b), bbox_overlaps(*boxes, use_legacy_coordinate=False), rtol=1e-6)
    assert shape_iou(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0]])) == pytest.approx(4 / 12)


@pytest.mark.parametrize('distance', ['iou', 'euclid'])
@pytest.mark.parametrize('centre', ['mean', 'median'])
def test_groups_that_lie_apart_are_found(distance, centre):
    points = blobs()
    found = cluster(RNG.permutation(points), 3, distance=distance, centre=centre)
    expected = [getattr(np, centre)(part, axis=0) for part in np.split(points, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_one_cluster_is_the_mean_and_as_many_as_points_are_the_points():
    points = RNG.uniform(1, 9, (6, 2))
    np.testing.assert_allclose(cluster(points, 1), points.mean(0, keepdims=True))
    np.testing.assert_allclose(cluster(points, 6), points[np.argsort(points.prod(1))])


def test_a_median_is_not_moved_by_one_huge_box():
    points = np.array([[9.0, 9.0], [10, 10], [11, 11], [10, 10], [1000, 1000]])
    assert cluster(points, 1, centre='median').tolist() == [[10, 10]]


def test_the_turns_are_those_of_scipy(monkeypatch):
    points = RNG.uniform(1, 100, (300, 2))
    start = points[:5]
    monkeypatch.setattr(anchor_clusters, '_spread', lambda *_: start)
    theirs = kmeans2(points, start, iter=200, minit='matrix')[0]
    ours = cluster(points, 5, distance='euclid', starts=1, iterations=200)
    np.testing.assert_allclose(ours, theirs[np.argsort(theirs.prod(1))], rtol=1e-9)


def test_a_seed_gives_the_same_clusters_and_more_starts_are_no_worse():
    points = RNG.uniform(1, 100, (200, 2))
    np.testing.assert_array_equal(cluster(points, 7, seed=3), cluster(points, 7, seed=3))
    assert (cluster(points, 7, seed=3, starts=1) != cluster(points, 7, seed=4, starts=1)).any()
    costs = [find_nearest(points, cluster(points, 7, starts=starts), 'iou')[1].sum() for starts in (1, 8)]
    assert costs[1] <= costs[0]


def test_an_empty_cluster_takes_the_farthest_point(monkeypatch):
    # Both starts in one group, one of them nearest to nothing.
    points = np.array([[1.0, 1], [1.2, 1], [50, 50]])
    monkeypatch.setattr(anchor_clusters, '_spread', lambda *_: np.array([[1.0, 1], [1e6, 1e6]]))
    found = cluster(points, 2, distance='euclid', starts=1)
    np.testing.assert_allclose(found, [[1.1, 1], [50, 50]])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=30),
    st.integers(1, 6),
    st.sampled_from(['iou', 'euclid']),
    st.sampled_from(['mean', 'median']),
)
def test_no_cluster_is_ever_without_a_size(pairs, num, distance, centre):
    points = np.array(pairs, np.float64)
    if len(np.unique(points, axis=0)) < num:
        with pytest.raises(ValueError, match=f'{num} clusters are wanted of {len(points)} boxes with'):
            cluster(points, num, distance=distance, centre=centre)
        return
    found = cluster(points, num, distance=distance, centre=centre, starts=2)
    assert found.shape == (num, 2)
    assert (found >= points.min(0)).all()
    assert (found <= points.max(0)).all()


def test_many_points_are_compared_in_parts(monkeypatch):
    points, centres = RNG.uniform(1, 9, (25, 2)), RNG.uniform(1, 9, (4, 2))
    whole = find_nearest(points, centres, 'iou')
    monkeypatch.setattr(anchor_clusters, '_CHUNK', 7)
    for ours, theirs in zip(find_nearest(points, centres, 'iou'), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'distance': 'cosine'}, r"distance must be 'iou' or 'euclid', got 'cosine'"),
        ({'centre': 'mode'}, r"centre must be 'mean' or 'median', got 'mode'"),
        ({'starts': 0}, 'clusters and of starts must be at least 1, got 2 and 0'),
    ],
)
def test_faults(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        cluster(np.ones((3, 2)), 2, **options)
