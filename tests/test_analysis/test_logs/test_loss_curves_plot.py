"""The picture of training logs."""

import math

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmdet_ext.analysis.logs.loss_curves_plot import plot_loss_curves
from mmdet_ext.analysis.logs.training_log import read_training_log
from tests.test_analysis.test_logs.log_case import train_line, write_epochs, write_log


@pytest.fixture
def figures(monkeypatch):
    written = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, out, **_: written.append(self))
    return written


@pytest.fixture
def logs(tmp_path):
    write_epochs(tmp_path / 'a', {'loss': [4.0, 2.0], 'iou': [0.1, 0.9]}, per_epoch=4, logged=2)
    write_epochs(tmp_path / 'b', {'loss': [400.0, 2.0]}, per_epoch=4, logged=2)
    return [read_training_log(tmp_path / name) for name in 'ab']


def test_values_and_running_means_of_both_runs(figures, logs, tmp_path):
    plot_loss_curves(logs, ['loss', 'iou', 'lr', 'coco/bbox_mAP', 'coco/bbox_mAP_l'], [4, 2], tmp_path / 'x.png')
    loss, iou, lr, ap, large = (axes for axes in figures[0].axes if axes.axison)
    thin, thick, _, other = loss.lines
    assert thin.get_xydata().tolist() == [[2, 4], [4, 4], [6, 2], [8, 2]]
    assert thick.get_ydata().tolist() == [4, 4, 3, 2]
    # The second run's window is its own.
    assert other.get_ydata().tolist() == [400, 400, 2, 2]
    assert thin.get_color() == thick.get_color() != other.get_color()
    # Losses over two orders of magnitude; nothing else has a logarithm.
    assert [axes.get_yscale() for axes in (loss, iou, lr, ap)] == ['log', 'linear', 'linear', 'linear']
    # A run without a scalar has no line there; schedules and metrics are no noise.
    assert [len(line.get_xdata()) for line in iou.lines] == [4, 4, 0, 0]
    assert [len(axes.lines) for axes in (lr, ap)] == [2, 2]
    assert [text.get_text() for text in large.texts] == ['no finite value']
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ['a', 'b']
    assert len(figures[0].axes) == 8


def test_writes_a_picture_of_anything(tmp_path):
    lines = [train_line(i, loss=math.nan, loss_a=-1.0, loss_b=math.inf) for i in range(1, 20)]
    write_log(tmp_path / 'w', lines)
    log = read_training_log(tmp_path / 'w')
    out = plot_loss_curves([log], ['loss', 'loss_a', 'loss_b'], [5], tmp_path / 'new' / 'x.png')
    assert np.ptp(cv2.imread(str(out))) > 100
