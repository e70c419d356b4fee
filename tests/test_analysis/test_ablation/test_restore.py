"""Finished runs come back from a stored result, and nothing else does."""

import json
import shutil

import pytest
import torch

from mmdet_ext.analysis.ablation import plan as ablation_plan
from mmdet_ext.analysis.ablation.grid import read_grid
from mmdet_ext.analysis.ablation.plan import plan_runs, unfinished
from mmdet_ext.analysis.ablation.results import collect_results
from tests.test_analysis.test_ablation.ablation_case import COST, finish, plan


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The result of three of four runs that started from weights of their seed; the folders are gone."""
    monkeypatch.setattr(ablation_plan, 'measure_cost', lambda cfg: dict(COST))
    for seed in (0, 1):
        torch.save({'state_dict': {}}, tmp_path / f'plain_{seed}.pth')
    grid, runs = plan(tmp_path, 'options: {load_from: "%s"}' % (tmp_path / 'plain_{seed}.pth'))
    for run in runs[:3]:
        finish(run, 0.1 + 0.1 * run.seed)
    file = tmp_path / 'stored.json'
    file.write_text(json.dumps(collect_results(grid, runs)))
    shutil.rmtree(grid.work_dir)
    return file


def _again(tmp_path, stored):
    grid = read_grid(tmp_path / 'grid.yml')
    return grid, plan_runs(grid, stored)


def test_what_was_finished_is_done(tmp_path, stored):
    before = json.loads(stored.read_text())
    # Only the run that is left needs its weights.
    (tmp_path / 'plain_0.pth').unlink()
    grid, runs = _again(tmp_path, stored)
    assert [run.name for run in unfinished(runs)] == ['fast/seed_1']
    assert json.loads(json.dumps(collect_results(grid, runs)))['arms'] == before['arms']
    # And without the file from now on; an own record is not written over.
    finish(runs[0], 0.7)
    grid, runs = _again(tmp_path, None)
    assert len(unfinished(runs)) == 1
    grid, runs = _again(tmp_path, stored)
    assert collect_results(grid, runs)['arms']['slow']['metrics']['coco/bbox_mAP']['values'] == {0: 0.7, 1: 0.2}


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (
            lambda record: record['data'].update(x='other'),
            r'slow/seed_0 is of other data, stored and now: x is other in',
        ),
        (lambda record: record.update(config='abc'), r'slow/seed_0 is of another config \(hash abc, now \w+\); leave'),
    ],
)
def test_another_run_is_refused(tmp_path, stored, change, sentence):
    result = json.loads(stored.read_text())
    change(result['runs'][0])
    stored.write_text(json.dumps(result))
    with pytest.raises(ValueError, match=sentence):
        _again(tmp_path, stored)


def test_files_that_are_no_result(tmp_path, stored):
    with pytest.raises(FileNotFoundError, match=r'no result .*none\.json to restore runs from'):
        _again(tmp_path, tmp_path / 'none.json')
    for text in ('{', '{}', '{"runs": [1]}'):
        stored.write_text(text)
        with pytest.raises(ValueError, match=r'stored\.json is no ablation\.json'):
            _again(tmp_path, stored)


def test_observers_do_not_change_what_a_run_is(tmp_path, stored):
    text = (tmp_path / 'tiny.py').read_text()
    (tmp_path / 'tiny.py').write_text(
        f"{text}\ncustom_hooks = [dict(type='RandomStateHook'), dict(type='LossAlarmHook')]\n"
    )
    assert len(unfinished(_again(tmp_path, stored)[1])) == 1
    (tmp_path / 'tiny.py').write_text(f"{text}\ncustom_hooks = [dict(type='EMAHook')]\n")
    with pytest.raises(ValueError, match='holds a training with another config'):
        _again(tmp_path, stored)
