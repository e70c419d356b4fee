"""Damaged checkpoints are refused, and the one before is taken."""

import os
import random

import pytest
import torch

from mmdet_ext.reliability import damaged_checkpoints as module
from mmdet_ext.reliability.damaged_checkpoints import DAMAGES, damaged_checkpoints
from tests.test_reliability.shared import trainings

pytestmark = pytest.mark.xdist_group('reliability')


@pytest.mark.parametrize('kind', DAMAGES)
def test_every_damage_changes_the_file(tmp_path, kind):
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'a': torch.arange(20_000.0) + 1}}, path)
    before = path.read_bytes()
    DAMAGES[kind](path, random.Random(0))
    assert path.read_bytes() != before


def test_the_harmful_pickle_does_harm_where_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DAMAGES['harmful pickle'](tmp_path / 'a.pth', random.Random(0))
    torch.load(tmp_path / 'a.pth', weights_only=False)
    assert os.path.isdir('harm_was_done')


def test_a_flipped_bit(monkeypatch):
    monkeypatch.setattr(module, 'DAMAGES', {'flipped bit': DAMAGES['flipped bit']})
    result = damaged_checkpoints(trainings())
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (1, 0, 1, 1)
    assert 'is damaged: the checksum of' in result.sentence


@pytest.mark.slow
def test_every_damage():
    result = damaged_checkpoints(trainings())
    assert result.faults == []
    assert result.trials == result.resumed == result.explained == len(DAMAGES)
