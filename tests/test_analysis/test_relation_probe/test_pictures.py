"""Pictures: what is on them."""

import cv2
import numpy as np
import pytest

from mmdet_ext.analysis.relation_probe.partners import ImageView, Listening, Partner
from mmdet_ext.analysis.relation_probe.pictures import draw_kernels, draw_partners, draw_table, save
from mmdet_ext.evaluation.objects import Objects
from tests.test_models.relation_case import build

CLASSES = ('nodule', 'mass')


@pytest.fixture
def view(tmp_path):
    file = tmp_path / 'image.png'
    cv2.imwrite(str(file), np.full((64, 64), 60, np.uint8))
    boxes = np.array([[5, 5, 20, 20], [40, 40, 60, 60], [30, 5, 40, 15]], np.float32)
    partners = (
        Partner(boxes[1], 0.5, 'mass', 'object'),
        Partner(boxes[0], 0.3, 'itself', 'itself'),
        Partner(boxes[2], 0.1, 'background', 'roi'),
        Partner(boxes[2], 0.001, 'background', 'roi'),
    )
    parts = (Partner(boxes[2], 1.0, 'heart', 'part'),)
    listening = [Listening('3 Geometry', partners, 0.8, 0.4), Listening('7 Parts', parts, 0.0, 0.0)]
    return ImageView(str(file), Objects(boxes[:2], [0, 1], [0.9, 0.8]), [listening, listening])


def test_partners(view):
    figure = draw_partners(view, CLASSES, max_detections=1)
    first, second = figure.axes
    assert first.get_title() == '3 Geometry\nnodule 0.90: 80% on objects (even: 40%)'
    assert second.get_title() == '7 Parts\nnodule 0.90'
    assert [text.get_text() for text in first.texts] == ['mass 50%', 'itself 30%', '10%']
    widths = [line.get_linewidth() for line in first.lines]
    assert widths == [pytest.approx(6.0), pytest.approx(0.6 + 5.4 * 0.2)], 'the stronger the wider'
    # The detection and both partners that are not itself; what has next to no weight is not drawn.
    assert len(first.patches) == 3
    assert [text.get_text() for text in second.texts] == ['heart 100%']
    assert len(draw_partners(view, CLASSES).axes) == 4


def test_nothing_to_draw(view):
    view.listening = [[], []]
    assert draw_partners(view, CLASSES) is None
    view.detections, view.listening = Objects([], [], []), []
    assert draw_partners(view, CLASSES) is None
    view.file = 'none.png'
    with pytest.raises(FileNotFoundError, match=r'image none\.png is missing or not readable'):
        draw_partners(view, CLASSES)


def test_many_relations_take_more_rows(view):
    view.listening = [view.listening[0] * 3] * 2
    figure = draw_partners(view, CLASSES)
    titles = [axes.get_title().split('\n')[-1] for axes in figure.axes]
    assert len(titles) == 16
    assert [title[:6] for title in titles] == ['nodule'] * 6 + ['', ''] + ['mass 0'] * 6 + ['', '']


def test_table(tmp_path):
    values = np.array([[0.5, -0.25], [np.nan, 0.0]])
    figure = draw_table(values, ['r', 's'], ['c', 'd'], write='{:+.2f}'.format, spread=0.2, labels=('y', 'x'))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ['+0.50', '−0.25', '+0.00']
    assert axes.images[0].get_clim() == (-0.5, 0.5)
    assert axes.get_ylabel() == 'y'
    small = draw_table(values / 100, ['r', 's'], ['c', 'd'], write=str, spread=0.2)
    assert small.axes[0].images[0].get_clim() == (-0.2, 0.2)
    wide = draw_table(np.zeros((1, 30)), ['r'], list(map(str, range(30))), write=str, spread=1)
    assert not wide.axes[0].texts
    assert draw_table(np.full((1, 2), np.nan), ['r'], ['c', 'd'], write=str, spread=1).axes
    assert save(figure, tmp_path / 'new' / 'table.png').is_file()


@pytest.mark.parametrize(
    ('name', 'layers', 'kernels'), [('spatial', 2, 2), ('spatial_relu', 2, 2), ('spatial_norm', 1, 4)]
)
def test_kernels(name, layers, kernels):
    figure = draw_kernels(build(name))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f'layer {i + 1}, kernel {k + 1}' for i in range(layers) for k in range(kernels)]
    meshes = [axes.collections[0].get_array() for axes in figure.axes]
    assert all(np.isclose(mesh.max(), 1) and mesh.min() >= 0 for mesh in meshes)
    assert all(axes.get_theta_direction() == -1 for axes in figure.axes)
