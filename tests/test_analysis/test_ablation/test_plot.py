"""The picture shows every value, and says where there is none."""

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmdet_ext.analysis.ablation.plot import plot_ablation

SPREAD = {'mean': 0.5, 'std': 0.1, 'values': {0: 0.4, 1: 0.6}}
RESULT = {
    'metrics': ['mAP', 'mAP_50'],
    'reference': 'plain',
    'arms': {
        'plain': {'metrics': {'mAP': SPREAD, 'mAP_50': SPREAD}},
        'a=1,b=2': {'metrics': {'mAP': {'mean': 0.7, 'std': None, 'values': {1: 0.7}}, 'mAP_50': None}},
    },
}


@pytest.fixture
def figures(monkeypatch):
    written = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, out, **_: written.append(self))
    return written


def test_points_means_and_reference(figures, tmp_path):
    plot_ablation(RESULT, tmp_path / 'a.png')
    left, right = figures[0].axes
    assert [left.get_title(), right.get_title()] == ['mAP', 'mAP_50']
    assert [label.get_text() for label in left.get_yticklabels()] == ['plain', 'a=1,\nb=2']
    points = [line.get_xydata().tolist() for line in left.lines if line.get_marker() == 'o']
    assert points == [[[0.4, 0], [0.6, 0]], [[0.7, 1]]]
    means = [bars.lines[0].get_xydata().tolist() for bars in left.containers]
    assert means == [[[0.5, 0]], [[0.7, 1]]]
    ends = [segment[:, 0].tolist() for segment in left.containers[0].lines[2][0].get_segments()]
    assert ends == [pytest.approx([0.4, 0.6])]
    assert [line.get_xdata() for line in left.lines if line.get_linestyle() == '--'] == [[0.5, 0.5]]
    assert [text.get_text() for text in left.texts] == []
    assert [text.get_text() for text in right.texts] == ['no value']
    # The first arm is on top.
    assert left.get_ylim() == (1.5, -0.5)


def test_writes_a_picture_even_without_results(tmp_path):
    empty = {'metrics': [], 'reference': 'plain', 'arms': {'plain': {'metrics': {}}}}
    for result, out in ((RESULT, 'new/a.png'), (empty, 'new/b.png')):
        assert plot_ablation(result, tmp_path / out) == tmp_path / out
        picture = cv2.imread(str(tmp_path / out))
        assert np.ptp(picture) > 100
