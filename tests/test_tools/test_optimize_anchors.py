"""Command line of tools/analysis_tools/optimize_anchors.py."""

import inspect

import pytest

from mmdet_ext.analysis.anchors import search as anchor_search
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(anchor_search.run_anchor_search)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'optimize_anchors.py', anchor_search, 'run_anchor_search')


def bound(seen):
    return SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments


def test_arguments_arrive(run):
    given = bound(run('c.py'))
    defaults = {name: parameter.default for name, parameter in SIGNATURE.parameters.items()}
    assert given.pop('config') == 'c.py'
    assert given == {name: defaults[name] for name in defaults if name not in ('config', 'say')}
    options = ['--head', 'k', '--distance', 'euclid', '--centre', 'median', '--keep-base-sizes', '--iou-thr', '0.3',
               '0.4', '--num', '7', '--augmented', '--seed', '3', '--starts', '2', '--iterations', '9', '--out', 'o',
               '--dataset', 'd.py', '--cfg-options', 'a.b=1']  # fmt: skip
    assert bound(run('c.py', *options)) == {
        'config': 'c.py', 'head': 'k', 'distance': 'euclid', 'centre': 'median', 'keep_base_sizes': True,
        'iou_thrs': [0.3, 0.4], 'num': 7, 'augmented': True, 'seed': 3, 'starts': 2, 'iterations': 9, 'out': 'o',
        'dataset': 'd.py', 'cfg_options': {'a.b': 1},
    }  # fmt: skip


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('c.py', error=error)


def test_only_known_distances(run, capsys):
    with pytest.raises(SystemExit):
        run('c.py', '--distance', 'cosine')
    assert 'invalid choice' in capsys.readouterr().err
