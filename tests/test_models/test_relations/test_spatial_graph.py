"""The spatial graph against a reference written from the equations, and what released code gets wrong."""

import math
from dataclasses import replace

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import SpatialGraphRelation

from ..relation_case import NUM_CLASSES, RELATIONS, WIDTH, build, make_context, pick_rows

SPATIAL = [name for name in RELATIONS if name.startswith('spatial')]
DENSE = dict(adjacency='dense', n_kernels=2, layers=(8, 6))


def relation_of(**options):
    """A small relation in double precision, Gaussians not separable."""
    options = dict(n_kernels=2, layers=(8, 6), learner=(8, 12)) | options
    relation = SpatialGraphRelation(WIDTH, **options).double().eval()
    for name, parameter in relation.named_parameters():
        if name.endswith('below'):
            torch.nn.init.normal_(parameter)
    return relation


def slow_weight(relation, kernel, k, ctx, i, j):
    """Weight of the kernel k for the offset from RoI i to RoI j."""
    if relation.kernel == 'none':
        return 1.0
    height, width = ctx.img_shapes[int(ctx.rois[i, 0])].tolist()
    (x1, y1), (x2, y2) = (
        ((ctx.rois[row, 1] + ctx.rois[row, 3]).item() / 2, (ctx.rois[row, 2] + ctx.rois[row, 4]).item() / 2)
        for row in (i, j)
    )
    dx, dy = (x2 - x1) / width, (y2 - y1) / height
    rho, theta = math.hypot(dx, dy), math.atan2(dy, dx)
    if relation.kernel == 'relu':
        return max(0.0, kernel.weight[k, 0].item() * rho + kernel.weight[k, 1].item() * theta + kernel.bias[k].item())
    turn = theta - kernel.mean[k, 1].item()
    while turn >= math.pi:
        turn -= 2 * math.pi
    while turn < -math.pi:
        turn += 2 * math.pi
    difference = torch.tensor([rho - kernel.mean[k, 0].item(), turn], dtype=torch.float64)
    precision = kernel.precision()[k]
    weight = torch.exp(-(difference @ precision @ difference) / 2)
    if relation.kernel == 'gaussian_norm':
        weight = weight * precision.det().sqrt() / (2 * math.pi)
    return weight.item()


def slow_edges(relation, ctx, i, keys):
    """Neighbours of RoI i and the weights of its edges."""
    if relation.learner is None:
        return dict.fromkeys(keys, 1.0)
    z = relation.learner(ctx.feats)
    similarity = {j: (z[i] @ z[j]).item() for j in keys}
    if relation.topk is not None and len(keys) > relation.topk:
        last = sorted(similarity.values())[-relation.topk]
        similarity = {j: value for j, value in similarity.items() if value >= last * (1 - 1e-6)}
    largest = max(similarity.values(), default=0)
    exps = {j: math.exp(value - largest) for j, value in similarity.items()}
    return {j: value / sum(exps.values()) for j, value in exps.items()}


def slow_nodes(relation, ctx):
    if relation.node == 'input':
        return ctx.feats
    if relation.node == 'visual':
        return (ctx.feats @ relation.embed[0].weight.T + relation.embed[0].bias).relu()
    pool = ctx.cls_weight if relation.pool_bias else ctx.cls_weight[:, :-1]
    argmax = relation.mapping == 'argmax'
    return torch.stack([pool[logits.argmax()] if argmax else logits.softmax(0) @ pool for logits in ctx.cls_logits])


def slow_spatial_graph(relation, ctx):
    """One layer, one RoI, one kernel, one neighbour after the other."""
    nodes, number = slow_nodes(relation, ctx), len(ctx.rois)
    for layer, (project, kernel) in enumerate(zip(relation.projects, relation.kernels, strict=True)):
        kernels = 1 if relation.kernel == 'none' else len(next(kernel.parameters()))
        out = torch.zeros(number, project.out_features, dtype=torch.float64)
        width = project.out_features // kernels
        for i in range(number):
            keys = [
                j
                for j in range(number)
                if ctx.rois[i, 0] == ctx.rois[j, 0] and (relation.keys == 'all' or ctx.key_valid[j])
            ]
            edges = slow_edges(relation, ctx, i, keys)
            if relation.learner is None or (layer and relation.weight_once):
                edges = {j: 1 / len(edges) for j in edges}
            weights = {(k, j): slow_weight(relation, kernel, k, ctx, i, j) for k in range(kernels) for j in edges}
            if relation.normalize_over == 'kernels':
                total = {j: sum(weights[k, j] for k in range(kernels)) for j in edges}
                weights = {(k, j): edges[j] * value / (total[j] or 1) for (k, j), value in weights.items()}
            else:
                weights = {(k, j): edges[j] * value for (k, j), value in weights.items()}
                total = {k: sum(weights[k, j] for j in edges) for k in range(kernels)}
                if relation.kernel == 'gaussian_norm':
                    total = dict.fromkeys(total, sum(total.values()) / kernels)
                weights = {(k, j): value / (total[k] or 1) for (k, j), value in weights.items()}
            for k in range(kernels):
                part = slice(k * width, (k + 1) * width)
                for j in edges:
                    out[i, part] += weights[k, j] * (project.weight[part] @ nodes[j])
        nodes = out.relu()
    return out


class TestEquations:
    @pytest.mark.parametrize('name', SPATIAL)
    def test_of_every_configuration(self, name):
        relation, ctx = build(name, torch.float64), make_context((5, 0, 3), torch.float64)
        assert_close(relation(ctx).feats, slow_spatial_graph(relation, ctx))

    @pytest.mark.parametrize('kernel', ['gaussian', 'gaussian_norm', 'relu', 'none'])
    @pytest.mark.parametrize('normalize_over', ['neighbours', 'kernels'])
    @pytest.mark.parametrize('adjacency', ['learnt', 'dense'])
    def test_of_every_kernel(self, kernel, normalize_over, adjacency):
        relation = relation_of(kernel=kernel, normalize_over=normalize_over, adjacency=adjacency, topk=2)
        if kernel == 'relu':
            torch.nn.init.constant_(relation.kernels[0].bias, -0.1)
        ctx = make_context((4, 1), torch.float64)
        out = relation(ctx).feats
        assert_close(out, slow_spatial_graph(relation, ctx))
        assert out.any()

    def test_of_a_single_layer(self):
        relation = relation_of(layers=(4,), node='input')
        ctx = make_context((4,), torch.float64)
        assert relation.out_channels == 4
        assert_close(relation(ctx).feats, slow_spatial_graph(relation, ctx))


class TestNumberOfBoxes:
    """Released code sums over neighbours: its features grow with the number of proposals."""

    @pytest.mark.parametrize('kernel', ['gaussian', 'gaussian_norm', 'relu', 'none'])
    @pytest.mark.parametrize('normalize_over', ['neighbours', 'kernels'])
    @pytest.mark.parametrize('options', [DENSE, dict(topk=None), dict(topk=None, weight_once=True)])
    def test_duplicates_of_every_roi_change_nothing(self, kernel, normalize_over, options):
        relation = relation_of(kernel=kernel, normalize_over=normalize_over, **options)
        ctx = make_context((5, 3), torch.float64)
        rows = torch.arange(8).repeat_interleave(3)
        assert_close(relation(pick_rows(ctx, rows)).feats, relation(ctx).feats[rows])

    def test_rows_sum_to_one_per_kernel(self):
        ctx = make_context((5,), torch.float64, want_maps=True)
        for options in (DENSE, dict(topk=2), dict(topk=3, kernel='relu')):
            maps = relation_of(**options)(ctx).maps
            assert_close(maps['weights_1'].sum(-1), torch.ones(1, 2, 5, dtype=torch.float64))
            assert_close(maps['adjacency'].sum(-1), torch.ones(1, 5, dtype=torch.float64))

    def test_densities_share_one_sum(self):
        relation, ctx = relation_of(kernel='gaussian_norm'), make_context((5,), torch.float64, want_maps=True)
        sums = relation(ctx).maps['weights_0'].sum(-1)
        assert_close(sums.sum(1), torch.full((1, 5), 2.0, dtype=torch.float64))
        assert not torch.allclose(sums, torch.ones_like(sums))


class TestGraph:
    def test_topk_neighbours_and_no_others(self):
        ctx = make_context((7, 4), torch.float64, want_maps=True)
        relation = relation_of(topk=3, learner=(32, 64))
        adjacency = relation(ctx).maps['adjacency']
        z = relation.learner(ctx.feats)[:7]
        chosen = (z @ z.T).topk(3).indices.sort().values
        assert torch.equal((adjacency[0] > 0).nonzero()[:, 1].view(7, 3), chosen)
        # The second image is padded: nothing there is a neighbour.
        assert not adjacency[1, :, 4:].any()

    @pytest.mark.parametrize('topk', [5, 6, 1000])
    def test_more_neighbours_asked_for_than_there_are(self, topk):
        ctx = make_context((5, 2), torch.float64)
        limited, free = relation_of(topk=topk), relation_of(topk=None)
        free.load_state_dict(limited.state_dict())
        assert_close(limited(ctx).feats, free(ctx).feats)

    def test_a_learner_without_opinion_takes_all_in_any_order(self):
        relation, ctx = relation_of(topk=2), make_context((6,), torch.float64, want_maps=True)
        torch.nn.init.constant_(relation.learner[-2].bias, -99)
        out = relation(ctx)
        assert_close(out.maps['adjacency'], torch.full((1, 6, 6), 1 / 6, dtype=torch.float64))
        order = torch.randperm(6)
        assert_close(relation(pick_rows(ctx, order)).feats, out.feats[order])

    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    def test_equal_features_are_equal_neighbours(self, dtype):
        relation, ctx = relation_of(topk=2).to(dtype), make_context((9,), dtype, want_maps=True)
        ctx.feats[2:] = ctx.feats[2]
        adjacency = relation(ctx).maps['adjacency'][0, 2:]
        assert_close(adjacency, adjacency[:1, 2:3].expand(7, 9) * (adjacency > 0))
        assert (adjacency[:, 2:] > 0).all()

    @pytest.mark.parametrize('detach', [True, False])
    def test_gradient_from_the_graph_to_the_features(self, detach):
        ctx = make_context((4,), torch.float64)
        ctx.feats.requires_grad_()
        relation = relation_of(detach_learner=detach)
        relation(ctx).feats.square().sum().backward()
        assert (ctx.feats.grad is None) == detach
        assert all(parameter.grad.any() for parameter in relation.learner.parameters() if parameter.ndim == 2)

    def test_dense_has_no_learner_and_no_limit(self):
        relation, ctx = relation_of(**DENSE, topk=1), make_context((4, 2), torch.float64, want_maps=True)
        assert relation.learner is None
        adjacency = relation(ctx).maps['adjacency']
        assert_close(adjacency[0], torch.full((4, 4), 0.25, dtype=torch.float64))
        assert_close(adjacency[1, :, :2], torch.full((4, 2), 0.5, dtype=torch.float64))
        assert not adjacency[1, :, 2:].any()

    @pytest.mark.parametrize('options', [DENSE, dict(topk=2), dict(topk=None)])
    def test_added_ground_truth_is_no_neighbour(self, options):
        relation, ctx = relation_of(keys='nongt', **options), make_context((5,), torch.float64)
        ctx.key_valid[:] = torch.tensor([True, True, False, True, False])
        proposals = torch.tensor([0, 1, 3])
        assert_close(relation(ctx).feats[proposals], relation(pick_rows(ctx, proposals)).feats)

    def test_a_roi_without_neighbours_gets_zeros(self):
        relation, ctx = relation_of(keys='nongt'), make_context((3, 4), torch.float64)
        ctx.key_valid[:3], ctx.key_valid[3:] = False, True
        out = relation(ctx).feats
        assert not out[:3].any()
        assert out[3:].any(1).all()
        out.sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in relation.parameters())

    def test_edges_weigh_in_the_first_layer_only(self):
        ctx = make_context((6,), torch.float64, want_maps=True)
        relation = relation_of(kernel='none', topk=3, weight_once=True)
        maps = relation(ctx).maps
        assert_close(maps['weights_0'][:, 0], maps['adjacency'])
        neighbours = maps['adjacency'] > 0
        assert_close(maps['weights_1'][:, 0], neighbours.double() / neighbours.sum(-1, keepdim=True))


class TestGeometry:
    @pytest.mark.parametrize('kernel', ['gaussian', 'gaussian_norm', 'relu'])
    def test_height_and_width_are_not_interchangeable(self, kernel):
        relation, ctx = relation_of(kernel=kernel, topk=None), make_context((5,), torch.float64)
        out = relation(ctx).feats
        assert not torch.allclose(relation(replace(ctx, img_shapes=ctx.img_shapes.flip(1))).feats, out)
        scale = torch.tensor([1, 3, 2, 3, 2], dtype=torch.float64)
        larger = replace(ctx, rois=ctx.rois * scale, img_shapes=ctx.img_shapes * torch.tensor([2, 3]))
        assert_close(relation(larger).feats, out)

    @pytest.mark.parametrize('options', [dict(topk=None), dict(topk=2), dict(normalize_over='kernels')])
    def test_a_moved_box_changes_the_others(self, options):
        relation, ctx = relation_of(**options), make_context((4, 3), torch.float64)
        ctx.feats[:] = ctx.feats[0]
        before = relation(ctx).feats
        ctx.rois[0, 1:] += 20
        after = relation(ctx).feats
        assert ((after - before)[:4].abs().amax(1) > 1e-9).all()
        assert torch.equal(after[4:], before[4:])

    def test_without_kernel_boxes_do_not_matter(self):
        relation, ctx = relation_of(kernel='none', topk=3, n_kernels=7), make_context((5,), torch.float64)
        out = relation(ctx).feats
        ctx.rois[:, 1:] = torch.rand(5, 4) * 50
        assert_close(relation(ctx).feats, out)

    def test_boxes_in_one_place(self):
        relation, ctx = relation_of(topk=None).train(), make_context((5,), torch.float64)
        ctx.rois[:, 1:] = torch.tensor([7.0, 7, 7, 7])
        out = relation(ctx).feats
        assert torch.isfinite(out).all()
        out.sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in relation.parameters())

    @pytest.mark.parametrize('kernel', ['gaussian', 'relu'])
    def test_float32_under_autocast(self, kernel):
        relation, ctx = relation_of(kernel=kernel, adjacency='dense').float(), make_context(want_maps=True)
        expected = relation(ctx).maps
        with torch.autocast('cpu', torch.bfloat16):
            out = relation(ctx)
        assert out.feats.dtype == torch.bfloat16
        assert_close(out.maps, expected)

    def test_similarity_in_float32_under_autocast(self):
        relation, ctx = relation_of().float(), make_context((5,), want_maps=True)
        with torch.autocast('cpu', torch.bfloat16):
            z = relation.learner(ctx.feats).float()
            maps = relation(ctx).maps
        assert_close(maps['adjacency'][0], (z @ z.T).softmax(-1))

    @pytest.mark.parametrize('name', SPATIAL)
    def test_fp16_features_of_a_large_image(self, name):
        relation, ctx = build(name, torch.float16), make_context(dtype=torch.float16)
        ctx.rois[:, 1:] *= 40
        ctx.feats *= 30
        out = relation(replace(ctx, img_shapes=ctx.img_shapes * 40)).feats
        assert out.dtype == torch.float16
        assert torch.isfinite(out).all()


class TestNodes:
    @pytest.mark.parametrize('detach', [True, False])
    def test_gradient_to_the_pool(self, detach):
        ctx = make_context(dtype=torch.float64)
        ctx.cls_weight.requires_grad_()
        relation_of(detach_pool=detach)(ctx).feats.square().sum().backward()
        assert (ctx.cls_weight.grad is None) == detach

    def test_semantic_nodes_follow_the_scores(self):
        relation, ctx = relation_of(mapping='argmax', **DENSE), make_context((4,), torch.float64)
        out = relation(ctx).feats
        assert_close(relation(replace(ctx, cls_logits=ctx.cls_logits * 5)).feats, out)
        assert not torch.allclose(relation(replace(ctx, cls_logits=ctx.cls_logits.roll(1, 0))).feats, out)

    def test_pool_of_another_width(self):
        relation = relation_of(pool_channels=9, pool_bias=False)
        ctx = make_context(dtype=torch.float64)
        with pytest.raises(ValueError, match=r'pool_channels=9 but the base classifier reads 16 .* pool_channels=16'):
            relation(ctx)
        narrow = torch.randn(NUM_CLASSES + 1, 10, dtype=torch.float64)
        assert relation(replace(ctx, cls_weight=narrow)).feats.shape == (13, 6)

    @pytest.mark.parametrize('node', ['visual', 'input'])
    def test_other_nodes_need_no_scores(self, node):
        relation = relation_of(node=node)
        ctx = replace(make_context(dtype=torch.float64), cls_logits=None, cls_weight=None)
        assert relation.needs == frozenset()
        assert relation(ctx).feats.any()

    def test_scores_come_from_the_base_head(self):
        with pytest.raises(ValueError, match=r'needs cls_logits, cls_weight .*base_head=True'):
            relation_of()(replace(make_context(dtype=torch.float64), cls_logits=None, cls_weight=None))

    def test_behind_a_category_graph(self):
        """The nodes are what the relation before hands on: the dense ReLU graph of the relation log."""
        spatial = dict(type='SpatialGraphRelation', kernel='relu', node='input', **DENSE)
        members = [dict(type='SoftMappingRelation', out_channels=5), spatial]
        sequence = MODELS.build(dict(type='RelationSequence', in_channels=WIDTH, relations=members)).double()
        ctx = make_context((4, 3), torch.float64)
        first, second = sequence.members
        assert second.in_channels == 5
        handed_on = replace(ctx, feats=first(ctx).feats)
        assert_close(sequence(ctx).feats, slow_spatial_graph(second, handed_on))


def test_dropout_between_layers_in_training_only():
    relation, ctx = relation_of(dropout=0.5), make_context(dtype=torch.float64)
    assert_close(relation(ctx).feats, relation(ctx).feats)
    relation.train()
    assert not torch.allclose(relation(ctx).feats, relation(ctx).feats)


def test_maps_for_plots():
    ctx = make_context((4, 2), torch.float64, want_maps=True)
    gaussian, relu, none = (relation_of(kernel=kernel)(ctx).maps for kernel in ('gaussian', 'relu', 'none'))
    shared = {'adjacency', 'weights_0', 'weights_1'}
    assert set(none) == shared
    assert set(gaussian) == shared | {'mean_0', 'mean_1', 'precision_0', 'precision_1'}
    assert set(relu) == shared | {'weight_0', 'weight_1', 'bias_0', 'bias_1'}
    assert gaussian['weights_0'].shape == (2, 2, 4, 4)


def test_only_weights_are_kept_for_the_backward():
    """Neither what the kernels compute on the way nor features of all neighbours: at most K numbers per pair."""
    relation, ctx = build('spatial', layers=(64, 64), topk=30).train(), make_context((60,))
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: saved.setdefault(x.untyped_storage().data_ptr(), x).detach(), lambda x: x
    ):
        relation(ctx).feats.sum()
    pairs = 60 * 60
    assert sum(x.numel() >= 2 * pairs for x in saved.values()) <= 3
    assert max(x.numel() for x in saved.values()) <= 2 * pairs


@pytest.mark.parametrize('name', SPATIAL)
@pytest.mark.parametrize('training', [True, False])
def test_no_graph_break(name, training):
    relation, ctx = build(name).train(training), make_context((5, 3))
    torch._dynamo.reset()
    compiled = torch.compile(relation, fullgraph=True, backend='eager')
    with torch.set_grad_enabled(training):
        assert_close(compiled(ctx).feats, relation(ctx).feats)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(kernel='box'), r"kernel='box', allowed are \('gaussian', 'gaussian_norm', 'relu', 'none'\)"),
        (dict(adjacency='knn'), "adjacency='knn', allowed are"),
        (dict(node='box'), "node='box', allowed are"),
        (dict(normalize_over='rows'), "normalize_over='rows', allowed are"),
        (dict(mapping='hard'), "mapping='hard', allowed are"),
        (dict(keys='fg'), r"keys='fg', allowed are \('all', 'nongt'\)"),
        (dict(n_kernels=3), r'n_kernels=3 does not divide the widths \[512, 256\] in layers=\(512, 256\)'),
        (dict(n_kernels=3, layers=[6, 4]), r'n_kernels=3 does not divide the widths \[4\]'),
        (dict(n_kernels=0), 'n_kernels must be a positive int, got 0'),
        (dict(topk=0), 'topk must be a positive int, got 0'),
        (dict(topk=2.5), 'topk must be a positive int, got 2.5'),
        (dict(layers=()), r'layers must be a non-empty list of widths, got \(\)'),
        (dict(layers=256), 'layers must be a non-empty list of widths, got 256'),
        (dict(layers=(256, 0)), 'every width in layers must be a positive int, got 0'),
        (dict(learner=[]), r'learner must be a non-empty list of widths, got \[\]'),
        (dict(learner=(8, -1)), 'every width in learner must be a positive int, got -1'),
        (dict(pool_channels=0), 'pool_channels must be a positive int, got 0'),
        (dict(dropout=1), 'dropout=1, a probability 0 <= p < 1'),
        (dict(dropout='x'), "dropout='x', a probability"),
        (dict(dropout=-0.1), 'dropout=-0.1, a probability'),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=f'SpatialGraphRelation: {sentence}'):
        SpatialGraphRelation(WIDTH, **options)


def test_weights_start_as_configured():
    relation = SpatialGraphRelation(WIDTH, init_cfg=dict(type='Constant', val=0.25, layer='Linear'))
    relation.init_weights()
    assert (relation.projects[1].weight == 0.25).all()
    assert (relation.learner[0].weight == 0.25).all()
