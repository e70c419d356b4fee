"""`register_all_modules` and the default scope it leaves."""

import warnings
from collections.abc import Iterator

import pytest
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from mmdet_ext.utils import register_all_modules


@pytest.fixture(autouse=True)
def _restore_scopes() -> Iterator[None]:
    """Default scopes are instances in a dictionary of the class; the youngest is the current one."""
    before = DefaultScope._instance_dict.copy()
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


def current_scope() -> str | None:
    scope = DefaultScope.get_current_instance()
    return None if scope is None else scope.scope_name


def test_makes_mmdet_the_default_scope() -> None:
    register_all_modules()
    assert current_scope() == 'mmdet'


def test_leaves_the_default_scope_when_told() -> None:
    register_all_modules(init_default_scope=False)
    assert current_scope() is None


def test_replaces_a_foreign_scope_with_a_warning() -> None:
    DefaultScope.get_instance('mmdet', scope_name='mmdet')
    DefaultScope.get_instance('other', scope_name='other')
    with pytest.warns(UserWarning, match='"other" is not "mmdet"'):
        register_all_modules()
    assert current_scope() == 'mmdet'


def test_keeps_the_alias_scope_without_a_warning() -> None:
    DefaultScope.get_instance('mmdet', scope_name='mmdet')
    DefaultScope.get_instance('alias', scope_name='mmdet_ext')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        register_all_modules()
    assert current_scope() == 'mmdet_ext'


def test_modules_of_mmdet_and_ours_are_registered() -> None:
    register_all_modules()
    assert {'FasterRCNN', 'RelationRoIHead'} <= set(MODELS.module_dict)
