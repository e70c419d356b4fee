"""Pickles that do harm where they are loaded, and readers that do not load them."""

import os
import pickle
import random

import pytest

from mmdet_ext.analysis.stored_predictions import read_predictions
from mmdet_ext.graphs.restricted_pickle import load_arrays
from mmdet_ext.reliability.hostile.pickles import MARK, Call, greedy, harmful, mutate_pickle


def test_the_harm_is_real(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = 0
    for seed in range(12):
        with open('p.pkl', 'wb') as file:
            file.write(harmful([1], random.Random(seed)))
        with open('p.pkl', 'rb') as file:
            pickle.load(file)
        assert os.path.lexists(MARK)
        done += 1
        os.rmdir(MARK) if os.path.isdir(MARK) else os.remove(MARK)
    assert done == 12


@pytest.mark.parametrize('read', [load_arrays, read_predictions])
@pytest.mark.parametrize('make', [lambda rng: harmful([1], rng), greedy])
def test_readers_refuse(tmp_path, monkeypatch, read, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'p.pkl'
    for seed in range(20):
        path.write_bytes(make(random.Random(seed)))
        with pytest.raises(ValueError, match=r'p\.pkl'):
            read(path)
        assert not os.path.lexists(MARK)


def test_a_table_of_gigabytes_is_not_made(tmp_path):
    path = tmp_path / 'p.pkl'
    path.write_bytes(b'\x80\x02]r\xff\xff\xff\x7f.')
    with pytest.raises(ValueError, match='it wants a table of 2147483647 objects'):
        load_arrays(path)


@pytest.mark.parametrize('greed', [b'r\xff\xff\xff\x7f', b'\x96' + bytes([0, 0, 0, 0, 2, 0, 0, 0])])
def test_nor_behind_what_hides_it(tmp_path, greed):
    """A text as Python 2 writes it ends the look at the commands; the slow unpickler has no such table or array."""
    path = tmp_path / 'p.pkl'
    path.write_bytes(b"]S'\xe4'\n" + greed + b'.')
    try:
        assert load_arrays(path) == 'ä'
    except ValueError as error:
        assert 'p.pkl was not loaded' in str(error)  # noqa: PT017


def test_mutations_of_a_good_pickle():
    raw = pickle.dumps([1, 2, 3])
    made = [mutate_pickle(raw, random.Random(seed)) for seed in range(100)]
    assert len(set(made)) > 60
    assert Call(print, 1).__reduce__() == (print, (1,))
