"""Every disturbance does what it says, and leaves no trace."""

from functools import cache

import pytest
import torch

from mmdet_ext.analysis.relation_probe import interventions as probe
from mmdet_ext.analysis.relation_probe.nodes import RelationNode
from mmdet_ext.graphs import CategoryGraph
from tests.test_analysis.test_relation_probe import probe_case
from tests.test_models.relation_case import NUM_CLASSES, build, make_context


@cache
def in_detector(cascade=False):
    nodes = probe_case.nodes(cascade)
    means = {node.name: torch.full((node.relation.out_channels,), 0.5) for node in nodes}
    return probe.find_interventions(nodes, means, seeds=(0, 1))


def kinds_of(relation):
    """Kind -> interventions, of a relation on its own."""
    node = RelationNode('', relation, relation, whole=True)
    found = probe.find_interventions([node], {'': torch.full((relation.out_channels,), 0.5)}, seeds=(0,))
    return {each.kind: each for each in found}


def run(relation, ctx, kind=None):
    if kind is None:
        return relation(ctx).feats.detach()
    with kinds_of(relation)[kind].apply():
        return relation(ctx).feats.detach()


def state(model):
    return {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}


@pytest.mark.parametrize('cascade', [False, True])
def test_all_is_restored_exactly(cascade):
    detector, batch = probe_case.detector(cascade), probe_case.batch(cascade)
    before = state(detector.model)
    plain = [sample.pred_instances.clone() for sample in detector.predict(batch)]
    changed = 0
    for intervention in in_detector(cascade):
        with intervention.apply():
            disturbed = detector.predict(batch)[0].pred_instances
            changed += len(disturbed) != len(plain[0]) or not torch.equal(disturbed.scores, plain[0].scores)
    after = detector.predict(batch)
    for found, sample in zip(plain, after, strict=True):
        assert torch.equal(found.bboxes, sample.pred_instances.bboxes)
        assert torch.equal(found.scores, sample.pred_instances.scores)
    now = state(detector.model)
    assert list(now) == list(before)
    assert all(now[name][0] is value and torch.equal(value, copy) for name, (value, copy) in before.items())
    assert changed > 0.5 * len(in_detector(cascade))


def test_every_relation_has_its_interventions():
    found = {}
    for each in in_detector():
        found.setdefault(each.relation.split()[0], []).append(each.kind)
    removed = ['removed (mean)', 'removed (zero)']
    graph = ['graph identity', *['graph random', 'graph permuted'] * 2]
    assert found['RelationParallel'] == found['1'] == found['8'] == removed
    assert found['0'] == [*removed, 'image attention uniform', *graph]
    assert found['2'] == [*removed, 'adjacency uniform', 'kernels off', *['boxes shuffled'] * 2]
    assert found['3'] == [*removed, 'attention uniform', *['keys shuffled', 'boxes shuffled'] * 2]
    assert found['4'] == found['5'] == [*removed, *['boxes shuffled'] * 2]
    assert found['6'] == [*removed, 'parts swapped', 'parts missing']
    assert found['7'] == [*removed, 'attention uniform', 'parts swapped', 'parts missing']
    assert found['8.1'] == [*removed, 'kernels off', *['boxes shuffled'] * 2]


def test_an_intervention_that_changes_nothing_is_left_out():
    assert 'graph identity' not in kinds_of(build('graph_argmax'))
    assert 'kernels off' not in kinds_of(build('spatial_none'))


def test_removed():
    relation, ctx = build('geometry'), make_context()
    assert (run(relation, ctx, 'removed (zero)') == 0).all()
    assert (run(relation, ctx, 'removed (mean)') == 0.5).all()
    assert run(relation, ctx).abs().min() > 0


@pytest.mark.parametrize('name', ['geometry', 'geometry_nongt', 'geometry_fg', 'geometry_topk'])
def test_uniform_attention_is_the_mean_of_the_values(name):
    relation, ctx = build(name), make_context()
    uniform = run(relation, ctx, 'attention uniform')
    (attention, index) = (relation_maps(relation, ctx)[key] for key in ('attention', 'key_index'))
    values = relation.value(ctx.feats).detach()
    start = 0
    for image, count in enumerate(ctx.counts):
        keys = start + index[image][(attention[image] > 0).any(0).any(0)]
        torch.testing.assert_close(uniform[start], values[keys].mean(0))
        start += count


@torch.no_grad()
def relation_maps(relation, ctx):
    return relation(probe.replace(ctx, want_maps=True)).maps


@pytest.mark.parametrize('name', ['geometry', 'geometry_nongt', 'geometry_fg', 'geometry_topk'])
def test_shuffled_keys_are_the_same_keys(name):
    relation, ctx = build(name), make_context()
    shuffled = run(relation, ctx, 'keys shuffled')
    assert not torch.allclose(shuffled, run(relation, ctx))
    own = kinds_of(relation)
    with own['attention uniform'].apply(), own['keys shuffled'].apply():
        both = relation(ctx).feats
    # The mean of the same values, in whatever order.
    torch.testing.assert_close(both, run(relation, ctx, 'attention uniform'))
    again = run(relation, ctx, 'keys shuffled')
    assert torch.equal(again, shuffled), 'a seed is an order'


def test_boxes_stay_in_their_image():
    relation, ctx = build('geometry'), make_context()
    seen = []
    with kinds_of(relation)['boxes shuffled'].apply():
        handle = relation.register_forward_pre_hook(lambda _, args: seen.append(args[0].rois))
        relation(ctx)
        handle.remove()
    (rois,) = seen
    assert not torch.equal(rois, ctx.rois)
    assert torch.equal(rois[:, 0], ctx.rois[:, 0])
    for image in range(3):
        before, after = ({tuple(row) for row in x[x[:, 0] == image].tolist()} for x in (ctx.rois, rois))
        assert before == after


def test_graphs():
    relation, ctx = build('graph_argmax'), make_context()
    with torch.no_grad():
        relation.adjacency.copy_(torch.rand(4, 4))
    matrix = relation.adjacency.detach()
    shuffled, renamed = probe.random_graphs(relation, seed=3)
    for other in (shuffled, renamed):
        assert not torch.equal(other, matrix)
        torch.testing.assert_close(other[:, -1].sort()[0], matrix[:, -1].sort()[0])
        torch.testing.assert_close(other.diagonal().sort()[0], matrix.diagonal().sort()[0])
    torch.testing.assert_close(shuffled.sum(1), matrix.sum(1))
    assert torch.equal(shuffled, probe.random_graphs(relation, seed=3)[0])
    identity = run(relation, ctx, 'graph identity')
    with torch.no_grad():
        relation.adjacency.copy_(torch.eye(4))
    assert torch.equal(identity, run(relation, ctx))


def test_the_random_graph_is_the_control_of_the_file(tmp_path):
    matrix = torch.rand(4, 4)
    matrix = (matrix + matrix.T).numpy()
    graph = CategoryGraph(('a', 'b', 'c'), matrix, torch.zeros(3, 3).numpy(), restrict=('a', 'b', 'c'))
    relation = build('graph', graph=str(graph.save(tmp_path / 'g.catgraph.json')))
    shuffled, _ = probe.random_graphs(relation, seed=5)
    assert torch.equal(shuffled, torch.from_numpy(graph.randomized(5).matrix))


def test_image_attention_for_no_class():
    relation, ctx = build('graph_attention'), make_context()
    with kinds_of(relation)['image attention uniform'].apply():
        maps = relation_maps(relation, ctx)
    assert torch.equal(maps['image_attention'], torch.full((3, NUM_CLASSES + 1), 1 / (NUM_CLASSES + 1)))


def test_even_adjacency_and_kernels():
    relation, ctx = build('spatial'), make_context()
    own = kinds_of(relation)
    with own['adjacency uniform'].apply():
        adjacency = relation_maps(relation, ctx)['adjacency']
    torch.testing.assert_close(adjacency[0], torch.full((6, 6), 1 / 6))
    torch.testing.assert_close(adjacency[1, :3, :3], torch.full((3, 3), 1 / 3))
    with own['kernels off'].apply():
        maps = relation_maps(relation, ctx)
    for kernel in range(2):
        torch.testing.assert_close(maps['weights_0'][:, kernel], maps['adjacency'])


def test_parts():
    ctx = make_context()
    relation = build('part_geometry')
    plain, swapped = (run(relation, ctx, kind).unflatten(1, (3, 8)) for kind in (None, 'parts swapped'))
    assert torch.equal(swapped, plain.roll(1, 1))
    for name in ('part_geometry', 'part_context', 'part_context_cells', 'part_context_split'):
        relation = build(name)
        assert (run(relation, ctx, 'parts missing') == 0).all()
        assert not torch.allclose(run(relation, ctx, 'parts swapped'), run(relation, ctx))
    relation = build('part_context_split')
    lost = probe.replace(ctx, parts=probe.replace(ctx.parts, feats=None))
    seen = []
    with kinds_of(relation)['parts swapped'].apply():
        relation.register_forward_pre_hook(lambda _, args: seen.append(args[0].parts.feats))
        with pytest.raises(ValueError, match='needs parts'):
            relation(lost)
    assert seen == [None]
