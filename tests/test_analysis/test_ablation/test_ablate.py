"""The whole way once, with real trainings; dry run and collecting with prepared runs."""

import json

import pytest

from mmdet_ext.analysis.ablation import ablate as ablation
from mmdet_ext.analysis.ablation import launch as ablation_launch
from mmdet_ext.analysis.ablation import plan as ablation_plan
from mmdet_ext.analysis.ablation.ablate import run_ablation
from mmdet_ext.analysis.ablation.launch import LOG
from mmdet_ext.engine.launch import train
from tests.test_analysis.test_ablation.ablation_case import COST, finish, plan, write_grid


@pytest.fixture
def one_process(monkeypatch):
    """Only the last run has a process of its own, the others train in this one: imports take longest."""
    real = ablation_launch._call

    def call(run, command, environment):
        if run.name == 'fast/seed_1':
            return real(run, command, environment)
        # mmengine keeps histories and visualizers by name.
        own = {'experiment_name': run.name, 'visualizer.name': str(run.folder)}
        train(run.config, cfg_options=own)
        return 0

    monkeypatch.setattr(ablation_launch, '_call', call)


def test_two_arms_and_two_seeds_are_trained_once_and_kept(tmp_path, monkeypatch, one_process):
    grid_file, said = write_grid(tmp_path), []
    result = run_ablation(grid_file, say=said.append)
    assert said[0] == '2 arms, 2 seeds: 4 of 4 runs to do'
    assert result['missing'] == result['notes'] == []
    assert len({json.dumps(run['metrics']) for run in result['runs']}) > 1
    for name, row in result['arms'].items():
        assert row['seeds'] == [0, 1]
        assert 0 <= row['metrics']['coco/bbox_mAP']['mean'] <= 1
        assert row['flops'] > 0
        assert row['step_seconds'] > 0
        assert row['peak_memory_mb'] > 100
        assert f'| {name}' in said[-2]
    assert 'coco/bbox_mAP_l' not in result['metrics']
    assert {run['seed'] for run in result['runs']} == {0, 1}
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'slow', 'fast', 'ablation.md', 'ablation.csv', 'ablation.json', 'ablation.png',
    }  # fmt: skip
    log = (tmp_path / 'out/fast/seed_1' / LOG).read_text()
    assert "'lr': 0.01" in log or 'lr=0.01' in log
    assert 'seed: 1' in log.lower() or 'seed=1' in log
    monkeypatch.setattr(ablation, 'launch_runs', lambda runs, *_: runs and pytest.fail('trained again'))
    again = run_ablation(grid_file, say=said.append)
    assert again['arms'] == json.loads((tmp_path / 'out/ablation.json').read_text(), object_hook=_whole_keys)['arms']
    assert again['arms'] == result['arms']


def _whole_keys(mapping):
    return {int(key) if key.isdigit() else key: value for key, value in mapping.items()}


@pytest.fixture
def free(monkeypatch):
    """Models are neither built nor run."""
    monkeypatch.setattr(ablation_plan, 'measure_cost', lambda cfg: dict(COST))


def test_dry_run_prints_what_is_left(tmp_path, free):
    _, runs = plan(tmp_path)
    finish(runs[0], 0.5)
    said = []
    assert run_ablation(tmp_path / 'grid.yml', dry_run=True, launcher='go {config} {name}', say=said.append) is None
    assert said == [f'go {run.config} {run.name.replace("/", "_")}' for run in runs[1:]]
    assert all(run.config.is_file() for run in runs)
    assert not (tmp_path / 'out/ablation.md').exists()


def test_collect_trains_nothing(tmp_path, monkeypatch, free):
    _, runs = plan(tmp_path)
    for run in runs[:3]:
        finish(run, 0.25)
    monkeypatch.setattr(ablation, 'launch_runs', lambda *_: pytest.fail('launched'))
    said = []
    result = run_ablation(tmp_path / 'grid.yml', collect=True, say=said.append)
    assert result['missing'] == [{'arm': 'fast', 'seed': 1, 'reason': 'not started'}]
    assert '- Missing: fast, seed 1: not started' in (tmp_path / 'out/ablation.md').read_text()


def test_jobs(tmp_path):
    with pytest.raises(ValueError, match='--jobs must be at least 1, got 0'):
        run_ablation(tmp_path / 'grid.yml', jobs=0)
