import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.graphs.coco_counts import count_coco
from mmdet_ext.graphs.normalize import graph_matrix

# 4 and 9 images of their own, 3 together; the third class never occurs.
COUNTS = np.array([[4, 3, 0], [3, 9, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ('norm', 'inner'),
    [
        ('sqrt', [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]),
        ('cond', [[1, 3 / 4, 0], [3 / 9, 1, 0], [0, 0, 1]]),
        ('none', [[4, 3, 0], [3, 9, 0], [0, 0, 0]]),
        ('row', [[2 / 3, 1 / 3, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]]),
        ('sym', [[2 / 3, 1 / 3, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]]),
    ],
)
def test_norms_by_hand(norm, inner):
    matrix = graph_matrix(COUNTS, norm)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix[:3, :3], inner, rtol=1e-6)
    assert matrix[3].tolist() == matrix[:, 3].tolist() == [0, 0, 0, 1]


def test_row_and_sym_normalise_the_sqrt_matrix():
    counts = np.array([[10, 4, 1], [4, 7, 2], [1, 2, 3]])
    plain = graph_matrix(counts, self_loop=0.5, background='uniform').astype(np.float64)
    degree = np.diag(plain.sum(axis=1))
    row = graph_matrix(counts, 'row', self_loop=0.5, background='uniform')
    np.testing.assert_allclose(row, np.linalg.inv(degree) @ plain, rtol=1e-5)
    np.testing.assert_allclose(row.sum(axis=1), 1, rtol=1e-6)
    half = np.sqrt(np.linalg.inv(degree))
    sym = graph_matrix(counts, 'sym', self_loop=0.5, background='uniform')
    np.testing.assert_allclose(sym, half @ plain @ half, rtol=1e-5)
    np.testing.assert_array_equal(sym, sym.T)


def test_backgrounds():
    assert graph_matrix(COUNTS, background='identity')[3].tolist() == [0, 0, 0, 1]
    assert graph_matrix(COUNTS, background='zero')[3].tolist() == [0, 0, 0, 0]
    uniform = graph_matrix(COUNTS, background='uniform')
    assert uniform[3].tolist() == uniform[:, 3].tolist() == [0.25] * 4
    np.testing.assert_array_equal(uniform[:3, :3], graph_matrix(COUNTS)[:3, :3])


@pytest.mark.parametrize('norm', ['sqrt', 'row', 'sym', 'cond', 'none'])
def test_never_nan(norm):
    matrix = graph_matrix(np.zeros((2, 2), dtype=int), norm, self_loop=0, background='zero')
    assert matrix.tolist() == np.zeros((3, 3)).tolist()


def test_keep_restricts_edges_but_not_self_loops():
    counts = np.full((3, 3), 2)
    matrix = graph_matrix(counts, keep=np.array([True, False, True]))
    assert matrix[:3, :3].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    # An edge that was cut does not weigh in the row sums either.
    row = graph_matrix(counts, 'row', keep=np.array([True, False, True]))
    assert row[:3, :3].tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]


def test_self_loop():
    assert np.diagonal(graph_matrix(COUNTS, self_loop=0.5)).tolist() == [0.5, 0.5, 0.5, 1]
    assert np.diagonal(graph_matrix(COUNTS, 'none', self_loop=2)).tolist() == [8, 18, 0, 1]


def test_min_count_cuts_what_was_seen_too_seldom():
    counts = np.array([[9, 4, 1], [4, 9, 2], [1, 2, 9]])
    whole = graph_matrix(counts)
    cut = graph_matrix(counts, min_count=2)
    assert cut[0, 2] == cut[2, 0] == 0
    assert whole[0, 2] > 0
    cut[0, 2] = cut[2, 0] = whole[0, 2]
    np.testing.assert_array_equal(cut, whole)
    # Also where smoothing would bring the edge back, and before rows are normalised; own counts are no edges.
    assert graph_matrix(counts, min_count=3, smooth=5)[1, 2] == 0
    row = graph_matrix(counts, 'row', min_count=10)
    assert row.tolist() == np.eye(4).tolist()


@pytest.mark.parametrize(
    ('norm', 'inner'),
    [
        ('sqrt', [[1, 4 / np.sqrt(84), 1 / np.sqrt(21)], [4 / np.sqrt(84), 1, 1 / 6], [1 / np.sqrt(21), 1 / 6, 1]]),
        ('cond', [[1, 4 / 7, 1 / 7], [4 / 12, 1, 1 / 12], [1 / 3, 1 / 3, 1]]),
        ('none', [[7, 4, 1], [4, 12, 1], [1, 1, 3]]),
    ],
)
def test_smoothing_by_hand(norm, inner):
    # n_ij + 1; n_i + 1 * 3 classes.
    np.testing.assert_allclose(graph_matrix(COUNTS, norm, smooth=1)[:3, :3], inner, rtol=1e-6)


@pytest.mark.parametrize('smooth', [1e-3, 0.1, 30])
def test_smoothing_of_a_class_that_never_occurs(smooth):
    matrix = graph_matrix(COUNTS, 'cond', smooth=smooth)
    np.testing.assert_allclose(matrix[2, :2], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(matrix[0, 1], (3 + smooth) / (4 + 3 * smooth), rtol=1e-6)


def test_smoothing_is_what_more_images_would_do(write_coco):
    shown = ['ab', 'ab', 'ac', 'b', '']
    more = [one + two for one in 'abc' for two in 'abc' if one < two] + list('abc')
    counts = count_coco(write_coco(dict(enumerate(shown)), 'abc')).counts
    increased = count_coco(write_coco(dict(enumerate(shown + 2 * more)), 'abc')).counts
    for norm in ('sqrt', 'row', 'sym', 'cond', 'none'):
        np.testing.assert_allclose(graph_matrix(counts, norm, smooth=2), graph_matrix(increased, norm), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(smooth=st.floats(1e-3, 1e4), seen=st.integers(0, 50), together=st.integers(0, 50))
def test_smoothed_weights_stay_in_range(smooth, seen, together):
    counts = np.array([[seen + together, together], [together, together]])
    for norm in ('sqrt', 'cond'):
        matrix = graph_matrix(counts, norm, smooth=smooth)
        assert ((matrix >= 0) & (matrix <= 1)).all()
    sqrt = graph_matrix(counts, smooth=smooth)
    np.testing.assert_array_equal(sqrt, sqrt.T)


def test_bad_options():
    with pytest.raises(ValueError, match=r"norm must be one of .*got 'max'"):
        graph_matrix(COUNTS, 'max')
    with pytest.raises(ValueError, match=r"background must be one of .*got 'first'"):
        graph_matrix(COUNTS, background='first')
    for name in ('self_loop', 'min_count', 'smooth'):
        for value in (-1, float('nan'), float('inf')):
            with pytest.raises(ValueError, match=f'{name} must be a finite number of at least 0'):
                graph_matrix(COUNTS, **{name: value})
