"""Registration into mmdet's registries, and the alias scope `mmdet_ext`."""

import mmdet.registry
import pytest
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DefaultScope, Registry
from torch import nn

import mmdet_ext
import mmdet_ext.registry as alias

PARENTS = {
    name: value
    for name, value in vars(mmdet.registry).items()
    if isinstance(value, Registry) and value.scope == 'mmdet'
}


def ours(registry: Registry) -> dict[str, type]:
    return {key: value for key, value in registry.module_dict.items() if value.__module__.startswith('mmdet_ext.')}


@pytest.mark.parametrize('name', sorted(PARENTS))
def test_every_mmdet_registry_has_an_alias_child(name: str) -> None:
    child = getattr(alias, name)
    assert child.scope == 'mmdet_ext'
    assert child.parent is PARENTS[name]
    assert PARENTS[name].children['mmdet_ext'] is child


@pytest.mark.parametrize('name', sorted(PARENTS))
def test_alias_children_import_what_their_parents_import(name: str) -> None:
    assert getattr(alias, name)._locations == [*PARENTS[name]._locations, 'mmdet_ext']


@pytest.mark.parametrize('name', sorted(PARENTS))
def test_nothing_is_registered_in_the_alias(name: str) -> None:
    assert not getattr(alias, name).module_dict


def test_all_names_the_children() -> None:
    assert alias.__all__ == sorted(PARENTS)


@pytest.mark.parametrize('name', sorted(PARENTS))
def test_mmengine_roots_get_no_second_alias(name: str) -> None:
    root = PARENTS[name].parent
    assert root is not None
    assert 'mmdet_ext' not in root.children


def test_our_modules_are_in_mmdet_registries() -> None:
    assert {'RelationRoIHead', 'RelationBBoxHead', 'GeometryAttentionRelation', 'FPNSSH', 'MobileNetV1'} <= set(
        ours(mmdet.registry.MODELS)
    )


@pytest.mark.parametrize('name', sorted(PARENTS))
def test_our_names_shadow_nothing(name: str) -> None:
    """A name that mmengine registers too would be found in mmdet's registry first, and change stock configs."""
    root = PARENTS[name].parent
    assert root is not None
    assert not set(ours(PARENTS[name])) & set(root.module_dict)


@pytest.mark.parametrize('name', sorted(PARENTS))
def test_our_modules_have_their_class_name(name: str) -> None:
    assert {key: value.__name__ for key, value in ours(PARENTS[name]).items()} == {
        key: key for key in ours(PARENTS[name])
    }


@pytest.mark.parametrize('kind', ['RelationRoIHead', 'mmdet_ext.RelationRoIHead', 'mmdet.RelationRoIHead'])
def test_a_module_of_ours_is_found_by_each_name(kind: str) -> None:
    assert mmdet.registry.MODELS.get(kind).__name__ == 'RelationRoIHead'


def test_a_module_of_mmdet_is_built_in_the_alias_scope() -> None:
    with DefaultScope.overwrite_default_scope('mmdet_ext'):
        head = mmdet.registry.MODELS.build({'type': 'L1Loss', '_scope_': 'mmdet_ext'})
    assert isinstance(head, nn.Module)


def test_the_visualizer_is_found_in_the_alias_scope() -> None:
    with DefaultScope.overwrite_default_scope('mmdet_ext'):
        assert alias.VISUALIZERS.get('DetLocalVisualizer').__name__ == 'DetLocalVisualizer'


def test_config_paths_know_the_package() -> None:
    assert 'mmdet_ext' in MODULE2PACKAGE


def test_version_is_exported() -> None:
    assert mmdet_ext.__version__.count('.') == 2
