"""A RoI head alone, on feature maps and proposals of our choice."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.structures import InstanceData

import mmdet_ext  # noqa: F401  (registers the modules)

PART_NAMES = ('left lung', 'right lung', 'heart')
PART_BOXES = ((4.0, 4.0, 40.0, 60.0), (50.0, 4.0, 90.0, 60.0), (36.0, 30.0, 70.0, 62.0))
PARTS = [
    dict(type='PartGeometryRelation', part_names=PART_NAMES, em_dim=8),
    dict(type='PartContextRelation', part_names=PART_NAMES[:2], heads=4, key_dim=4, geom_dim=8),
    dict(type='PartContextRelation', part_names=PART_NAMES[1:], heads=4, key_dim=4, geom_dim=8, split=(2, 1)),
]
# Every relation, small, for ten classes and feature maps of 16 channels.
EVERY = [
    dict(type='GeometryAttentionRelation', heads=4, key_dim=4, geom_dim=16, keys='nongt'),
    dict(type='CategoryGraphRelation', out_channels=8, attention=dict(in_channels=16, mid_channels=4)),
    dict(type='CategoryGraphRelation', out_channels=8, mapping='argmax', learnable=True, num_classes=10),
    dict(type='SoftMappingRelation', out_channels=8),
    dict(type='ObjectCountRelation', num_classes=10, out_channels=8),
    dict(type='ObjectPairRelation', em_dim=8, key_num=4, proj=8),
    dict(type='SpatialGraphRelation', n_kernels=2, layers=(8, 6), learner=(8, 8)),
    *PARTS,
    dict(
        type='RelationSequence',
        relations=[
            dict(type='SoftMappingRelation', out_channels=8),
            dict(type='SpatialGraphRelation', kernel='relu', n_kernels=2, layers=(8,), adjacency='dense', node='input'),
        ],
    ),
]
STRIDES = (4, 8, 16, 32, 64)


def build(cfg: Config, device: torch.device | str = 'cpu') -> Any:
    """The detector of a config, its weights initialised."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.to(device)


def add_parts(samples, names=PART_NAMES, boxes=PART_BOXES):
    """Give every sample these parts; all but the first lack the last, whose box is not a number."""
    for i, sample in enumerate(samples):
        own, valid = torch.tensor(boxes), torch.ones(len(boxes), dtype=torch.bool)
        if i:
            own[-1], valid[-1] = float('nan'), False
        sample.parts = InstanceData(bboxes=own, valid=valid)
        sample.set_metainfo(dict(part_names=names, img_path=f'image_{i}.png'))


def demo_inputs(num_items=(2, 3), shapes=((3, 64, 96), (3, 64, 96)), with_mask=False):
    """Images and their data samples, of ten classes, as a data loader gives them."""
    return demo_mm_inputs(
        len(shapes), image_shapes=list(shapes), num_items=list(num_items), num_classes=10, with_mask=with_mask
    )


def total(losses: dict) -> torch.Tensor:
    """The sum that is trained on."""
    flat = [
        value
        for key, values in losses.items()
        if 'loss' in key
        for value in (values if isinstance(values, list) else [values])
    ]
    return sum(value.sum() for value in flat)


def unused(module: torch.nn.Module) -> list[str]:
    """Names of learning parameters that got no gradient."""
    return [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]


class Heads:
    """`head` of the config's detector, two images of 64 x 96 with 2 and 3 ground truths, and random feature maps."""

    def __init__(self, cfg: Config, parts: bool = False):
        self.model = build(cfg)
        inputs = demo_inputs(with_mask=cfg.model.roi_head.get('mask_head') is not None)
        self.samples = self.model.data_preprocessor(inputs, True)['data_samples']
        if parts:
            add_parts(self.samples)
        self.head = self.model.roi_head
        self.maps = tuple(torch.randn(2, 16, max(64 // stride, 1), 96 // stride) for stride in STRIDES)

    @property
    def metas(self):
        return [sample.metainfo for sample in self.samples]

    def drop_ground_truth(self, *images):
        for image in images:
            self.samples[image].gt_instances = self.samples[image].gt_instances[:0]

    def proposals(self, *counts):
        boxes = torch.tensor([[5.0, 5, 40, 40]]) + torch.arange(20.0)[:, None]
        scores = torch.linspace(1, 0, 20)
        labels = torch.zeros(20, dtype=torch.long)
        return [InstanceData(bboxes=boxes[:n], scores=scores[:n], labels=labels[:n]) for n in counts]

    def loss(self, *counts):
        return self.head.loss(self.maps, self.proposals(*counts), self.samples)

    @torch.no_grad()
    def predict(self, *counts):
        self.head.eval()
        self.head.test_cfg.score_thr = 0.0
        return self.head.predict(self.maps, self.proposals(*counts), self.samples, rescale=False)


def record(module: torch.nn.Module) -> list[tuple]:
    """The positional arguments of every later call of `module`, and what it returned, as they come."""
    seen: list[tuple] = []
    module.register_forward_hook(lambda _, args, output: seen.append((*args, output)))
    return seen
