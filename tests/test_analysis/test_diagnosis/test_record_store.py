"""Records on disk belong to one detector and its data."""

import json

import pytest

from mmdet_ext.analysis.diagnosis.record_store import RecordStore
from tests.test_analysis.test_diagnosis.record_case import record

IDENTITY = {'checkpoint': 'abc', 'annotations of val': 'v1', 'versions': {'torch': '2'}}


def test_records_come_back_in_order(tmp_path):
    store = RecordStore(tmp_path / 'a b' / 'records', IDENTITY)
    for index in (11, 2):
        assert store.add(record(index)) == store.path('val', index)
    assert [each.index for each in store.records('val')] == [2, 11]
    assert store.get('val', 11).img_id == 111
    assert (store.has('val', 2), store.has('val', 3), store.has('train', 2)) == (True, False, False)
    assert list(store.records('train')) == []


@pytest.mark.parametrize('key', IDENTITY)
def test_another_detector(tmp_path, key):
    RecordStore(tmp_path, IDENTITY)
    RecordStore(tmp_path, dict(IDENTITY))
    with pytest.raises(ValueError, match=rf'has the records of another run \({key} differ\)'):
        RecordStore(tmp_path, IDENTITY | {key: 'x'})


def test_further_splits_may_join(tmp_path):
    """The annotations of a split count from the first time on that it is looked at."""
    RecordStore(tmp_path, IDENTITY)
    RecordStore(tmp_path, IDENTITY | {'annotations of train': 't1'})
    RecordStore(tmp_path, IDENTITY)
    assert json.loads((tmp_path / 'identity.json').read_text())['annotations of train'] == 't1'
    with pytest.raises(ValueError, match='annotations of train'):
        RecordStore(tmp_path, IDENTITY | {'annotations of train': 't2'})


@pytest.mark.parametrize('text', ['', '{"checkpoint": "a', '[]'])
def test_a_damaged_identity(tmp_path, text):
    (tmp_path / 'identity.json').write_text(text)
    with pytest.raises(ValueError, match=r'identity\.json is damaged.*delete'):
        RecordStore(tmp_path, IDENTITY)
