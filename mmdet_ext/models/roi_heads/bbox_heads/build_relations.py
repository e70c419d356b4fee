"""From what a config says about the relations of a box head to the modules."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import ModuleList

from mmdet_ext.models.relations.compose import build_relation, name_options


def build_relations(
    relations: dict | Sequence[dict], places: int, width: int, known: Mapping[str, Any], with_scores: bool
) -> ModuleList:
    """One relation, or relations side by side, for every place of a head.

    Args:
        relations: a config, or a list of them (`RelationParallel`).
        places: after how many layers they stand.
        width: of the features they read.
        known: what the head fills in where a config is silent, see `BaseRelation.fills`.
        with_scores: whether there is a classifier that gives class scores.

    Raises:
        ValueError: something else than relations, or relations that need class scores which nobody gives.
    """
    cfg = dict(relations) if isinstance(relations, dict) else dict(type='RelationParallel', relations=list(relations))
    cfg = {'in_channels': width, **name_options(cfg, known)}
    # mmengine's list passes `init_weights` on to its members, torch's does not.
    members = ModuleList([build_relation(cfg) for _ in range(places)])
    scores = sorted(frozenset().union(*(relation.needs for relation in members)) & {'cls_logits', 'cls_weight'})
    if scores and not with_scores:
        raise ValueError(
            f'{cfg["type"]} needs {" and ".join(scores)}, which only base_head=True or external_scores=True provides'
        )
    return members
