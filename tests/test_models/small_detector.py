"""Detectors of our configs, made small enough for a training step in a test."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
DEMO = CONFIGS / 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'
CASCADE = CONFIGS / '_base_/models/cascade-mask-rcnn_r18-gn_fpn.py'
MASK = CONFIGS / 'scratch_gn/mask-rcnn_r18-gn_fpn_chest-phantom.py'


def flat(relations: dict | Sequence[dict]) -> Iterator[dict]:
    """Every relation of a config, those inside of compositions too."""
    for relation in [relations] if isinstance(relations, dict) else relations:
        yield relation
        yield from flat(relation.get('relations', []))


def shrink(cfg: Config) -> Config:
    """Fewer channels, RoIs and fcs; what the config is about stays."""
    if 'roi_head' not in cfg.model:
        return shrink_single_stage(cfg)
    model, heads = cfg.model, cfg.model.roi_head
    box_heads = heads.bbox_head if isinstance(heads.bbox_head, list) else [heads.bbox_head]
    small = dict(depth=18, style='pytorch', init_cfg=None)
    if 'shared_head' in heads:
        # C4: the width of the residual layer that is the shared head follows from its depth.
        norm = dict(type='BN', requires_grad=True)
        model.backbone.update(**small, frozen_stages=-1)
        heads.shared_head.update(**small)
        # `update` would leave what belongs to another norm.
        model.backbone.norm_cfg = heads.shared_head.norm_cfg = norm
        stage = heads.shared_head.get('stage', 3)
        channels, head_channels = 64 * 2 ** (stage - 1), 64 * 2**stage
        heads.bbox_roi_extractor.roi_layer.output_size = 4
        box_heads[0].roi_feat_size = 2
        model.train_cfg.rcnn.mask_size = 4
    else:
        norm = dict(type='GN', num_groups=4)
        model.backbone.update(**small, base_channels=8, norm_cfg=norm, frozen_stages=-1)
        channels = head_channels = 16
        model.neck.update(in_channels=[8, 16, 32, 64], out_channels=channels, norm_cfg=norm)
        for head in box_heads:
            head.fc_out_channels = 32
    model.rpn_head.update(in_channels=channels, feat_channels=16)
    heads.bbox_roi_extractor.out_channels = channels
    for head in box_heads:
        head.in_channels = head_channels
        for relation in flat(head.get('relations', [])):
            if relation.get('attention'):
                relation.attention.in_channels = channels
    if heads.get('mask_head'):
        heads.mask_head.update(in_channels=head_channels, conv_out_channels=16)
    if heads.get('mask_roi_extractor'):
        heads.mask_roi_extractor.out_channels = channels
    for stage in model.train_cfg.rcnn if isinstance(model.train_cfg.rcnn, list) else [model.train_cfg.rcnn]:
        stage.sampler.num = 32
    model.train_cfg.rpn_proposal.max_per_img = 40
    model.test_cfg.rpn.max_per_img = 30
    return cfg


def shrink_single_stage(cfg: Config) -> Config:
    """Fewer channels in backbone, neck and head, where they are free; VGG and Darknet only get fresh weights."""
    model = cfg.model
    backbone, neck, head = model.backbone, model.neck, model.get('bbox_head') or model.rpn_head
    backbone.init_cfg = None
    if backbone.type == 'Darknet':
        # Its default trusts the statistics of a checkpoint.
        backbone.norm_eval = False
    if backbone.type not in ('ResNet', 'ResNeXt'):
        return cfg
    norm = dict(type='GN', num_groups=4)
    # Residual blocks of two convs cannot be deformable, nor grouped.
    grouped = backbone.type == 'ResNeXt'
    deep = bool(backbone.get('dcn')) or grouped
    backbone.update(depth=50 if deep else 18, style='pytorch', base_channels=8, norm_cfg=norm, frozen_stages=-1)
    if grouped:
        backbone.update(groups=2, base_width=4)
    if head.type != 'RPNHead':
        head.norm_cfg = norm
    if neck.type == 'YOLOV3Neck' and head.type == 'SingleShotHead':
        # Levels share one predictor, so they are of one width.
        neck.update(in_channels=[64, 32, 16], out_channels=[16, 16, 16], norm_cfg=norm)
        head.update(in_channels=16, feat_channels=16)
    elif neck.type == 'YOLOV3Neck':
        neck.update(in_channels=[64, 32, 16], out_channels=[32, 16, 16], norm_cfg=norm)
        head.update(in_channels=[32, 16, 16], out_channels=[16, 16, 16])
    else:
        widths = [8 * 2**stage * (4 if deep else 1) for stage in backbone.out_indices]
        neck.update(in_channels=widths, out_channels=16, norm_cfg=norm)
        head.update(in_channels=16, feat_channels=16)
    return cfg


def small_config(path: Path = DEMO) -> Config:
    """The config of that file, shrunk."""
    return shrink(Config.fromfile(path))


def small_mask_config() -> Config:
    """The demo's relations in a Mask R-CNN."""
    cfg, heads = small_config(MASK), small_config().model.roi_head
    cfg.model.roi_head.type = heads.type
    cfg.model.roi_head.bbox_head = heads.bbox_head
    return cfg


def small_cascade_config(relations: Sequence[Sequence[dict]] = (), with_mask: bool = False, **head: Any) -> Config:
    """A cascade for ten classes.

    Args:
        relations: of the stages after the first; a stage without any is plain.
        with_mask: keep the mask branch.
        head: more options of every relational box head.
    """
    cfg = small_config(CASCADE)
    roi_head = cfg.model.roi_head
    roi_head.type = 'RelationCascadeRoIHead'
    roi_head.mask_head.num_classes = 10
    for stage in roi_head.bbox_head:
        stage.num_classes = 10
    for stage, members in zip(roi_head.bbox_head[1:], relations, strict=False):
        if members:
            stage.update(type='RelationBBoxHead', relations=list(members), **head)
    if not with_mask:
        del roi_head['mask_head'], roi_head['mask_roi_extractor']
    return cfg
