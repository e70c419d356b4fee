"""Dense heads alone, on feature maps and boxes of our choice."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

import mmdet_ext  # noqa: F401  (registers the modules)

NUM_CLASSES = 3
SHAPE = (64, 96)
STRIDES = (8, 16, 32)
SIZES = [(SHAPE[0] // stride, SHAPE[1] // stride) for stride in STRIDES]
MAX_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.1, ignore_iof_thr=0.5)
TEST_CFG = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
SOFTMAX = dict(type='CrossEntropyLoss', use_sigmoid=False)
OHEM = dict(type='OHEMLoss', loss=SOFTMAX, neg_pos_ratio=3)
CIOU = dict(type='CompleteIoULoss', loss_weight=1.5)
# mmdet's own names of what both heads have.
RETINA = dict(
    num_classes=NUM_CLASSES,
    in_channels=8,
    stacked_convs=1,
    feat_channels=8,
    anchor_generator=dict(
        type='AnchorGenerator', octave_base_scale=2, scales_per_octave=2, ratios=[0.5, 1.0, 2.0], strides=STRIDES
    ),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.5, 0.5, 0.2, 0.2]),
    loss_cls=FOCAL,
    loss_bbox=dict(type='L1Loss', loss_weight=2.0),
    train_cfg=dict(assigner=MAX_IOU, allowed_border=-1, pos_weight=-1),
    test_cfg=TEST_CFG,
)
# The number of anchors differs between the levels.
SSD = dict(
    num_classes=NUM_CLASSES,
    in_channels=(8, 12, 4),
    anchor_generator=dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        strides=STRIDES,
        ratios=([2], [2, 3], [2]),
        min_sizes=[12, 24, 48],
        max_sizes=[24, 48, 80],
    ),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
    train_cfg=dict(assigner=dict(MAX_IOU, neg_iou_thr=0.5), allowed_border=-1, pos_weight=-1),
    test_cfg=TEST_CFG,
)
YOLO = dict(
    type='YOLOIoUHead',
    num_classes=NUM_CLASSES,
    in_channels=(8, 12, 4),
    out_channels=(8, 8, 8),
    anchor_generator=dict(
        type='YOLOAnchorGenerator',
        base_sizes=[[(48, 40), (60, 90)], [(24, 20), (30, 50)], [(8, 12), (16, 10)]],
        strides=STRIDES[::-1],
    ),
    featmap_strides=STRIDES[::-1],
    norm_cfg=dict(type='GN', num_groups=2),
    train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
    test_cfg=dict(TEST_CFG, conf_thr=0.005),
)
FACE = dict(
    type='RetinaFaceHead',
    num_classes=NUM_CLASSES,
    in_channels=8,
    anchor_generator=dict(
        type='AnchorGenerator',
        strides=STRIDES,
        ratios=[1.0],
        scales=[1, 1.5],
        base_sizes=[12, 24, 48],
        centers=[(stride / 2, stride / 2) for stride in STRIDES],
    ),
    train_cfg=dict(assigner=dict(type='YOLOAssigner', pos_iou_thr=0.35, neg_iou_thr=0.35)),
    test_cfg=TEST_CFG,
)
NAN = float('nan')


def face(box: Sequence[float], v: Sequence[int] = (2, 2, 2, 2, 2)) -> list[list[float]]:
    """Five landmarks of a face that fills the box; what is not labelled (v = 0) is no number."""
    x1, y1, x2, y2 = box
    shares = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    return [
        [x1 + x * (x2 - x1), y1 + y * (y2 - y1), float(own)] if own else [NAN, NAN, 0.0]
        for (x, y), own in zip(shares, v, strict=True)
    ]


# Landmarks of all kinds: labelled, hidden, of a part, none.
GTS = [
    dict(
        bboxes=[[4.0, 6, 24, 30], [40, 10, 90, 60], [30, 30, 46, 44]],
        labels=[0, 2, 1],
        keypoints=[
            face([4, 6, 24, 30], (2, 1, 2, 2, 1)),
            face([40, 10, 90, 60], (0, 2, 1, 0, 2)),
            face([0] * 4, [0] * 5),
        ],
    ),
    dict(bboxes=[[50.0, 20, 80, 50]], labels=[1], keypoints=[face([50, 20, 80, 50])]),
]
EMPTY = dict(bboxes=[], labels=[])


def build(cfg: dict, **changes: Any) -> Any:
    """The head of a config, in training mode, its weights initialised."""
    head = MODELS.build(ConfigDict({**cfg, **changes}))
    head.init_weights()
    return head


def single_shot(cfg: dict = RETINA, **changes: Any) -> Any:
    """A `SingleShotHead`."""
    return build({'type': 'SingleShotHead', **cfg}, **changes)


def retina_face(cfg: dict = FACE, **changes: Any) -> Any:
    """A `RetinaFaceHead`."""
    return build(cfg, **changes)


def instances(cfg: dict) -> InstanceData:
    """Boxes, labels and landmarks of one image."""
    found = InstanceData(bboxes=torch.tensor(cfg['bboxes'], dtype=torch.float32).view(-1, 4))
    if 'labels' in cfg:
        found.labels = torch.tensor(cfg['labels'], dtype=torch.long)
    if 'keypoints' in cfg:
        found.keypoints = torch.tensor(cfg['keypoints'], dtype=torch.float32)
    return found


def images(*gts: dict, ignored: Any = None, shape: tuple[int, int] = SHAPE) -> dict[str, Any]:
    """The arguments of `loss_by_feat` beside the predictions; `gts` default to two images with objects."""
    gts = gts or tuple(GTS)
    meta = dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(2.0, 0.5))
    return dict(
        batch_gt_instances=[instances(own) for own in gts],
        batch_img_metas=[dict(meta, img_path=f'image_{i}.png') for i in range(len(gts))],
        batch_gt_instances_ignore=None if ignored is None else [own and instances(own) for own in ignored],
    )


def samples(*gts: dict) -> list[DetDataSample]:
    """The same as a data loader gives it."""
    inputs = images(*gts)
    found = []
    for own, meta in zip(inputs['batch_gt_instances'], inputs['batch_img_metas'], strict=True):
        sample = DetDataSample(metainfo=meta, gt_instances=own)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        found.append(sample)
    return found


def features(head: Any, number: int = 2, seed: int = 0) -> list[Tensor]:
    """Feature maps for `number` images, from fine to coarse or, for YOLO, from coarse to fine."""
    generator = torch.Generator().manual_seed(seed)
    widths = [head.in_channels] * len(SIZES) if isinstance(head.in_channels, int) else head.in_channels
    sizes = SIZES if head.prior_generator.strides[0][0] == STRIDES[0] else SIZES[::-1]
    return [torch.randn(number, width, *size, generator=generator) for width, size in zip(widths, sizes, strict=True)]


def predictions(head: Any, number: int = 2, seed: int = 0, spread: float = 0.5) -> tuple[list[Tensor], ...]:
    """Leaves in place of what `forward` gives: all that the losses see."""
    with torch.no_grad():
        outs = head(features(head, number))
    generator = torch.Generator().manual_seed(seed)
    return tuple([(torch.randn(x.shape, generator=generator) * spread).requires_grad_() for x in maps] for maps in outs)


def as_maps(rows: Tensor, sizes: Sequence[Sequence[int]], numbers: Sequence[int]) -> list[Tensor]:
    """Rows of all priors (B, N, C) as the maps (B, A * C, H, W) that a head gives; the inverse of `flatten_levels`.

    Args:
        rows: in the order of the priors.
        sizes: (H, W) of the levels.
        numbers: A of the levels.
    """
    levels = rows.split([h * w * number for (h, w), number in zip(sizes, numbers, strict=True)], dim=1)
    return [level.reshape(len(rows), h, w, -1).permute(0, 3, 1, 2) for level, (h, w) in zip(levels, sizes, strict=True)]


def loss_terms(losses: dict[str, Any]) -> dict[str, Tensor]:
    """What the optimizer minimises, each term summed as `parse_losses` does."""
    return {
        name: value if isinstance(value, Tensor) else sum(part.mean() for part in value)
        for name, value in losses.items()
        if 'loss' in name
    }


def total(losses: dict[str, Any]) -> Tensor:
    return torch.stack(list(loss_terms(losses).values())).sum()


def descend(head: Any, steps: int = 70) -> list[InstanceData]:
    """Detections after gradient descent on the maps themselves: what the losses want the head to say.

    It starts where a trained head is, with few objects: nobody corrects the scores of ignored priors.
    """
    maps = predictions(head)
    with torch.no_grad():
        for x in maps[0]:
            rare = x.new_full((getattr(head, 'num_attrib', None) or head.cls_out_channels,), -3.0)
            if hasattr(head, 'num_attrib'):
                rare[:4] = 0
            elif not head.use_sigmoid_cls:
                rare[-1] = 3
            x += rare.repeat(x.shape[1] // len(rare))[:, None, None]
    leaves = [x for level in maps for x in level]
    for lr in (0.2, 0.02):
        optimizer = torch.optim.Adam(leaves, lr=lr)
        for _ in range(steps // 2):
            optimizer.zero_grad()
            total(head.loss_by_feat(*maps, **images())).backward()
            optimizer.step()
    return head.predict_by_feat(*maps, batch_img_metas=images()['batch_img_metas'])


def assert_found(results: list[InstanceData]) -> None:
    """The detections above 0.5 are the boxes of `GTS`, no more and no less."""
    for result, gts in zip(results, GTS, strict=True):
        result = result[result.scores > 0.5]
        assert sorted(result.labels.tolist()) == sorted(gts['labels'])
        overlaps = bbox_overlaps(result.bboxes, torch.tensor(gts['bboxes']))
        assert overlaps.max(dim=0).values.min() > 0.9
        assert [gts['labels'][i] for i in overlaps.argmax(dim=1)] == result.labels.tolist()


def unused(module: torch.nn.Module) -> list[str]:
    """Names of parameters that DDP would miss in the backward pass."""
    return [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]
