"""Figures without a window."""

import cv2
import numpy as np
from matplotlib import pyplot as plt

from mmdet_ext.analysis.figures import new_figure, plain_axes, save_figure


def test_a_figure_is_written_and_not_kept(tmp_path):
    figure = new_figure(3, 2)
    axes = figure.subplots()
    plain_axes(axes, 'title', grid='x')
    axes.plot([0, 1], [0, 1])
    out = save_figure(figure, tmp_path / 'new' / 'a.png')
    picture = cv2.imread(str(out))
    assert picture.shape == (220, 330, 3)
    assert np.ptp(picture) > 100
    assert plt.get_fignums() == []
    assert axes.get_title() == 'title'
    assert not axes.spines['top'].get_visible()
    assert axes.spines['left'].get_visible()
    assert all(line.get_visible() for line in axes.get_xgridlines())
    assert not any(line.get_visible() for line in axes.get_ygridlines())
