"""Relations side by side and one after the other."""

from dataclasses import replace

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import (
    BaseRelation,
    CategoryGraphRelation,
    RelationOutput,
    RelationParallel,
    RelationSequence,
)
from mmdet_ext.models.relations.compose import name_options

from ..relation_case import COUNT, GEOMETRY, GRAPH, PAIR, PART_CONTEXT, PART_GEOMETRY, SPATIAL, WIDTH, make_context


@MODELS.register_module(force=True)
class _TimesTwoRelation(BaseRelation):
    """Doubles the features; with a loss and a map that tell which features it saw."""

    def forward(self, ctx):
        self.check(ctx)
        total = ctx.feats.sum()
        return RelationOutput(2 * ctx.feats, {'loss_sum': total}, {'sum': total.detach()})


KNOWN = dict(pool_channels=5, part_channels=6, num_classes=3)
TWICE = dict(type='_TimesTwoRelation', out_channels=WIDTH)


def test_parallel_widths_and_order():
    relation, ctx = RelationParallel(WIDTH, [COUNT, GEOMETRY, GRAPH]), make_context()
    assert relation.out_channels == 6 + WIDTH + 5
    assert [member.in_channels for member in relation.members] == [WIDTH] * 3
    assert relation.needs == {'cls_logits', 'cls_weight'}
    expected = torch.cat([member(ctx).feats for member in relation.members], dim=1)
    assert_close(relation(ctx).feats, expected)


def test_sequence_feeds_features():
    relation, ctx = RelationSequence(WIDTH, [TWICE, TWICE, TWICE]), make_context()
    out = relation(ctx)
    assert_close(out.feats, 8 * ctx.feats)
    total = ctx.feats.sum()
    names = [f'{index}__TimesTwoRelation.loss_sum' for index in range(3)]
    assert list(out.losses) == names
    assert_close([out.losses[name] for name in names], [total, 2 * total, 4 * total])
    assert list(out.maps) == [name.replace('loss_', '') for name in names]


def test_parallel_gives_everybody_the_input():
    relation, ctx = RelationParallel(WIDTH, [TWICE, TWICE]), make_context()
    out = relation(ctx)
    assert_close(out.feats, 2 * ctx.feats.repeat(1, 2))
    assert_close(list(out.losses.values()), [ctx.feats.sum()] * 2)


def test_sequence_widths():
    relation = RelationSequence(WIDTH, [dict(GRAPH, out_channels=8), dict(GEOMETRY, out_channels=4)])
    assert [member.in_channels for member in relation.members] == [WIDTH, 8]
    assert relation.out_channels == 4


@pytest.mark.parametrize('reader', [GRAPH, SPATIAL, PART_CONTEXT])
def test_pool_and_parts_keep_their_width_in_a_sequence(reader):
    ctx, narrow = make_context(), dict(GEOMETRY, out_channels=8)
    for members in ([narrow, reader], [narrow, dict(type='RelationParallel', relations=[reader])]):
        relation = RelationSequence(WIDTH, members)
        assert relation(ctx).feats.shape == (len(ctx.rois), relation.out_channels)


@pytest.mark.parametrize('last', [PAIR, PART_GEOMETRY, GRAPH, SPATIAL, dict(SPATIAL, node='semantic')])
def test_a_sequence_leaves_nobody_without_gradient(last):
    relation = RelationSequence(WIDTH, [dict(GEOMETRY, out_channels=8), last])
    relation(make_context()).feats.sum().backward()
    assert [name for name, x in relation.named_parameters() if x.grad is None] == []


def test_nodes_of_a_spatial_graph_are_what_the_relation_before_gives():
    nested = dict(type='RelationParallel', relations=[SPATIAL])
    first, second, third, named = RelationSequence(
        WIDTH, [SPATIAL, SPATIAL, nested, dict(SPATIAL, node='visual')]
    ).members
    assert [first.node, second.node, third.members[0].node, named.node] == ['semantic', 'input', 'input', 'visual']


def test_widths_for_every_reader_that_names_none():
    cfg = dict(
        type='RelationParallel',
        relations=[
            GEOMETRY,
            GRAPH,
            dict(GRAPH, pool_channels=7),
            dict(type='RelationSequence', relations=(dict(type=CategoryGraphRelation), dict(GEOMETRY), PART_CONTEXT)),
        ],
    )
    before = repr(cfg)
    geometry, graph, own, sequence = name_options(cfg, KNOWN)['relations']
    assert repr(cfg) == before
    assert geometry == GEOMETRY
    assert graph == dict(GRAPH, pool_channels=5, num_classes=3)
    assert own['pool_channels'] == 7
    assert [member.get('pool_channels') for member in sequence['relations']] == [5, None, None]
    assert [member.get('part_channels') for member in sequence['relations']] == [None, None, 6]
    assert [member.get('num_classes') for member in sequence['relations']] == [3, None, None]


@pytest.mark.parametrize('cfg', [3, dict(relations=3), dict(type='NoSuchRelation')])
def test_others_complain_of_what_is_no_relation(cfg):
    assert name_options(cfg, KNOWN) == cfg


def test_a_member_may_name_its_width():
    relation = RelationSequence(WIDTH, [TWICE, dict(TWICE, in_channels=WIDTH + 1)])
    with pytest.raises(ValueError, match=f'in_channels={WIDTH + 1} .* {WIDTH} wide'):
        relation(make_context())


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
def test_norm_and_activation(kind):
    ctx = make_context()
    plain = kind(WIDTH, [GEOMETRY])
    dressed = kind(WIDTH, [GEOMETRY], norm=dict(type='LN'), act=dict(type='ReLU'))
    dressed.members.load_state_dict(plain.members.state_dict())
    expected = torch.nn.functional.layer_norm(plain(ctx).feats, (WIDTH,)).relu()
    assert_close(dressed(ctx).feats, expected)


def test_maps_of_nested_compositions():
    relation = RelationParallel(WIDTH, [dict(type='RelationSequence', relations=[GEOMETRY, TWICE]), COUNT])
    maps = relation(replace(make_context(), want_maps=True)).maps
    prefix = '0_RelationSequence.'
    assert set(maps) == {
        f'{prefix}0_GeometryAttentionRelation.attention',
        f'{prefix}0_GeometryAttentionRelation.key_index',
        f'{prefix}1__TimesTwoRelation.sum',
        '1_ObjectCountRelation.counts',
    }


def test_configs_are_not_changed():
    configs = [dict(GEOMETRY), dict(COUNT)]
    RelationParallel(WIDTH, configs)
    assert configs == [GEOMETRY, COUNT]


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
def test_members_are_initialised(kind):
    relation = kind(WIDTH, [dict(GEOMETRY, init_cfg=dict(type='Constant', val=0.25, layer='Linear'))])
    relation.init_weights()
    assert (relation.members[0].key.weight == 0.25).all()


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
@pytest.mark.parametrize('relations', [[], ()])
def test_an_empty_list(kind, relations):
    with pytest.raises(ValueError, match=f'{kind.__name__}: relations is empty'):
        kind(WIDTH, relations)


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
@pytest.mark.parametrize('relations', [None, 3])
def test_no_list(kind, relations):
    with pytest.raises(ValueError, match=f'{kind.__name__}: relations'):
        kind(WIDTH, relations)


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
@pytest.mark.parametrize('name', ['norm', 'act'])
def test_a_norm_or_activation_that_is_no_dict(kind, name):
    with pytest.raises(ValueError, match=rf"{name} must be None or a dict such as dict\(type=...\), got 'LN'"):
        kind(WIDTH, [GEOMETRY], **{name: 'LN'})


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
def test_a_dict_instead_of_a_list(kind):
    with pytest.raises(ValueError, match=rf'{kind.__name__}: relations is a dict .*relations=\[dict\(...\)\]'):
        kind(WIDTH, GEOMETRY)


@pytest.mark.parametrize('kind', [RelationParallel, RelationSequence])
@pytest.mark.parametrize('member', [dict(heads=4), 'GeometryAttentionRelation'])
def test_a_member_without_type(kind, member):
    with pytest.raises(ValueError, match=rf'{kind.__name__}: relations\[1\] must be a dict with the key type'):
        kind(WIDTH, [GEOMETRY, member])


class _Other(torch.nn.Module):
    def __init__(self, in_channels):
        super().__init__()


def test_other_modules_are_no_relations():
    for kind in ('RelationParallel', 'RelationSequence'):
        with pytest.raises(ValueError, match=r'_Other.* is a _Other and not a relation'):
            MODELS.build(dict(type=kind, in_channels=WIDTH, relations=[dict(type=_Other)]))
