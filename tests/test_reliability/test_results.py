"""Counting trials, and what counts as a fault."""

from mmdet_ext.reliability.results import CaseResult
from mmdet_ext.reliability.runs import Outcome


def outcome(code=1, sentence='OSError: the disk is full\nof it'):
    return Outcome(code, sentence, 3, '', 0.5)


def test_a_case_without_faults():
    result = CaseResult('x')
    result.expect('one', outcome(), 'disk is full.of')
    result.add('one', lost=0, resumed=True)
    result.expect_signal('two', outcome(-9, ''), 9)
    assert result.passed
    stored = result.as_json()
    assert {**stored, 'seconds': 0} == {
        'name': 'x', 'trials': 1, 'lost': 0, 'resumed': 1, 'explained': 1, 'seconds': 0,
        'sentence': 'OSError: the disk is full\nof it', 'faults': [], 'skipped': '',
    }  # fmt: skip


def test_each_fault_is_a_sentence():
    result = CaseResult('x')
    result.expect('one', outcome(), 'something else')
    result.expect('two', outcome(code=0), 'disk')
    result.expect_signal('three', outcome(0), 9)
    result.add('four', lost=2, resumed=False)
    assert not result.passed
    assert (result.explained, result.lost, result.resumed, result.trials) == (0, 1, 0, 1)
    assert [fault.split(':')[0] for fault in result.faults] == ['one', 'two', 'three', 'four', 'four']
    assert 'instead of signal 9' in result.faults[2]
    assert '2 saved epochs were lost' in result.faults[3]


def test_killed_processes_say_nothing():
    assert CaseResult('x').as_json()['explained'] is None
