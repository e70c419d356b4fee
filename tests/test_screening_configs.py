"""Screening on the chest phantom: noise, the whole way to a detector of two phases, and the grids that measure it."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS

from mmdet_ext.analysis.ablation import plan as ablation_plan
from mmdet_ext.analysis.ablation.grid import read_grid
from mmdet_ext.analysis.screening.rules import Limits
from mmdet_ext.analysis.screening.screen import screen_images
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.label_noise import plant_label_noise
from mmdet_ext.datasets.screened_list import read_screened_list
from mmdet_ext.engine.launch import load_config, train
from tests.test_analysis.test_ablation.ablation_case import COST
from tests.test_analysis.test_screening.screening_case import row, write_rows

pytestmark = pytest.mark.usefixtures('read_bases_once')
FOLDER = CONFIGS / 'scratch_gn'
FULL, RPN, SECOND = (
    FOLDER / f'{name}.py'
    for name in (
        'faster-rcnn_r18-gn_fpn_600i_chest-phantom-noisy',
        'rpn_r18-gn_fpn_600i_chest-phantom-screened',
        'faster-rcnn_r18-gn_fpn_600i-from-rpn_chest-phantom-noisy',
    )
)
GRIDS = sorted((FOLDER / 'ablations').glob('screening*.yml'))
SMALL = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.dataset.pipeline.2.scale': (64, 64),
    'val_dataloader.dataset.pipeline.1.scale': (64, 64),
    'train_cfg.max_iters': 1,
    'train_cfg.val_interval': 1,
    'default_hooks.checkpoint.interval': 1,
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder as the commands in screening_full.yml leave it: phantom, noise, and lists from made-up losses."""
    root = tmp_path_factory.mktemp('screening')
    data = root / 'data/chest_phantom'
    make_chest_phantom(data, train=8, val=2, size=64, preview=False, progress=False)
    planted = plant_label_noise(data / 'annotations/train.json', data / 'annotations/train_noisy.json', share=0.25)
    images = json.loads((data / 'annotations/train_noisy.json').read_text())['images']
    bad = {item['image_id'] for item in read_screened_list(planted['list'])['images']}
    rows = [row(i['id'], file=i['file_name'], loss=float(i['id'] in bad)) for i in images]
    said: list[str] = []
    options = {'control': 0, 'truth': planted['list'], 'say': said.append}
    limits, out = Limits(loss_quantile=0.7), root / 'work_dirs/screening'
    screen_images(data / 'annotations/train_noisy.json', write_rows(root, rows), out, limits, **options)
    assert '(100%;' in said[-2]
    return root


@pytest.fixture(autouse=True)
def here(place, tmp_path, monkeypatch):
    """The commands run from a folder of the test's own, where data and lists are."""
    init_default_scope('mmdet')
    (tmp_path / 'work_dirs').mkdir()
    for name in ('data', 'work_dirs/screening'):
        (tmp_path / name).symlink_to(place / name)
    monkeypatch.delenv('MMDET_EXT_CHEST_PHANTOM', raising=False)
    monkeypatch.chdir(tmp_path)
    # Formatting a config takes seconds, at every start of a training several times.
    monkeypatch.setattr(Config, 'pretty_text', property(lambda _: 'left_out = True'))


def test_the_two_phases(tmp_path):
    """The RPN trains on what screening has left; the whole detector takes over every weight of it."""
    name = {'experiment_name': 'rpn', 'visualizer.name': 'rpn'}
    first = train(RPN, work_dir=tmp_path / 'rpn', cfg_options={**SMALL, **name})
    assert len(first.train_dataloader.dataset) == 6
    assert set(first.message_hub.log_scalars) >= {'train/loss_rpn_cls', 'train/loss_rpn_bbox', 'val/coco/AR@100'}
    assert 0 <= first.message_hub.get_scalar('val/coco/AR@100').current() <= 1
    taken = {key.replace('bbox_head.', 'rpn_head.'): value for key, value in first.model.state_dict().items()}
    cfg = load_config(SECOND, cfg_options=SMALL)
    assert cfg.load_from == f'work_dirs/{RPN.stem}/iter_{Config.fromfile(RPN).max_iters}.pth'
    model = MODELS.build(cfg.model)
    missing, unexpected = model.load_state_dict(first.model.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split('.')[0] for key in missing} == {'roi_head'}
    for key, value in taken.items():
        assert torch.equal(model.state_dict()[key], value), key
    name = {'experiment_name': 'second', 'visualizer.name': 'second', 'load_from': str(tmp_path / 'rpn/iter_1.pth')}
    second = train(SECOND, work_dir=tmp_path / 'second', cfg_options={**SMALL, **name, 'train_cfg.val_interval': 2})
    assert len(second.train_dataloader.dataset) == 8
    assert second.iter == 1


def test_a_missing_first_phase_names_its_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf'python tools/train\.py .*{RPN.stem}\.py'):
        train(SECOND, work_dir=tmp_path / 'run')


def test_missing_noise_names_its_command(tmp_path):
    (tmp_path / 'data').unlink()
    with pytest.raises(
        ValueError, match=r'train_noisy\.json.* does not exist; to get the data: .*plant_label_noise\.py'
    ):
        train(FULL, work_dir=tmp_path / 'run')


def test_the_configs_differ_in_what_they_are_about():
    plain = Config.fromfile(FOLDER / 'faster-rcnn_r18-gn_fpn_chest-phantom.py')
    full, rpn, second = map(Config.fromfile, (FULL, RPN, SECOND))
    assert full.model == second.model == plain.model
    # As many steps as the plain detector has with its 600 images.
    assert full.max_iters == plain.max_epochs * 600 // plain.batch_size
    assert full.param_scheduler[1].end == full.train_cfg.max_iters == full.default_hooks.checkpoint.interval
    assert rpn.train_cfg == full.train_cfg
    assert all(rpn.model[key] == full.model[key] for key in ('backbone', 'neck', 'rpn_head', 'data_preprocessor'))
    assert full.val_evaluator == plain.val_evaluator
    assert full.val_dataloader == rpn.val_dataloader == plain.val_dataloader


@pytest.mark.parametrize('path', GRIDS, ids=lambda path: path.stem)
def test_a_grid_can_be_planned(path, monkeypatch):
    grid = read_grid(path)
    assert grid.seeds == (0, 1, 2)
    for arm in grid.arms:
        cfg = Config.fromfile(arm.config)
        cfg.merge_from_dict(dict(arm.options))
        assert cfg.param_scheduler[1].end == cfg.train_cfg.max_iters == cfg.train_cfg.val_interval
        assert cfg.default_hooks.checkpoint.interval == cfg.train_cfg.max_iters
        screened = cfg.train_dataloader.dataset.screened
        assert screened is None or Path(screened).is_file()
        for seed in grid.seeds if cfg.load_from else ():
            start = Path(cfg.load_from.replace('{seed}', str(seed)))
            start.parent.mkdir(parents=True, exist_ok=True)
            start.write_text(str(start))
    monkeypatch.setattr(ablation_plan, 'measure_cost', lambda cfg: dict(COST))
    runs = ablation_plan.plan_runs(grid)
    assert len({json.dumps(run.identity) for run in runs if run.seed == 0}) == len(grid.arms)
    assert len(runs) == 3 * len(grid.arms)


def test_all_images_are_trained_once_for_both_grids():
    first, second = (read_grid(FOLDER / f'ablations/{name}.yml') for name in ('screening_full', 'screening'))
    assert first.work_dir == second.work_dir
    names = {arm.name: arm for arm in second.arms}
    assert names[first.arms[0].name].folder == first.arms[0].folder
    lists = [arm.options.get('train_dataloader.dataset.screened') for arm in second.arms]
    assert len(set(lists)) == len(lists) == 4
    counts = [len(read_screened_list(file)['images']) for file in lists[1:3]]
    assert counts[0] == counts[1]


def test_the_first_phases_are_those_the_second_starts_from():
    first, second = (read_grid(FOLDER / f'ablations/{name}.yml') for name in ('screening_rpn', 'screening_two_phases'))
    folders = {str(first.work_dir / arm.folder / 'seed_{seed}/iter_600.pth') for arm in first.arms}
    assert {arm.options['load_from'] for arm in second.arms if 'load_from' in arm.options} == folders
