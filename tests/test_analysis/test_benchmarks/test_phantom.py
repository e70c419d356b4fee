"""Tuning, choosing and tables of the phantom benchmark, with trainings replaced by known numbers."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmdet_ext.analysis.benchmarks import phantom as bench
from mmdet_ext.datasets.chest_phantom import CLASSES

LR = 'optim_wrapper.optimizer.lr'
REPOSITORY = Path(__file__).parents[3]


def fake_run(job: bench.Job) -> dict:
    """Context mAP peaks at another rate for each arm on the tuning phantom, and is reversed on the reported one."""
    best = {'plain': 5e-4, 'control': 1e-3, 'relation': 2e-3}[job.arm]
    good = (dict(job.options)[LR] == best) == ('1000' in str(job.data))
    score = {'plain': 0.3, 'control': 0.35, 'relation': 0.8}[job.arm] + 0.1 * good + 0.01 * job.seed
    return {
        'arm': job.arm,
        'options': dict(job.options),
        'seed': job.seed,
        'seconds': 10,
        'parameters': 1000,
        'bbox_mAP': score,
        'bbox_mAP_50': score,
        'context_mAP': score,
        'per_class': dict.fromkeys(CLASSES, score),
    }


@pytest.fixture
def result(tmp_path, monkeypatch):
    made = []

    def make(out, train, val, size, seed):
        made.append((seed, train, val, size))
        return {'hash': f'hash{seed}'}

    monkeypatch.setattr(bench, 'run_job', fake_run)
    monkeypatch.setattr(bench, 'make_chest_phantom', make)
    monkeypatch.setattr(bench, 'ProcessPoolExecutor', lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    out = bench.run_benchmark(tmp_path / 'sub' / 'out.json', tmp_path, train=6, val=2, command='python bench')
    assert made == [(1000, 6, 2, 160), (0, 6, 2, 160)]
    return out, json.loads((tmp_path / 'sub' / 'out.json').read_text())


def test_every_arm_gets_the_same_trials_and_seeds(result):
    _, stored = result
    per_arm = {arm: [run['options'] for run in stored['trials'] if run['arm'] == arm] for arm in bench.ARMS}
    assert all(options == list(bench.TRIALS) for options in per_arm.values())
    assert {run['seed'] for run in stored['trials']} == {0}
    assert all(row['seeds'] == [0, 1, 2] for row in stored['summary'].values())


def test_chosen_on_the_tuning_phantom_only(result):
    # On the reported phantom the chosen rate is the worse one: choosing there would give the others.
    out, stored = result
    chosen = {arm: row['options'][LR] for arm, row in out['summary'].items()}
    assert chosen == {'plain': 5e-4, 'control': 1e-3, 'relation': 2e-3}
    assert stored['phantoms'] == {
        'tuning': {'hash': 'hash1000', 'seed': 1000},
        'report': {'hash': 'hash0', 'seed': 0},
    }
    assert stored['command'] == 'python bench'
    assert stored['versions']['torch']


def test_mean_and_deviation_over_seeds(result):
    out, _ = result
    row = out['summary']['relation']
    assert row['context_mAP'] == pytest.approx(0.81)
    assert row['context_mAP_std'] == pytest.approx(0.01)
    assert row['per_class']['nodule'] == pytest.approx(0.81)


def test_one_seed_has_no_deviation():
    job = bench.Job('plain', ((LR, 1e-3),), 0, Path('0'), 'h', Path('f'), 1)
    assert bench.summarize([fake_run(job)])['plain']['context_mAP_std'] is None


def test_table_is_written_between_the_markers(result, tmp_path):
    out, stored = result
    readme = tmp_path / 'README.md'
    readme.write_text('above\n<!-- benchmark: begin (x) -->\nold\n<!-- benchmark: end -->\nbelow\n')
    bench.update_readme(readme, stored)
    first = readme.read_text()
    assert first.startswith('above\n<!-- benchmark: begin (x) -->\n| AP')
    assert first.endswith('`.\n<!-- benchmark: end -->\nbelow\n')
    assert 'old' not in first
    assert '**0.810 ± 0.010**' in first
    bench.update_readme(readme, out)
    assert readme.read_text() == first


def test_a_file_without_markers_is_refused(result, tmp_path):
    (tmp_path / 'README.md').write_text('nothing')
    with pytest.raises(ValueError, match='benchmark: begin'):
        bench.update_readme(tmp_path / 'README.md', result[0])


def test_readme_shows_the_stored_numbers():
    stored = json.loads((REPOSITORY / 'benchmarks' / 'chest_phantom.json').read_text())
    assert bench.format_table(stored) in (REPOSITORY / 'README.md').read_text()
    assert stored['summary'] == bench.summarize(stored['runs'])
