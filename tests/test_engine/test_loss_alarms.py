"""The rules on losses, with figures as the log of seed 002 has them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.engine.loss_alarms import (
    Change,
    check_options,
    find_alarms,
    find_dominant,
    find_not_finite,
    find_stall,
    loss_terms,
    measure_change,
    shares,
    stretch_means,
)

# Epochs 1, 2, 3, 68 and 72 of the log: the value of the last iteration, and the sum over cells in the first.
SEED = {
    'loss_cls': [1.28, 6.81, 1.76, 0.726, 0.517],
    'loss_bbox': [4.24, 5.81, 4.18, 6.07, 5.3],
    'loss_obj': [148.0, 27.5, 8.1, 3.18, 3.01],
}
SEED['loss'] = [sum(values) for values in zip(*SEED.values(), strict=True)]


def test_terms_are_what_mmengine_adds_up():
    names = ['lr', 'loss', 'loss_cls', 's0.loss_bbox', 'acc', 'd1.loss_iou', 'grad_norm']
    assert loss_terms(names) == ['loss_cls', 's0.loss_bbox', 'd1.loss_iou']


def test_means_of_stretches_end_with_the_values():
    assert stretch_means([9, 1, 3, 5, 7], 2) == [2.0, 6.0]
    assert stretch_means([1, 2], 3) == stretch_means([], 3) == []
    assert math.isnan(stretch_means(np.array([1.0, np.nan]), 2)[0])
    with pytest.raises(ValueError, match='at least 1 value, got 0'):
        stretch_means([1], 0)


def test_the_term_of_the_seed_that_was_summed():
    (alarm,) = find_alarms({name: values[:1] for name, values in SEED.items()}, 'epoch 1')
    assert alarm.key == ('one term', 'loss_obj')
    assert alarm.message.startswith('loss_obj is 96 % of the total loss (148 of 153.5, mean of epoch 1)')


def test_a_share_just_below_and_at_the_limit():
    assert find_dominant({'loss_a': 8.9, 'loss_b': 1.0}, 'x') == []
    assert find_dominant({'loss_a': 9.0, 'loss_b': 1.0}, 'x')[0].name == 'loss_a'
    assert find_dominant({'loss_a': 8.9, 'loss_b': 1.0}, 'x', share=0.85)[0].name == 'loss_a'


def test_shares_of_negative_and_missing_terms():
    assert shares({'loss': 2.0, 'loss_a': 3.0, 'loss_b': -1.0, 'acc': 99.0}) == {'loss_a': 0.75, 'loss_b': 0.25}
    for nothing in ({'loss_a': 0.0, 'loss_b': 0.0}, {'loss_a': math.nan}, {'loss_a': math.inf, 'loss_b': 1.0}, {}):
        assert shares(nothing) == {}
    # One term is always all of it.
    assert find_dominant({'loss': 3.0, 'loss_only': 3.0}, 'x') == []


def test_not_finite_names_the_terms_or_else_the_total():
    means = {'loss': math.nan, 'loss_a': 1.0, 'loss_b': math.inf, 'grad_norm': math.nan}
    (alarm,) = find_not_finite(means, 'epoch 2')
    assert alarm.key == ('not finite', 'loss_b')
    assert 'loss_b is inf in the mean of epoch 2' in alarm.message
    assert [found.name for found in find_not_finite({'loss': math.nan, 'loss_a': 1.0}, 'x')] == ['loss']
    # No share is taken of what is no number.
    assert [found.cause for found in find_alarms({name: [value] for name, value in means.items()}, 'x')] == [
        'not finite'
    ]


def test_change_between_the_halves():
    # Differences 3, 5, 9 and 2 in size, their differences 8, 14 and 11.
    change = measure_change([4.0, 1.0, 6.0, -3.0, -1.0])
    assert change == Change(2.5, -2.0, pytest.approx(2 * 3 / (0.6745 * math.sqrt(2))))
    # Differences 3, 5, 9 and 10 in size, their differences 2, 4 and 1.
    change = measure_change([0.0, 3.0, 8.0, 17.0, 27.0])
    assert change == Change(1.5, 22.0, pytest.approx(2 * 2 / (0.6745 * math.sqrt(6))))
    assert measure_change([1.0, 2.0, 3.0, 4.0]).noise == 0
    assert measure_change([1.0, 2.0, 3.0]) is None
    assert measure_change([1.0, 2.0, math.nan, 4.0]) is None


@settings(deadline=None, max_examples=50)
@given(
    count=st.integers(4, 30),
    start=st.floats(1, 100),
    fall=st.floats(0.02, 0.9),
)
def test_a_steady_fall_is_never_called_noise(count, start, fall):
    means = np.linspace(start, start * (1 - fall), count).tolist()
    change = measure_change(means)
    assert abs(change.after - change.before) > change.noise
    # The halves' means are at least half of the whole fall apart.
    assert find_stall(means, 'x', min_change=fall / 3) == []


@settings(deadline=None, max_examples=50)
@given(level=st.floats(-100, 100), count=st.integers(4, 20))
def test_a_constant_is_always_a_stall(level, count):
    assert len(find_stall([level] * count, 'x')) == 1


def test_noise_around_a_level_is_a_stall_and_its_sentence_has_the_figures():
    values = [9.31, 8.83, 9.73, 9.18, 8.9, 9.1]
    (alarm,) = find_stall(values, 'the last 6 epochs')
    assert alarm.key == ('nothing changes', 'loss')
    assert alarm.message.startswith('loss does not change over the last 6 epochs (9.29, then 9.06; noise ')
    # It rises far beyond its noise: that is a change.
    assert find_stall([1.0, 1.1, 5.0, 5.1], 'x') == []


@settings(deadline=None, max_examples=50)
@given(count=st.integers(4, 12), keep=st.floats(0.1, 0.97), start=st.floats(0.1, 1000))
def test_a_fast_fall_is_not_noise(count, keep, start):
    assert find_stall([start * keep**epoch for epoch in range(count)], 'x') == []


@pytest.mark.parametrize('count', [5, 6, 10])
def test_a_single_step_is_a_change_until_it_is_over(count):
    for place in range(1, count):
        assert find_stall([2.0] * place + [1.5] * (count - place), 'x') == []
    assert len(find_stall([1.5] * count, 'x')) == 1


def test_a_small_fall_without_noise_is_none_below_min_change():
    falling = [1.000, 0.999, 0.998, 0.997]
    assert len(find_stall(falling, 'x')) == 1
    assert find_stall(falling, 'x', min_change=0.001) == []


def test_the_total_has_to_stand_still_for_as_many_epochs_as_asked():
    flat = {'loss': [5.0] * 5, 'loss_a': [2.5] * 5, 'loss_b': [2.5] * 5}
    (alarm,) = find_alarms(flat, 'epoch 5')
    assert 'over the last 5 epochs, up to epoch 5' in alarm.message
    assert find_alarms({name: values[:4] for name, values in flat.items()}, 'epoch 4') == []
    (alarm,) = find_alarms(flat, 'iterations 1 to 50', 'stretches of 50 iterations', epochs=4)
    assert 'the last 4 stretches of 50 iterations, up to iterations 1 to 50' in alarm.message
    # It fell before: only the last epochs count.
    assert len(find_alarms({'loss': [50.0, 20.0, *flat['loss']]}, 'x')) == 1
    assert find_alarms({}, 'x') == find_alarms({'loss': []}, 'x') == []


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ((3, 0.01, 0.9), 'Hook: epochs must be a whole number from 4 on .*, got 3'),
        ((4.5, 0.01, 0.9), 'got 4.5'),
        ((5, -0.1, 0.9), 'Hook: min_change must be a share of at least 0, got -0.1'),
        ((5, math.nan, 0.9), 'got nan'),
        ((5, 0.01, 0.5), 'Hook: share must be above 0.5 and at most 1, got 0.5'),
        ((5, 0.01, 1.1), 'got 1.1'),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_options('Hook', *options)
    check_options('Hook', 4, 0, 1)
