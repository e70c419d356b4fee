"""A small relation box head, RoIs for it, and sampling results to learn from."""

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

import mmdet_ext  # noqa: F401  (registers the modules)
from mmdet_ext.models.relations import RelationContext

from ...relation_case import GEOMETRY, random_boxes

NUM_CLASSES = 3
FC = 16
SHAPE = (96, 128)
COUNT = dict(type='ObjectCountRelation', num_classes=NUM_CLASSES, out_channels=FC)
FUSED = dict(type='RelationSequence', relations=[GEOMETRY])
TRAIN_CFG = ConfigDict(pos_weight=-1)
PLAIN = dict(
    type='Shared2FCBBoxHead',
    in_channels=4,
    roi_feat_size=2,
    fc_out_channels=FC,
    num_classes=NUM_CLASSES,
    loss_bbox=dict(type='L1Loss', loss_weight=1.0),
)
# Boxes that lose on decoded coordinates.
DECODED = dict(
    reg_decoded_bbox=True,
    reg_class_agnostic=True,
    loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
)


def build_head(relations=(GEOMETRY, COUNT), **kwargs):
    """A `RelationBBoxHead` of two fcs."""
    cfg = {**PLAIN, 'type': 'RelationBBoxHead', 'relations': relations, 'num_shared_fcs': 2, **kwargs}
    head = MODELS.build(cfg)
    head.init_weights()
    return head


def plain_twin(head):
    """mmdet's head with the weights of our base path."""
    plain = MODELS.build(PLAIN)
    weights = {
        key.replace('base_', ''): value for key, value in head.state_dict().items() if 'shared' in key or 'base' in key
    }
    plain.load_state_dict(weights)
    return plain


def build_plain(**kwargs):
    """mmdet's head, its predictors as if they had learnt something."""
    cfg = {**PLAIN, **kwargs}
    if cfg['type'] == 'BBoxHead':
        del cfg['fc_out_channels']
    plain = MODELS.build(cfg)
    plain.init_weights()
    for layer in (plain.fc_cls, plain.fc_reg):
        torch.nn.init.normal_(layer.weight, std=0.3)
        torch.nn.init.normal_(layer.bias, std=0.3)
    return plain


def make_rois(counts=(6, 4)):
    """(N, c, h, w) RoI features and their context."""
    image = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    rois = torch.cat([image[:, None].float(), random_boxes(sum(counts), SHAPE).float()], dim=1)
    shapes = torch.tensor([SHAPE] * len(counts))
    ctx = RelationContext(rois, rois, shapes, key_valid=torch.ones(len(rois), dtype=torch.bool), counts=counts)
    return torch.randn(sum(counts), 4, 2, 2), ctx


def make_samples(ctx, positives=(2, 3)):
    """A `SamplingResult` per image: the first RoIs are positives, the rest negatives."""
    samples = []
    for image, number in enumerate(positives):
        priors = ctx.rois[ctx.rois[:, 0] == image, 1:]
        gts = random_boxes(max(number, 1), SHAPE).float()[:number]
        sample = SamplingResult.__new__(SamplingResult)
        sample.pos_priors, sample.neg_priors = priors[:number], priors[number:]
        sample.pos_gt_bboxes = gts
        sample.pos_gt_labels = torch.arange(number) % NUM_CLASSES
        samples.append(sample)
    return samples
