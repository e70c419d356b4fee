"""The YOLO log as configs: what they train, and what becomes of the log's first objectness."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS, small_config

from mmdet_ext.engine.launch import train

FILES = sorted((CONFIGS / 'yolo_iou').glob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_what_is_trained(path):
    cfg = Config.fromfile(path)
    head = cfg.model.bbox_head
    assert head.type == 'YOLOIoUHead'
    assert head.get('obj_target', 'iou') == 'iou'
    assert head.loss_bbox.type == 'CompleteIoULoss'
    assert cfg.model.train_cfg.assigner.type == 'YOLOAssigner'
    # From scratch: no weights, and statistics of the network's own.
    assert cfg.model.backbone.get('init_cfg') is None
    assert cfg.model.backbone.norm_eval is False
    assert cfg.load_from is None
    assert 'LossAlarmHook' in [hook.type for hook in cfg.custom_hooks]


def test_the_log_s_schedule():
    cfg = Config.fromfile(CONFIGS / 'yolo_iou/yolo-iou_d53_8xb8-ms-608-102e_coco.py')
    assert cfg.train_cfg.max_epochs == 102
    assert cfg.optim_wrapper.optimizer.lr == 0.001


def test_anchors_fit_the_cells_of_their_level():
    head = Config.fromfile(CONFIGS / '_base_/models/yolo-iou_r18-gn.py').model.bbox_head
    generator = head.anchor_generator
    for sizes, stride in zip(generator.base_sizes, generator.strides, strict=True):
        assert all(stride < max(size) < 6 * stride for size in sizes)


def test_no_term_is_nearly_all_of_the_first_total():
    """The log begins with 148 of 154 in objectness, a sum over all cells."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = small_config(CONFIGS / 'yolo_iou/yolo-iou_r18-gn_bccd.py')
    model = MODELS.build(cfg.model)
    model.init_weights()
    data = demo_mm_inputs(2, image_shapes=[(3, 128, 128)] * 2, num_items=[4, 6], num_classes=3)
    losses = model.train().forward(**model.data_preprocessor(data, True), mode='loss')
    terms = {name: value.item() for name, value in losses.items() if name.startswith('loss')}
    assert set(terms) == {'loss_cls', 'loss_conf', 'loss_bbox'}
    assert max(terms.values()) < 0.9 * sum(terms.values()) < 15


def test_data_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(tmp_path))
    with pytest.raises(ValueError, match=r'to get the data: python tools/dataset_tools/make_chest_phantom\.py'):
        train(CONFIGS / 'yolo_iou/yolo-iou_r18-gn_chest-phantom.py', work_dir=tmp_path / 'run')
