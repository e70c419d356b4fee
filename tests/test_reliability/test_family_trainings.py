"""Trainings of each family: their configs, and what becomes of one that fails or is there already."""

import json
import os
from pathlib import Path

import pytest

from mmdet_ext.reliability.family_trainings import (
    FAMILIES,
    check_families,
    draw_phantoms,
    family_config,
    read_rows,
    row_origin,
    train_family,
)

from .training_record import run_record

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('name', FAMILIES)
def test_configs(name, tmp_path, monkeypatch):
    monkeypatch.delenv('MMDET_EXT_CHEST_PHANTOM', raising=False)
    cfg = family_config(name, ROOT, tmp_path, 2000, 3, 7)
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=2001)
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers, cfg.randomness.seed) == (2, 3, 7)
    assert cfg.train_dataloader.sampler == dict(type='InfiniteSampler')
    assert cfg.val_dataloader is cfg.val_cfg is cfg.val_evaluator is None
    assert [hook.type for hook in cfg.custom_hooks][0 :: len(cfg.custom_hooks) - 1] == [
        'RandomStateHook',
        'RunRecordHook',
    ]
    assert str(tmp_path) in str(cfg.train_dataloader)
    assert 'MMDET_EXT_CHEST_PHANTOM' not in os.environ


def test_phantoms_are_drawn_with_the_graph_that_a_family_reads(tmp_path):
    folders = draw_phantoms(tmp_path, 0)
    assert [folder.name for folder in folders] == ['chest_phantom', 'face_phantom']
    assert (tmp_path / 'chest_phantom' / 'train.catgraph.json').is_file()
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob('*.png')}
    draw_phantoms(tmp_path, 0)
    assert times == {file: file.stat().st_mtime_ns for file in tmp_path.rglob('*.png')}


@pytest.fixture
def repository(tmp_path):
    """One whose tools/train.py ends as its config says, and counts its calls."""
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text(
        'import pathlib, sys\n'
        'folder = pathlib.Path(sys.argv[3])\n'
        'folder.mkdir()\n'
        'print("a line of the log")\n'
        'if "failing" in str(folder): raise SystemExit(3)\n'
        f'(folder / "run_record.json").write_text({json.dumps(json.dumps(run_record()))})\n'
    )
    return tmp_path


def test_a_finished_training_is_not_repeated(repository, tmp_path):
    cfg = family_config('single-shot', ROOT, tmp_path, 200, 0, 0)
    assert train_family(cfg, tmp_path / 'x' / 'run', repository) == run_record()
    assert (tmp_path / 'x' / 'run.log').read_text() == 'a line of the log\n'
    # It would fail at the folder that is there.
    assert train_family(cfg, tmp_path / 'x' / 'run', repository) == run_record()


def test_a_failed_one_names_its_log(repository, tmp_path):
    cfg = family_config('single-shot', ROOT, tmp_path, 200, 0, 0)
    with pytest.raises(RuntimeError, match=r'failing\.py ended with exit code 3: see .*failing\.log'):
        train_family(cfg, tmp_path / 'failing', repository)


def test_names_and_rows(tmp_path):
    check_families(list(FAMILIES))
    with pytest.raises(ValueError, match="no family is called 'horses'; there are relation, "):
        check_families(['faces', 'horses'])
    assert read_rows(tmp_path / 'x.json') == {}
    (tmp_path / 'x.json').write_text('{"rows": {"faces": 1}}')
    assert read_rows(tmp_path / 'x.json') == {'faces': 1}
    row = row_origin('faces', run_record(device='X'), 2, 3, 'python x')
    assert (row['config'], row['device'], row['commit'], row['seed']) == (FAMILIES['faces'], 'X', 'abc', 3)
