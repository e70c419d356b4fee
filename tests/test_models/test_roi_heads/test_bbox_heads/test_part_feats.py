"""Part features take the plain path of the RoIs and reach the relations at their depth."""

from dataclasses import replace

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import BaseRelation, Parts, RelationOutput
from mmdet_ext.models.roi_heads.bbox_heads.part_feats import with_part_feats

from ...relation_case import PART_CONTEXT, PART_NAMES
from .head_case import FC, TRAIN_CFG, build_head, make_rois, make_samples

SPLITS = {(1, 1): 1, (2, 3): 6}
inserts = pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])


@MODELS.register_module(force=True)
class _PartReader(BaseRelation):
    """Keeps the contexts it sees."""

    part_splits = frozenset(SPLITS)

    def __init__(self, in_channels):
        super().__init__(in_channels, in_channels)
        self.seen = []

    def forward(self, ctx):
        self.seen.append(ctx)
        return RelationOutput(ctx.feats * 2)


def with_parts(counts=(6, 4), number=3):
    """RoIs, a context with part boxes, and RoI features of the parts and their cells."""
    x, ctx = make_rois(counts)
    images = len(counts)
    boxes = torch.tensor([10.0, 10, 60, 70]).expand(images, number, 4)
    parts = Parts(boxes, torch.ones(images, number, dtype=torch.bool), names=PART_NAMES[:number])
    feats = {split: torch.randn(images * number * cells, *x.shape[1:]) for split, cells in SPLITS.items()}
    return x, replace(ctx, parts=parts), feats


def test_rows_are_images_then_parts_then_cells():
    _, ctx, _ = with_parts()
    rows = torch.arange(2 * 3 * 7.0)[:, None].expand(-1, 5)
    parts = with_part_feats(ctx, rows, {(1, 1): 6, (2, 3): 36}).parts
    assert_close(parts.feats[..., 0], torch.arange(6.0).view(2, 3))
    assert_close(parts.cell_feats[2, 3][..., 0], 6 + torch.arange(36.0).view(2, 3, 6))
    assert_close(parts.cell_feats[1, 1].squeeze(2), parts.feats)
    assert (parts.boxes, parts.names) == (ctx.parts.boxes, ctx.parts.names)
    assert ctx.parts.feats is None
    assert with_part_feats(ctx, rows[:36], {(2, 3): 36}).parts.feats is None


def test_features_without_boxes():
    x, ctx, feats = with_parts()
    with pytest.raises(ValueError, match='part features need the boxes of the parts in the relation context'):
        build_head(dict(type='_PartReader'))(x, replace(ctx, parts=None), feats)


@pytest.mark.parametrize('base_head', [True, False])
@pytest.mark.parametrize('fusion', ['concat', 'add', 'gate'])
@inserts
def test_depth(insert, base_head, fusion):
    """A part that looks like a RoI has its features, as far as the RoIs follow the plain path (fusions are closed)."""
    head = build_head(dict(type='_PartReader'), insert=insert, base_head=base_head, fusion=fusion)
    for layer in head.between:
        torch.nn.init.zeros_(layer.weight)
    x, ctx, feats = with_parts()
    feats[1, 1][4], feats[2, 3][7] = x[0], x[3]
    head(x, ctx, feats)
    assert len(head.relations) == (1 if insert == 'after_fcs' else 2)
    for relation in head.relations:
        (seen,) = relation.seen
        assert_close(seen.parts.feats[1, 1], seen.feats[0])
        assert_close(seen.parts.cell_feats[2, 3][0, 1, 1], seen.feats[3])
        assert seen.parts.cell_feats[2, 3].shape == (2, 3, 6, FC)
        assert (seen.parts.feats < 0).any() == (insert == 'after_each_fc')


@inserts
def test_parts_leave_the_rois_alone(insert):
    head = build_head(dict(type='_PartReader'), insert=insert, num_shared_convs=1, conv_out_channels=4)
    x, ctx, feats = with_parts()
    with_them, without = head(x, ctx, feats), head(x, ctx)
    for key in ('cls_score', 'bbox_pred', 'base_cls_score', 'base_bbox_pred'):
        assert_close(getattr(with_them, key), getattr(without, key))


@pytest.mark.parametrize('with_avg_pool', [True, False])
@pytest.mark.parametrize(('counts', 'number'), [((0, 0), 3), ((5, 0), 0), ((0, 0), 0)])
@inserts
def test_no_rois_or_no_parts(counts, number, insert, with_avg_pool):
    head = build_head(dict(type='_PartReader'), insert=insert, with_avg_pool=with_avg_pool)
    x, ctx, feats = with_parts(counts, number)
    assert len(head(x, ctx, feats).cls_score) == sum(counts)
    assert head.relations[-1].seen[0].parts.feats.shape == (2, number, FC)


def test_without_shared_layers():
    head = build_head(dict(type='_PartReader'), num_shared_fcs=0, with_avg_pool=True)
    x, ctx, feats = with_parts()
    head(x, ctx, feats)
    assert_close(head.relations[0].seen[0].parts.feats, feats[1, 1].mean((2, 3)).view(2, 3, -1))


@inserts
def test_relations_learn_from_parts(insert):
    relations = [PART_CONTEXT, dict(PART_CONTEXT, split=(2, 3))]
    head = build_head(relations, insert=insert)
    x, ctx, feats = with_parts()
    feats = {split: cells.requires_grad_() for split, cells in feats.items()}
    losses = head.loss(head(x, ctx, feats), ctx.rois, make_samples(ctx), TRAIN_CFG)
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert all(cells.grad.any() for cells in feats.values())
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []
