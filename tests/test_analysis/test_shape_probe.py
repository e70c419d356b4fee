"""Detectors run on a random image: sizes of configs, inputs, and what modules give."""

from collections import OrderedDict

import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from mmdet_ext.analysis.shape_probe import (
    build_model,
    config_size,
    count_flops,
    describe,
    make_inputs,
    record_outputs,
)
from mmdet_ext.models.roi_heads.relation_context import batch_parts


def config(*test, train=()):
    loader = {'test': list(test), 'train': list(train)}
    return Config(
        {f'{split}_dataloader': dict(dataset=dict(type='X', pipeline=nodes)) for split, nodes in loader.items()},
        cfg_text='-',
        filename='c.py',
    )


@pytest.mark.parametrize(
    ('node', 'size'),
    [
        (dict(type='Resize', scale=(1333, 800), keep_ratio=True), (800, 1333)),
        (dict(type='FixScaleResize', scale=(800, 1333), keep_ratio=True), (800, 1333)),
        (dict(type='Resize', scale=(300, 600), keep_ratio=False), (600, 300)),
        (dict(type='Resize', scale=320), (320, 320)),
        (dict(type='RandomChoiceResize', scales=[(100, 50), (200, 100)], keep_ratio=True), (100, 200)),
        (dict(type='RandomResize', scale=[(100, 50), (90, 40)], keep_ratio=True), (50, 100)),
        (dict(type='FixShapeResize', width=60, height=30), (30, 60)),
        (dict(type='ResizeShortestEdge', scale=600, max_size=1000), (600, 1000)),
        (dict(type='ResizeShortestEdge', scale=600), (600, 800)),
        (dict(type='RandomChoice', transforms=[[dict(type='Resize', scale=(8, 4))]]), (4, 8)),
    ],
)
def test_sizes_of_configs(node, size):
    assert config_size(config(dict(type='LoadImageFromFile'), node)) == size
    assert config_size(config(dict(type='Resize', scale=(7, 9)), train=[node])) == (9, 7)
    assert config_size(config(train=[node])) == size


@pytest.mark.parametrize('nodes', [(), (dict(type='Resize', scale_factor=2.0),), (dict(type='Resize', scale=(-1, 8)),)])
def test_configs_without_a_size(nodes):
    with pytest.raises(ValueError, match=r'c.py: no Resize of its pipelines names the size of an image; give --size'):
        config_size(config(*nodes))


def test_inputs_are_padded_and_have_parts():
    model = nn.Module()
    model.data_preprocessor = nn.Module()
    model.data_preprocessor.pad_size_divisor = 32
    cfg = config(dict(type='LoadParts', part_names=('heart', 'left lung')))
    images, samples = make_inputs(cfg, model, (40, 65), 2, 'cpu')
    assert images.shape == (2, 3, 64, 96)
    assert (samples[0].img_shape, samples[0].batch_input_shape) == ((40, 65), (64, 96))
    parts = batch_parts(samples)
    assert parts.boxes.shape == (2, 2, 4)
    boxes = samples[0].proposals.bboxes
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert boxes[:, 2].max() <= 65
    assert boxes[:, 3].max() <= 40
    again = make_inputs(cfg, model, (40, 65), 2, 'cpu')[0]
    assert torch.equal(images, again)
    images, samples = make_inputs(config(), nn.Module(), (40, 65), 1, 'meta')
    assert (images.shape, images.device.type) == ((1, 3, 40, 65), 'meta')
    assert 'parts' not in samples[0]


def test_descriptions():
    x = torch.zeros(1, 2, 3)
    assert describe(x) == '1x2x3'
    assert describe(torch.tensor(1.0)) == 'scalar'
    assert describe([x, (x[0], None)]) == '[1x2x3, [2x3, –]]'
    assert describe(OrderedDict(a=x, b={'c': [x]})) == '{a: 1x2x3, b: {c: [1x2x3]}}'
    assert describe([x] * 8) == '[' + '1x2x3, ' * 6 + 'and 2 more]'
    assert describe(HorizontalBoxes(torch.zeros(5, 4))) == '5x4'
    assert describe([InstanceData(bboxes=torch.zeros(5, 4))]) == '[InstanceData {bboxes: 5x4}]'
    assert describe((3, 'text')) == '[int, str]'


class Detector(nn.Module):
    """Calls one layer twice, another never; `bad` are the modes that fail."""

    def __init__(self, bad=()):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Linear(2, 2)
        self.bad = bad
        self.message = None

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode in self.bad:
            self.conv(inputs)
            raise RuntimeError(self.message or f'no {mode}\nand more')
        return [self.conv(inputs), self.conv(inputs[..., ::2])]


def test_outputs_of_all_calls():
    model = Detector()
    outputs, mode = record_outputs(model, torch.zeros(1, 3, 8, 8), [])
    assert mode == 'tensor'
    assert outputs == {'': ['[1x3x8x8, 1x3x8x4]'], 'conv': ['1x3x8x8', '1x3x8x4'], 'unused': []}
    assert 'forward' not in vars(model.conv)
    own = model.conv.forward
    model.conv.forward = own
    record_outputs(model, torch.zeros(1, 3, 8, 8), [])
    assert vars(model.conv)['forward'] is own
    outputs, mode = record_outputs(Detector(['tensor']), torch.zeros(1, 3, 8, 8), [])
    # The calls of the failed run do not count.
    assert (mode, len(outputs['conv'])) == ('predict', 2)


def test_models_that_cannot_run():
    model = Detector(['tensor', 'predict'])
    with pytest.raises(ValueError, match=r'random image \(no predict\); is it a detector of single images'):
        record_outputs(model, torch.zeros(1, 3, 8, 8), [])
    assert 'forward' not in vars(model.conv)
    model.message = 'implementation for device cpu not found'
    with pytest.raises(ValueError, match='one of its operators runs on a GPU only: use --device cuda'):
        record_outputs(model, torch.zeros(1, 3, 8, 8), [])
    with pytest.raises(ValueError, match=r'on the meta device a detector must not look at values'):
        record_outputs(model.to('meta'), torch.zeros(1, 3, 8, 8, device='meta'), [])


def test_operations():
    model = Detector()
    found = count_flops(model, torch.zeros(1, 3, 8, 8), [])
    # 3 x 3 x 3 inputs for each of 3 outputs, at 64 and 32 places.
    assert found['conv'] == found[''] == 27 * 3 * (64 + 32)
    assert 'forward' not in vars(model)
    assert count_flops(Detector(['tensor']), torch.zeros(1, 3, 8, 8), []) == (
        'mmengine cannot count the operations of this model (no tensor).'
    )


def test_models_are_built_for_one_process():
    norm = dict(type='SyncBN', requires_grad=True)
    backbone = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=norm)
    head = dict(type='FCOSHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1, norm_cfg=norm)
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5)
    cfg = Config(dict(model=dict(type='FCOS', backbone=backbone, neck=neck, bbox_head=head)))
    model = build_model(cfg, 'meta')
    assert not model.training
    assert not [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert {parameter.device.type for parameter in model.parameters()} == {'meta'}


def test_models_that_cannot_be_built():
    cfg = config()
    cfg.model = dict(type='ResNet', depth=1)
    with pytest.raises(ValueError, match=r'the model of c.py cannot be built: .*invalid depth 1'):
        build_model(cfg, 'cpu')
    graph = dict(type='CategoryGraphRelation', in_channels=8, graph='none.catgraph.json')
    cfg.model = graph
    with pytest.raises(FileNotFoundError, match=r'none.catgraph.json does not exist'):
        build_model(cfg, 'cpu')
