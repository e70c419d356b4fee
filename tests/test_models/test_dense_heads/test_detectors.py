"""The heads inside of mmdet's detectors, by config alone."""

import pytest
import torch
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.analysis import get_model_complexity_info
from mmengine.config import ConfigDict
from torch.optim import SGD
from torch.testing import assert_close

from .dense_case import CIOU, FACE, NUM_CLASSES, OHEM, RETINA, SSD, TEST_CFG, YOLO, total, unused

BACKBONE = dict(
    type='ResNet',
    depth=18,
    base_channels=8,
    out_indices=(1, 2, 3),
    norm_cfg=dict(type='GN', num_groups=4),
    norm_eval=False,
    init_cfg=None,
)
PREPROCESSOR = dict(type='DetDataPreprocessor', mean=[0] * 3, std=[255] * 3, pad_size_divisor=32)
GN = dict(type='GN', num_groups=2)


def detector(type_, neck, head, backbone=BACKBONE):
    """Heads give their training and test config to the detector."""
    head = dict(head)
    cfgs = {name: ConfigDict(head.pop(name)) for name in ('train_cfg', 'test_cfg')}
    return ConfigDict(
        type=type_,
        _scope_='mmdet',
        data_preprocessor=PREPROCESSOR,
        backbone=backbone,
        neck=neck,
        bbox_head=head,
        **cfgs,
    )


FPN = dict(type='FPN', in_channels=[16, 32, 64], out_channels=8, num_outs=3)
SSD_NECK = dict(
    type='SSDNeck',
    in_channels=(16, 32),
    out_channels=(16, 32, 16),
    level_strides=(2,),
    level_paddings=(1,),
    l2_norm_scale=20,
)
YOLO_NECK = dict(type='YOLOV3Neck', num_scales=3, in_channels=[64, 32, 16], out_channels=[16, 8, 4], norm_cfg=GN)
DETECTORS = {
    'retina': detector('RetinaNet', FPN, dict(RETINA, type='SingleShotHead')),
    'retina_ciou': detector(
        'RetinaNet', FPN, dict(RETINA, type='SingleShotHead', reg_decoded_bbox=True, loss_bbox=CIOU)
    ),
    'yolact_like': detector(
        'SingleStageDetector',
        FPN,
        dict(RETINA, type='SingleShotHead', stacked_convs=0, shared_convs=1, loss_cls=OHEM),
    ),
    'ssd': detector(
        'SingleStageDetector',
        SSD_NECK,
        dict(SSD, type='SingleShotHead', in_channels=(16, 32, 16), loss_cls=OHEM),
        dict(BACKBONE, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(1, 2)),
    ),
    'retina_face': detector('SingleStageDetector', FPN, FACE),
    'yolo': detector('YOLOV3', YOLO_NECK, dict(YOLO, in_channels=[16, 8, 4])),
    'yolo_assigner': detector(
        'YOLOV3',
        YOLO_NECK,
        dict(YOLO, in_channels=[16, 8, 4], train_cfg=dict(assigner=dict(type='YOLOAssigner', ignore_from='pred'))),
    ),
}
DETECTORS['yolo'].bbox_head.type = DETECTORS['yolo_assigner'].bbox_head.type = 'YOLOIoUHead'


def inputs(num_items=(2, 0)):
    """Images of different sizes, the second one without objects; landmarks are the middles of the boxes."""
    data = demo_mm_inputs(
        len(num_items),
        [(3, 128, 128), (3, 100, 96)][: len(num_items)],
        num_items=list(num_items),
        num_classes=NUM_CLASSES,
    )
    for sample in data['data_samples']:
        boxes = sample.gt_instances.bboxes
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        sample.gt_instances.keypoints = torch.cat([middle, torch.ones_like(middle[:, :1])], 1)[:, None].repeat(1, 5, 1)
    return data


def build(name):
    model = MODELS.build(DETECTORS[name])
    model.init_weights()
    return model


@pytest.mark.parametrize('name', DETECTORS)
def test_trains_and_predicts(name):
    model = build(name)
    optimizer = SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        data = model.data_preprocessor(inputs(), True)
        losses = model(**data, mode='loss')
        parsed, logged = model.parse_losses(losses)
        assert_close(parsed, total(losses))
        assert {'num_pos', 'num_neg', 'num_ignored'} < logged.keys()
        optimizer.zero_grad()
        parsed.backward()
        assert unused(model) == []
        assert all(value.grad.isfinite().all() for value in model.parameters())
        optimizer.step()
    model.eval()
    with torch.no_grad():
        samples = model.test_step(inputs())
        assert len(samples) == 2
        assert all(sample.pred_instances.bboxes.shape[1] == 4 for sample in samples)
        if name == 'retina_face':
            assert 'loss_landmark' in logged
            assert logged['num_pos_landmarks'] == logged['num_pos'] > 0
            assert all(sample.pred_instances.keypoints.shape[1:] == (5, 2) for sample in samples)


@pytest.mark.parametrize('name', ['ssd', 'retina', 'retina_face', 'yolo'])
def test_flops(name):
    model = build(name).eval()
    images = torch.rand(1, 3, 128, 128)
    model.forward = model._forward
    found = get_model_complexity_info(model, inputs=(images,), show_table=False, show_arch=False)
    head = get_model_complexity_info(
        model.bbox_head, inputs=(list(model.extract_feat(images)),), show_table=False, show_arch=False
    )
    assert 0 < head['flops'] < found['flops']


@pytest.mark.parametrize('name', ['retina', 'yolo'])
def test_test_time_augmentation(name):
    cfg = DETECTORS[name].copy()
    cfg.test_cfg = ConfigDict(TEST_CFG, score_thr=0.0, max_per_img=5)
    model = DetTTAModel(module=cfg, tta_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=5)).eval()
    data = inputs((1,))
    plain = data['data_samples'][0]
    plain.set_metainfo(dict(flip=False))
    flipped = plain.clone()
    flipped.set_metainfo(dict(flip=True, flip_direction='horizontal'))
    twice = dict(
        inputs=[data['inputs'], [image.flip(-1) for image in data['inputs']]], data_samples=[[plain], [flipped]]
    )
    with torch.no_grad():
        result = model.test_step(twice)[0].pred_instances
    assert 0 < len(result) <= 5
