"""Soft mapping is the category relation without graph and attention."""

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.models.relations import SoftMappingRelation

from ..relation_case import WIDTH, make_context


def test_formula():
    relation, ctx = SoftMappingRelation(WIDTH, 6), make_context()
    nodes = relation.project[0](ctx.cls_weight).relu()
    assert_close(relation(ctx).feats, ctx.cls_logits.softmax(1) @ nodes)
    assert relation.attention is None
    assert relation.adjacency is None
    assert relation.needs == {'cls_logits', 'cls_weight'}


def test_a_box_keeps_to_itself():
    relation, ctx = SoftMappingRelation(WIDTH), make_context()
    before = relation(ctx).feats
    ctx.rois[0, 1:] += 50
    ctx.cls_logits[0] = 0
    assert torch.equal(relation(ctx).feats[1:], before[1:])


@pytest.mark.parametrize('option', ['graph', 'attention'])
def test_graph_and_attention_are_no_options(option):
    with pytest.raises(TypeError, match=option):
        SoftMappingRelation(WIDTH, **{option: None})
