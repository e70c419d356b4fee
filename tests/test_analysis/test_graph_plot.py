import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmdet_ext.analysis import graph_plot
from mmdet_ext.analysis.graph_plot import plot_category_graph
from mmdet_ext.graphs import CategoryGraph


def make(n_classes, **changes):
    rng = np.random.default_rng(n_classes)
    half = rng.random((n_classes + 1, n_classes + 1))
    fields = {
        'classes': tuple(f'class {i}' for i in range(n_classes)),
        'matrix': (half + half.T) / 2,
        'counts': rng.integers(1, 99, (n_classes, n_classes)),
        'n_images': 7,
    }
    return CategoryGraph(**{**fields, **changes})


@pytest.fixture
def figures(monkeypatch):
    """Figures that were written; drawing them is left to one test."""
    written = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, out, **_: written.append(self))
    return written


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_writes_a_picture(tmp_path):
    out = plot_category_graph(make(3), str(tmp_path / 'new' / 'graph.png'), title='Blood')
    assert out == tmp_path / 'new' / 'graph.png'
    picture = cv2.imread(str(out))
    assert picture.shape[1] > picture.shape[0] > 500
    # Heat map and nodes are coloured: no grey picture, no empty half.
    colour = np.ptp(picture.astype(int), axis=2) > 60
    middle = picture.shape[1] * 6 // 10
    assert colour[:, :middle].mean() > 0.05
    assert colour[:, middle:].mean() > 0.005


@pytest.mark.parametrize('n_classes', [1, 3, 13, 24])
def test_names_values_and_nodes(figures, tmp_path, n_classes):
    graph = make(n_classes)
    plot_category_graph(graph, tmp_path / 'g.png')
    left, right = figures[0].axes[:2]
    names = [*graph.classes, 'background']
    assert [label.get_text() for label in left.get_xticklabels()] == names
    assert [label.get_text() for label in left.get_yticklabels()] == names
    values = [f'{value:.2f}' for value in graph.matrix.ravel()] if n_classes <= 20 else []
    assert texts(left) == values
    assert texts(right) == list(graph.classes)
    assert figures[0].get_suptitle() == f"{n_classes} classes in 7 images, level 'image', norm 'sqrt'"


def test_names_do_not_overlap_the_circle(figures, tmp_path):
    plot_category_graph(make(40), tmp_path / 'g.png')
    for text in figures[0].axes[1].texts:
        x, y = text.get_position()
        assert np.hypot(x, y) > 1.05
        # Never upside down.
        assert -90 <= (text.get_rotation() + 180) % 360 - 180 <= 90


def test_edge_width_follows_the_weight(figures, tmp_path):
    matrix = np.eye(5)
    # Directed: the stronger direction counts.
    matrix[0, 1], matrix[1, 0], matrix[2, 3] = 0.2, 0.8, 0.4
    plot_category_graph(make(4, matrix=matrix, directed=True), tmp_path / 'g.png')
    right = figures[0].axes[1]
    lines = right.collections[0] if len(right.collections[0].get_segments()) == 2 else right.collections[1]
    thin, thick = lines.get_linewidths()
    assert thick > 1.5 * thin
    np.testing.assert_allclose(lines.get_segments()[1], [[0, 1], [1, 0]], atol=1e-6)
    assert right.get_title() == 'the 2 strongest of 6 possible relations'


def test_number_of_edges_is_limited(figures, tmp_path):
    plot_category_graph(make(12), tmp_path / 'g.png')
    assert figures[0].axes[1].get_title() == f'the {12 * graph_plot.EDGES_PER_CLASS} strongest of 66 possible relations'


def test_top_keeps_the_commonest_in_their_order(figures, tmp_path):
    graph = make(4, counts=np.diag([5, 1, 9, 7]))
    plot_category_graph(graph, tmp_path / 'g.png', top=2)
    assert texts(figures[0].axes[1]) == ['class 2', 'class 3']
    with pytest.raises(ValueError, match='top must be at least 1, got 0'):
        plot_category_graph(graph, tmp_path / 'g.png', top=0)


def test_identity_and_counts(figures, tmp_path):
    plot_category_graph(CategoryGraph.identity(['x', 'y']), tmp_path / 'g.png')
    assert figures[0].get_suptitle() == "category graph of kind 'identity', 2 classes"
    assert figures[0].axes[1].get_title() == 'no relations'
    assert texts(figures[0].axes[0]) == ['1.00'] * 3
    plot_category_graph(make(2, matrix=np.full((3, 3), 250.0)), tmp_path / 'g.png')
    assert texts(figures[1].axes[0]) == ['250'] * 9
