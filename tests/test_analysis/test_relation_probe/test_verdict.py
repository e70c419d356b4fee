"""Figures in plain words."""

import pytest

from mmdet_ext.analysis.relation_probe.measure import Outcome
from mmdet_ext.analysis.relation_probe.verdict import give_verdicts


def outcome(relation, kind, ap, change=0.0):
    return Outcome(relation, kind, '', ap, None, {}, change, 0.0, {}, 1)


PLAIN = outcome('', 'as it is', 0.5)


@pytest.mark.parametrize(
    ('ap', 'change', 'word', 'sentence'),
    [
        (0.4, 0.2, 'matters', 'matters at test time: without it AP 0.400 instead of 0.500, scores change by 0.200'),
        (0.495, 0.2, 'matters', 'matters for the scores, not for the AP: without it AP 0.495'),
        (0.495, 0.01, 'does not matter', 'does not matter at test time: without it AP 0.495'),
        (0.52, 0.2, 'hurts', 'the detector is better without it: AP 0.520'),
    ],
)
def test_words(ap, change, word, sentence):
    (verdict,) = give_verdicts([PLAIN, outcome('g', 'removed (mean)', ap, change)], 0.01, 0.05)
    assert (verdict.relation, verdict.word, verdict.inner) == ('g', word, '')
    assert verdict.sentence.startswith(sentence)


def test_a_detector_that_finds_nothing():
    blind = outcome('', 'as it is', 0.001)
    (verdict,) = give_verdicts([blind, outcome('g', 'removed (mean)', 0.0, 0.5)], 0.01, 0.05)
    assert verdict.word == 'cannot be told'


def test_inside():
    outcomes = [
        PLAIN,
        outcome('g', 'removed (mean)', 0.4),
        outcome('g', 'removed (zero)', 0.1),
        outcome('g', 'graph random', 0.45),
        outcome('g', 'graph identity', 0.499),
        outcome('h', 'removed (mean)', 0.5),
        outcome('h', 'keys shuffled', 0.5),
    ]
    first, second = give_verdicts(outcomes, 0.01, 0.05)
    assert first.inner == 'AP changes with: graph random (−0.050); it stays with: graph identity (−0.001)'
    assert second.inner == 'it stays with: keys shuffled (+0.000)'
    assert second.removed is outcomes[5]
