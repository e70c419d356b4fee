"""The category relation in closed form, and every option of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.models.relations import CategoryGraphRelation, RelationContext
from mmdet_ext.models.relations.category_graph import normalize_edges

from ..relation_case import ATTENTION, NUM_CLASSES, WIDTH, make_context

CLASSES = ('a', 'b', 'c')


@pytest.fixture
def graph_file(tmp_path):
    """A graph of three classes: a and b are neighbours, c is alone, the background has no edge at all."""
    graph = CategoryGraph.identity(CLASSES)
    graph.matrix = np.array([[1, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]], dtype=np.float32)
    return str(graph.save(tmp_path / 'three.catgraph.json'))


def relate(ctx, **options):
    return CategoryGraphRelation(WIDTH, out_channels=5, **options).double()


def test_closed_form(graph_file):
    relation = CategoryGraphRelation(2, graph_file, out_channels=1, edge_norm=None)
    # M W + b of a, b, c, background: 1, 2, 3, -4; every row of A M is projected, the bias stays out of A.
    pool = torch.tensor([[1.0, 9, 0], [2, 9, 0], [3, 9, 0], [-4, 9, 0]])
    relation.project[0].weight.data = torch.tensor([[1.0, 0, 0]])
    relation.project[0].bias.data = torch.tensor([0.5])
    # A M: 2, 2.5, 6, 0; with bias: 2.5, 3, 6.5, 0.5.
    share = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    ctx = RelationContext(torch.randn(2, 2), torch.zeros(2, 5), torch.ones(1, 2), share.log(), pool)
    expected = torch.tensor([[0.25 + 0.6 + 1.95 + 0.2], [1.75 + 0.3 + 0.65 + 0.05]])
    assert_close(relation(ctx).feats, expected)
    best = CategoryGraphRelation(2, graph_file, out_channels=1, mapping='argmax')
    best.load_state_dict(relation.state_dict())
    assert_close(best(ctx).feats, torch.tensor([[0.5], [2.5]]))


def test_the_published_formula(graph_file):
    ctx = make_context((4, 0, 3), torch.float64, want_maps=True)
    relation = relate(ctx, graph=graph_file, attention=ATTENTION)
    out = relation(ctx)
    alpha, matrix = out.maps['image_attention'], out.maps['adjacency']
    assert alpha.shape == (3, NUM_CLASSES + 1)
    assert torch.equal(matrix, relation.adjacency)
    for n, image in enumerate(ctx.rois[:, 0].long()):
        nodes = alpha[image][:, None] * (matrix @ ctx.cls_weight)
        assert_close(out.feats[n], ctx.cls_logits[n].softmax(0) @ relation.project[0](nodes).relu())


@pytest.mark.parametrize('attention', [None, ATTENTION])
@pytest.mark.parametrize('mapping', ['soft', 'argmax'])
def test_orders_agree_where_they_are_the_same_function(graph_file, attention, mapping):
    ctx = make_context(dtype=torch.float64)
    options = dict(graph=graph_file, attention=attention, mapping=mapping, reduce='linear')
    first, last = (relate(ctx, order=order, **options) for order in ('reduce_first', 'map_first'))
    torch.nn.init.zeros_(first.project[0].bias)
    last.load_state_dict(first.state_dict())
    assert_close(first(ctx).feats, last(ctx).feats)


def test_orders_differ_with_relu(graph_file):
    ctx = make_context(dtype=torch.float64)
    first, last = (relate(ctx, graph=graph_file, order=order) for order in ('reduce_first', 'map_first'))
    last.load_state_dict(first.state_dict())
    assert not torch.allclose(first(ctx).feats, last(ctx).feats)
    assert (last(ctx).feats >= 0).all()


@pytest.mark.parametrize('attention', [None, ATTENTION])
@pytest.mark.parametrize('detach_pool', [True, False])
def test_gradients_to_the_classifier(attention, detach_pool):
    ctx = make_context()
    ctx.cls_weight.requires_grad_()
    ctx.cls_logits.requires_grad_()
    CategoryGraphRelation(WIDTH, attention=attention, detach_pool=detach_pool)(ctx).feats.sum().backward()
    assert (ctx.cls_weight.grad is None) == detach_pool
    assert ctx.cls_logits.grad.any()


class TestAdjacency:
    def test_a_file_is_a_buffer_that_is_saved(self, graph_file):
        relation = CategoryGraphRelation(WIDTH, graph_file)
        assert relation.graph.classes == CLASSES
        assert_close(relation.state_dict()['adjacency'], torch.from_numpy(relation.graph.matrix))
        assert 'adjacency' not in dict(relation.named_parameters())

    @pytest.mark.parametrize('graph', ['identity', 'none'])
    def test_no_multiplication(self, graph):
        relation = CategoryGraphRelation(WIDTH, graph)
        assert relation.graph is None
        assert relation.adjacency is None
        assert 'adjacency' not in relation.state_dict()

    def test_learnable_file(self, graph_file):
        relation = CategoryGraphRelation(WIDTH, graph_file, learnable=True, detach_pool=True)
        relation(make_context()).feats.sum().backward()
        assert relation.adjacency.grad.any()
        assert_close(relation.adjacency.detach(), torch.from_numpy(relation.graph.matrix))

    def test_learnable_identity_starts_as_identity(self):
        ctx = make_context()
        plain = CategoryGraphRelation(WIDTH)
        learnt = CategoryGraphRelation(WIDTH, learnable=True, num_classes=NUM_CLASSES)
        learnt.load_state_dict(plain.state_dict(), strict=False)
        assert_close(learnt(ctx).feats, plain(ctx).feats)

    @pytest.mark.parametrize('options', [dict(graph='none', num_classes=3), dict(graph='identity')])
    def test_learnable_needs_a_start(self, options):
        with pytest.raises(ValueError, match='learnable=True needs a graph to start from'):
            CategoryGraphRelation(WIDTH, learnable=True, **options)

    def test_a_changed_file_changes_the_result(self, graph_file):
        ctx = make_context()
        plain, graph = CategoryGraphRelation(WIDTH), CategoryGraphRelation(WIDTH, graph_file)
        graph.load_state_dict(plain.state_dict(), strict=False)
        assert not torch.allclose(plain(ctx).feats, graph(ctx).feats)

    def test_missing_file_names_the_command(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='build it with'):
            CategoryGraphRelation(WIDTH, str(tmp_path / 'none.catgraph.json'))

    def test_graph_of_other_classes(self, tmp_path):
        path = CategoryGraph.identity([*CLASSES, 'd']).save(tmp_path / 'four.catgraph.json')
        with pytest.raises(ValueError, match=r'the graph has 4 classes .*classifier 3; .*remap'):
            CategoryGraphRelation(WIDTH, str(path))(make_context())

    def test_npz(self, tmp_path):
        path = CategoryGraph.identity(CLASSES).save(tmp_path / 'three.npz')
        assert_close(CategoryGraphRelation(WIDTH, str(path)).adjacency, torch.eye(4))


class TestEdgeNorm:
    MATRIX = torch.tensor([[1.0, 3, 0], [3, 6, 0], [0, 0, 0]])

    def test_none(self):
        assert normalize_edges(self.MATRIX, None) is self.MATRIX

    def test_row(self):
        expected = torch.tensor([[0.25, 0.75, 0], [1 / 3, 2 / 3, 0], [0, 0, 0]])
        assert_close(normalize_edges(self.MATRIX, 'row'), expected)

    def test_sym(self):
        expected = torch.tensor([[1 / 4, 3 / 6, 0], [3 / 6, 6 / 9, 0], [0, 0, 0]])
        assert_close(normalize_edges(self.MATRIX, 'sym'), expected)

    def test_of_a_file(self, graph_file):
        relation = CategoryGraphRelation(WIDTH, graph_file, edge_norm='row')
        assert_close(relation.adjacency.sum(1), torch.tensor([1.0, 1, 1, 0]))
        # What the file says stays as it is.
        assert relation.graph.matrix[2, 2] == 2


class TestPool:
    def test_bias_counts(self):
        ctx = make_context(dtype=torch.float64)
        other = replace(ctx, cls_weight=ctx.cls_weight + torch.tensor([0.0] * WIDTH + [3.0]))
        for pool_bias in (True, False):
            relation = relate(ctx, pool_bias=pool_bias)
            assert relation.project[0].in_features == WIDTH + pool_bias
            assert torch.allclose(relation(ctx).feats, relation(other).feats) != pool_bias

    def test_another_width_than_the_features(self):
        ctx = make_context()
        wide = replace(ctx, feats=torch.randn(len(ctx.rois), 2 * WIDTH))
        assert CategoryGraphRelation(2 * WIDTH, pool_channels=WIDTH)(wide).feats.shape == (len(ctx.rois), 256)
        with pytest.raises(ValueError, match=r'pool_channels=32 .*reads 16 features; set pool_channels=16'):
            CategoryGraphRelation(2 * WIDTH)(wide)


@pytest.mark.parametrize(
    'options', [dict(order='last'), dict(reduce='relu'), dict(mapping='hard'), dict(edge_norm='none')]
)
def test_options_out_of_range(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f'{name}={value!r}, allowed are'):
        CategoryGraphRelation(WIDTH, **options)


@pytest.mark.parametrize('pool_channels', [0, -4, '8'])
def test_pool_channels_out_of_range(pool_channels):
    with pytest.raises(ValueError, match=f'pool_channels must be a positive int, got {pool_channels!r}'):
        CategoryGraphRelation(WIDTH, pool_channels=pool_channels)


@pytest.mark.parametrize('graph', [None, 3])
def test_graph_is_a_path_or_a_word(graph):
    with pytest.raises(ValueError, match=f"graph={graph}, allowed are 'identity', 'none' and the path"):
        CategoryGraphRelation(WIDTH, graph)


@pytest.mark.parametrize(
    'attention', [{}, dict(levels=(1, 2)), dict(ATTENTION, heads=2), dict(ATTENTION, pool_channels=4), True]
)
def test_attention_options(attention):
    with pytest.raises(
        ValueError, match=r"attention must be None or a dict with in_channels, .*'fc_act', 'in_channels'"
    ):
        CategoryGraphRelation(WIDTH, attention=attention)


@pytest.mark.parametrize('graph', ['identity', 'none'])
def test_edge_norm_without_edges(graph):
    with pytest.raises(ValueError, match=f"edge_norm='row' .* does nothing with graph='{graph}'"):
        CategoryGraphRelation(WIDTH, graph, edge_norm='row')


def test_num_classes_of_a_file_must_agree(graph_file):
    assert CategoryGraphRelation(WIDTH, graph_file, num_classes=NUM_CLASSES).adjacency.shape == (4, 4)
    with pytest.raises(ValueError, match=r'num_classes=5 .* but .*three.catgraph.json has 3 classes'):
        CategoryGraphRelation(WIDTH, graph_file, num_classes=5)


def test_scores_in_half_precision_are_mapped_in_float32():
    ctx = make_context()
    ctx.cls_logits[:] = torch.tensor([6.0, 6, 6, 6.004])
    relation = CategoryGraphRelation(WIDTH)
    assert_close(
        relation(replace(ctx, cls_logits=ctx.cls_logits.bfloat16())).feats, relation(ctx).feats, rtol=2e-2, atol=1e-3
    )
    assert relation(replace(ctx, cls_logits=ctx.cls_logits.bfloat16())).feats.dtype == torch.float32
