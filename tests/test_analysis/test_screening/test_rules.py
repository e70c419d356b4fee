"""Every rule on its own, at its limit and where there is nothing to judge by."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.analysis.screening.rules import RULES, Limits, judge_images
from mmdet_ext.analysis.screening.sources import ImageFacts, Measured

HEALTHY = {'loss': 1.0, 'n_gt': 2, 'n_pos': 5, 'TP': 1, 'min_side': 20.0}


def facts(fault='', bad=(), **numbers):
    known = {key: value for key, value in (HEALTHY | numbers).items() if value is not None}
    return ImageFacts({'id': 1}, Measured('1', '1.png', fault, known), list(bad))


def reasons(image, *rules, **limits):
    verdicts, _ = judge_images([image], Limits(rules or tuple(RULES), **limits))
    return verdicts[0]


def test_a_healthy_image_is_kept():
    assert reasons(facts()) == {}


@pytest.mark.parametrize(
    ('rule', 'image', 'sentence'),
    [
        ('fault', facts(fault='truncated'), 'cannot be used: truncated'),
        ('annotation', facts(bad=['a', 'b']), 'a; b'),
        ('unmatched', facts(n_pos=0), 'no prior or RoI is positive for its 2 objects'),
        ('undetected', facts(TP=0), 'none of its 2 objects is detected'),
        ('tiny', facts(min_side=3.96), 'its smallest object has 4.0 px at the input of the model, below 4'),
        ('loss', facts(loss=math.nan), 'loss is nan'),
        ('loss', facts(loss=math.inf), 'loss is inf'),
    ],
)
def test_a_rule_drops_what_it_is_for_and_nothing_else(rule, image, sentence):
    assert reasons(image) == {rule: sentence}
    assert reasons(image, *(name for name in RULES if name != rule)) == {}


def test_the_default_leaves_out_what_needs_a_good_detector():
    assert 'undetected' not in Limits().rules
    assert set(Limits().rules) == set(RULES) - {'undetected'}


@pytest.mark.parametrize(
    'image',
    [
        facts(min_side=4.0),
        facts(n_gt=0, n_pos=0, TP=0, min_side=None),  # an image without objects
        facts(n_gt=None, n_pos=None, TP=None, min_side=None, loss=None),  # a detector that the diagnosis knows in part
        ImageFacts({'id': 1}, None, []),  # not diagnosed
    ],
)
def test_what_says_nothing_keeps_the_image(image):
    assert reasons(image) == {}


def test_the_quantile_is_of_the_finite_losses():
    losses = [*range(1, 12), math.nan]
    images = [*(facts(loss=float(value)) for value in losses), ImageFacts({'id': 1}, None, [])]
    verdicts, threshold = judge_images(images, Limits(('loss',), loss_quantile=0.8))
    # np.quantile of 1 to 11 at 0.8: one plus 0.8 of the 10 steps.
    assert threshold == pytest.approx(9.0)
    assert [place for place, verdict in enumerate(verdicts) if verdict] == [9, 10, 11]
    assert verdicts[9]['loss'] == 'loss 10 is above 9, the quantile 0.8 of all'


def test_one_term_instead_of_the_sum():
    images = [facts(loss_cls=float(value)) for value in (3, 1, 2)]
    verdicts, threshold = judge_images(images, Limits(('loss',), 0.5, 'loss_cls'))
    assert threshold == 2
    assert [bool(verdict) for verdict in verdicts] == [True, False, False]
    assert verdicts[0]['loss'].startswith('loss_cls 3')


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_the_worst_share_is_dropped_and_never_more(losses, quantile):
    verdicts, _ = judge_images([facts(loss=value) for value in losses], Limits(('loss',), quantile))
    dropped = [value for value, verdict in zip(losses, verdicts, strict=True) if verdict]
    kept = [value for value, verdict in zip(losses, verdicts, strict=True) if not verdict]
    assert max(kept) <= min(dropped, default=math.inf)
    assert len(dropped) <= math.ceil((1 - quantile) * (len(losses) - 1) + 1e-9)


def test_equal_losses_are_all_kept():
    verdicts, _ = judge_images([facts()] * 4, Limits())
    assert verdicts == [{}] * 4


def test_no_images_and_no_losses():
    assert judge_images([], Limits())[0] == []
    assert math.isnan(judge_images([facts(loss=None)], Limits())[1])


def test_an_image_that_cannot_be_read_has_no_other_reason():
    broken = ImageFacts({'id': 1}, Measured('1', '1.png', 'truncated', {'n_gt': 0, 'n_pos': 0, 'TP': 0}), [])
    assert list(reasons(broken)) == ['fault']


def test_columns_that_rules_read():
    columns = Limits(('loss', 'unmatched'), loss_column='loss_cls').columns
    assert columns == {'loss_cls': 'loss', 'n_gt': 'unmatched', 'n_pos': 'unmatched'}
    assert Limits(('annotation',)).columns == {}


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'rules': ('los',)}, "no rule 'los'; the nearest is 'loss'"),
        ({'rules': ()}, 'there is no rule to screen by'),
        ({'loss_quantile': 1.0}, '--loss-quantile must lie between 0 and 1, got 1.0'),
        ({'loss_quantile': math.nan}, '--loss-quantile'),
        ({'min_side': 0}, '--min-side must be positive'),
    ],
)
def test_bad_limits(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Limits(**options)
