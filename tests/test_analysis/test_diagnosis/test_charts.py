"""Charts of the report: what is drawn, and nothing where nothing is known."""

import pytest

from mmdet_ext.analysis.diagnosis import charts
from tests.test_analysis.test_diagnosis.evidence_case import both, evidence, split, stage

EMPTY = {'val': split(stages={}, proposals={}, proposals_50={}, tide={}, losses={})}


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.axison]


def test_histograms_of_every_head_and_split():
    figure = charts.draw_histograms(both())
    assert titles(figure) == ['rpn_head, train', 'roi_head, train', 'rpn_head, val', 'roi_head, val']
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ['positive', 'negative']


def test_recall_of_both_splits():
    figure = charts.draw_recall(both())
    assert len(figure.axes) == 2
    assert list(figure.axes[0].lines[0].get_xdata()) == [10, 1000]
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.8, 0.97]


def test_coverage_of_heads_with_priors_only():
    figure = charts.draw_coverage(both())
    assert titles(figure) == ['best possible recall, rpn_head', 'positives per level, rpn_head']
    assert len(figure.axes[1].patches) == 4, 'two levels of two splits'
    assert charts.draw_coverage(both(stages={'roi_head': stage(kind='rois')})) is None


def test_errors_and_gradients():
    figure = charts.draw_errors(both())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:2] == ['classification', 'localisation']
    figure = charts.draw_gradients(evidence().gradients)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.0, 0.5]


def test_losses():
    figure = charts.draw_losses(both())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ['loss_cls', 'total']
    zero = dict.fromkeys(('mean', 'median', 'q25', 'q75', 'q90', 'max'), 0.0)
    assert charts.draw_losses({'val': split(losses={'loss_cls': zero})}).axes[0].get_xscale() == 'linear'


@pytest.mark.parametrize('draw', ['draw_histograms', 'draw_recall', 'draw_coverage', 'draw_errors', 'draw_losses'])
def test_nothing_known(draw):
    assert getattr(charts, draw)(EMPTY) is None


def test_no_gradients():
    assert charts.draw_gradients({}) is None
