"""Relations one after the other, and side by side."""

from collections.abc import Sequence
from dataclasses import replace

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
    if not relations:
        raise ValueError(f'{kind}: relations is empty; name at least one relation')
    for place, relation in enumerate(relations):
        if not isinstance(relation, dict) or 'type' not in relation:
            raise ValueError(
                f'{kind}: relations[{place}] must be a dict with the key type, the name of a relation; got {relation!r}'
            )
    return [dict(relation) for relation in relations]


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
        members = [MODELS.build({'in_channels': in_channels, **cfg}) for cfg in _build(relations, type(self).__name__)]
        super().__init__(members, in_channels, sum(member.out_channels for member in members), norm, act, init_cfg)

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, sum of E)."""
        losses: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}
        feats = [self._run(index, ctx, losses, maps) for index in range(len(self.members))]
        return RelationOutput(torch.cat(feats, dim=1), losses, maps)


@MODELS.register_module()
class RelationSequence(_Composition):
    """Relations one after the other: the output of one is the node feature of the next.

    Args:
        in_channels: D, the width the first member reads; each later one reads what the one before it gives.
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
        for cfg in _build(relations, type(self).__name__):
            width = members[-1].out_channels if members else in_channels
            members.append(MODELS.build({'in_channels': width, **cfg}))
        super().__init__(members, in_channels, members[-1].out_channels, norm, act, init_cfg)

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, E of the last)."""
        losses: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}
        for index in range(len(self.members)):
            ctx = replace(ctx, feats=self._run(index, ctx, losses, maps))
        return RelationOutput(ctx.feats, losses, maps)
