"""Relations of a detector, and hooks that go away again."""

import pytest
import torch
from torch import nn

from mmdet_ext.analysis.relation_probe.nodes import (
    changed_input,
    find_relations,
    relation_head,
    replaced,
    seen_output,
)
from tests.test_analysis.test_relation_probe import probe_case
from tests.test_models.small_detector import small_config
from tests.test_models.test_roi_heads.roi_case import build


def test_relations_have_their_place_and_type():
    names = [node.name for node in probe_case.nodes()]
    assert names[0] == 'RelationParallel'
    assert names[1] == '0 CategoryGraphRelation'
    assert names[-3:] == ['8 RelationSequence', '8.0 CategoryGraphRelation', '8.1 SpatialGraphRelation']
    assert len(names) == 12
    root, first = probe_case.nodes()[:2]
    assert root.whole
    assert len(root.members) == 9
    assert root.gate is root.relation
    assert not first.whole
    assert not len(first.members)
    assert first.gate is root.relation.posts[0]


def test_every_place_of_a_head_is_told_apart():
    cfg = small_config()
    cfg.model.roi_head.bbox_head.update(
        insert='after_each_fc', relations=dict(type='GeometryAttentionRelation', heads=4, key_dim=4)
    )
    names = [node.name for node in find_relations(relation_head(build(cfg)))]
    assert names == ['fc0 GeometryAttentionRelation', 'fc1 GeometryAttentionRelation']


def test_the_last_stage_of_a_cascade_or_the_chosen_one():
    model = probe_case.detector(cascade=True).model
    heads = model.roi_head.bbox_head
    assert relation_head(model) is heads[2]
    assert relation_head(model, 1) is heads[1]
    with pytest.raises(ValueError, match=r'stage 0 has no relations; stages of this detector that have some: \[1, 2\]'):
        relation_head(model, 0)


def test_a_detector_without_relations():
    with pytest.raises(ValueError, match='Linear has no relations to look at: its box heads are none'):
        relation_head(nn.Linear(1, 1))


def test_what_is_replaced_comes_back_itself():
    module = nn.BatchNorm1d(3)
    weight, mean, names = module.weight, module.running_mean, list(module.state_dict())
    with replaced(module, 'weight', torch.full((3,), 5.0)), replaced(module, 'running_mean', torch.ones(3)):
        assert module.weight.tolist() == [5.0] * 3
        assert module.running_mean is not mean
    assert module.weight is weight
    assert module.running_mean is mean
    assert list(module.state_dict()) == names
    with pytest.raises(RuntimeError), replaced(module, 'weight', None):
        raise RuntimeError
    assert module.weight is weight
    with (
        pytest.raises(KeyError, match="BatchNorm1d has no parameter, buffer or module 'nothing'"),
        replaced(module, 'nothing', 0),
    ):
        pass


def test_hooks_change_input_and_output_and_go_away():
    module = nn.Identity()
    with changed_input(module, lambda x: x + 1), seen_output(module, lambda args, output: (args[0], output * 10)):
        assert module(1) == (2, 20)
    seen = []
    with seen_output(module, lambda args, output: seen.append(output)):
        assert module(3) == 3
    assert seen == [3]
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
