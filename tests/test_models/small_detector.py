"""Detectors of our configs, made small enough for a training step in a test."""

from pathlib import Path

from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
DEMO = CONFIGS / 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'
MASK = CONFIGS / 'scratch_gn/mask-rcnn_r18-gn_fpn_chest-phantom.py'


def shrink(cfg: Config) -> Config:
    """Fewer channels, RoIs and fcs; what the config is about stays."""
    norm = dict(type='GN', num_groups=4)
    model = cfg.model
    model.backbone.update(base_channels=8, norm_cfg=norm)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16, norm_cfg=norm)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    heads = model.roi_head
    heads.bbox_roi_extractor.out_channels = 16
    heads.bbox_head.update(in_channels=16, fc_out_channels=32)
    for relation in heads.bbox_head.get('relations', []):
        if 'attention' in relation:
            relation.attention.in_channels = 16
    if 'mask_head' in heads:
        heads.mask_roi_extractor.out_channels = 16
        heads.mask_head.update(in_channels=16, conv_out_channels=16)
    model.train_cfg.rcnn.sampler.num = 32
    model.train_cfg.rpn_proposal.max_per_img = 40
    model.test_cfg.rpn.max_per_img = 30
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
