"""Relations one after the other, and side by side."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor, nn

from .base import BaseRelation, RelationContext, RelationOutput


class _Composition(BaseRelation):
    """Shared by the two: the members, their norm and activation, the names of their losses and maps."""

    def __init__(
        self,
        members: Sequence[BaseRelation],
        in_channels: int,
        out_channels: int,
        norm: dict | None,
        act: dict | None,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(in_channels, out_channels, init_cfg)
        for name, cfg in (('norm', norm), ('act', act)):
            if cfg and not isinstance(cfg, dict):
                raise ValueError(
                    f'{type(self).__name__}: {name} must be None or a dict such as dict(type=...), got {cfg!r}'
                )
        # mmengine's list passes `init_weights` on to its members, torch's does not.
        self.members = ModuleList(members)
        self.posts = nn.ModuleList(
            nn.Sequential(
                build_norm_layer(norm, member.out_channels)[1] if norm else nn.Identity(),
                build_activation_layer(act) if act else nn.Identity(),
            )
            for member in members
        )
        self.needs = frozenset().union(*(member.needs for member in members))
        self.part_splits = frozenset().union(*(member.part_splits for member in members))

    def _run(self, index: int, ctx: RelationContext, losses: dict[str, Tensor], maps: dict[str, Tensor]) -> Tensor:
        member = self.members[index]
        out = member(ctx)
        prefix = f'{index}_{type(member).__name__}'
        losses.update({f'{prefix}.{name}': value for name, value in out.losses.items()})
        maps.update({f'{prefix}.{name}': value for name, value in out.maps.items()})
        return self.posts[index](out.feats)


def _build(relations: Sequence[dict], kind: str) -> list[dict]:
    if isinstance(relations, dict):
        raise ValueError(f'{kind}: relations is a dict but must be a list of them; write relations=[dict(...)]')
    if not isinstance(relations, list | tuple):
        raise ValueError(f'{kind}: relations must be a list of dicts, got {relations!r}')
    if not relations:
        raise ValueError(f'{kind}: relations is empty; name at least one relation')
    for place, relation in enumerate(relations):
        if not isinstance(relation, dict) or 'type' not in relation:
            raise ValueError(
                f'{kind}: relations[{place}] must be a dict with the key type, the name of a relation; got {relation!r}'
            )
    return [dict(relation) for relation in relations]


def build_relation(cfg: dict) -> BaseRelation:
    """Build a relation from its config; a `ValueError` if it is something else."""
    relation = MODELS.build(cfg)
    if not isinstance(relation, BaseRelation):
        raise ValueError(f'relations: {cfg["type"]!r} is a {type(relation).__name__} and not a relation')
    return relation


def name_options(relation: Any, known: Mapping[str, Any], behind: bool = False) -> Any:
    """The config with what its place says, where it is silent; compositions recursively.

    Args:
        relation: a config. Whatever else is left for the registry, or the composition it stands in, to complain about.
        known: values of options that relations may have in `fills`.
        behind: whether it stands behind another relation of a sequence: then `behind` of its class counts, too.
    """
    if not isinstance(relation, Mapping):
        return relation
    kind = relation.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    named = dict(relation)
    filled = {name: known[name] for name in getattr(kind, 'fills', ()) if name in known}
    named = {**filled, **(getattr(kind, 'behind', {}) if behind else {}), **named}
    members = relation.get('relations')
    if isinstance(members, Sequence):
        named['relations'] = [name_options(member, known, behind) for member in members]
    return named


@MODELS.register_module()
class RelationParallel(_Composition):
    """Relations side by side, their features concatenated in the order of the list.

    Args:
        in_channels: D, given to every member that names none.
        relations: configs of the members.
        norm: norm layer after each member, such as `dict(type='LN')`, or None.
        act: activation after each norm, such as `dict(type='ReLU')`, or None.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        in_channels: int,
        relations: Sequence[dict],
        norm: dict | None = None,
        act: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        members = [
            build_relation({'in_channels': in_channels, **cfg}) for cfg in _build(relations, type(self).__name__)
        ]
        super().__init__(members, in_channels, sum(member.out_channels for member in members), norm, act, init_cfg)
        self.gradient_to_feats = any(member.gradient_to_feats for member in members)

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, sum of E). Losses and maps are those of the members, with `<place>_<type>.` before their names."""
        losses: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}
        feats = [self._run(index, ctx, losses, maps) for index in range(len(self.members))]
        return RelationOutput(torch.cat(feats, dim=1), losses, maps)


@MODELS.register_module()
class RelationSequence(_Composition):
    """Relations one after the other: the output of one is the node feature of the next.

    What stands before a member through which no gradient passes never learns: a category graph reads scores instead of
    features, for instance. A `UserWarning` says so; the gradient there is zero, for DDP wants one of every parameter.

    Args:
        in_channels: D, the width the first member reads; each later one reads what the one before it gives. Pool and
            part features, which no member changes, are D wide to all of them unless a member says otherwise.
        relations: configs of the members.
        norm: norm layer after each member, such as `dict(type='LN')`, or None.
        act: activation after each norm, such as `dict(type='ReLU')`, or None.
        init_cfg: as in mmengine.
    """

    def __init__(
        self,
        in_channels: int,
        relations: Sequence[dict],
        norm: dict | None = None,
        act: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        members: list[BaseRelation] = []
        # What no member changes.
        widths = {'pool_channels': in_channels, 'part_channels': in_channels}
        for cfg in _build(relations, type(self).__name__):
            width = members[-1].out_channels if members else in_channels
            members.append(build_relation({'in_channels': width, **name_options(cfg, widths, behind=bool(members))}))
        super().__init__(members, in_channels, members[-1].out_channels, norm, act, init_cfg)
        self.gradient_to_feats = all(member.gradient_to_feats for member in members)
        for place, member in enumerate(members[1:], start=1):
            if not member.gradient_to_feats:
                warnings.warn(
                    f'RelationSequence: no gradient passes through relations[{place}], {type(member).__name__}, to the '
                    'features: what stands before it never learns. Put it first, or side by side (RelationParallel)',
                    stacklevel=2,
                )

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, E of the last). Losses and maps are named as by :class:`RelationParallel`."""
        losses: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}
        for index in range(len(self.members)):
            feats = self._run(index, ctx, losses, maps)
            if index and not self.members[index].gradient_to_feats:
                # A gradient of zero for what stands before, without a trace of it in the features.
                own = torch.ones_like(feats, dtype=torch.bool)
                feats = torch.where(own, feats, ctx.feats[:, :1].to(feats.dtype))
            ctx = replace(ctx, feats=feats)
        return RelationOutput(ctx.feats, losses, maps)
