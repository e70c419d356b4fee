"""`--dataset FILE`."""

import pytest
from mmengine.config import Config

from mmdet_ext.engine.dataset_overlay import class_names, overlay_dataset
from tests.tiny_coco import data_config, tiny_config

PATHS = {'ann': 'a.json', 'images': 'images'}


@pytest.fixture
def cfg(tmp_path) -> Config:
    path = tmp_path / 'tiny.py'
    path.write_text(tiny_config(PATHS))
    return Config.fromfile(path)


@pytest.fixture
def data(tmp_path) -> Config:
    path = tmp_path / 'data.py'
    path.write_text(data_config({'ann': 'b.json', 'images': 'pictures'}, classes=('x', 'y', 'z'), batch_size=3))
    return Config.fromfile(path)


def test_loaders_evaluators_and_heads(cfg, data):
    cfg.model.mask_heads = [{'num_classes': 2}, {'nested': {'num_classes': 7}}]
    cfg.model.rpn_head = {'type': 'RPNHead', 'num_classes': 1}
    assert overlay_dataset(cfg, data) == ['model.bbox_head', 'model.mask_heads.0', 'model.mask_heads.1.nested']
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.model.mask_heads[1].nested.num_classes == 3
    assert cfg.model.rpn_head.num_classes == 1
    assert cfg.train_dataloader.batch_size == 3
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.ann_file == 'b.json'
    assert cfg.test_evaluator.ann_file == 'b.json'
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'


def test_changed_batch_size_is_said(cfg, data, capsys, monkeypatch):
    said = []
    monkeypatch.setattr('mmdet_ext.engine.dataset_overlay.print_log', lambda text, *_: said.append(text))
    overlay_dataset(cfg, data)
    assert any('now 3 (it was 2)' in text for text in said)
    said.clear()
    overlay_dataset(cfg, data)
    assert len(said) == 1


def test_lacking_part(cfg, data):
    data.val_evaluator = None
    with pytest.raises(ValueError, match=r'data\.py lacks val_evaluator'):
        overlay_dataset(cfg, data)
    with pytest.raises(ValueError, match='lacks test_dataloader'):
        overlay_dataset(Config({'model': {'num_classes': 1}}), Config({}))


def test_test_only(data):
    cfg = Config({'model': {'num_classes': 1}})
    data.train_dataloader = None
    overlay_dataset(cfg, data)
    assert cfg.model.num_classes == 3


def test_model_without_head(cfg, data):
    del cfg.model.bbox_head['num_classes']
    with pytest.raises(ValueError, match="No dict below 'model'"):
        overlay_dataset(cfg, data)


def test_class_names():
    wrapped = {'type': 'RepeatDataset', 'dataset': {'type': 'ConcatDataset', 'datasets': [{'type': 'CocoDataset'}]}}
    assert len(class_names(wrapped)) == 80
    assert class_names({'type': 'CocoDataset', 'metainfo': {'classes': 'face'}}) == ('face',)
    with pytest.raises(ValueError, match='names no classes'):
        class_names({'type': 'BaseDetDataset'})


def test_the_category_graph_follows_the_data(cfg, data):
    cfg.train_dataloader.dataset.data_root = 'data/old/'
    data.train_dataloader.dataset.data_root = '/elsewhere/new'
    graphs = ('data/old/train.catgraph.json', 'data/old2/x.json', 'identity')
    cfg.model.bbox_head.relations = [dict(graph=graph) for graph in graphs]
    overlay_dataset(cfg, data)
    found = [relation.graph for relation in cfg.model.bbox_head.relations]
    assert found == ['/elsewhere/new/train.catgraph.json', 'data/old2/x.json', 'identity']


def test_without_folders_graphs_stay(cfg, data):
    cfg.model.bbox_head.graph = 'train.catgraph.json'
    overlay_dataset(cfg, data)
    assert cfg.model.bbox_head.graph == 'train.catgraph.json'


def test_the_folder_of_wrapped_data(cfg, data):
    cfg.train_dataloader.dataset.data_root = 'old'
    inner = dict(data.train_dataloader.dataset, data_root='new')
    data.train_dataloader.dataset = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[inner]))
    cfg.model.bbox_head.graph = 'old/a.json'
    overlay_dataset(cfg, data)
    assert cfg.model.bbox_head.graph == 'new/a.json'
