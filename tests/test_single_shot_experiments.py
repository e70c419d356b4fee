"""The one-stage log's experiments and the ablations beside them: what each row changes, and where it starts."""

import re
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS, small_config

from mmdet_ext.analysis.ablation.grid import read_grid
from mmdet_ext.engine.dataset_overlay import overlay_dataset
from mmdet_ext.engine.hooks import LossScopeHook
from mmdet_ext.engine.launch import load_config, train

pytestmark = pytest.mark.usefixtures('read_bases_once')
FOLDER = CONFIGS / 'single_shot/experiments'
ROWS = sorted(path.stem for path in FOLDER.glob('*.py'))
ABLATIONS = CONFIGS / 'single_shot/ablations'
EPOCHS = {'train_cfg.max_epochs'}
CLS, BBOX, ASSIGNER = 'model.bbox_head.loss_cls', 'model.bbox_head.loss_bbox', 'model.train_cfg.assigner'
THRESHOLDS = {f'{ASSIGNER}.pos_iou_thr', f'{ASSIGNER}.neg_iou_thr'}
ROLLBACK = {'load_from', *EPOCHS}
# What a row changes in another one; places below a name that is listed count as that name.
DIFFERENCES = (
    ('pretrained', 'ohem', {*ROLLBACK, 'param_scheduler', 'optim_wrapper.optimizer.lr', 'train_cfg.val_interval'}),
    ('ohem', 'focal_a25', {*ROLLBACK, CLS}),
    (
        'focal_a25',
        'iou_110_70',
        {'load_from', CLS, BBOX, 'model.bbox_head.reg_decoded_bbox', 'model.bbox_head.small_obj_weight', *THRESHOLDS},
    ),
    ('iou_110_70', 'iou_50_40', {*ROLLBACK, *THRESHOLDS}),
    ('iou_50_40', 'restart', ROLLBACK),
    ('iou_50_40', 'iou_50_20', {*ROLLBACK, f'{ASSIGNER}.neg_iou_thr'}),
    ('iou_50_40', 'iou_60_40', {*ROLLBACK, f'{ASSIGNER}.pos_iou_thr'}),
    ('iou_60_40', 'iou_60_40_score_005', {'model.test_cfg.score_thr'}),
    ('iou_50_40', 'focal_a75', {*ROLLBACK, CLS}),
    ('focal_a75', 'focal_a10', {f'{CLS}.alpha'}),
    ('iou_50_40', 'ghm_c', {*ROLLBACK, CLS}),
    ('ghm_c', 'ghm_c_longer', {'load_from'}),
    ('iou_50_40', 'cls_only', {*ROLLBACK, f'{BBOX}.loss_weight'}),
    ('iou_50_40', 'scratch', {*ROLLBACK, 'train_cfg.val_interval'}),
)
# The thresholds that the log names, and the loss of its classifier.
SETTINGS = {
    'pretrained': (0.5, 0.4, 'OHEMLoss'),
    'ohem': (0.5, 0.4, 'OHEMLoss'),
    'focal_a25': (0.5, 0.4, 'FocalLoss'),
    'iou_110_70': (1.1, 0.7, 'CrossEntropyLoss'),
    'iou_50_40': (0.5, 0.4, 'CrossEntropyLoss'),
    'restart': (0.5, 0.4, 'CrossEntropyLoss'),
    'iou_50_20': (0.5, 0.2, 'CrossEntropyLoss'),
    'iou_60_40': (0.6, 0.4, 'CrossEntropyLoss'),
    'iou_60_40_score_005': (0.6, 0.4, 'CrossEntropyLoss'),
    'focal_a75': (0.5, 0.4, 'FocalLoss'),
    'focal_a10': (0.5, 0.4, 'FocalLoss'),
    'ghm_c': (0.5, 0.4, 'GHMCLoss'),
    'ghm_c_longer': (0.5, 0.4, 'GHMCLoss'),
    'cls_only': (0.5, 0.4, 'CrossEntropyLoss'),
    'scratch': (0.5, 0.4, 'CrossEntropyLoss'),
}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def read(row: str) -> Config:
    return Config.fromfile(FOLDER / f'{row}.py')


def leaves(node, path: str = '') -> dict:
    """Dotted path to value."""
    if isinstance(node, dict) and node:
        return {key: value for name, child in node.items() for key, value in leaves(child, f'{path}.{name}').items()}
    return {path[1:]: node}


def differences(one: Config, two: Config, names: set[str]) -> set[str]:
    """Dotted paths of what a Runner reads, those below a name as the name."""
    read_by_runner = {'model', 'load_from', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'}
    a, b = (leaves({key: value for key, value in cfg.to_dict().items() if key in read_by_runner}) for cfg in (one, two))
    different = {key for key in {*a, *b} if a.get(key) != b.get(key)}
    return {next((name for name in names if path.startswith(f'{name}.')), path) for path in different}


@pytest.mark.parametrize(('before', 'after', 'changed'), DIFFERENCES, ids=[pair[1] for pair in DIFFERENCES])
def test_what_a_row_changes(before, after, changed):
    assert differences(read(before), read(after), changed) == changed


def test_settings_of_the_log():
    assert set(SETTINGS) == set(ROWS)
    for row, (positive, negative, loss) in SETTINGS.items():
        cfg = read(row)
        assigner = cfg.model.train_cfg.assigner
        assert (assigner.pos_iou_thr, assigner.neg_iou_thr, cfg.model.bbox_head.loss_cls.type) == (
            positive,
            negative,
            loss,
        )
        assert cfg.model.bbox_head.loss_cls.use_sigmoid
        # "以及 top_k=100", and score threshold 0.05 except where the log changes it.
        assert cfg.model.test_cfg.max_per_img == 100
        assert cfg.model.test_cfg.score_thr == (0.005 if row == 'iou_60_40_score_005' else 0.05)
        assert cfg.train_dataloader.batch_size == 8
        assert cfg.optim_wrapper.optimizer.lr == (1e-3 if row == 'pretrained' else 1e-4)
    assert [read(f'focal_{name}').model.bbox_head.loss_cls.alpha for name in ('a25', 'a75', 'a10')] == [0.25, 0.75, 0.1]


def test_priors_of_the_log():
    """19 248 at 550 pixels, whose maps have 69, 35, 18, 9 and 5 cells a side."""
    with torch.device('meta'):
        head = MODELS.build(read('iou_50_40').model.bbox_head)
    anchors = head.prior_generator.grid_priors([(n, n) for n in (69, 35, 18, 9, 5)], device='cpu')
    assert sum(map(len, anchors)) == 19248


@pytest.mark.parametrize('row', ROWS)
def test_a_row_starts_from_the_last_epoch_of_another(row):
    cfg = read(row)
    if row in ('pretrained', 'scratch'):
        assert cfg.load_from is None
        return
    other, epoch = re.fullmatch(r'work_dirs/(\w+)/epoch_(\d+)\.pth', cfg.load_from).groups()
    assert read(other).train_cfg.max_epochs == int(epoch)
    assert not cfg.resume


def test_a_checkpoint_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'python tools/train\.py .*/experiments/iou_50_40\.py'):
        train(FOLDER / 'ghm_c.py', work_dir=tmp_path / 'run')


@pytest.mark.parametrize('row', ['focal_a75', 'ghm_c', 'cls_only', 'iou_60_40'])
def test_a_rollback_takes_over_every_weight(row):
    before = MODELS.build(small_config(FOLDER / 'iou_50_40.py').model)
    after = MODELS.build(small_config(FOLDER / f'{row}.py').model)
    missing, unexpected = after.load_state_dict(before.state_dict(), strict=False)
    assert unexpected == []
    # A loss may keep a moving average, which begins anew.
    assert [key for key in missing if not key.startswith('bbox_head.loss_')] == []
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new), name


@pytest.mark.parametrize('name', ['bccd', 'bccd_256', 'deeppcb', 'deeppcb_tiles', 'chest_phantom'])
def test_on_other_data(name):
    cfg = load_config(FOLDER / 'ghm_c.py', dataset=CONFIGS / f'_base_/datasets/{name}.py')
    classes = len(cfg.train_dataloader.dataset.metainfo.classes)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.bbox_head.num_classes == model.bbox_head.cls_out_channels == classes


@pytest.mark.parametrize(
    'path', ['ghm/single-shot_r50_fpn_ghm-1x_coco.py', 'ghm/retinanet_r50_fpn_ghm-level-1x_coco.py']
)
def test_densities_fit_their_heads(path):
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(CONFIGS / path).model)
    LossScopeHook().before_train(SimpleNamespace(model=model))
    assert model.bbox_head.loss_cls.scope == ('batch' if 'single-shot' in path else 'level')


@pytest.mark.parametrize('path', sorted(ABLATIONS.glob('*_losses.yml')), ids=lambda path: path.stem)
def test_an_arm_of_an_ablation_changes_one_thing(path):
    grid = read_grid(path)
    assert grid.reference == 'reference'
    assert len(grid.seeds) == 3
    configs = {}
    for arm in grid.arms:
        cfg = configs[arm.name] = Config.fromfile(arm.config)
        cfg.merge_from_dict(dict(arm.options))
        if grid.dataset:
            overlay_dataset(cfg, Config.fromfile(grid.dataset))
        assert {cfg[f'{split}_dataloader'].num_workers for split in ('train', 'val', 'test')} == {0}
        assert max(cfg.train_dataloader.dataset.pipeline[2].scale) <= 256
        assert cfg.param_scheduler[1].end == cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval
        with torch.device('meta'):
            model = MODELS.build(deepcopy(cfg.model))
        LossScopeHook().before_train(SimpleNamespace(model=model))
    reference = configs.pop('reference')
    factors = {CLS, BBOX, ASSIGNER}
    assert reference.model.bbox_head.loss_cls.type == 'FocalLoss'
    for cfg in configs.values():
        changed = differences(reference, cfg, factors) - {'model.bbox_head.reg_decoded_bbox'}
        assert len(changed) == 1
        assert changed <= factors
    kinds = {cfg.model.bbox_head.loss_cls.type for cfg in configs.values()}
    assert {'CrossEntropyLoss', 'OHEMLoss', 'GHMCLoss'} <= kinds
