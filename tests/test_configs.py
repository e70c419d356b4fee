"""Every config parses and builds; the distinct sets of modules, and among the slow tests all, train and predict."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS, DEMO, MASK, small_config, small_mask_config

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known)
from mmdet_ext.graphs import CategoryGraph

FILES = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
GRAPH = CONFIGS / 'relation_rcnn/category-graph-faster-rcnn_r18-gn_fpn_chest-phantom.py'
SMALL = {
    'plain': lambda: small_config(CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'),
    'relation': lambda: small_config(DEMO),
    'mask': lambda: small_config(MASK),
    'relation_mask': small_mask_config,
    'relation_graph': lambda: small_config(GRAPH),
}


def names(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@pytest.fixture(autouse=True)
def phantom_graph(tmp_path, monkeypatch):
    """A folder for the phantom, named by the environment, with the category graph that configs want."""
    classes = Config.fromfile(CONFIGS / '_base_/datasets/chest_phantom.py').metainfo.classes
    CategoryGraph.identity(classes).save(tmp_path / 'train.catgraph.json')
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(tmp_path))


def test_there_are_configs_and_their_names_are_unique():
    assert FILES
    twice = [name for name, number in Counter(path.name for path in FILES).items() if number > 1]
    assert twice == []


def test_folders_can_be_python_paths():
    assert [folder.name for folder in CONFIGS.iterdir() if '-' in folder.name] == []


@pytest.mark.parametrize('path', FILES, ids=names)
def test_builds(path):
    cfg = Config.fromfile(path)
    assert cfg.custom_imports == dict(imports=['mmdet_ext'], allow_failed_imports=False)
    assert cfg.default_scope == 'mmdet'
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    # The class names of every data set are as many as the heads' classes.
    heads = [module for module in model.roi_head.modules() if hasattr(module, 'num_classes')]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        classes = loader.dataset.metainfo.classes
        assert {head.num_classes for head in heads} == {len(classes)}


@pytest.mark.parametrize('name', SMALL)
def test_trains_a_step_and_predicts(name):
    logged = train_a_step_and_predict(SMALL[name]())
    assert ('loss_cls_base' in logged) == ('relation' in name)
    assert ('loss_mask' in logged) == ('mask' in name)


@pytest.mark.slow
@pytest.mark.parametrize('path', FILES, ids=names)
def test_every_config_trains_a_step_and_predicts(path):
    assert train_a_step_and_predict(small_config(path))['loss'] > 0


def train_a_step_and_predict(cfg: Config) -> dict[str, torch.Tensor]:
    """One SGD step on two random images, the second without objects, then a prediction; gives the logged losses."""
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    model.init_weights()
    classes, masks = len(cfg.train_dataloader.dataset.metainfo.classes), 'mask_head' in cfg.model.roi_head
    shapes = [(3, 64, 96)] * 2
    data = demo_mm_inputs(2, image_shapes=shapes, num_items=[2, 0], num_classes=classes, with_mask=masks)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = model.train().forward(**model.data_preprocessor(data, True), mode='loss')
    loss, logged = model.parse_losses(losses)
    loss.backward()
    optimizer.step()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    model.test_cfg.rcnn.score_thr = 0.0
    with torch.no_grad():
        results = model.eval().test_step(data)
    assert [len(result.pred_instances) > 0 for result in results] == [True, True]
    return logged
