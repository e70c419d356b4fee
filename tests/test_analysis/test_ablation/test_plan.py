"""From grid file to runs: configs written, everything wrong said before a training starts."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.ablation import plan as ablation_plan
from mmdet_ext.analysis.ablation.grid import read_grid
from mmdet_ext.analysis.ablation.plan import PLAN, plan_runs, unfinished
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.graphs import CategoryGraph
from tests.test_analysis.test_ablation.ablation_case import COST, GRID, finish, plan, write_grid
from tests.tiny_coco import data_config, make_tiny_coco

EXAMPLES = Path(__file__).parents[3] / 'configs/relation_rcnn/ablations'


@pytest.fixture
def free(monkeypatch):
    """Models are neither built nor run."""
    monkeypatch.setattr(ablation_plan, 'measure_cost', lambda cfg: dict(COST))


def test_runs_seed_by_seed_with_whole_configs(tmp_path):
    write_grid(tmp_path)
    with (tmp_path / 'tiny.py').open('a') as file:
        print('randomness = dict(seed=5, deterministic=True)', file=file)
    _, runs = plan(tmp_path)
    assert [run.name for run in runs] == ['slow/seed_0', 'fast/seed_0', 'slow/seed_1', 'fast/seed_1']
    run = runs[3]
    cfg = Config.fromfile(run.config)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.randomness) == (0.01, dict(seed=1, deterministic=True))
    assert cfg.work_dir == str(run.folder) == str(tmp_path / 'out/fast/seed_1')
    assert [hook.type for hook in cfg.custom_hooks] == ['RandomStateHook', 'RunRecordHook']
    stored = json.loads((run.folder / PLAN).read_text())
    assert stored['options'] == {'optim_wrapper.optimizer.lr': 0.01}
    assert (stored['arm'], stored['seed'], stored['base']) == ('fast', 1, str(tmp_path / 'tiny.py'))
    assert run.cost['parameters'] > 0
    assert unfinished(runs) == runs
    finish(runs[0], 0.5)
    assert unfinished(runs) == runs[1:]


def test_planning_again_keeps_what_is_finished_and_measures_once(tmp_path, monkeypatch):
    _, runs = plan(tmp_path)
    finish(runs[0], 0.5)
    runs[0].config.write_text('kept')
    monkeypatch.setattr(ablation_plan, 'measure_cost', lambda cfg: pytest.fail('measured again'))
    assert plan(tmp_path)[1] == runs
    assert runs[0].config.read_text() == 'kept'


def test_another_config_or_other_data_are_refused_once_there_is_something(tmp_path, free):
    _, runs = plan(tmp_path)
    (tmp_path / 'tiny.py').write_text((tmp_path / 'tiny.py').read_text().replace('lr=0.001', 'lr=0.002'))
    _, runs = plan(tmp_path)
    (runs[0].folder / 'epoch_1.pth').touch()
    (tmp_path / 'tiny.py').write_text((tmp_path / 'tiny.py').read_text().replace('lr=0.002', 'lr=0.003'))
    sentence = (
        r'slow/seed_0 holds a training with another config.*optimizer\.lr is 0\.002 in one and 0\.003 in the other'
    )
    with pytest.raises(ValueError, match=sentence):
        plan(tmp_path)
    (tmp_path / 'tiny.py').write_text((tmp_path / 'tiny.py').read_text().replace('lr=0.003', 'lr=0.002'))
    plan(tmp_path)
    # Data that only the loaders read: here the evaluator has files of its own, so the config stays the same.
    finish(runs[0], 0.5)
    (tmp_path / 'data/images/new.png').touch()
    stored = json.loads((runs[0].folder / PLAN).read_text())
    stored['data']['val_dataloader.dataset.data_prefix.img'] = '3 files'
    (runs[0].folder / PLAN).write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r'holds a training with another data.*is 3 files in one'):
        plan(tmp_path)


def test_a_strange_folder_is_refused(tmp_path):
    (tmp_path / 'out/slow/seed_0').mkdir(parents=True)
    (tmp_path / 'out/slow/seed_0/epoch_9.pth').touch()
    with pytest.raises(ValueError, match=r'slow/seed_0 holds a training that is not of an ablation\. Name another'):
        plan(tmp_path)


def arm(options):
    return GRID + f'  odd: {{{{options: {options}}}}}\n'


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (
            '{{model.bbox_head.feat_chanels: 8}}',
            "arm 'odd': model.bbox_head.feat_chanels: .*nearest name is .*channels'",
        ),
        ('{{data_root: x}}', "arm 'odd': data_root"),
        ('{{model.bbox_head.loss_cls.type: NoLoss}}', "arm 'odd': the model cannot be built: KeyError: .*NoLoss"),
        (
            '{{val_evaluator.iou_thrs: [0.5]}}',
            "'slow' and 'odd' are measured by different things.*val_evaluator.iou_thrs",
        ),
        ('{{val_evaluator: null}}', 'has no validation'),
    ],
)
def test_faults_of_an_arm_are_said_before_anything_is_written(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan(tmp_path, text=arm(options))
    assert not list(tmp_path.glob('out/*/seed_*'))


def test_arms_on_other_data_are_refused(tmp_path):
    write_grid(tmp_path)
    other = make_tiny_coco(tmp_path / 'other', n=3)
    options = f'{{{{train_dataloader.dataset.ann_file: {other["ann"]}}}}}'
    with pytest.raises(ValueError, match="'slow' and 'odd' are trained or measured on different things"):
        plan(tmp_path, text=arm(options))


def test_dataset_overlay(tmp_path, free):
    paths = make_tiny_coco(tmp_path / 'three', n=3, classes=('x', 'y', 'z'))
    (tmp_path / 'three.py').write_text(data_config(paths, classes=('x', 'y', 'z')))
    _, runs = plan(tmp_path, more='dataset: three.py')
    cfg = Config.fromfile(runs[0].config)
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.val_evaluator.ann_file == paths['ann']


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.yml')), ids=lambda path: path.stem)
def test_every_arm_of_the_examples_builds(path, tmp_path, monkeypatch):
    make_chest_phantom(tmp_path, train=1, val=1, size=64, preview=False, progress=False)
    CategoryGraph.from_coco(tmp_path / 'annotations/train.json').save(tmp_path / 'train.catgraph.json')
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(tmp_path))
    grid = read_grid(path)
    init_default_scope('mmdet')
    for arm in grid.arms:
        with torch.device('meta'):
            assert MODELS.build(ablation_plan._arm_config(grid, arm).model)


def test_missing_data_end_in_a_sentence(tmp_path):
    grid_file = write_grid(tmp_path)
    (tmp_path / 'data/ann.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'ann_file is .*ann\.json, which is not there'):
        plan_runs(read_grid(grid_file))


def test_each_seed_starts_from_weights_of_its_own(tmp_path, free):
    grid = 'options: {load_from: "%s"}' % (tmp_path / 'plain/seed_{seed}.pth')
    (tmp_path / 'plain').mkdir()
    torch.save({'state_dict': {}}, tmp_path / 'plain/seed_0.pth')
    with pytest.raises(FileNotFoundError, match=r'starts from the checkpoint .*plain/seed_1\.pth, which is not there'):
        plan(tmp_path, grid)
    assert len(plan_runs(read_grid(tmp_path / 'grid.yml'), collect=True)) == 4
    torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'plain/seed_1.pth')
    _, runs = plan(tmp_path, grid)
    starts = [Config.fromfile(run.config).load_from for run in runs]
    assert starts == [str(tmp_path / f'plain/seed_{run.seed}.pth') for run in runs]
    assert runs[0].identity['load_from'] == runs[1].identity['load_from'] != runs[2].identity['load_from']
    # What a finished run started from is needed no longer, but it must not be another file.
    for run in runs:
        finish(run, 0.5)
    torch.save({'state_dict': {}}, tmp_path / 'plain/seed_1.pth')
    with pytest.raises(ValueError, match=r'holds a training with another config, stored and now: load_from is'):
        plan(tmp_path, grid)
