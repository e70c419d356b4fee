"""Trainings in mixed precision, which want a GPU: their configs, and the table of what became of them."""

import json
from pathlib import Path

import pytest

from mmdet_ext.reliability import family_trainings
from mmdet_ext.reliability.mixed_precision import format_mixed_precision, mixed_config, run_mixed_precision

from .training_record import run_record

ROOT = Path(__file__).parents[2]


def test_config(tmp_path):
    cfg = mixed_config('faces', 'bfloat16', ROOT, tmp_path, 300, 0, 0)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == ('AmpOptimWrapper', 'bfloat16')
    assert cfg.optim_wrapper.clip_grad.max_norm == 10
    assert cfg.custom_hooks[-1] == dict(type='CheckInvalidLossHook', interval=1)


def test_a_failure_is_written_down_and_the_next_one_begins(tmp_path, monkeypatch):
    folders, said = [], []

    def train(cfg, folder, repository):
        folders.append(folder.name)
        if cfg.optim_wrapper.dtype == 'float16':
            raise RuntimeError('it ended with exit code 1')
        return run_record(step_seconds=0.0314, peak_memory_mb=1500)

    monkeypatch.setattr(family_trainings, 'train_family', train)
    out = tmp_path / 'x.json'
    options = dict(work_dir=tmp_path, repository=ROOT, command='python x', say=said.append)
    run_mixed_precision(out, families=['faces'], dtypes=['bfloat16'], **options)
    rows = run_mixed_precision(out, families=['relation'], **options)
    error, figures = {'error': 'it ended with exit code 1'}, {'seconds': 0.0314, 'peak_mb': 1500}
    assert rows['relation']['dtypes'] == {'float16': error, 'bfloat16': figures}
    assert rows['relation']['commit'] == 'abc'
    assert folders[-1] == 'bfloat16_300_steps_2_workers_seed_0'
    assert said[-2:] == ['relation, float16: failed: it ended with exit code 1', 'relation, bfloat16: 31 ms, 1500 MB']
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in
             format_mixed_precision(json.loads(out.read_text())).splitlines()]  # fmt: skip
    assert lines[0] == ['family', 'steps', 'bfloat16', 'float16']
    assert lines[2:] == [
        ['faces', '300', '31 ms, 1500 MB', ''],
        ['relation', '300', '31 ms, 1500 MB', 'failed: it ended with exit code 1'],
    ]


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="mixed precision is float16 or bfloat16, not 'fp8'"):
        run_mixed_precision(tmp_path / 'x.json', dtypes=['fp8'], work_dir=tmp_path)
    with pytest.raises(ValueError, match="no family is called 'horses'"):
        run_mixed_precision(tmp_path / 'x.json', families=['horses'], work_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
