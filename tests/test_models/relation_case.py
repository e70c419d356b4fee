"""Contexts for relations, and one configuration of every kind of relation."""

from dataclasses import fields, replace

import torch
from mmdet.registry import MODELS

import mmdet_ext  # noqa: F401  (registers the modules)
from mmdet_ext.models.relations import BaseRelation, Parts, RelationContext

WIDTH = 16
NUM_CLASSES = 3
STRIDES = (4, 8, 16, 32, 64)
# One image is smaller than the batch.
IMG_SHAPES = ((96, 128), (70, 90), (96, 60))
PART_NAMES = ('left lung', 'right lung', 'heart')

GEOMETRY = dict(type='GeometryAttentionRelation', heads=4, key_dim=4, geom_dim=16)
ATTENTION = dict(in_channels=4, mid_channels=6, fc_act=False)
GRAPH = dict(type='CategoryGraphRelation', out_channels=5)
COUNT = dict(type='ObjectCountRelation', num_classes=NUM_CLASSES, out_channels=6, mid_channels=8)
PAIR = dict(type='ObjectPairRelation', em_dim=8, key_num=8)
PART_GEOMETRY = dict(type='PartGeometryRelation', part_names=PART_NAMES, em_dim=8)
PART_CONTEXT = dict(type='PartContextRelation', part_names=PART_NAMES[:2], heads=4, key_dim=4, geom_dim=16)
SPATIAL = dict(type='SpatialGraphRelation', n_kernels=2, layers=(8, 6), learner=(8, 12), topk=2, detach_learner=False)
RELATIONS = {
    'geometry': GEOMETRY,
    'geometry_nongt': dict(GEOMETRY, keys='nongt', out_channels=8),
    'geometry_topk': dict(GEOMETRY, keys='topk', key_num=3),
    'geometry_fg': dict(GEOMETRY, keys='fg', geom='log1p'),
    'geometry_fg_num': dict(GEOMETRY, keys='fg', key_num=2, value='identity'),
    'graph': GRAPH,
    'graph_attention': dict(GRAPH, attention=ATTENTION, pool_bias=False),
    'graph_map_first': dict(GRAPH, order='map_first', attention=ATTENTION, detach_pool=False, reduce='linear'),
    'graph_argmax': dict(GRAPH, mapping='argmax', learnable=True, num_classes=NUM_CLASSES),
    'soft_mapping': dict(type='SoftMappingRelation', out_channels=5),
    'count': COUNT,
    'count_few': dict(COUNT, key_num=4, detach=False),
    'pair': PAIR,
    'pair_topk': dict(PAIR, key_num=3, proj=7, geom='log1p'),
    'pair_fg': dict(PAIR, key='fg', em_dim=16),
    'part_geometry': PART_GEOMETRY,
    'part_context': PART_CONTEXT,
    'part_context_cells': dict(PART_CONTEXT, part_names=PART_NAMES[::-1], split=(2, 2), out_channels=8),
    'part_context_split': dict(PART_CONTEXT, split=[1, 3], geom='log1p', value='identity'),
    'spatial': SPATIAL,
    'spatial_relu': dict(SPATIAL, kernel='relu', node='input', topk=None, keys='nongt', weight_once=True),
    'spatial_norm': dict(SPATIAL, kernel='gaussian_norm', node='visual', adjacency='dense', n_kernels=4, layers=(4,)),
    'spatial_none': dict(SPATIAL, kernel='none', mapping='argmax', pool_bias=False, detach_pool=False, layers=(5, 7)),
    'spatial_kernels': dict(SPATIAL, normalize_over='kernels', weight_once=True, layers=[6, 4, 8]),
    'parallel': dict(type='RelationParallel', relations=[GEOMETRY, COUNT], norm=dict(type='LN'), act=dict(type='ReLU')),
    'sequence': dict(type='RelationSequence', relations=[dict(GRAPH, out_channels=8), dict(GEOMETRY, out_channels=4)]),
}
# Relations in which a box tells the others of its image something.
PAIRWISE = [
    'geometry',
    'geometry_nongt',
    'geometry_topk',
    'geometry_fg',
    'count',
    'spatial_relu',
    'spatial_norm',
    'pair',
    'pair_topk',
    'pair_fg',
    'parallel',
    'sequence',
]
# Relations that read the parts, and relations without anything to learn.
WITH_PARTS = ['part_geometry', 'part_context', 'part_context_cells', 'part_context_split']
FIXED = ['pair', 'pair_fg', 'part_geometry']


def build(name: str, dtype: torch.dtype = torch.float32, device: torch.device | str = 'cpu', **kwargs) -> BaseRelation:
    """The relation of that name, its geometry weights positive, so that the geometry is not below its floor."""
    relation = MODELS.build(dict(in_channels=WIDTH, **RELATIONS[name]) | kwargs)
    for module in relation.modules():
        if hasattr(module, 'geometry'):
            torch.nn.init.uniform_(module.geometry.weight, -0.2, 0.6)
            torch.nn.init.constant_(module.geometry.bias, 0.5)
    return relation.to(device=device, dtype=dtype).eval()


def random_boxes(number: int, shape: tuple[int, int]) -> torch.Tensor:
    """(number, 4) boxes inside of an image."""
    limits = torch.tensor([shape[1], shape[0]])
    corners = torch.rand(number, 2, 2, dtype=torch.float64) * limits
    low, high = corners.min(1).values, corners.max(1).values
    return torch.cat([low, high + 2], dim=1)


def random_parts(shapes: tuple[tuple[int, int], ...]) -> Parts:
    """Three named parts in every image; every image but the first lacks its heart."""
    boxes = torch.stack([random_boxes(len(PART_NAMES), shape) for shape in shapes])
    valid = torch.ones(boxes.shape[:2], dtype=torch.bool)
    valid[1:, -1] = False
    feats = torch.randn(*boxes.shape[:2], WIDTH, dtype=torch.float64)
    cells = torch.randn(*boxes.shape[:2], 4, WIDTH, dtype=torch.float64)
    return Parts(boxes, valid, feats, PART_NAMES, {(2, 2): cells})


def make_context(
    counts: tuple[int, ...] = (6, 3, 4),
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = 'cpu',
    **overrides,
) -> RelationContext:
    """A context with every field filled in; `counts` RoIs per image, in order."""
    number = sum(counts)
    shapes = IMG_SHAPES[: len(counts)]
    boxes = torch.cat([random_boxes(count, shape) for count, shape in zip(counts, shapes, strict=True)])
    image = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).double()
    logits = torch.randn(number, NUM_CLASSES + 1, dtype=torch.float64) * 2
    logits[:, -1] -= 1
    maps = tuple(
        torch.randn(len(counts), 4, 96 // stride + 1, 128 // stride, dtype=torch.float64) for stride in STRIDES
    )
    ctx = RelationContext(
        feats=torch.randn(number, WIDTH, dtype=torch.float64),
        rois=torch.cat([image[:, None], boxes], dim=1),
        img_shapes=torch.tensor(shapes),
        cls_logits=logits,
        cls_weight=torch.randn(NUM_CLASSES + 1, WIDTH + 1, dtype=torch.float64) / 3,
        feature_maps=maps,
        key_valid=torch.rand(number) < 0.8,
        counts=counts,
        parts=random_parts(shapes) if shapes else None,
    )
    return convert(replace(ctx, **overrides), dtype, device)


def convert(ctx: RelationContext, dtype: torch.dtype, device: torch.device | str = 'cpu') -> RelationContext:
    """The context with its floating point tensors in another type, on a device; RoIs stay float32 or wider."""

    def move(value, wanted):
        if isinstance(value, tuple) and value and isinstance(value[0], torch.Tensor):
            return tuple(move(item, wanted) for item in value)
        if isinstance(value, torch.Tensor):
            return value.to(device=device, dtype=wanted if value.is_floating_point() else None)
        return value

    values = {item.name: move(getattr(ctx, item.name), dtype) for item in fields(ctx)}
    if ctx.parts is not None:
        values['parts'] = replace(
            ctx.parts,
            boxes=move(ctx.parts.boxes, torch.promote_types(dtype, torch.float32)),
            valid=move(ctx.parts.valid, dtype),
            feats=move(ctx.parts.feats, dtype),
            cell_feats={split: move(feats, dtype) for split, feats in ctx.parts.cell_feats.items()},
        )
    return replace(ctx, **values | {'rois': move(ctx.rois, torch.promote_types(dtype, torch.float32))})


def pick_rows(ctx: RelationContext, rows: torch.Tensor) -> RelationContext:
    """The context with other rows, in another order; the images stay, `counts` are not known any more."""
    per_roi = {name: getattr(ctx, name) for name in ('feats', 'rois', 'cls_logits', 'key_valid')}
    return replace(ctx, counts=None, **{name: value[rows] for name, value in per_roi.items() if value is not None})


def pick_image(ctx: RelationContext, image: int) -> RelationContext:
    """The context of one image alone."""
    single = pick_rows(ctx, ctx.rois[:, 0] == image)
    rois = single.rois.clone()
    rois[:, 0] = 0
    own = slice(image, image + 1)
    parts = None
    if ctx.parts is not None:
        cells = {split: feats[own] for split, feats in ctx.parts.cell_feats.items()}
        parts = Parts(ctx.parts.boxes[own], ctx.parts.valid[own], ctx.parts.feats[own], ctx.parts.names, cells)
    return replace(
        single,
        parts=parts,
        rois=rois,
        img_shapes=ctx.img_shapes[own],
        feature_maps=tuple(level[own] for level in ctx.feature_maps),
        counts=(len(rois),),
    )
