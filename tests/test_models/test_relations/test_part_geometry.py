"""Blocks of the anatomy relation: one per part, in the order of the names."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import PartGeometryRelation, RelationParallel

from ..relation_case import IMG_SHAPES, PART_GEOMETRY, PART_NAMES, WIDTH, build, make_context
from .test_box_embedding import slow_embedding


def slow_blocks(ctx, names, em_dim, geom='hu', wave_len=1000.0):
    """(N, P * em_dim), one RoI and one part after the other."""
    rows = []
    for row in ctx.rois:
        image, blocks = int(row[0]), []
        for name in names:
            part = ctx.parts.names.index(name)
            block = slow_embedding(row[1:], ctx.parts.boxes[image, part], em_dim, geom, wave_len)
            blocks.append(block * bool(ctx.parts.valid[image, part]))
        rows.append(torch.cat(blocks))
    return torch.stack(rows)


def mirror(ctx, swap):
    """The context of the images mirrored left to right, with the slots of the lungs swapped or left as they were."""
    width = torch.tensor([shape[1] for shape in IMG_SHAPES])

    def flip(boxes, width):
        left, top, right, bottom = boxes.unbind(-1)
        return torch.stack([width - right, top, width - left, bottom], dim=-1)

    rois = torch.cat([ctx.rois[:, :1], flip(ctx.rois[:, 1:], width[ctx.rois[:, 0].long()])], dim=1)
    order = [1, 0, 2] if swap else [0, 1, 2]
    parts = replace(
        ctx.parts,
        boxes=flip(ctx.parts.boxes, width[:, None])[:, order],
        valid=ctx.parts.valid[:, order],
        feats=ctx.parts.feats[:, order],
        cell_feats={},
    )
    return replace(ctx, rois=rois, parts=parts)


@given(
    st.permutations(PART_NAMES).flatmap(lambda names: st.integers(1, 3).map(lambda number: names[:number])),
    st.lists(st.booleans(), min_size=9, max_size=9),
    st.sampled_from([8, 24]),
    st.sampled_from(['hu', 'log1p']),
    st.sampled_from([20.0, 1000.0]),
)
@settings(max_examples=40, deadline=None)
def test_equals_loops_over_pairs(names, valid, em_dim, geom, wave_len):
    ctx = make_context((3, 0, 2), torch.float64)
    ctx.parts.valid = torch.tensor(valid).view(3, 3)
    relation = PartGeometryRelation(names, em_dim, wave_len, geom)
    assert_close(relation(ctx).feats, slow_blocks(ctx, names, em_dim, geom, wave_len), rtol=0, atol=1e-9)


def test_a_missing_part_leaves_its_block_empty():
    ctx = make_context((2, 3))
    ctx.parts.boxes[1, -1] = float('nan')
    blocks = build('part_geometry')(ctx).feats.unflatten(1, (3, 8))
    assert blocks.abs().amax(2).bool().tolist() == [[True] * 3] * 2 + [[True, True, False]] * 3


@pytest.mark.parametrize('swap', [True, False])
def test_a_flip_swaps_the_blocks_of_left_and_right(swap):
    relation, ctx = build('part_geometry', torch.float64), make_context(dtype=torch.float64)
    before = relation(ctx).feats.unflatten(1, (3, 8))
    after = relation(mirror(ctx, swap)).feats.unflatten(1, (3, 8))
    assert_close(after, before[:, [1, 0, 2]] if swap else before, rtol=0, atol=1e-9)
    assert not torch.allclose(before[:, 0], before[:, 1])


def test_members_of_a_composition_choose_their_parts():
    names = [('heart',), ('right lung', 'left lung')]
    relation = RelationParallel(WIDTH, [dict(PART_GEOMETRY, part_names=own) for own in names])
    ctx = make_context()
    whole = build('part_geometry')(ctx).feats
    assert relation.needs == {'parts'}
    assert_close(relation(ctx).feats, torch.cat([whole[:, 16:], whole[:, 8:16], whole[:, :8]], dim=1))


def test_compiles_without_graph_break():
    relation, ctx = build('part_geometry'), make_context((4, 0, 3))
    torch._dynamo.reset()
    compiled = torch.compile(relation, backend='eager', fullgraph=True)
    assert_close(compiled(ctx).feats, relation(ctx).feats)


def test_names_are_checked():
    with pytest.raises(ValueError, match='PartGeometryRelation: part_names must be a non-empty list of different'):
        PartGeometryRelation(['heart', 'heart'])
