"""Losses of single images."""

import math

import pytest

from mmdet_ext.analysis.diagnosis.loss_stats import TOTAL, loss_stats, loss_table, quantiles
from mmdet_ext.analysis.tables import markdown_table
from tests.test_analysis.test_diagnosis.record_case import faulty, record

# Seed 000: forty images of each split.
TEST = [
    2.34043502, 0.04808307, 0.02830989, 42.55413565, 121.94707289, 6.99290984, 0.39284952, 0.34658829, 19.49035859,
    3.56119113, 0.02737078, 0.14745903, 44.40588716, 6.00672989, 1.56690826, 19.27115195, 1.29488071, 0.18236931,
    0.56079046, 6.57143532, 0.58981314, 85.7309842, 0.57522436, 8.63227153, 53.70528751, 0.80133601, 46.83751267,
    108.15874376, 13.09310384, 5.14265967, 36.54743798, 58.43573999, 0.40675322, 38.1924233, 0.41162049, 0.02264627,
    204.936997, 1.19922591, 0.85566027, 43.65063582,
]  # fmt: skip
TRAIN = [
    0.01993282, 0.39143238, 0.07936098, 0.09585622, 0.08522709, 0.12685175, 6.25659152, 0.08280085, 0.16448919,
    0.05956833, 0.07427165, 0.14863663, 0.79305234, 0.06547068, 0.10081792, 0.13347688, 0.01510295, 0.30111654,
    0.03394329, 0.00261445, 10.67093827, 36.85443327, 0.14858729, 0.40539921, 0.03418071, 60.7545183, 0.00114001,
    0.41894641, 0.03986561, 0.03963731, 0.34471642, 13.16181339, 0.46884292, 0.30146137, 0.11892655, 6.86511967,
    0.3315227, 0.48007189, 0.46068146, 1.59921276,
]  # fmt: skip


def stats_of(values):
    return loss_stats([record(k, losses={'loss_bbox': value / 4, 'loss_cls': value * 0.75}) for k, value in
                       enumerate(values)], worst=3)  # fmt: skip


def test_the_table_of_the_seed():
    stats = {'train': stats_of(TRAIN), 'val': stats_of(TEST)}
    total = stats['val'].terms[TOTAL]
    assert (total.images, total.above_one) == (40, 25)
    assert [total.mean, total.median, total.max, total.min] == pytest.approx([24.64, 4.352, 204.94, 0.02265], rel=2e-3)
    total = stats['train'].terms[TOTAL]
    assert (total.images, total.above_one) == (40, 7)
    assert [total.mean, total.median, total.max, total.min] == pytest.approx([3.56, 0.1486, 60.75, 0.00114], rel=2e-3)
    assert [image.file for image in stats['val'].worst] == ['36.png', '4.png', '27.png']
    head, rows = loss_table(stats)
    assert len({len(head), *map(len, rows)}) == 1
    assert [row[:3] for row in rows] == [
        ['loss_bbox', 'train', '40'], ['loss_bbox', 'val', '40'], ['loss_cls', 'train', '40'],
        ['loss_cls', 'val', '40'], ['total', 'train', '40'], ['total', 'val', '40'], ['total: val / train', '', ''],
    ]  # fmt: skip
    assert float(rows[-1][4]) == pytest.approx(4.352 / 0.1486, rel=1e-2)
    assert rows[5][3] == '24.64'
    assert 'total: val / train' in markdown_table(head, rows)


def test_quantiles():
    found = quantiles([4.0, 0.0, 3.0, 1.0, 2.0])
    assert [found.min, found.q25, found.median, found.q75, found.q90, found.max] == pytest.approx([0, 1, 2, 3, 3.6, 4])
    assert (found.images, found.mean, found.above_one) == (5, 2, 3)


def test_what_is_not_finite_is_named_and_left_out():
    found = loss_stats([
        record(0, losses={'a': 1.0, 'b': 2.0}), record(1, losses={'a': math.nan, 'b': 4.0}),
        record(2, losses={'a': 3.0, 'b': math.inf}), faulty(),
    ])  # fmt: skip
    assert [image.index for image in found.not_finite] == [1, 2]
    assert [image.index for image in found.worst] == [0]
    assert (found.terms['a'].mean, found.terms['b'].mean, found.terms[TOTAL].mean) == (2, 3, 3)
    assert [found.terms[name].images for name in ('a', 'b', TOTAL)] == [2, 2, 1]


def test_worst_of_equals_is_the_first():
    found = loss_stats([record(k, losses={'a': value}) for k, value in enumerate((1.0, 2.0, 2.0))], worst=2)
    assert [(image.index, image.img_id, image.total, image.losses) for image in found.worst] == [
        (1, 101, 2, {'a': 2}), (2, 102, 2, {'a': 2})]  # fmt: skip
    with pytest.raises(ValueError, match='worst images must be 0 or more'):
        loss_stats([], worst=-1)


def test_terms_that_some_images_lack():
    """A box loss without positives, say."""
    found = loss_stats([record(0, losses={'a': 1.0}), record(1, losses={'a': 1.0, 'b': 5.0}), record(2)])
    assert {name: row.images for name, row in found.terms.items()} == {'a': 2, 'b': 1, TOTAL: 2}
    assert found.terms[TOTAL].max == 6


def test_without_losses():
    found = loss_stats([record()])
    assert (found.terms, found.worst, found.not_finite) == ({}, [], [])
    assert loss_table({'val': found})[1] == []
    bad = loss_stats([record(losses={'a': math.nan})])
    assert bad.terms[TOTAL].images == 0
    assert math.isnan(bad.terms[TOTAL].median)
    assert len(loss_table({'train': bad, 'val': bad})[1]) == 4
    zero = loss_stats([record(losses={'a': 0.0})])
    assert len(loss_table({'train': zero, 'val': zero})[1]) == 4
