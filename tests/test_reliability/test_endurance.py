"""What counts as flat, and how it is measured; trainings are replaced, but for a slow one."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mmdet_ext.engine.hooks.memory_trace_hook import FIELDS
from mmdet_ext.reliability import endurance
from mmdet_ext.reliability.endurance import describe, format_endurance, judge_trace, read_trace, run_endurance

from .training_record import run_record

ROOT = Path(__file__).parents[2]


def trace(per_step=0.0, files=lambda step: 40.0, threads=lambda step: 5.0, steps=2000):
    iteration = np.arange(20, steps + 1, 20, dtype=float)
    # Caches fill at first.
    resident = 500 + 100 * (1 - np.exp(-iteration / 100)) + per_step * iteration
    return {
        'iteration': iteration,
        'resident_mb': resident,
        'allocated_mb': 0 * iteration,
        'open_files': np.array([files(step) for step in iteration]),
        'threads': np.array([threads(step) for step in iteration]),
    }


def test_filling_caches_are_flat():
    found = judge_trace(trace())
    assert found['flat'] is True
    assert found['resident_mb']['level'] == pytest.approx(600, abs=0.1)
    assert abs(found['resident_mb']['per_1000_steps']) < 0.1
    assert (found['open_files'], found['threads']['level']) == ({'level': 40, 'per_1000_steps': pytest.approx(0)}, 5)


def test_a_leak_is_found():
    found = judge_trace(trace(per_step=0.02))
    assert found['resident_mb']['per_1000_steps'] == pytest.approx(20, rel=0.01)
    assert found['flat'] is False
    # Half a percent in a thousand steps is not told from noise.
    assert judge_trace(trace(per_step=0.003))['flat'] is True


def test_files_and_threads_that_pile_up_are_found():
    assert judge_trace(trace(files=lambda step: 40 + step // 200))['flat'] is False
    assert judge_trace(trace(threads=lambda step: 5 + step // 500))['flat'] is False
    assert judge_trace(trace(files=lambda step: 40 + (step > 400)))['flat'] is True


def write(folder, values):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'memory.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows({key: values[key][place] for key in FIELDS} for place in range(len(values['iteration'])))


def test_a_trace_is_read(tmp_path):
    write(tmp_path, trace(steps=100))
    found = read_trace(tmp_path / 'memory.csv')
    np.testing.assert_array_equal(found['iteration'], [20, 40, 60, 80, 100])
    assert judge_trace({key: values[:1] for key, values in found.items()})['flat'] is True
    (tmp_path / 'memory.csv').write_text(','.join(FIELDS) + '\n')
    with pytest.raises(ValueError, match='has no rows'):
        read_trace(tmp_path / 'memory.csv')


@pytest.fixture
def trained(monkeypatch):
    """Trainings whose trace is known."""
    calls = []

    def train(cfg, folder, repository):
        calls.append((cfg, folder))
        write(folder, trace(per_step=0.05 if 'yolo' in str(folder) else 0.0))
        return run_record()

    monkeypatch.setattr(endurance, 'train_family', train)
    return calls


def test_rows_stay(trained, tmp_path):
    out, said = tmp_path / 'b' / 'endurance.json', []
    options = dict(work_dir=tmp_path / 'w', repository=ROOT, command='python x', say=said.append)
    (row,) = run_endurance(out, families=['single-shot'], **options)
    assert (row['flat'], row['steps'], row['config'], row['command']) == (
        True, 2000, 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py', 'python x',
    )  # fmt: skip
    rows = run_endurance(out, families=['single-shot', 'YOLO with IoU'], **options)
    assert [each['flat'] for each in rows] == [True, False]
    (cfg, folder), *_ = trained
    assert cfg.custom_hooks[-1] == dict(type='MemoryTraceHook', interval=20)
    assert (cfg.train_cfg.max_iters, cfg.train_dataloader.num_workers) == (2000, 2)
    assert folder.name == '2000_steps_2_workers_seed_0'
    assert (row['commit'], row['versions'], row['workers']) == ('abc', {'torch': '1'}, 2)
    stored = json.loads(out.read_text())
    assert set(stored['rows']) == {'single-shot', 'YOLO with IoU'}
    assert out.with_suffix('.png').stat().st_size > 5000
    assert said[-1] == 'YOLO with IoU: 675 MB, +50.0 MB over 1000 steps, 40 open files, 5 threads: it grows'
    assert describe(stored['rows']['single-shot']).endswith('flat')
    lines = format_endurance(stored).splitlines()
    assert '| YOLO with IoU | 2000 | 675 MB | +50.0 MB | 40 | 5 | grows |' in lines


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(families=['faces', 'horses']), "no family is called 'horses'; there are relation, "),
        (dict(steps=100), 'a trend needs 200 steps or more, got 100'),
    ],
)
def test_wrong_arguments(options, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        run_endurance(tmp_path / 'x.json', work_dir=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_real_training(tmp_path):
    (row,) = run_endurance(
        tmp_path / 'x.json', steps=200, workers=1, families=['single-shot'], work_dir=tmp_path, repository=ROOT
    )
    assert len(row['trace']['iteration']) == 10
    assert row['resident_mb']['level'] > 200
