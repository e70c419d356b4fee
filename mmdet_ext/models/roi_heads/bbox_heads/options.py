"""What a config may say about a relation box head, and what becomes of it."""

from collections.abc import Mapping
from typing import Any

from .fusion import FUSIONS

INSERTS = ('after_fcs', 'after_each_fc')
REG_SOURCES = ('enhanced', 'base')


def check_options(
    fusion: str, insert: str, base_head: bool, reg_source: str, external_scores: bool, parent: Mapping[str, Any]
) -> None:
    """Raise a `ValueError` with a sentence where options of `RelationBBoxHead` do not fit together.

    Args:
        fusion: as of the head, like the next ones.
        insert: one of `INSERTS`.
        base_head: whether there is a base classifier.
        reg_source: one of `REG_SOURCES`.
        external_scores: whether scores and pool come with the context.
        parent: the options of `ConvFCBBoxHead`.
    """
    options = (('fusion', fusion, FUSIONS), ('insert', insert, INSERTS), ('reg_source', reg_source, REG_SOURCES))
    for name, given, allowed in options:
        if given not in allowed:
            raise ValueError(f'RelationBBoxHead: {name}={given!r}, allowed are {allowed}')
    if reg_source == 'base' and not base_head:
        raise ValueError("RelationBBoxHead: reg_source='base' takes boxes from the base head; set base_head=True")
    if external_scores and base_head:
        raise ValueError(
            'RelationBBoxHead: external_scores=True takes class scores and pool from elsewhere; set base_head=False'
        )
    if not parent.get('num_shared_fcs', 2):
        if insert == 'after_each_fc':
            raise ValueError("RelationBBoxHead: insert='after_each_fc' needs num_shared_fcs >= 1")
        if not parent.get('with_avg_pool'):
            raise ValueError(
                'RelationBBoxHead needs RoI features without extent: num_shared_fcs >= 1 or with_avg_pool=True'
            )
    own = [name for name in ('num_cls_convs', 'num_cls_fcs', 'num_reg_convs', 'num_reg_fcs') if parent.get(name)]
    if own:
        raise ValueError(f'RelationBBoxHead has one shared trunk: {", ".join(own)} must be 0')
    for name in ('with_cls', 'with_reg'):
        if not parent.get(name, True):
            raise ValueError(f'RelationBBoxHead classifies and regresses: {name} must be True')


def check_values(relations: Any, base_loss_weight: Any, bg_weight: Any, frozen: Any, relation_dropout: Any) -> None:
    """Raise a `ValueError` with a sentence where one of these options of `RelationBBoxHead` is of the wrong kind."""
    if not isinstance(relations, dict | list | tuple):
        raise ValueError(f'RelationBBoxHead: relations must be a dict or a list of them, got {relations!r}')
    for name, value in (('base_loss_weight', base_loss_weight), ('bg_weight', bg_weight)):
        number = isinstance(value, int | float) and 0 <= value < float('inf')
        if not number and (name, value) != ('bg_weight', None):
            raise ValueError(f'RelationBBoxHead: {name} must be a number of at least 0, got {value!r}')
    if not isinstance(relation_dropout, int | float) or not 0 <= relation_dropout < 1:
        raise ValueError(
            f'RelationBBoxHead: relation_dropout must be a probability 0 <= p < 1, got {relation_dropout!r}'
        )
    if not isinstance(frozen, list | tuple):
        raise ValueError(
            f"RelationBBoxHead: frozen must be a list of names of submodules, such as ['shared_fcs'], got {frozen!r}"
        )
