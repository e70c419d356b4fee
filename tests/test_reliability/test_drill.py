"""The drill as a whole; its cases are tested beside their own files."""

import json

import pytest

from mmdet_ext.reliability import drill
from mmdet_ext.reliability.drill import run_drill
from mmdet_ext.reliability.hostile import search as search_module
from mmdet_ext.reliability.hostile.search import Findings
from mmdet_ext.reliability.results import CaseResult
from mmdet_ext.reliability.table import format_reliability

CASES = (
    *('kill_anywhere', 'kill_while_writing', 'full_disk', 'file_limit', 'read_only'),
    *('damaged_checkpoints', 'truncated_images', 'dead_worker', 'dead_rank'),
)


class _Whole:
    whole = ('hash', type('Outcome', (), {'deeds': 58}))


@pytest.fixture
def stubs(monkeypatch):
    """Every case finds nothing; one of them is skipped."""
    for name in CASES:
        result = CaseResult(name, trials=1, resumed=1)
        if name == 'read_only':
            result.skipped = 'no root here'
        monkeypatch.setattr(drill, name, lambda *args, result=result, **kwargs: result)
    monkeypatch.setattr(drill, 'Trainings', lambda folder: _Whole)
    monkeypatch.setattr(search_module, 'search', lambda cases, seed, tell: [Findings('parts', cases, 3, {})])
    return monkeypatch


def test_figures_of_both_parts(tmp_path, stubs):
    said: list[str] = []
    out = tmp_path / 'deep' / 'r.json'
    assert run_drill(out, kills=3, cases=7, seed=5, command='python x', tell=said.append) == []
    content = json.loads(out.read_text())
    assert [case['name'] for case in content['training']['cases']].count('kill_while_writing') == 2
    assert set(CASES) == {case['name'] for case in content['training']['cases']}
    assert (content['training']['kills'], content['training']['deeds'], content['training']['seed']) == (3, 58, 5)
    assert content['files']['cases'][0]['cases'] == 7
    assert content['files']['command'] == 'python x'
    assert 'torch' in content['files']['versions']
    assert 'read_only: no root here' in said
    assert 'no root here' in format_reliability(content)


def test_a_part_keeps_the_figures_of_the_other(tmp_path, stubs):
    run_drill(tmp_path / 'r.json', parts=['files'], cases=9, tell=lambda text: None)
    run_drill(tmp_path / 'r.json', parts=['training'], tell=lambda text: None)
    assert json.loads((tmp_path / 'r.json').read_text())['files']['cases'][0]['cases'] == 9


def test_faults_are_returned(tmp_path, stubs):
    stubs.setattr(drill, 'dead_worker', lambda trainings: CaseResult('worker', trials=1, faults=['one: it hung']))
    defects = {'a.py:3 TypeError': 'TypeError: x'}
    stubs.setattr(search_module, 'search', lambda cases, seed, tell: [Findings('parts', 2, 1, defects)])
    found = run_drill(tmp_path / 'r.json', tell=lambda text: None)
    assert found == ['worker: one: it hung', 'parts: a.py:3 TypeError: TypeError: x']


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'parts': ['fire']}, r"the drill has the parts training, files, not 'fire'"),
        ({'kills': 0}, 'kills and cases must be 1 or more, got 0'),
        ({'cases': 0}, 'must be 1 or more'),
    ],
)
def test_bad_options(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run_drill(tmp_path / 'r.json', **options)
