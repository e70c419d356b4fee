"""Every relation is one graph for `torch.compile` when the number of RoIs per image is known."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from ..relation_case import RELATIONS, build, make_context


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Graphs of other tests count against the limit of recompilations."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def learn(relation, run, ctx):
    """Features, losses and gradients of one step; a relation without parameters that reads boxes alone has none."""
    feats = ctx.feats.clone().requires_grad_()
    out = run(replace(ctx, feats=feats))
    total = out.feats.square().sum() + sum(out.losses.values())
    learnt = {'feats': feats, **{name: p for name, p in relation.named_parameters() if p.requires_grad}}
    grads = torch.autograd.grad(total, list(learnt.values()), allow_unused=True) if total.requires_grad else ()
    return out.feats, out.losses, dict(zip(learnt, grads, strict=False))


@pytest.mark.parametrize('name', RELATIONS)
def test_one_graph_forward_and_backward(name):
    relation = build(name).train()
    compiled = torch.compile(relation, fullgraph=True, backend='eager')
    ctx = make_context((5, 0, 3))
    assert_close(learn(relation, compiled, ctx), learn(relation, relation, ctx))


@pytest.mark.slow
@pytest.mark.parametrize('name', RELATIONS)
def test_one_graph_for_any_number_of_rois(name):
    relation = build(name).train()
    compiled = torch.compile(relation, fullgraph=True, backend='eager', dynamic=True)
    for counts in ((5, 0, 3), (6, 2, 4)):
        ctx = make_context(counts)
        assert_close(learn(relation, compiled, ctx), learn(relation, relation, ctx))


def test_other_numbers_of_rois_are_one_more_graph():
    """The first other number makes the graph dynamic; from then on every number fits."""
    relation, compilations = build('geometry'), []

    def backend(graph, inputs):
        compilations.append(len(inputs))
        return graph.forward

    compiled = torch.compile(relation, fullgraph=True, backend=backend)
    for counts in ((5, 3), (7, 4), (9, 6), (4, 8)):
        ctx = make_context(counts)
        assert_close(compiled(ctx).feats, relation(ctx).feats)
    assert len(compilations) == 2


@pytest.mark.slow
def test_the_default_backend_gives_the_same():
    relation = build('geometry_nongt').train()
    ctx = make_context((5, 0, 3))
    compiled = torch.compile(relation, fullgraph=True)
    assert_close(learn(relation, compiled, ctx), learn(relation, relation, ctx))
