"""Small detectors of every family with random weights, on four images with five objects, shared by these tests."""

import copy
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmdet_ext  # noqa: F401  (registers our heads)
from mmdet_ext.analysis.diagnosis.detector import DiagnosedDetector
from mmdet_ext.analysis.relation_probe.detector import quiet
from tests.test_models.small_detector import CONFIGS, shrink

MODELS_DIR = CONFIGS / '_base_/models'
WIDTH, HEIGHT, SCALE = 80, 60, 1.6
CLASSES = ('a', 'b')
# Of each image; the last one has no objects, the second one a crowd beside them.
BOXES: list[list[tuple[int, list[int]]]] = [
    [(1, [6, 4, 30, 24]), (2, [44, 20, 26, 30])],
    [(2, [10, 10, 40, 36]), (1, [50, 30, 20, 20])],
    [(1, [30, 8, 44, 48])],
    [],
]
CROWD = [2, 40, 30, 18]
FAMILIES = (
    'faster', 'mask', 'cascade', 'relation', 'retina', 'ssd', 'yolo', 'single_shot', 'yolo_iou', 'retina_face', 'fcos',
    'detr', 'rpn',
)  # fmt: skip
DENSE = ('retina', 'ssd', 'yolo', 'single_shot', 'yolo_iou', 'retina_face')

RESNET = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='GN', num_groups=4), norm_eval=False)
PREPROCESSOR = dict(
    type='DetDataPreprocessor', mean=[50.0, 60, 70], std=[60.0, 50, 40], bgr_to_rgb=True, pad_size_divisor=32
)
NMS = dict(nms_pre=100, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
MAX_IOU = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=0.5),
    sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1, debug=False,
)  # fmt: skip


def write_data(root: Path) -> None:
    """Write images and `ann.json`: segmentations and five landmarks for each object."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index, objects in enumerate(BOXES):
        picture = rng.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for label, (x, y, w, h) in objects:
            picture[y : y + h, x : x + w, label] = 220
            points = [x + w / 3, y + h / 3, 2, x + 2 * w / 3, y + h / 3, 2, x + w / 2, y + h / 2, 2]
            points += [x + w / 3, y + 2 * h / 3, 2, 0, 0, 0]
            annotations.append(dict(image_id=index, category_id=label, bbox=[x, y, w, h], iscrowd=0, keypoints=points))
        cv2.imwrite(str(root / f'{index}.png'), picture)
        images.append({'id': 100 + index, 'file_name': f'{index}.png', 'width': WIDTH, 'height': HEIGHT})
    annotations.append(dict(image_id=1, category_id=1, bbox=CROWD, iscrowd=1))
    for number, annotation in enumerate(annotations):
        x, y, w, h = annotation['bbox']
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        annotation |= {'id': number + 1, 'image_id': annotation['image_id'] + 100, 'area': w * h}
        # A crowd's is run-length encoded.
        counts = [HEIGHT * WIDTH]
        crowd = {'size': [HEIGHT, WIDTH], 'counts': counts}
        annotation['segmentation'] = crowd if annotation['iscrowd'] else [corners]
    categories = [{'id': index + 1, 'name': name} for index, name in enumerate(CLASSES)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / 'ann.json').write_text(json.dumps(content))


def data_config(root: Path, load: dict, pack: str, kind: str) -> dict[str, Any]:
    """Loaders: training crops and flips, validation loads annotations after the resize, as mmdet's configs do."""
    resize = 'LandmarkResize' if 'Landmark' in pack else 'Resize'
    train = [
        dict(type='LoadImageFromFile'), load, dict(type=resize, scale=(256, 256), keep_ratio=False),
        dict(type=pack),
    ]  # fmt: skip
    test = [
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(128, 128), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]  # fmt: skip
    files = dict(ann_file='ann.json', data_root=str(root), data_prefix=dict(img=''), metainfo=dict(classes=CLASSES))
    base = dict(type=kind, filter_cfg=dict(filter_empty_gt=True, min_size=32), **files)
    return dict(
        train_dataloader=dict(
            batch_size=2,
            dataset=dict(type='RepeatDataset', times=3, dataset=dict(**base, pipeline=train)),
        ),
        val_dataloader=dict(batch_size=1, dataset=dict(**base, test_mode=True, pipeline=test)),
    )


def anchors(*scales: float) -> dict:
    return dict(type='AnchorGenerator', scales=list(scales), ratios=[0.8, 1.25], strides=[8, 16, 32])


def single(head: dict, kind: str = 'SingleStageDetector', channels: int = 16, **more: Any) -> dict:
    neck = dict(type='FPN', in_channels=[16, 32, 64], out_channels=channels, num_outs=3)
    return dict(
        type=kind, backbone=dict(RESNET, out_indices=(1, 2, 3)), neck=neck, bbox_head=head, test_cfg=NMS, **more
    )


def base_model(name: str) -> Any:
    cfg = shrink(Config.fromfile(MODELS_DIR / f'{name}.py'))
    return cfg.model


def model_config(family: str) -> dict:
    """The model part of a config."""
    coder = dict(type='DeltaXYWHBBoxCoder')
    if family in ('faster', 'relation', 'mask', 'cascade'):
        sources = {'mask': 'mask-rcnn_r18-gn_fpn', 'cascade': 'cascade-mask-rcnn_r18-gn_fpn'}
        model = base_model(sources.get(family, 'faster-rcnn_r18-gn_fpn'))
        heads = model.roi_head.bbox_head
        if family == 'relation':
            model.roi_head.type = 'RelationRoIHead'
            heads.update(type='RelationBBoxHead', num_shared_fcs=2, relations=[dict(type='ObjectCountRelation')])
        for head in heads if isinstance(heads, list) else [heads]:
            head.num_classes = 2
        if 'mask_head' in model.roi_head:
            masks = model.roi_head.mask_head
            for head in masks if isinstance(masks, list) else [masks]:
                head.num_classes = 2
    elif family in ('single_shot', 'retina'):
        head = dict(
            type='RetinaHead', num_classes=2, in_channels=16, stacked_convs=1, feat_channels=16,
            anchor_generator=anchors(3.0), bbox_coder=coder,
        )  # fmt: skip
        model = single(head, train_cfg=MAX_IOU)
        if family == 'single_shot':
            head.update(type='SingleShotHead', loss_cls=dict(type='GHMCLoss', bins=10, momentum=0.7))
    elif family == 'ssd':
        head = dict(
            type='SSDHead', num_classes=2, in_channels=(16, 16, 16), bbox_coder=coder,
            anchor_generator=dict(
                type='SSDAnchorGenerator', scale_major=False, min_sizes=[16, 30, 50], max_sizes=[30, 50, 80],
                input_size=128, basesize_ratio_range=(0.15, 0.9), strides=[8, 16, 32], ratios=[[2], [2], [2]],
            ),
        )  # fmt: skip
        train = dict(MAX_IOU, smoothl1_beta=1.0, neg_pos_ratio=3)
        model = single(head, train_cfg=train)
        # Some anchors lie outside of the image and take no part.
        train['allowed_border'] = 0
    elif family in ('yolo', 'yolo_iou'):
        model = base_model('yolo-iou_r18-gn')
        model.bbox_head.num_classes = 2
        if family == 'yolo':
            for key in ('level_weights', 'loss_bbox'):
                model.bbox_head.pop(key)
            model.bbox_head.type = 'YOLOV3Head'
            model.train_cfg.assigner = dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)
    elif family == 'retina_face':
        model = base_model('retina-face_mnet025_fpn-ssh')
        model.bbox_head.num_classes = 2
    elif family == 'rpn':
        faster = base_model('faster-rcnn_r18-gn_fpn')
        model = dict(
            type='RPN', backbone=faster.backbone, neck=faster.neck, rpn_head=faster.rpn_head,
            train_cfg=dict(rpn=faster.train_cfg.rpn), test_cfg=dict(rpn=faster.test_cfg.rpn),
        )  # fmt: skip
    elif family == 'fcos':
        head = dict(
            type='FCOSHead',
            num_classes=2,
            in_channels=16,
            stacked_convs=1,
            feat_channels=16,
            norm_cfg=None,
            norm_on_bbox=True,
        )
        head |= dict(strides=[8, 16, 32], regress_ranges=((-1, 32), (32, 64), (64, 1e8)))
        model = single(head, kind='FCOS', train_cfg=None)
    else:
        layer = dict(
            self_attn_cfg=dict(embed_dims=16, num_heads=2), ffn_cfg=dict(embed_dims=16, feedforward_channels=16)
        )
        model = dict(
            type='DETR', num_queries=6, backbone=dict(RESNET, out_indices=(3,)),
            neck=dict(type='ChannelMapper', in_channels=[64], out_channels=16, kernel_size=1, num_outs=1),
            encoder=dict(num_layers=1, layer_cfg=layer),
            decoder=dict(num_layers=1, layer_cfg=dict(layer, cross_attn_cfg=dict(embed_dims=16, num_heads=2)),
                         return_intermediate=True),
            positional_encoding=dict(num_feats=8, normalize=True),
            bbox_head=dict(
                type='DETRHead', num_classes=2, embed_dims=16,
                loss_cls=dict(type='CrossEntropyLoss', class_weight=1.0),
            ),
            train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=[dict(type='ClassificationCost')])),
            test_cfg=dict(max_per_img=6),
        )  # fmt: skip
    model['data_preprocessor'] = dict(PREPROCESSOR, pad_mask=family in ('mask', 'cascade'))
    return model


@functools.cache
def folder() -> Path:
    """Of data, configs and checkpoints; it goes with the process."""
    holder = tempfile.TemporaryDirectory()
    folder.holder = holder  # type: ignore[attr-defined]
    write_data(Path(holder.name))
    return Path(holder.name)


def write_config(path: Path, content: dict[str, Any]) -> Path:
    """Not by `Config.dump`, which takes seconds to format the text."""
    plain = Config(content).to_dict()
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in plain.items()))
    return path


@functools.cache
def files(family: str) -> tuple[Path, Path]:
    """Config and checkpoint of random weights."""
    init_default_scope('mmdet')
    landmarks = family == 'retina_face'
    load = dict(type='LoadAnnotations', with_bbox=True, with_mask=family in ('mask', 'cascade'))
    if landmarks:
        load = dict(type='LoadLandmarkAnnotations', num_landmarks=5)
    pack, kind = ('PackLandmarkInputs', 'CocoLandmarkDataset') if landmarks else ('PackDetInputs', 'CocoDataset')
    content = dict(model=model_config(family), **data_config(folder(), load, pack, kind))
    content['custom_imports'] = dict(imports=['mmdet_ext'], allow_failed_imports=False)
    config = write_config(folder() / f'{family}.py', content)
    torch.manual_seed(0)
    model: Any = MODELS.build(copy.deepcopy(content['model']))
    with quiet():
        model.init_weights()
    meta = dict(epoch=3, iter=6, dataset_meta=dict(classes=CLASSES))
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder() / f'{family}.pth')
    return config, folder() / f'{family}.pth'


@functools.cache
def detector(family: str) -> DiagnosedDetector:
    """A detector; tests leave it as it is."""
    return DiagnosedDetector(*files(family))


@functools.cache
def record(family: str, index: int, split: str = 'train') -> Any:
    """What it finds in an image."""
    return detector(family).examine(split, index)


def variant(family: str, **options: Any) -> DiagnosedDetector:
    """The detector with a model of its own, which a test may change; `options` are other attributes."""
    other = copy.copy(detector(family))
    other.model = copy.deepcopy(other.model)
    vars(other).update(options)
    return other


def batch(of: DiagnosedDetector, index: int, split: str = 'train') -> tuple[torch.Tensor, Any]:
    """Input and samples of an image."""
    ((inputs, samples, _),) = of.batches(split, [index])
    return inputs, samples
