"""Relations of a head from their configs."""

import pytest
import torch
from mmengine.model import ModuleList

from mmdet_ext.models.relations import ObjectCountRelation, RelationParallel, SoftMappingRelation
from mmdet_ext.models.roi_heads.bbox_heads.build_relations import build_relations

KNOWN = dict(pool_channels=7, part_channels=8, num_classes=3)
COUNT, SOFT = dict(type='ObjectCountRelation'), dict(type='SoftMappingRelation')


def test_a_list_stands_side_by_side_once_for_every_place():
    places = build_relations([COUNT, SOFT], 2, 8, KNOWN, with_scores=True)
    assert isinstance(places, ModuleList)
    assert [type(place) for place in places] == [RelationParallel] * 2
    assert [type(member) for member in places[0].members] == [ObjectCountRelation, SoftMappingRelation]
    ids = [id(parameter) for parameter in places.parameters()]
    assert len(ids) == len(set(ids)) > 0


def test_a_dict_is_the_relation_and_silence_is_filled_in():
    (relation,) = build_relations(COUNT, 1, 8, KNOWN, with_scores=True)
    assert (type(relation), relation.in_channels, relation.num_classes) == (ObjectCountRelation, 8, 3)
    (relation,) = build_relations(SOFT, 1, 8, KNOWN, with_scores=True)
    assert relation.pool_channels == 7
    (relation,) = build_relations(dict(COUNT, in_channels=9, num_classes=5), 1, 8, KNOWN, with_scores=True)
    assert (relation.in_channels, relation.num_classes) == (9, 5)


def test_scores_must_come_from_somewhere():
    with pytest.raises(
        ValueError, match='SoftMappingRelation needs cls_logits and cls_weight, which only base_head=True'
    ):
        build_relations(SOFT, 1, 8, KNOWN, with_scores=False)
    assert build_relations(dict(type='GeometryAttentionRelation', heads=2), 1, 8, KNOWN, with_scores=False)


class _Other(torch.nn.Module):
    def __init__(self, in_channels):
        super().__init__()


def test_other_modules_are_refused():
    with pytest.raises(ValueError, match=r'_Other.* is a _Other and not a relation'):
        build_relations(dict(type=_Other), 1, 8, KNOWN, with_scores=True)
