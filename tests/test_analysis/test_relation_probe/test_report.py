"""What the page says, from known figures."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmdet_ext.analysis.relation_probe import report
from mmdet_ext.analysis.relation_probe.effects import ClassTable
from mmdet_ext.analysis.relation_probe.nodes import RelationNode
from mmdet_ext.analysis.relation_probe.pictures import draw_table
from tests.test_analysis.test_relation_probe.test_verdict import PLAIN, give_verdicts, outcome
from tests.test_models.relation_case import build

CLASSES = ('a', 'b')
SUMMARY = {
    'images': 24, 'threshold': 0.01, 'score_threshold': 0.05, 'config': 'c.py', 'checkpoint': 'w.pth', 'seeds': [0, 1],
    'versions': {'torch': '2'}, 'command': '',
}  # fmt: skip


@pytest.fixture
def probe():
    parallel = build('parallel')
    nodes = [
        RelationNode('RelationParallel', parallel, parallel, whole=True),
        *(RelationNode(f'{i} {type(m).__name__}', m, m, whole=False) for i, m in enumerate(parallel.members)),
    ]
    removed = [outcome(node.name, 'removed (mean)', 0.5 - 0.2 * index, 0.1) for index, node in enumerate(nodes)]
    per_class = [{'a': 0.5, 'b': None}, {'a': 0.5, 'b': None}, {'a': 0.25, 'b': 0.1}, {'a': 0.502, 'b': None}]
    zero = outcome(nodes[0].name, 'removed (zero)', 0.1)
    outcomes = [replace(each, per_class=own) for each, own in zip([PLAIN, *removed], per_class, strict=True)]
    outcomes.append(replace(zero, per_class={'a': 0.1, 'b': None}, runs=3, ap_std=0.01))
    return report.Probe(SUMMARY, nodes, outcomes, give_verdicts(outcomes, 0.01, 0.05), [], [], CLASSES)


@pytest.fixture
def tables(monkeypatch):
    """Arguments of the tables drawn."""
    drawn = []

    def record(*args, **kwargs):
        drawn.append((args, kwargs))
        return draw_table(*args, **kwargs)

    monkeypatch.setattr(report, 'draw_table', record)
    return drawn


def test_page(probe, tmp_path):
    page = report.write_probe_report(tmp_path, probe).read_text()
    for words in (
        'With 24 images, AP differences of a few',
        'all together: GeometryAttention, ObjectCount',
        'Expected number of distinct objects of every class in the image, told to each of its RoIs.',
        '(3 seeds)',
        '± 0.010',
        '−0.400',
        '2 of 2',
        'Which classes pay',
    ):
        assert words in page, words
    assert 'hardly finds anything' not in page
    assert 'Whom do detections listen to' not in page


def test_only_differences_per_class_are_drawn(probe, tables, tmp_path):
    path = report._draw_per_class(tmp_path, probe)
    assert cv2.imread(str(path)) is not None
    (values, rows, columns), _ = tables[0]
    assert columns == ['a']
    assert rows == ['0 GeometryAttentionRelation: removed (mean)']
    assert values.tolist() == [[-0.25]]
    same = replace(probe, outcomes=[probe.outcomes[0], probe.outcomes[1]])
    assert report._draw_per_class(tmp_path, same) is None


@pytest.mark.parametrize(
    ('kind', 'shown', 'written'),
    [
        ('effect', [[2.0, -1.0, np.nan]], ['+2.0', '-1.0']),
        ('attention', [[-4.0, -4.0, np.nan]], ['< 0.1', '< 0.1']),
    ],
)
def test_class_tables(tables, tmp_path, kind, shown, written):
    values = np.array([[0.02, -0.01 if kind == 'effect' else 0.0, np.nan], [1.0, 1.0, 1.0]])
    table = ClassTable('0 X', kind, values, np.array([3, 0]))
    assert report._draw_class_table(tmp_path, table, CLASSES).name == f'{kind}_0_X.png'
    (drawn, rows, columns), options = tables[0]
    assert rows == ['a (3)']
    assert columns == ['a', 'b', 'background']
    np.testing.assert_allclose(drawn, shown)
    assert [options['write'](value) for value in drawn[0][:2]] == written


def test_numbers():
    assert [report._times(value) for value in (0.05, 0.5, 0.999, 1.0, 7.25, 16, 99)] == [
        '< 0.1', '0.50', '1.0', '1.0', '7.2', '> 16', '> 16'
    ]  # fmt: skip
    assert [report._sign(value) for value in (0.004, -0.006, 0.5, np.nan)] == ['', '-0.01', '+0.50', '']


def test_markup_of_docstrings_is_left_out(probe):
    relation = build('soft_mapping')
    nodes = [RelationNode('1', relation, relation, whole=False)]
    described = report._describe(nodes, '1')
    assert described == "f'_n = softmax(logits_n) act(M W): CategoryGraphRelation without graph and image attention."
