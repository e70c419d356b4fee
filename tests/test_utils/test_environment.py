"""Variables are set within a block only."""

import os

import pytest

from mmdet_ext.utils.environment import set_variables


def fail_within():
    with set_variables({'MMDET_EXT_A': '1', 'MMDET_EXT_B': '2'}):
        assert (os.environ['MMDET_EXT_A'], os.environ['MMDET_EXT_B']) == ('1', '2')
        # Unset within the block.
        del os.environ['MMDET_EXT_B']
        raise ZeroDivisionError


def test_what_was_there_comes_back(monkeypatch):
    monkeypatch.setenv('MMDET_EXT_A', 'mine')
    monkeypatch.delenv('MMDET_EXT_B', raising=False)
    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert os.environ['MMDET_EXT_A'] == 'mine'
    assert 'MMDET_EXT_B' not in os.environ
