"""The file of a record: nothing is lost in it, and a damaged one says so."""

import dataclasses

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis.record import ImageRecord, read_record, write_record
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record, stage


def equal(one, other):
    if dataclasses.is_dataclass(one):
        return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    'one',
    [
        record(),
        faulty(),
        record(3, img_id='scan 7/a', file='a b/ü.png', proposals=objects(), limits=('one', 'two')),
        record(
            ori_shape=(3, 4), input_shape=(6, 8), digest='ab', truth=objects([[0, 0, 1, 2]], [1]), losses={'loss': 1.5},
            ignored=np.ones((2, 4), np.float32), raw=objects([[0, 0, 9, 9]] * 2, [0, 1], [0.5, 0.25]),
            stages={'roi_head.0': stage([(1, 0), (0, 2), (0, 0)], [1], [0.5])},
        ),
    ],
)  # fmt: skip
def test_nothing_is_lost(tmp_path, one):
    path = write_record(one, tmp_path / 'deep' / 'one.npz')
    assert equal(read_record(path), one)
    assert [file.name for file in path.parent.iterdir()] == ['one.npz']


def test_a_loss_that_is_no_number(tmp_path):
    again = read_record(write_record(record(losses={'loss_cls': float('nan'), 'loss_bbox': 1.0}), tmp_path / 'a.npz'))
    assert np.isnan(again.loss)
    assert again.losses['loss_bbox'] == 1.0


def test_a_damaged_file(tmp_path):
    path = write_record(record(), tmp_path / 'one.npz')
    whole = path.read_bytes()
    for content in (b'', b'half', whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'one\.npz is no record of the diagnosis'):
            read_record(path)
    np.savez(path, other=np.ones(1))
    with pytest.raises(ValueError, match='delete it'):
        read_record(path)
    with pytest.raises(ValueError, match=r'none\.npz'):
        read_record(tmp_path / 'none.npz')


def test_the_loss_is_the_sum():
    assert ImageRecord('val', 0, 1, 'a', losses={'a': 1.0, 'b': 0.5}).loss == 1.5
