"""Bands of losses, expected ones, and plateaus."""

import math

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer

from mmdet_ext.engine.loss_bands import (
    HEAD,
    Band,
    band_rows,
    check_limits,
    find_outside,
    find_plateaus,
    measure_band,
    train_losses,
)


def test_quantiles_of_what_is_finite():
    band = measure_band('loss', [*range(100, -1, -1), math.nan, math.inf])
    assert band.quantiles == (0, 5, 25, 50, 75, 95, 100)
    assert (band.nonfinite, len(band.values)) == (2, 101)
    assert str(band) == 'loss 50 [5, 95], 2 not finite'
    assert str(measure_band('loss', [math.nan])) == 'loss never finite'
    assert str(measure_band('loss_x', [1.5])) == 'loss_x 1.5 [1.5, 1.5]'


def test_rows_fit_the_head():
    rows = band_rows([measure_band('loss', [1, 3, math.nan]), measure_band('loss_b', [])], 11, 13)
    assert rows[0] == [11, 13, 'loss', 3, 1, '1', '1.1', '1.5', '2', '2.5', '2.9', '3']
    assert rows[1] == [11, 13, 'loss_b', 0, 0, *[''] * 7]
    assert {len(row) for row in rows} == {len(HEAD)}


def test_losses_of_a_message_hub():
    names = ('train/lr', 'train/loss_b', 'train/loss', 'train/acc', 'val/loss_x', 'train/s0.loss_a')
    scalars = {name: HistoryBuffer([1.0, 2.0, 3.0], [1, 1, 1]) for name in names}
    assert list(train_losses(scalars)) == ['loss', 'loss_b', 's0.loss_a']
    assert train_losses(scalars)['loss'].tolist() == [1, 2, 3]
    assert train_losses(scalars, 2)['loss_b'].tolist() == [2, 3]
    assert train_losses(scalars, 9)['loss_b'].tolist() == [1, 2, 3]
    assert train_losses({}) == {}


def test_a_median_outside_of_its_band():
    bands = [measure_band('loss', [29.0, 31.0, 35.0, math.nan]), measure_band('loss_b', [99.0]), Band('x', (), 3, ())]
    found = find_outside(bands, {'loss': (0, 30), 'x': (0, 1)}, 'iterations 1 to 4')
    assert found == {
        'loss': 'loss is outside of the expected band 0 to 30: its median is 31 in iterations 1 to 4, 67 % of the '
        'values are outside.'
    }
    assert find_outside(bands, {'loss': (31, 31), 'loss_b': (100, 101)}, 'x').keys() == {'loss_b'}


def test_plateaus_of_terms():
    steady = np.linspace(10, 1, 40)
    losses = {'loss': steady + 5, 'loss_a': steady, 'loss_b': np.full(40, 5.0), 'loss_new': np.full(39, 5.0)}
    (alarm,) = find_plateaus(losses, 10, 4, 'the last 4 epochs', 0.01)
    assert alarm.key == ('nothing changes', 'loss_b')
    assert alarm.message.startswith('loss_b does not change over the last 4 epochs (5, then 5; noise 0)')
    # Only the last stretches count.
    losses = {'loss': np.concatenate([steady, np.full(40, 1.0)])}
    assert len(find_plateaus(losses, 10, 4, 'x', 0.01)) == 1
    assert find_plateaus(losses, 10, 8, 'x', 0.01) == []


@pytest.mark.parametrize('band', [3, (1,), (2, 1), ('a', 'b'), (0, math.nan)])
def test_bad_limits(band):
    with pytest.raises(ValueError, match=r"Hook: expected\['loss'\] must be \(lowest, highest\), got"):
        check_limits('Hook', {'loss': band})
    check_limits('Hook', {'loss': (0, 0), 'loss_b': [1, 2.5]})
