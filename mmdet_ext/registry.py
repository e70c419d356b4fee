"""Alias scope `mmdet_ext`: one child registry per mmdet registry, and nothing registered in any of them.

Our modules are registered in mmdet's own registries, because `mmdet::` base configs stamp `_scope_='mmdet'` on every
top-level dict and look a nested type up there. The children below only make the scope `mmdet_ext` resolvable, so that
`mmdet_ext.SomeModule`, `get_model('mmdet_ext::...')` and `DetInferencer(scope='mmdet_ext')` work: a lookup in a child
finds nothing and goes on in the parent. A child does not import the `locations` of its parent by itself, so each child
carries them.
"""

import mmdet.registry as _mmdet_registry
from mmengine.registry import Registry

SCOPE = 'mmdet_ext'


def _child(parent: Registry) -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[*parent._locations, SCOPE])


# mmdet.registry also holds mmengine's root registries under names of its own: those are not mmdet's to alias.
_parents = {name: value for name, value in vars(_mmdet_registry).items() if isinstance(value, Registry)}
_children = {name: _child(parent) for name, parent in _parents.items() if parent.scope == 'mmdet'}
globals().update(_children)

__all__ = sorted(_children)
