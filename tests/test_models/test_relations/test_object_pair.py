"""Slots of the object pairs: who stands in them, in which order, and what is left empty."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import ObjectPairRelation, RelationParallel
from mmdet_ext.models.relations.keys import KEYS

from ..relation_case import IMG_SHAPES, PAIR, WIDTH, build, make_context
from .test_box_embedding import slow_embedding
from .test_keys import slow_keys


def slow_pairs(ctx, key, key_num, em_dim, geom='hu', wave_len=1000.0):
    """(N, K, em_dim), one RoI and one key after the other."""
    out = torch.zeros(len(ctx.rois), key_num, em_dim, dtype=torch.float64)
    for image, rows in enumerate(slow_keys(ctx, key, key_num)):
        for n in [n for n in range(len(ctx.rois)) if ctx.rois[n, 0] == image]:
            for slot, row in enumerate(rows):
                out[n, slot] = slow_embedding(ctx.rois[n, 1:], ctx.rois[row, 1:], em_dim, geom, wave_len)
    return out.flatten(1)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple),
    st.sampled_from(KEYS),
    st.integers(1, 8),
    st.sampled_from([8, 24]),
    st.sampled_from(['hu', 'log1p']),
    st.sampled_from([20.0, 1000.0]),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_equals_loops_over_pairs(counts, key, key_num, em_dim, geom, wave_len, seed):
    torch.manual_seed(seed)
    ctx = make_context(counts, torch.float64)
    relation = ObjectPairRelation(em_dim=em_dim, key_num=key_num, key=key, geom=geom, wave_len=wave_len)
    expected = slow_pairs(ctx, key, key_num, em_dim, geom, wave_len)
    assert_close(relation(ctx).feats, expected, rtol=0, atol=1e-9)


def test_a_projection_is_a_linear_layer_and_relu():
    ctx = make_context(dtype=torch.float64)
    relation = build('pair', torch.float64, proj=5)
    assert relation.out_channels == 5
    linear = relation.proj[0]
    expected = (slow_pairs(ctx, 'topk', 8, 8) @ linear.weight.T + linear.bias).relu()
    assert_close(relation(ctx).feats, expected)
    assert (expected > 0).any()


def test_slots_without_a_key_are_zero_and_never_a_repetition():
    ctx = make_context((2, 0, 1), key_valid=None)
    slots = build('pair')(ctx).feats.unflatten(1, (8, 8))
    assert slots.abs().amax(2).bool().tolist() == [[True] * 2 + [False] * 6] * 2 + [[True] + [False] * 7]


def test_slots_follow_the_score():
    ctx = make_context((3,), torch.float64, key_valid=None)
    ctx.cls_logits[:] = 0
    ctx.cls_logits[:, -1] = torch.tensor([1.0, 3, 2])
    relation = build('pair', torch.float64)
    first = relation(ctx).feats.unflatten(1, (8, 8))
    ctx.cls_logits[:, -1] = torch.tensor([3.0, 1, 2])
    second = relation(ctx).feats.unflatten(1, (8, 8))
    # 0, 2, 1 and then 1, 2, 0.
    assert_close(second[:, :3], first[:, [2, 1, 0]])
    assert not torch.allclose(second, first)


@pytest.mark.parametrize('key', KEYS)
def test_ground_truth_of_training_is_a_key_for_all_only(key):
    ctx = make_context((4,), torch.float64)
    ctx.cls_logits[:, -1] = -9
    ctx.key_valid = torch.tensor([True, False, True, True])
    relation = build('pair', torch.float64, key=key)
    before = relation(ctx).feats
    ctx.rois[1, 1:] += torch.tensor([3.0, 1, 9, 5])
    after = relation(ctx).feats
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]]) == (key != 'all')
    assert not torch.equal(after[1], before[1])


def test_without_flags_everybody_is_a_key():
    relation, ctx = build('pair', torch.float64, key='nongt'), make_context(dtype=torch.float64, key_valid=None)
    assert_close(relation(ctx).feats, build('pair', torch.float64, key='all')(ctx).feats)


def test_mirrored_boxes_are_as_far_apart():
    relation, ctx = build('pair', torch.float64), make_context(dtype=torch.float64)
    before = relation(ctx).feats
    width = torch.tensor([shape[1] for shape in IMG_SHAPES])[ctx.rois[:, 0].long()]
    mirrored = ctx.rois.clone()
    mirrored[:, 1], mirrored[:, 3] = width - ctx.rois[:, 3], width - ctx.rois[:, 1]
    assert_close(relation(replace(ctx, rois=mirrored)).feats, before, rtol=0, atol=1e-9)


def test_the_map_names_the_keys_in_slot_order():
    ctx = make_context((5, 0, 2), torch.float64, want_maps=True)
    index = build('pair_topk', torch.float64)(ctx).maps['key_index']
    starts = (0, 5, 5)
    rows = [[row + start for row in line if row >= 0] for line, start in zip(index.tolist(), starts, strict=True)]
    assert rows == slow_keys(ctx, 'topk', 3)
    assert index[1].tolist() == [-1] * 3


def test_no_parameter_is_shared():
    relation = RelationParallel(WIDTH, [dict(PAIR, proj=4), dict(PAIR, proj=4)])
    first, second = (list(member.parameters()) for member in relation.members)
    assert first
    assert not {id(parameter) for parameter in first} & {id(parameter) for parameter in second}


@pytest.mark.parametrize('name', ['pair', 'pair_topk', 'pair_fg'])
def test_compiles_without_graph_break(name):
    relation, ctx = build(name), make_context((4, 0, 3))
    torch._dynamo.reset()
    compiled = torch.compile(relation, backend='eager', fullgraph=True)
    assert_close(compiled(ctx).feats, relation(ctx).feats)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(key_num=0), 'key_num must be a positive int, got 0'),
        (dict(key_num=None), 'key_num must be a positive int, got None'),
        (dict(proj=0), 'proj must be a positive int, got 0'),
        (dict(proj=True), 'proj=True needs out_channels'),
        (dict(proj=8, out_channels=9), 'out_channels=9, but .* give 8; .* set proj=9'),
        (dict(key='gt'), r"key='gt', allowed are \('all', 'nongt', 'topk', 'fg'\)"),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=f'^ObjectPairRelation: {sentence}'):
        ObjectPairRelation(**options)


def test_the_width_may_be_called_out_channels():
    for options in (dict(proj=True, out_channels=9), dict(proj=9, out_channels=9), dict(proj=9)):
        assert ObjectPairRelation(em_dim=8, key_num=2, **options).proj[0].out_features == 9
    for options in (dict(proj=False), dict(out_channels=16), dict()):
        relation = ObjectPairRelation(em_dim=8, key_num=2, **options)
        assert (relation.out_channels, list(relation.parameters())) == (16, [])
