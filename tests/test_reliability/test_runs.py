"""Runs in child processes, and what is compared of them."""

import pytest
import torch

from mmdet_ext.reliability import runs
from mmdet_ext.reliability.runs import EPOCHS, Fault, digest_weights
from tests.test_reliability.shared import trainings

pytestmark = pytest.mark.xdist_group('reliability')


def test_digest_sees_names_values_and_any_type():
    state = {'a': torch.arange(4.0), 'n': torch.tensor(3), 'half': torch.ones(2, dtype=torch.bfloat16)}
    first = digest_weights(state)
    assert digest_weights(dict(reversed(state.items()))) == first
    assert digest_weights({**state, 'a': torch.arange(4.0) + 1e-7}) != first
    assert digest_weights({**state, 'b': torch.zeros(1)}) != first


def test_a_whole_run(tmp_path):
    result, outcome = trainings().whole
    assert len(result) == 64
    assert (outcome.code, outcome.sentence) == (0, '')
    assert outcome.deeds > EPOCHS * trainings().iterations
    again = trainings().new('again')
    assert trainings().run(again).deeds == outcome.deeds
    assert trainings().result(again) == result
    assert trainings().newest(again)[0] == EPOCHS
    assert trainings().lost(again) == 0
    # What the drill counts as lost: an epoch in the journal that no checkpoint has.
    for file in again.glob('*.pth'):
        file.unlink()
    assert trainings().lost(again) == EPOCHS
    assert trainings().result(again) == ''


def test_nothing_is_lost_before_anything_is_saved(tmp_path):
    assert trainings().lost(tmp_path / 'none') == 0


def test_a_run_that_hangs(monkeypatch):
    work_dir = trainings().new('hangs')
    monkeypatch.setattr(runs, 'PATIENCE', 0.01)
    with pytest.raises(TimeoutError, match=r'The run in .*hangs.* hung: it was not done after 0\.01 s'):
        trainings().run(work_dir)


def test_a_training_that_fails_by_itself(tmp_path):
    broken = runs.Trainings(tmp_path, images=2)
    (tmp_path / 'data' / 'ann.json').unlink()
    with pytest.raises(RuntimeError, match=r'(?s)fails, without any fault: ValueError: .*ann\.json: does not'):
        _ = broken.whole


def test_faults_are_written_into_the_config(tmp_path):
    text = trainings().config(tmp_path / 'x', Fault(kill_iter=7, victim='worker', workers=2, keep=3)).read_text()
    assert "'kill_iter': 7" in text
    assert "'victim': 'worker'" in text
    assert "'max_keep_ckpts': 3" in text
    assert "train_dataloader['num_workers'] = 2" in text
