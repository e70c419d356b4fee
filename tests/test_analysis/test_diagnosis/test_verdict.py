"""The verdict engine: order, weights, explanations and words."""

import pytest

from mmdet_ext.analysis.diagnosis.rules import RULES
from mmdet_ext.analysis.diagnosis.verdict import MIN_GAIN, Finding, Rule, format_verdicts, judge
from tests.test_analysis.test_diagnosis.evidence_case import evidence, split

CALM = evidence(splits={'val': split(ap=0.5)})


def rule(name, gain, certainty=1.0, explains=()):
    def find(evidence, limits):
        return None if gain is None else Finding(gain, f'{name} {limits}', 'Cause.', 'Fix.')

    return Rule(name, find, certainty, {'a': 1}, explains)


def names(*rules):
    return [each.rule for each in judge(CALM, rules)]


def test_largest_weighed_gain_first():
    assert names(rule('a', 0.2), rule('b', 0.4, 0.6), rule('c', None), rule('d', 0.3)) == ['d', 'b', 'a']


def test_certain_rules_first_among_equals():
    assert names(rule('a', 0.4, 0.5), rule('b', 0.2, 1.0)) == ['b', 'a']


def test_gain_is_never_more_than_what_lacks():
    (verdict,) = judge(CALM, [rule('a', 3.0, 0.8)])
    assert verdict.gain == pytest.approx(0.4)
    assert (verdict.certainty, verdict.evidence) == (0.8, "a {'a': 1}")


def test_next_to_nothing_is_left_out_and_worthless_figures_are_not():
    assert names(rule('a', 0.9 * MIN_GAIN), rule('b', -1.0), rule('c', 0.0)) == ['c']


def test_causes_stand_before_what_they_explain():
    found = judge(CALM, [rule('symptom', 0.4), rule('cause', 0.2, explains=('symptom',)), rule('other', 0.1)])
    assert [each.rule for each in found] == ['cause', 'other', 'symptom']
    assert [each.explained_by for each in found] == [None, None, 'cause']


def test_a_small_cause_explains_no_large_loss():
    assert names(rule('symptom', 0.4), rule('cause', 0.05, explains=('symptom',))) == ['symptom', 'cause']


def test_the_table_is_sound():
    known = [each.name for each in RULES]
    assert len(known) == len(set(known)) >= 22
    explains = {each.name: set(each.explains) for each in RULES}
    for each in RULES:
        assert set(each.explains) <= set(known), each.name
        assert 0 < each.certainty <= 1
        assert each.find.__doc__ or each.name in ('score_thr', 'nms', 'max_per_img') or each.name.endswith('_errors')

    def reach(name, seen):
        for other in explains[name]:
            assert other not in seen, f'{name} and {other} explain each other'
            reach(other, {*seen, other})

    for name in known:
        reach(name, {name})


def test_words_for_the_console():
    found = judge(CALM, [rule('symptom', 0.4), rule('cause', 0.4, explains=('symptom',)), rule('empty', 0.0)])
    text = format_verdicts(found, 0.5)
    assert text.startswith('AP is 0.500. The likeliest cause first:\n1. cause (up to 0.400 AP)\n   Cause.\n')
    assert '2. empty (figures that mean less than they seem)' in text
    assert '3. symptom (up to 0.400 AP, likely a consequence of cause)' in text
    assert "   Evidence: cause {'a': 1}\n   Fix: Fix." in text


def test_words_for_a_healthy_detector():
    assert format_verdicts([], 0.5).startswith('AP is 0.500. Nothing that the diagnosis looks for is wrong')
    assert format_verdicts([], None).startswith('There is nothing to measure AP on.')
