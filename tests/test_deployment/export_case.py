"""Detectors so small that an export takes seconds, with weights under which they find things."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_ext.deployment.parity import Found, compare, run_torch
from mmdet_ext.deployment.support import first_image, spread_weights

init_default_scope('mmdet')

PARTS = ('left', 'right')
CLASSES = ['a', 'b', 'c']
NMS = dict(type='nms', iou_threshold=0.5)
BACKBONE = dict(
    type='ResNet', depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1), base_channels=8
)
NECK = dict(type='FPN', in_channels=[8, 16], out_channels=16, num_outs=3)
PREPROCESSOR = dict(
    type='DetDataPreprocessor', mean=[110.0, 120, 130], std=[50.0, 60, 70], bgr_to_rgb=True, pad_size_divisor=32
)
CODER = dict(type='DeltaXYWHBBoxCoder')
SIDES = [4, 8, 16]
ANCHORS = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=SIDES)
# The logarithm of 'hu' makes a radian of a box that moves by 1e-4 pixels, where two centres all but meet.
CONTEXT = dict(type='PartContextRelation', part_names=PARTS, heads=2, key_dim=8, split=(2, 1), geom='log1p')
RELATIONS = [
    dict(type='GeometryAttentionRelation', heads=2, key_dim=8, geom_dim=16, geom='log1p'),
    dict(type='ObjectCountRelation', key_num=10),
    dict(type='PartGeometryRelation', part_names=PARTS[::-1], em_dim=16, geom='log1p'),
    CONTEXT,
]


def two_stage(relations: list[dict] | None = None, **box_head: Any) -> Config:
    """A Faster R-CNN; with relations in its head where there are some."""
    head = dict(
        type='Shared2FCBBoxHead' if relations is None else 'RelationBBoxHead',
        in_channels=16,
        fc_out_channels=32,
        roi_feat_size=4,
        num_classes=len(CLASSES),
        bbox_coder=dict(CODER, target_stds=[0.1, 0.1, 0.2, 0.2]),
        **({} if relations is None else dict(relations=relations)),
    )
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=0),
        out_channels=16,
        featmap_strides=[4, 8],
        finest_scale=14,
    )
    return Config(
        dict(
            type='FasterRCNN',
            data_preprocessor=PREPROCESSOR,
            backbone=BACKBONE,
            neck=NECK,
            rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16, anchor_generator=ANCHORS, bbox_coder=CODER),
            roi_head=dict(
                type='StandardRoIHead' if relations is None else 'RelationRoIHead',
                bbox_roi_extractor=extractor,
                bbox_head={**head, **box_head},
            ),
            train_cfg=None,
            test_cfg=dict(
                # Relations read the logarithm of sides times 100: a box of a tenth of a pixel tells rounding errors.
                rpn=dict(nms_pre=60, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=4),
                rcnn=dict(score_thr=0.2, nms=NMS, max_per_img=15),
            ),
        )
    )


def cascade(stages: list[list[dict] | None], **box_head: Any) -> Config:
    """A Cascade R-CNN whose stages have these relations, or None."""
    cfg = two_stage()
    heads = [two_stage(relations, **box_head).roi_head.bbox_head for relations in stages]
    cfg.type = 'CascadeRCNN'
    cfg.roi_head = dict(
        type='CascadeRoIHead' if not any(stages) else 'RelationCascadeRoIHead',
        num_stages=len(stages),
        stage_loss_weights=[1.0] * len(stages),
        bbox_roi_extractor=cfg.roi_head.bbox_roi_extractor,
        bbox_head=heads,
    )
    return cfg


def one_stage(kind: str = 'SingleShotHead', test_cfg: dict | None = None, **head: Any) -> Config:
    """A detector with one of the dense heads."""
    options = dict(in_channels=16, feat_channels=16, anchor_generator=ANCHORS, bbox_coder=CODER)
    neck, typ, rest = NECK, 'SingleStageDetector', dict(score_thr=0.3, nms_pre=40)
    if kind.startswith('YOLO'):
        sizes = [[(32, 28), (20, 36)], [(14, 12), (8, 18)]]
        neck = dict(type='FPN', in_channels=[8, 16], out_channels=16, num_outs=2)
        anchors = dict(type='YOLOAnchorGenerator', base_sizes=sizes, strides=[4, 8])
        options = dict(
            in_channels=[16, 16],
            out_channels=[16, 16],
            anchor_generator=anchors,
            featmap_strides=[4, 8],
            bbox_coder=dict(type='YOLOBBoxCoder'),
        )
        typ, rest = 'YOLOV3', dict(score_thr=0.2, conf_thr=0.4, nms_pre=60)
    elif kind == 'RetinaFaceHead':
        options = dict(in_channels=[16] * 3, feat_channels=16, anchor_generator=ANCHORS)
    return Config(
        dict(
            type=typ,
            data_preprocessor=PREPROCESSOR,
            backbone=BACKBONE,
            neck=neck,
            bbox_head={'type': kind, 'num_classes': len(CLASSES), **options, **head},
            test_cfg={**rest, 'nms': NMS, 'max_per_img': 15, 'min_bbox_size': 0, **(test_cfg or {})},
        )
    )


def build(cfg: Config, seed: int = 0) -> Any:
    """The detector with random weights, in evaluation mode."""
    model = MODELS.build(cfg).eval()
    spread_weights(model, seed)
    return model.requires_grad_(False)


def picture(height: int = 70, width: int = 90, seed: int = 0) -> Tensor:
    """(3, H, W) uint8: bright and dark rectangles on noise."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 90, (3, height, width), generator=generator)
    for _ in range(8):
        y, x, tall, wide = (torch.rand(4, generator=generator) * torch.tensor([height, width, 40, 40])).int().tolist()
        image[:, y : y + tall + 4, x : x + wide + 4] = torch.randint(0, 256, (3, 1, 1), generator=generator)
    return image.to(torch.uint8)


def sample(image: Tensor, parts: bool = False, seed: int = 0) -> dict[str, Any]:
    """The image as a test pipeline packs it."""
    height, width = image.shape[1:]
    packed = DetDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)))
    if parts:
        corner = torch.rand(2, 2, generator=torch.Generator().manual_seed(seed)) * 30
        packed.set_metainfo(dict(part_names=PARTS))
        packed.parts = InstanceData(
            bboxes=torch.cat([corner, corner + 25], dim=1), valid=torch.tensor([True, seed != 1])
        )
    return dict(inputs=image, data_samples=packed)


def assert_same(model: Any, data: dict[str, Any], found: Any, least: int = 5) -> None:
    """The detections are mmdet's own, every one of them, and there are some."""
    other = found if isinstance(found, Found) else first_image(found)
    reference = run_torch(model, data)
    assert len(reference) >= least
    result = compare('image', reference, other)
    assert (result.matched, len(other)) == (len(reference), len(reference)), result
