"""Neck and backbone inside of detectors, by config alone."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import ConfigDict
from torch.testing import assert_close

from ..small_detector import CONFIGS, small_config
from ..test_dense_heads.dense_case import NUM_CLASSES, OHEM, RETINA, total, unused
from ..test_dense_heads.test_detectors import BACKBONE, PREPROCESSOR, detector

NECK = dict(type='FPNSSH', in_channels=[16, 32, 64], out_channels=8, num_outs=3, norm_cfg=dict(type='GN', num_groups=2))
FIVE = dict(
    type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32, 64, 128]
)
FASTER = CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'


def faster_rcnn(**neck):
    """FPN's own options, read by ours."""
    cfg = small_config(FASTER).model
    cfg.neck = ConfigDict(cfg.neck, type='FPNSSH', **neck)
    return cfg


def retina(type_, neck, backbone=BACKBONE, **head):
    return detector('RetinaNet', dict(NECK, **neck), dict(RETINA, type=type_, **head), backbone)


DETECTORS = {
    'retinanet': lambda: retina(
        'RetinaHead', dict(num_outs=5, start_level=1, add_extra_convs='on_output'), anchor_generator=FIVE
    ),
    'faster_rcnn': faster_rcnn,
    'faster_rcnn_after': lambda: faster_rcnn(merge='after', with_cp=True),
    'single_shot': lambda: retina('SingleShotHead', {}, loss_cls=OHEM),
    'mobilenet': lambda: retina(
        'SingleShotHead',
        dict(in_channels=[64, 128, 256], norm_cfg=dict(type='BN')),
        dict(type='MobileNetV1', frozen_stages=0),
        stacked_convs=0,
    ),
}


def inputs(num_classes, num_items=(2, 0)):
    """Images of different sizes, neither a multiple of 32, the second one without objects."""
    return demo_mm_inputs(
        len(num_items), [(3, 120, 112), (3, 100, 90)], num_items=list(num_items), num_classes=num_classes
    )


@pytest.mark.parametrize('name', DETECTORS)
def test_a_step_and_a_prediction(name):
    cfg = DETECTORS[name]()
    model = MODELS.build(ConfigDict(cfg, _scope_='mmdet'))
    model.init_weights()
    assert type(model.neck).__name__ == 'FPNSSH'
    classes = 10 if name.startswith('faster') else NUM_CLASSES
    losses = model(**model.data_preprocessor(inputs(classes), True), mode='loss')
    parsed, _ = model.parse_losses(losses)
    parsed.backward()
    assert unused(model) == []
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.requires_grad)
    assert all(value.grad.abs().sum() > 0 for value in model.neck.contexts[0].parameters() if value.dim() > 1)
    model.eval()
    with torch.no_grad():
        samples = model.test_step(inputs(classes))
    assert len(samples) == 2
    assert all(sample.pred_instances.bboxes.shape[1] == 4 for sample in samples)


@pytest.mark.parametrize('merge', ['sequential', 'after'])
def test_sizes_that_32_does_not_divide(merge):
    """Without padding to a multiple of 32 the levels of 103 x 75 pixels have 13, 7 and 4 rows."""
    cfg = retina('SingleShotHead', dict(merge=merge))
    cfg.data_preprocessor = ConfigDict(PREPROCESSOR, pad_size_divisor=1)
    model = MODELS.build(cfg)
    data = demo_mm_inputs(1, [(3, 103, 75)], num_items=[3], num_classes=NUM_CLASSES)
    data = model.data_preprocessor(data, True)
    assert [x.shape[2:] for x in model.extract_feat(data['inputs'])] == [(13, 10), (7, 5), (4, 3)]
    losses = model(**data, mode='loss')
    total(losses).backward()
    assert unused(model) == []


def test_checkpointing_in_a_detector_with_a_frozen_backbone():
    backbone = dict(type='MobileNetV1', frozen_stages=5)
    found = []
    for with_cp in (False, True):
        cfg = retina('SingleShotHead', dict(in_channels=[64, 128, 256], with_cp=with_cp), backbone)
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        torch.manual_seed(1)
        losses = model(**model.data_preprocessor(inputs(NUM_CLASSES), True), mode='loss')
        total(losses).backward()
        found.append({name: value.grad for name, value in model.neck.named_parameters()})
    assert found[0].keys() == found[1].keys()
    assert_close(found[1], found[0])
