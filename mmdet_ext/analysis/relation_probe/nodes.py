"""The relations of a detector, and hooks that change what they see or give; all are taken away again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import nn

from mmdet_ext.models.relations import BaseRelation, RelationContext
from mmdet_ext.models.roi_heads.bbox_heads import RelationBBoxHead


@dataclass(frozen=True)
class RelationNode:
    """A relation of a box head, or a composition of some.

    Attributes:
        name: Its place and its type, such as `'8.1 SpatialGraphRelation'`.
        relation: The module.
        gate: Module whose output is what the head, or the next relation, reads: behind norm and activation.
        whole: Whether it is all that stands at its place in the head.
    """

    name: str
    relation: BaseRelation
    gate: nn.Module
    whole: bool

    @property
    def members(self) -> Sequence[BaseRelation]:
        """Relations of a composition."""
        return getattr(self.relation, 'members', ())


def box_heads(roi_head: Any) -> list[BBoxHead]:
    """The box head of each stage."""
    heads = roi_head.bbox_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def relation_head(detector: Any, stage: int | None = None) -> RelationBBoxHead:
    """The box head with relations.

    Args:
        detector: A two-stage detector.
        stage: Which stage of a cascade; default the last one with relations.

    Raises:
        ValueError: The detector, or that stage, has no relations.
    """
    heads = box_heads(detector.roi_head) if hasattr(detector, 'roi_head') else []
    found = [index for index, head in enumerate(heads) if isinstance(head, RelationBBoxHead)]
    if not found:
        kinds = ', '.join(type(head).__name__ for head in heads) or 'none'
        raise ValueError(
            f'{type(detector).__name__} has no relations to look at: its box heads are {kinds}; give a config whose '
            'roi_head has a RelationBBoxHead, and the checkpoint trained with it'
        )
    if stage is not None and stage not in found:
        raise ValueError(f'stage {stage} has no relations; stages of this detector that have some: {found}')
    return heads[found[-1] if stage is None else stage]


def find_relations(head: RelationBBoxHead) -> list[RelationNode]:
    """Every relation of a head, compositions before their members."""

    def walk(relation: BaseRelation, gate: nn.Module, place: str, whole: bool) -> Iterator[RelationNode]:
        yield RelationNode(f'{place} {type(relation).__name__}'.strip(), relation, gate, whole)
        for index, member in enumerate(getattr(relation, 'members', ())):
            yield from walk(member, relation.posts[index], f'{place}.{index}'.strip('.'), whole=False)

    several = len(head.relations) > 1
    return [
        node
        for place, relation in enumerate(head.relations)
        for node in walk(relation, relation, f'fc{place}' if several else '', whole=True)
    ]


@contextmanager
def changed_input(relation: nn.Module, change: Callable[[RelationContext], RelationContext]) -> Iterator[None]:
    """The relation sees a changed context."""
    handle = relation.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def seen_output(module: nn.Module, see: Callable[[tuple, Any], Any]) -> Iterator[None]:
    """Call `see` with input and output of the module; what it returns, unless None, takes the output's place."""
    handle = module.register_forward_hook(lambda _, args, output: see(args, output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replaced(module: nn.Module, name: str, value: Any) -> Iterator[None]:
    """Another parameter, buffer or submodule in the place of `module.name`; the very same object comes back.

    Raises:
        KeyError: The module has none of that name.
    """
    stores: list[dict] = [module._parameters, module._buffers, module._modules]
    store = next((store for store in stores if name in store), None)
    if store is None:
        raise KeyError(f'{type(module).__name__} has no parameter, buffer or module {name!r}')
    before = store[name]
    # Not `setattr`: what takes the place of a parameter may be a tensor that depends on another one.
    store[name] = value
    try:
        yield
    finally:
        store[name] = before
