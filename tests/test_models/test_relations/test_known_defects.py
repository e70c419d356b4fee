"""Defects of public relation code, a test each that ours has not got them.

What the tests of a component show already is not repeated here.
"""

import math
from contextlib import nullcontext
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import ImageCategoryAttention, Parts, SpatialGraphRelation
from mmdet_ext.models.relations.geometry import MIN_SHIFT, box_geometry, sine_embedding

from ..relation_case import (
    ATTENTION,
    IMG_SHAPES,
    NUM_CLASSES,
    PART_CONTEXT,
    PART_GEOMETRY,
    RELATIONS,
    STRIDES,
    WIDTH,
    build,
    make_context,
    random_boxes,
)
from .test_base import backward, every_learning_relation, every_relation

NAN = float('nan')
# One of every class that is no composition.
KINDS = [
    'geometry_nongt',
    'graph_attention',
    'soft_mapping',
    'count',
    'pair_topk',
    'part_geometry',
    'part_context_cells',
    'spatial_relu',
]


def test_every_class_is_among_the_kinds():
    classes = {cfg['type'] for cfg in RELATIONS.values() if 'relations' not in cfg}
    assert sorted(RELATIONS[name]['type'] for name in KINDS) == sorted(classes)


class TestOtherImages:
    """Relation Networks (issues #35, #40): with two images a GPU, keys of one image leak into the other."""

    @every_relation
    def test_what_is_no_number_stays_in_its_image(self, name):
        """Zero times NaN is NaN: a mask after the fact would not be enough."""
        relation, ctx = build(name), make_context((4, 3))
        before = relation(ctx).feats[:4]
        parts = ctx.parts
        for values in (ctx.feats, ctx.cls_logits, ctx.rois[:, 1:]):
            values[4:] = NAN
        for values in (*ctx.feature_maps, parts.boxes, parts.feats, *parts.cell_feats.values()):
            values[1] = NAN
        out = relation(ctx).feats[:4]
        assert_close(out, before, rtol=0, atol=0)

    @pytest.mark.parametrize('name', ['graph_attention', 'graph_map_first'])
    def test_what_is_no_number_stays_in_the_batch_padding(self, name):
        relation, ctx = build(name).train(), make_context((4, 2, 3))
        before = relation(ctx).feats
        for level, stride in zip(ctx.feature_maps, STRIDES, strict=True):
            for image, (height, width) in enumerate(IMG_SHAPES):
                level[image, :, math.ceil(height / stride) :] = NAN
                level[image, :, :, math.ceil(width / stride) :] = NAN
        out = relation(ctx).feats
        assert_close(out, before, rtol=0, atol=0)
        backward(relation, out.sum())


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('geometry', {}),
        ('geometry_nongt', {}),
        ('count', {}),
        ('spatial', dict(topk=None)),
        ('spatial_relu', {}),
        ('spatial_norm', {}),
    ],
)
def test_what_the_others_are_matters(name, options):
    """heefe92: a softmax over the wrong dimension sums to one, so the relation is a linear layer on each box alone."""
    relation, ctx = build(name, torch.float64, **options), make_context((4, 3), torch.float64, key_valid=None)
    before = relation(ctx).feats
    ctx.feats[0] += torch.randn(WIDTH)
    ctx.cls_logits[0] = ctx.cls_logits[0].roll(1)
    after = relation(ctx).feats
    assert ((after - before)[1:4].abs().amax(1) > 1e-6).all()
    assert_close(after[4:], before[4:], rtol=0, atol=0)


class TestSpatialKernels:
    """SGRN and the code of the relation log."""

    def relation(self, **options):
        options = dict(kernel='gaussian', n_kernels=1, layers=(8, 6), learner=(8, 8), topk=None) | options
        return SpatialGraphRelation(WIDTH, **options)

    @pytest.mark.parametrize('kernel', ['gaussian', 'gaussian_norm', 'relu'])
    @pytest.mark.parametrize('over', ['neighbours', 'kernels'])
    def test_a_single_kernel_learns(self, kernel, over):
        """SGRN normalises over kernels: the weight of a single one is 1 everywhere, and it gets no gradient."""
        relation = self.relation(kernel=kernel, normalize_over=over)
        relation(make_context((6, 4))).feats.square().sum().backward()
        for parameter in relation.kernels.parameters():
            assert (parameter.grad.abs().max() > 1e-6) == (over == 'neighbours')

    @pytest.mark.parametrize('kernel', ['gaussian', 'gaussian_norm'])
    def test_narrow_kernels_do_not_underflow(self, kernel):
        """SGRN: a deviation near zero makes all weights of a row zero, zero over zero is patched afterwards."""
        relation, ctx = self.relation(kernel=kernel, n_kernels=2), make_context((6, 3), want_maps=True)
        for gaussians in relation.kernels:
            torch.nn.init.constant_(gaussians.raw_diagonal, 1e4)
            assert not gaussians(torch.rand(1, 6, 6, 2)).exp().any()
        out = relation(ctx)
        for layer in range(2):
            weights = out.maps[f'weights_{layer}']
            assert_close(weights.sum(-1).mean(1)[ctx_mask(ctx)], torch.ones(9))
        backward(relation, out.feats.sum())

    def test_every_kernel_has_a_projection_of_its_own(self):
        """HKRM: ten kernels share one convolution, so what they give is equal but for the weights."""
        relation, ctx = self.relation(n_kernels=2, layers=(8,)), make_context()
        with torch.no_grad():
            for parameter in relation.kernels.parameters():
                parameter[1] = parameter[0]
        first, second = relation(ctx).feats.chunk(2, dim=1)
        assert not torch.allclose(first, second)
        second.sum().backward()
        assert not relation.projects[0].weight.grad[:4].any()
        assert relation.projects[0].weight.grad[4:].any()

    def test_fewer_rois_than_published_neighbours(self):
        """SGRN: the 32 largest of fewer than 32 raise."""
        relation, ctx = SpatialGraphRelation(WIDTH), make_context((5, 0, 31))
        assert relation.topk == 32
        out = relation(ctx).feats
        assert out.any(1).all()
        backward(relation, out.sum())


def ctx_mask(ctx):
    """(B, Nmax) bool, True where an image has a RoI."""
    return torch.arange(max(ctx.counts)) < torch.tensor(ctx.counts)[:, None]


class TestHalfPrecision:
    """All geometry code under AMP: the embedding's arguments reach 690, where half precision knows no digit."""

    def scene(self):
        """RoIs and parts of a large image, many with a shift of next to nothing, others far apart and very unequal."""
        ctx = make_context((40,), key_valid=None)
        corner = (torch.rand(40, 2) * 8).round() / 8 + torch.tensor([[1024.0, 512]]) * (torch.arange(40) % 2)[:, None]
        size = 2.0 ** torch.randint(0, 10, (40, 2))
        ctx.rois[:, 1:] = torch.cat([corner, corner + size], dim=1)
        ctx.parts.boxes[:] = ctx.rois[:3, 1:]
        return ctx

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize('geom', ['hu', 'log1p'])
    @pytest.mark.parametrize('name', ['geometry', 'part_context', 'pair', 'part_geometry'])
    def test_the_embedding_is_that_of_float64(self, name, geom, dtype):
        ctx = self.scene()
        relation = build(name, geom=geom)
        boxes = ctx.rois[None, :, 1:]

        def run(relation, ctx, boxes):
            if hasattr(relation, 'attention_bias'):
                return relation.attention_bias(boxes, boxes).exp()
            return relation(ctx).feats

        with torch.autocast('cpu', dtype):
            out = run(relation, ctx, boxes)
        wide = replace(ctx, rois=ctx.rois.double(), feats=ctx.feats.double())
        exact = run(relation.double(), wide, boxes.double())
        assert (out - exact).abs().max() < 2e-3

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision_is_as_wrong_as_said(self, dtype):
        """What the test above would find."""
        boxes = self.scene().rois[:, 1:]
        exact = sine_embedding(box_geometry(boxes.double(), boxes.double()))
        assert exact.shape[-1] == 64
        numbers = box_geometry(boxes, boxes)
        assert numbers.abs().max() >= -math.log(MIN_SHIFT) - 1e-3
        assert (sine_embedding(numbers.to(dtype)) - exact).abs().max() > 0.2


class TestGeometryHeads:
    """Relation Networks: below 1e-6 the geometry weight of a pair is a constant, its gradient zero."""

    @pytest.mark.parametrize('seed', range(3))
    def test_every_head_is_alive_at_the_start(self, seed):
        torch.manual_seed(seed)
        relation = MODELS.build(dict(type='GeometryAttentionRelation', in_channels=64))
        relation.init_weights()
        ctx = make_context((20,), feats=torch.randn(20, 64))
        relation(ctx).feats.square().sum().backward()
        assert (relation.geometry.weight.grad.abs().amax(1) > 1e-6).all()
        boxes = ctx.rois[None, :, 1:]
        alive = relation.attention_bias(boxes, boxes) > math.log(1e-6)
        assert (alive.float().mean((0, 2, 3)) > 0.1).all()

    @pytest.mark.parametrize('name', ['geometry', 'part_context'])
    def test_a_dead_head_still_learns_by_appearance(self, name):
        relation, ctx = build(name).train(), make_context()
        with torch.no_grad():
            relation.geometry.bias[0] = -99
        relation(ctx).feats.square().sum().backward()
        assert not relation.geometry.weight.grad[0].any()
        assert relation.geometry.weight.grad[1:].any(1).all()
        for layer in (relation.query, relation.key, relation.value):
            own = layer.weight.grad.chunk(relation.heads)[0]
            assert own.isfinite().all()
            assert own.any()


@pytest.mark.filterwarnings('ignore:RelationSequence')
class TestCompositions:
    """Lab code: parts, categories and boxes combined in few fixed ways, some of which lacked a branch."""

    def build(self, kind, *names):
        members = [RELATIONS[name] for name in names]
        return MODELS.build(dict(type=kind, in_channels=WIDTH, relations=members)).train()

    @pytest.mark.parametrize('kind', ['RelationParallel', 'RelationSequence'])
    @pytest.mark.parametrize('names', product(KINDS, KINDS), ids='-'.join)
    def test_any_two_compose(self, kind, names):
        """No parameter is left without a gradient, whatever stands behind or beside it."""
        relation = self.build(kind, *names)
        for counts in ((5,), (3, 4), (4, 0, 2)):
            out = relation(make_context(counts)).feats
            assert out.shape == (sum(counts), relation.out_channels)
            assert torch.isfinite(out).all()
            relation.zero_grad()
            backward(relation, out.square().sum())

    @pytest.mark.parametrize('kind', ['RelationParallel', 'RelationSequence'])
    def test_all_compose_in_any_order(self, kind):
        for order in (KINDS, KINDS[::-1]):
            relation = self.build(kind, *order)
            backward(relation, relation(make_context()).feats.square().sum())

    @pytest.mark.parametrize('name', ['soft_mapping', 'count', 'pair', 'part_geometry'])
    def test_a_relation_that_cannot_learn_is_spoken_of(self, name):
        """Lab code: parameters that were in no graph, found after weeks."""
        with pytest.warns(UserWarning, match=rf'relations\[1\], {RELATIONS[name]["type"]}, .* never learns. Put it'):
            relation = self.build('RelationSequence', 'geometry_nongt', name)
        ctx = make_context()
        out = relation(ctx).feats
        backward(relation, out.square().sum())
        assert not relation.gradient_to_feats
        assert not any(value.grad.any() for value in relation.members[0].parameters())
        # The features are those of the last alone.
        last = relation.members[1]
        assert_close(out, last(replace(ctx, feats=torch.randn(13, last.in_channels))).feats, rtol=0, atol=0)

    @every_learning_relation
    def test_two_of_a_kind_share_no_parameter(self, name):
        """Lab code: relations to parts and to objects used the same layers, by accident."""
        relation = self.build('RelationParallel', name, name)
        names = [key.split('.', 2)[2] for key in relation.state_dict()]
        assert len(names) == 2 * len(set(names))
        first, second = (list(member.parameters()) for member in relation.members)
        assert len(first) == len(second) > 0
        assert not {value.data_ptr() for value in first} & {value.data_ptr() for value in second}
        relation(make_context()).feats[:, : relation.members[0].out_channels].sum().backward()
        assert all(value.grad is None or not value.grad.any() for value in second)


@pytest.mark.parametrize('cfg', [PART_GEOMETRY, PART_CONTEXT], ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('number', [1, 2, 7])
def test_any_number_of_parts(cfg, number):
    """Lab code: five parts, by position."""
    ctx, names = make_context((4, 3)), tuple(f'rib {i}' for i in range(number))
    ctx.parts = Parts(
        boxes=torch.stack([random_boxes(number, shape).float() for shape in IMG_SHAPES[:2]]),
        valid=torch.ones(2, number, dtype=torch.bool),
        feats=torch.randn(2, number, WIDTH),
        names=names,
    )
    relation = MODELS.build(dict(cfg, in_channels=WIDTH, part_names=names))
    before = relation(ctx).feats
    for part in range(number):
        ctx.parts.boxes[:, part] += 9
        ctx.parts.feats[:, part] += 1
        after = relation(ctx).feats
        assert ((after - before).abs().amax(1) > 1e-6).all()
        before = after


@pytest.mark.parametrize('name', ['part_geometry', 'part_context', 'part_context_cells'])
@pytest.mark.parametrize('box', [(9.0, 9, 9, 9), (20, 5, 3, 1), (0, 0, 1e30, 1e30)])
def test_parts_without_extent_stay_finite(name, box):
    """mmdet 3.x has no `+ 1` in its boxes: the logarithm of a width of zero."""
    relation, ctx = build(name).train(), make_context()
    ctx.parts.boxes[:, 0] = torch.tensor(box)
    out = relation(ctx).feats
    assert torch.isfinite(out).all()
    backward(relation, out.sum())


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=5, max_size=5), st.data())
@settings(max_examples=30, deadline=None)
def test_feature_maps_of_any_size(sizes, data):
    """Reasoning-RCNN: `interpolate(scale_factor=a / b)` rounds down, and levels of odd maps do not fit together."""
    module = ImageCategoryAttention(7, **ATTENTION)
    maps = tuple(torch.randn(2, 4, *size) for size in sizes)
    sides = st.integers(1, 160)
    shapes = torch.tensor([[data.draw(sides), data.draw(sides)] for _ in range(2)])
    out = module(maps, shapes, torch.randn(NUM_CLASSES + 1, 7))
    assert_close(out.sum(1), torch.ones(2))


@every_relation
def test_everything_is_where_the_input_is(name, monkeypatch):
    """Ports with `.cuda()`, or zeros on the CPU, in the middle; the numbers of RoIs given, nothing is read back.

    The meta device has no values: whoever looks at one, or mixes devices, fails.
    """
    # It knows no autocast.
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: nullcontext())
    relation, ctx = build(name, device='meta').train(), make_context((4, 0, 3), device='meta')
    out = relation(replace(ctx, want_maps=True))
    assert out.feats.shape == (7, relation.out_channels)
    assert {value.device.type for value in (out.feats, *out.maps.values())} == {'meta'}
