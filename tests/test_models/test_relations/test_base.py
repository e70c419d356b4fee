"""The contract of every relation, and the packing of RoIs."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from mmdet_ext.models.relations import BaseRelation, Packing, Parts
from mmdet_ext.models.relations.base import check_part_names, check_positive

from ..relation_case import (
    FIXED,
    IMG_SHAPES,
    PAIRWISE,
    PART_NAMES,
    RELATIONS,
    STRIDES,
    WIDTH,
    WITH_PARTS,
    build,
    convert,
    make_context,
    pick_image,
    pick_rows,
)

every_relation = pytest.mark.parametrize('name', RELATIONS)
every_learning_relation = pytest.mark.parametrize('name', [name for name in RELATIONS if name not in FIXED])
with_parts = pytest.mark.parametrize('name', WITH_PARTS)
# Duplicates of the best push out the others where the best few are chosen: keys, slots, counted boxes, neighbours.
BY_RANK = [
    'geometry_topk',
    'geometry_fg_num',
    'count_few',
    'pair',
    'pair_topk',
    'pair_fg',
    'spatial',
    'spatial_none',
    'spatial_kernels',
]
READS_POOL = [name for name in RELATIONS if 'cls_weight' in build(name).needs]


def backward(relation, loss):
    """Backward where there is something to learn; every gradient is finite then."""
    parameters = dict(relation.named_parameters())
    if parameters:
        loss.backward()
    for key, parameter in parameters.items():
        assert parameter.grad is not None, f'{key} is not connected'
        assert torch.isfinite(parameter.grad).all(), f'{key} has no finite gradient'


@every_relation
def test_the_fixed_relations_are_those_without_parameters(name):
    assert (name in FIXED) == (not list(build(name).parameters()))


@every_relation
@pytest.mark.parametrize('counts', [(6, 3, 4), (0, 5, 1)])
def test_an_image_gives_the_same_alone_and_in_a_batch(name, counts, device):
    relation, ctx = build(name, torch.float64, device), make_context(counts, torch.float64, device)
    together = relation(ctx).feats
    assert together.shape == (sum(counts), relation.out_channels)
    for image, count in enumerate(counts):
        alone = relation(pick_image(ctx, image)).feats
        assert alone.shape == (count, relation.out_channels)
        assert_close(together[ctx.rois[:, 0] == image], alone)


@every_relation
def test_rows_may_come_in_any_order_and_images_interleaved(name):
    relation, ctx = build(name, torch.float64), make_context(dtype=torch.float64)
    order = torch.randperm(len(ctx.rois))
    assert not torch.equal(ctx.rois[order, 0], ctx.rois[order, 0].sort().values)
    assert_close(relation(pick_rows(ctx, order)).feats, relation(ctx).feats[order])


@every_relation
def test_rois_of_another_image_change_nothing(name):
    relation, ctx = build(name, torch.float64), make_context((4, 1), torch.float64)
    extra = pick_rows(ctx, torch.tensor([0, 1, 2, 3] + [4] * 40))
    extra.rois[4:, 1:] += torch.rand(40, 4) * 9
    extra.feats[4:] = 7
    assert_close(relation(extra).feats[:4], relation(ctx).feats[:4])


@every_relation
def test_duplicates_of_every_roi_change_nothing_but_ranks(name):
    """A mean over RoIs and a count of objects do not grow with the number of proposals."""
    relation, ctx = build(name, torch.float64), make_context((5, 0, 4), torch.float64)
    rows = torch.arange(9).repeat_interleave(3)
    before, after = relation(ctx).feats[rows], relation(pick_rows(ctx, rows)).feats
    assert torch.allclose(after, before) == (name not in BY_RANK)


@every_relation
def test_a_larger_batch_mate_changes_nothing(name):
    """Alone, the feature maps of an image end where it ends; in a batch they go on, with what the padding gives."""
    relation, ctx = build(name, torch.float64), make_context(dtype=torch.float64)
    together = relation(ctx).feats
    for image, (height, width) in enumerate(IMG_SHAPES):
        alone = pick_image(ctx, image)
        levels = zip(alone.feature_maps, STRIDES, strict=True)
        maps = tuple(level[..., : -(-height // stride), : -(-width // stride)] for level, stride in levels)
        assert_close(relation(replace(alone, feature_maps=maps)).feats, together[ctx.rois[:, 0] == image])


@every_relation
def test_counts_only_save_time(name):
    relation, ctx = build(name), make_context((2, 0, 5))
    assert_close(relation(ctx).feats, relation(replace(ctx, counts=None)).feats)


@pytest.mark.parametrize('name', PAIRWISE)
def test_a_moved_box_tells_its_own_image_only(name):
    relation, ctx = build(name, torch.float64), make_context((4, 4), torch.float64, key_valid=None)
    # Every RoI is foreground, and no box overlaps another.
    ctx.cls_logits[:, -1] = -3
    ctx.rois[:, 1:] = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [60, 20, 69, 29]]).repeat(2, 1)
    if name in ('geometry_topk', 'pair_topk'):
        ctx.cls_logits[0, -1] = ctx.cls_logits[4, -1] = -9
    before = relation(ctx).feats
    # Onto its neighbour: the distance to the others changes, and so does the number of objects.
    ctx.rois[0, 1:] = ctx.rois[1, 1:]
    after = relation(ctx).feats
    assert ((after[1:4] - before[1:4]).abs().amax(1) > 1e-6).all()
    assert_close(after[4:], before[4:], rtol=0, atol=0)


def test_every_kind_of_relation_is_looked_at():
    def kinds(base):
        for kind in base.__subclasses__():
            yield kind
            yield from kinds(kind)

    ours = {kind.__name__ for kind in kinds(BaseRelation) if kind.__module__.startswith('mmdet_ext')}
    assert {kind for kind in ours if not kind.startswith('_')} == {cfg['type'] for cfg in RELATIONS.values()}


@every_relation
@pytest.mark.parametrize('counts', [(0,), (0, 0), (1,), (1, 0, 1), (60,)])
def test_any_number_of_rois_runs_and_learns(name, counts, device):
    relation, ctx = build(name, device=device).train(), make_context(counts, device=device)
    out = relation(ctx).feats
    assert out.shape == (sum(counts), relation.out_channels)
    assert torch.isfinite(out).all()
    backward(relation, out.sum())


@every_relation
def test_state_dict_round_trip(name):
    relation, other, ctx = build(name), build(name), make_context()
    assert name in FIXED or not torch.equal(relation(ctx).feats, other(ctx).feats)
    other.load_state_dict(relation.state_dict())
    assert_close(other(ctx).feats, relation(ctx).feats, rtol=0, atol=0)


@every_learning_relation
def test_gradients(name):
    relation, ctx = build(name, torch.float64), make_context((2, 1), torch.float64)
    feats = ctx.feats.clone().requires_grad_()
    parameters = dict(relation.named_parameters())
    # The largest parameters are left out for speed; they have the small ones' code.
    learnt = {key: value.detach().clone().requires_grad_() for key, value in parameters.items() if value.numel() < 30}

    def run(feats, *values):
        given = {**{key: value.detach() for key, value in parameters.items()}, **dict(zip(learnt, values, strict=True))}
        return torch.func.functional_call(relation, given, (replace(ctx, feats=feats),)).feats

    inputs = (feats, *learnt.values())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True, atol=1e-4)


@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize('name', READS_POOL)
def test_gradients_to_the_base_classifier(name, detach):
    relation, ctx = build(name, torch.float64).train(), make_context(dtype=torch.float64)
    readers = [module for module in relation.modules() if hasattr(module, 'detach_pool')]
    for reader in readers:
        reader.detach_pool = detach
    ctx.cls_weight.requires_grad_()
    ctx.cls_logits.requires_grad_()
    relation(ctx).feats.square().sum().backward()
    assert (ctx.cls_weight.grad is None) == detach
    assert detach or ctx.cls_weight.grad.any()
    # The class of highest score is a constant.
    soft = any(reader.mapping == 'soft' for reader in readers)
    assert (ctx.cls_logits.grad is not None) == soft
    assert not soft or ctx.cls_logits.grad.any()


@every_relation
def test_what_stands_before_learns_as_far_as_is_said(name):
    relation, ctx = build(name, torch.float64), make_context(dtype=torch.float64)
    ctx.feats.requires_grad_()
    out = relation(ctx).feats
    if out.requires_grad:
        out.square().sum().backward()
    assert (ctx.feats.grad is not None) == relation.gradient_to_feats


@every_relation
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(name, dtype):
    relation, ctx = build(name), make_context()
    expected = relation(ctx).feats
    out = relation.to(dtype)(convert(ctx, dtype)).feats
    assert out.dtype == dtype
    assert_close(out.float(), expected, rtol=0.2, atol=0.2)


@every_relation
def test_autocast(name, device):
    relation, ctx = build(name, device=device).train(), make_context(device=device)
    expected = relation(ctx).feats
    with torch.autocast(device.type, torch.bfloat16):
        out = relation(ctx).feats
    backward(relation, out.float().square().sum())
    assert_close(out.float(), expected, rtol=0.1, atol=0.1)


@every_relation
@pytest.mark.parametrize(
    'box',
    [
        (float('nan'),) * 4,
        (5.0, 5, 5, 5),
        (9.0, 9, 2, 2),
        (3.0, 1, float('inf'), 4),
        (float('-inf'), 0, float('inf'), 4),
        (0.0, 0, 1e30, 1e30),
    ],
)
def test_broken_boxes_stay_finite(name, box):
    relation, ctx = build(name).train(), make_context()
    ctx.rois[1, 1:] = torch.tensor(box)
    out = relation(ctx).feats
    assert torch.isfinite(out).all()
    backward(relation, out.sum())


@every_relation
def test_wrong_width_names_both_numbers(name):
    ctx = make_context()
    with pytest.raises(ValueError, match=rf'in_channels={WIDTH} .* {WIDTH + 3} wide'):
        build(name)(replace(ctx, feats=torch.randn(len(ctx.rois), WIDTH + 3)))


def test_rows_must_match():
    ctx = make_context()
    with pytest.raises(ValueError, match='feats has 12 rows for 13 RoIs'):
        build('geometry')(replace(ctx, feats=ctx.feats[:-1]))
    for field in ('cls_logits', 'key_valid'):
        with pytest.raises(ValueError, match=f'{field} has 12 rows for 13 RoIs'):
            build('geometry')(replace(ctx, **{field: getattr(ctx, field)[:-1]}))
    with pytest.raises(ValueError, match=r'rois must be \(N, 5\).* got the shape \(13, 4\)'):
        build('geometry')(replace(ctx, rois=ctx.rois[:, 1:]))


@pytest.mark.parametrize(
    'name', ['geometry_topk', 'geometry_fg', 'graph', 'soft_mapping', 'count', 'pair', 'parallel', 'sequence']
)
def test_missing_scores_name_the_base_head(name):
    with pytest.raises(ValueError, match=r'cls_logits.*base_head=True'):
        build(name)(replace(make_context(), cls_logits=None))


def test_missing_feature_maps_do_not_name_the_base_head():
    with pytest.raises(ValueError, match=r'needs feature_maps in the relation context$'):
        build('graph_attention')(replace(make_context(), feature_maps=None))


@pytest.mark.parametrize('name', ['in_channels', 'out_channels'])
@pytest.mark.parametrize('value', [0, -1, 2.0, None])
def test_widths_are_positive_integers(name, value):
    with pytest.raises(ValueError, match=f'{name} must be a positive int, got {value}'):
        BaseRelation(**{'in_channels': 1, 'out_channels': 1, name: value})


@pytest.mark.parametrize('value', [0, -0.5, float('nan'), float('inf'), '1', None])
def test_a_number_is_positive_and_finite(value):
    with pytest.raises(ValueError, match=f'^Owner: option must be a positive number, got {value!r}$'):
        check_positive('option', value, 'Owner', integer=False)


@pytest.mark.parametrize('value', [1, 0.5])
def test_positive_numbers_pass(value):
    check_positive('option', value, 'Owner', integer=False)


@every_relation
def test_maps_are_there_when_wanted_only(name):
    relation, ctx = build(name), make_context()
    assert relation(ctx).maps == {}
    maps = relation(replace(ctx, want_maps=True)).maps
    assert all(not value.requires_grad for value in maps.values())
    for key, value in maps.items():
        if key.endswith('attention'):
            assert_close(value.sum(-1), torch.ones(value.shape[:-1]))
    assert maps or name in ('graph', 'soft_mapping', 'part_geometry')


@every_relation
def test_maps_are_documented_and_can_be_drawn(name):
    relation, ctx = build(name).train(), make_context((4, 0, 3), want_maps=True)
    for values in (ctx.feats, ctx.cls_logits, ctx.cls_weight):
        values.requires_grad_()
    axes = Figure().subplots()
    for key, value in relation(ctx).maps.items():
        owner, *names = relation, *key.split('.')
        for place in names[:-1]:
            # Compositions put the place and the class of the member in front.
            owner = owner.members[int(place.split('_')[0])]
            assert place.split('_')[1] == type(owner).__name__
        # Maps of a layer end with its number.
        assert f'`{re.sub("[0-9]+$", "i", names[-1])}`' in inspect.getdoc(type(owner).forward)
        assert not value.requires_grad
        assert torch.isfinite(value).all()
        assert 1 <= value.ndim <= 4
        axes.imshow(np.atleast_2d(value.reshape(-1, *value.shape[-2:])[0] if value.ndim > 2 else value))


@with_parts
def test_a_moved_part_tells_its_own_image_only(name):
    relation, ctx = build(name, torch.float64), make_context((3, 2), torch.float64)
    before = relation(ctx).feats
    ctx.parts.boxes[0, 0] += torch.tensor([7.0, 3, 1, 9])
    after = relation(ctx).feats
    assert ((after[:3] - before[:3]).abs().amax(1) > 1e-6).all()
    assert_close(after[3:], before[3:], rtol=0, atol=0)


@with_parts
@pytest.mark.parametrize('rubbish', [float('nan'), float('inf'), -1e30])
def test_what_an_invalid_part_holds_is_never_read(name, rubbish):
    relation, ctx = build(name).train(), make_context((3, 2))
    ctx.parts.valid[:] = torch.tensor([[False, True, True], [False, False, False]])
    outs, grads = [], []
    for filling in (0.0, rubbish):
        for values in (ctx.parts.boxes, ctx.parts.feats, *ctx.parts.cell_feats.values()):
            values[~ctx.parts.valid] = filling
        relation.zero_grad()
        outs.append(relation(ctx).feats)
        backward(relation, outs[-1].square().sum())
        grads.append([parameter.grad.clone() for parameter in relation.parameters()])
    assert_close(outs[1], outs[0], rtol=0, atol=0)
    assert_close(grads[1], grads[0], rtol=0, atol=0)
    assert outs[0][:3].any(1).all()
    assert not outs[0][3:].any()


@with_parts
def test_parts_may_come_in_any_order_and_be_more_than_asked_for(name):
    relation, ctx = build(name, torch.float64), make_context(dtype=torch.float64)
    order = [2, 0, 1, 0]
    shuffled = Parts(
        boxes=ctx.parts.boxes[:, order],
        valid=ctx.parts.valid[:, order],
        feats=ctx.parts.feats[:, order],
        names=(*(PART_NAMES[place] for place in order[:3]), 'spine'),
        cell_feats={split: feats[:, order] for split, feats in ctx.parts.cell_feats.items()},
    )
    assert_close(relation(replace(ctx, parts=shuffled)).feats, relation(ctx).feats)


@with_parts
def test_missing_parts_name_the_pipeline(name):
    with pytest.raises(ValueError, match=r'needs parts.* in the relation context; put LoadParts into the pipeline'):
        build(name)(replace(make_context(), parts=None))


@with_parts
def test_unknown_parts_name_both_lists(name):
    ctx = make_context()
    ctx.parts.names = ('left lung', 'liver', 'heart')
    with pytest.raises(ValueError, match=r"Part\w+Relation wants the parts \['right lung'\], the data have .*'liver'"):
        build(name)(ctx)


@pytest.mark.parametrize('names', [[], (), 'heart', None, 3, ['a', 'b', 'a'], ['a', 1], {'a': 1}])
def test_part_names_that_are_none(names):
    with pytest.raises(ValueError, match=r'^Owner: part_names must be a non-empty list of different names, got '):
        check_part_names(names, 'Owner')


def test_part_names_of_a_config():
    assert check_part_names(['b', 'a'], 'Owner') == ('b', 'a')


class TestParts:
    def test_selection_moves_everything_together(self):
        parts = make_context().parts
        chosen = parts.select(('heart', 'left lung'), 'Owner')
        assert chosen.names == ('heart', 'left lung')
        assert_close(chosen.boxes, parts.boxes[:, [2, 0]])
        assert chosen.valid.tolist() == parts.valid[:, [2, 0]].tolist()
        assert_close(chosen.feats, parts.feats[:, [2, 0]])
        assert_close(chosen.cell_feats, {(2, 2): parts.cell_feats[2, 2][:, [2, 0]]})

    def test_all_in_order_costs_nothing(self):
        parts = make_context().parts
        assert parts.select(PART_NAMES, 'Owner') is parts

    def test_without_features(self):
        parts = replace(make_context().parts, feats=None, cell_feats={})
        chosen = parts.select(('heart',), 'Owner')
        assert chosen.feats is None
        assert chosen.cell_feats == {}

    def test_parts_without_names_are_taken_as_they_come(self):
        parts = replace(make_context().parts, names=None)
        chosen = parts.select(('a', 'b', 'c'), 'Owner')
        assert chosen.names == ('a', 'b', 'c')
        assert chosen.boxes is parts.boxes
        with pytest.raises(ValueError, match=r"Owner has part_names=\('a', 'b'\), but the context holds 3 parts"):
            parts.select(('a', 'b'), 'Owner')

    def test_names_that_are_not_there(self):
        with pytest.raises(ValueError, match=r"Owner wants the parts \['liver', 'spine'\], the data have \['left"):
            make_context().parts.select(('liver', 'heart', 'spine'), 'Owner')


class TestPacking:
    def test_grouped(self):
        ctx = make_context((2, 0, 3))
        packing = Packing(ctx)
        assert packing.mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
        assert packing.counts == Packing(replace(ctx, counts=None)).counts == (2, 0, 3)
        packed = packing.pack(ctx.feats)
        assert packed.shape == (3, 3, WIDTH)
        assert torch.equal(packed[0, :2], ctx.feats[:2])
        assert torch.equal(packed[2], ctx.feats[2:])
        assert not packed[~packing.mask].any()
        assert torch.equal(packing.unpack(packed), ctx.feats)

    def test_interleaved_rows_keep_their_order(self):
        ctx = pick_rows(make_context((2, 1)), torch.tensor([2, 1, 0]))
        packing = Packing(ctx)
        packed = packing.pack(ctx.feats)
        assert torch.equal(packed[0], ctx.feats[1:])
        assert torch.equal(packed[1, 0], ctx.feats[0])
        assert torch.equal(packing.unpack(packed), ctx.feats)

    def test_other_types(self):
        ctx = make_context((1, 2))
        packed = Packing(ctx).pack(torch.tensor([True, True, False]))
        assert packed.tolist() == [[True, False], [True, False]]

    @pytest.mark.parametrize('counts', [(2, 2), (5,), (2, 2, 1)])
    def test_counts_that_do_not_fit(self, counts):
        with pytest.raises(ValueError, match='do not fit 5 RoIs of 2 images'):
            Packing(replace(make_context((2, 3)), counts=counts))

    def test_no_image(self):
        ctx = replace(make_context((0,)), img_shapes=torch.zeros(0, 2), counts=None)
        assert Packing(ctx).pack(ctx.feats).shape == (0, 0, WIDTH)
