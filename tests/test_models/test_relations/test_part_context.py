"""Attention from RoIs to parts, against a reference written from the equations of Relation Networks."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import PartContextRelation, Parts, RelationSequence

from ..relation_case import GEOMETRY, PART_CONTEXT, PART_NAMES, WIDTH, build, make_context
from .test_box_embedding import slow_embedding
from .test_part_geometry import mirror


def slow_cells(box, split):
    """The boxes of the cells of one part, row by row."""
    left, top, right, bottom = map(float, box)
    rows, columns = split
    width, height = (right - left) / columns, (bottom - top) / rows
    return [
        (left + c * width, top + r * height, left + (c + 1) * width, top + (r + 1) * height)
        for r in range(rows)
        for c in range(columns)
    ]


def slow_context(relation, ctx):
    """One RoI and one head after the other, over the cells of the parts that exist."""
    out = torch.zeros(len(ctx.rois), relation.out_channels, dtype=torch.float64)
    split = relation.split or (1, 1)
    for n, roi in enumerate(ctx.rois):
        image, keys = int(roi[0]), []
        for name in relation.part_names:
            part = ctx.parts.names.index(name)
            if not ctx.parts.valid[image, part]:
                continue
            for cell, box in enumerate(slow_cells(ctx.parts.boxes[image, part], split)):
                feats = ctx.parts.feats[image, part]
                if split in ctx.parts.cell_feats:
                    feats = ctx.parts.cell_feats[split][image, part, cell]
                embedding = slow_embedding(roi[1:], box, relation.geometry.in_features, relation.geom)
                keys.append((relation.key(feats), relation.value(feats), relation.geometry(embedding)))
        query = relation.query(ctx.feats[n]).chunk(relation.heads)
        for head in range(relation.heads):
            part = slice(
                head * relation.out_channels // relation.heads, (head + 1) * relation.out_channels // relation.heads
            )
            weights = [
                geometry[head].clamp(min=1e-6)
                * (query[head] @ key.chunk(relation.heads)[head] / math.sqrt(len(query[head]))).exp()
                for key, _, geometry in keys
            ]
            for weight, (_, value, _) in zip(weights, keys, strict=True):
                out[n, part] += weight / sum(weights) * value[part]
    return out


@given(
    st.sampled_from(['part_context', 'part_context_cells', 'part_context_split']),
    st.lists(st.booleans(), min_size=9, max_size=9),
)
@settings(max_examples=25, deadline=None)
def test_equals_the_equations(name, valid):
    relation, ctx = build(name, torch.float64), make_context((2, 0, 3), torch.float64)
    ctx.parts.valid = torch.tensor(valid).view(3, 3)
    with torch.no_grad():
        assert_close(relation(ctx).feats, slow_context(relation, ctx))


@pytest.mark.parametrize('name', ['part_context', 'part_context_cells', 'part_context_split'])
def test_an_image_without_any_of_the_parts_gets_zeros(name):
    relation, ctx = build(name), make_context((3, 2), want_maps=True)
    ctx.parts.valid[0] = False
    ctx.parts.valid[1] = True
    out = relation(ctx)
    assert not out.feats[:3].any()
    assert out.feats[3:].any(1).all()
    assert not out.maps['attention'][0].any()


def test_a_part_alone_is_told_as_it_is():
    relation, ctx = build('part_context', torch.float64), make_context((3,), torch.float64)
    ctx.parts.valid[0] = torch.tensor([False, True, True])
    assert_close(relation(ctx).feats, relation.value(ctx.parts.feats[0, 1]).expand(3, -1))


def test_parts_that_are_the_rois_make_it_the_relation_between_rois():
    ctx = make_context((3, 3), torch.float64)
    parts = Parts(
        boxes=ctx.rois[:, 1:].view(2, 3, 4),
        valid=torch.ones(2, 3, dtype=torch.bool),
        feats=ctx.feats.view(2, 3, WIDTH),
    )
    relation = build('part_context', torch.float64, part_names=PART_NAMES)
    between = build('geometry', torch.float64)
    relation.load_state_dict(between.state_dict())
    assert_close(relation(replace(ctx, parts=parts)).feats, between(ctx).feats)


def test_a_grid_of_one_cell_is_the_part():
    ctx = make_context(dtype=torch.float64)
    whole, split = build('part_context', torch.float64), build('part_context', torch.float64, split=(1, 1))
    split.load_state_dict(whole.state_dict())
    assert whole.part_splits == split.part_splits == {(1, 1)}
    cells = replace(ctx.parts, feats=None, cell_feats={(1, 1): ctx.parts.feats[:, :, None]})
    assert_close(split(replace(ctx, parts=cells)).feats, whole(ctx).feats)


def test_without_features_of_the_cells_each_has_its_parts():
    relation, ctx = build('part_context_cells', torch.float64), make_context(dtype=torch.float64)
    repeated = ctx.parts.feats[:, :, None].repeat(1, 1, 4, 1)
    given = relation(replace(ctx, parts=replace(ctx.parts, cell_feats={(2, 2): repeated}))).feats
    absent = relation(replace(ctx, parts=replace(ctx.parts, cell_feats={}))).feats
    assert_close(absent, given)
    assert not torch.allclose(absent, relation(ctx).feats)


def test_what_the_head_should_pool():
    assert build('part_context').part_splits == {(1, 1)}
    assert build('part_context').needs == {'parts', 'parts.feats'}
    # A list, as in a config, is as good as a tuple.
    assert build('part_context_split').part_splits == {(1, 3)}
    assert build('part_context_split').needs == {'parts'}


@pytest.mark.parametrize('swap', [True, False])
def test_a_flip_with_swapped_parts_changes_nothing(swap):
    relation, ctx = build('part_context', torch.float64), make_context(dtype=torch.float64)
    # Keys are a set: which slot a part stands in does not matter, what it looks like and where it lies does.
    assert_close(relation(mirror(ctx, swap)).feats, relation(ctx).feats)


def test_gradients_of_the_parts():
    relation, ctx = build('part_context_cells', torch.float64), make_context((2, 1), torch.float64)
    cells = ctx.parts.cell_feats[2, 2].requires_grad_()

    def run(cells):
        return relation(replace(ctx, parts=replace(ctx.parts, cell_feats={(2, 2): cells}))).feats

    assert torch.autograd.gradcheck(run, (cells,), fast_mode=True)


def test_invalid_parts_get_no_gradient():
    relation, ctx = build('part_context'), make_context((2, 1))
    ctx.parts.valid[:, 0] = False
    ctx.parts.feats[:, 0] = float('nan')
    feats = ctx.parts.feats.requires_grad_()
    relation(ctx).feats.square().sum().backward()
    assert not feats.grad[:, 0].any()
    assert feats.grad[:, 1].any(1).all()


@pytest.mark.parametrize('name', ['part_context', 'part_context_cells'])
def test_maps_are_what_the_features_were_made_of(name):
    relation, ctx = build(name, torch.float64), make_context((5, 4), torch.float64, want_maps=True)
    out = relation(ctx)
    attention = out.maps['attention']
    keys, _, mask = relation._keys(ctx)
    assert attention.shape == (2, 4, 5, len(relation.part_names) * (4 if relation.split else 1))
    assert not attention[1][..., ~mask[1]].any()
    value = relation.value(keys[0]).unflatten(1, (4, -1))
    assert_close(torch.einsum('hnm,mhd->nhd', attention[0], value).flatten(1), out.feats[:5])


def test_after_a_relation_that_changes_the_width():
    members = [dict(GEOMETRY, out_channels=8), PART_CONTEXT]
    relation, ctx = RelationSequence(WIDTH, members), make_context()
    assert relation.part_splits == {(1, 1)}
    assert relation(ctx).feats.shape == (13, 8)
    with pytest.raises(ValueError, match=f'part features 8 wide, they are {WIDTH} wide; set part_channels={WIDTH}'):
        RelationSequence(WIDTH, [members[0], dict(PART_CONTEXT, part_channels=8)])(ctx)


@pytest.mark.parametrize('name', ['part_context', 'part_context_cells', 'part_context_split'])
def test_compiles_without_graph_break(name):
    relation, ctx = build(name), make_context((4, 0, 3))
    torch._dynamo.reset()
    compiled = torch.compile(relation, backend='eager', fullgraph=True)
    assert_close(compiled(ctx).feats, relation(ctx).feats)


def test_cells_of_half_precision_boxes_are_float32():
    relation, ctx = build('part_context_split'), make_context()
    boxes = ctx.parts.boxes.half()
    narrow, wide = (relation(replace(ctx, parts=replace(ctx.parts, boxes=own))).feats for own in (boxes, boxes.float()))
    assert torch.equal(narrow, wide)


def test_missing_features_of_the_parts():
    parts = replace(make_context().parts, feats=None)
    ctx = replace(make_context(), parts=parts)
    with pytest.raises(ValueError, match=r'PartContextRelation needs parts\.feats in the relation context'):
        build('part_context')(ctx)
    sentence = r'split=\(1, 3\) needs parts.cell_feats\[\(1, 3\)\], or parts.feats .* cell features of \[\(2, 2\)\]'
    with pytest.raises(ValueError, match=sentence):
        build('part_context_split')(ctx)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(part_names='heart'), 'part_names must be a non-empty list of different names'),
        (dict(split=(0, 1)), 'split rows must be a positive int, got 0'),
        (dict(split=(2, 1.0)), 'split columns must be a positive int, got 1.0'),
        (dict(split=2), r'split=2, two numbers \(rows, columns\) or None are wanted'),
        (dict(split=(1, 2, 3)), r'split=\(1, 2, 3\), two numbers'),
        (dict(part_channels=0), 'part_channels must be a positive int, got 0'),
        (dict(part_channels=8, value='identity'), "value='identity' keeps the width, so part_channels=8 must equal"),
        (dict(heads=3), 'out_channels=16 is not a multiple of heads=3'),
        (dict(geom='polar'), "geom='polar', allowed are"),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=f'^PartContextRelation: {sentence}'):
        PartContextRelation(**{'in_channels': WIDTH, 'part_names': PART_NAMES, 'heads': 4, **options})
