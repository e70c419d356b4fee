"""The function that mmengine's `get_model` and the inferencers expect in `<package>.utils`."""

from mmdet.utils import register_all_modules as register_mmdet_modules
from mmengine.registry import DefaultScope


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register every module of mmdet; ours are registered since `mmdet_ext` was imported.

    Args:
        init_default_scope: Whether to make `mmdet` the default scope, in whose registries our modules live. Where the
            default scope already is our alias `mmdet_ext` (as inside `mmengine.hub.get_model`), it stays.
    """
    scope = DefaultScope.get_current_instance()
    is_alias = scope is not None and scope.scope_name == 'mmdet_ext'
    register_mmdet_modules(init_default_scope and not is_alias)
