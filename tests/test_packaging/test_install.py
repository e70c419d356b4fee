"""The package in use: from a wheel, from an editable install, and from a checkout on PYTHONPATH."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group('packaging')]

INSTALLED = ('wheel', 'editable')
ANYHOW = (*INSTALLED, 'checkout')


@pytest.fixture
def facts(kind: str, request: pytest.FixtureRequest) -> dict[str, str]:
    return request.getfixturevalue(f'{kind}_facts')


@pytest.mark.parametrize(('kind', 'place'), [('wheel', 'wheel_env'), ('editable', 'editable_source')])
def test_the_installed_package_is_used(facts: dict[str, str], place: str, workspace: Path) -> None:
    assert Path(facts['folder']).is_relative_to(workspace / place)


@pytest.mark.parametrize('kind', INSTALLED)
def test_a_config_can_have_our_base(facts: dict[str, str]) -> None:
    assert facts['base'] == 'RelationRoIHead 32 mmdet'


@pytest.mark.parametrize('kind', INSTALLED)
def test_get_config(facts: dict[str, str]) -> None:
    assert facts['get_config'] == 'RelationRoIHead'


@pytest.mark.parametrize('kind', INSTALLED)
def test_get_model(facts: dict[str, str]) -> None:
    assert facts['get_model'] == 'RelationRoIHead'


@pytest.mark.parametrize('kind', INSTALLED)
def test_init_detector(facts: dict[str, str]) -> None:
    assert facts['init_detector'] == 'DetDataSample'


@pytest.mark.parametrize('kind', ANYHOW)
def test_inferencer_by_path(facts: dict[str, str]) -> None:
    assert facts['path'] == 'bboxes labels scores'


@pytest.mark.parametrize('kind', INSTALLED)
def test_inferencer_by_name(facts: dict[str, str]) -> None:
    assert facts['name'] == 'bboxes labels scores'


@pytest.mark.parametrize('kind', ['checkout'])
@pytest.mark.parametrize('call', ['base', 'get_config', 'get_model'])
def test_a_checkout_says_what_it_lacks(facts: dict[str, str], call: str) -> None:
    assert facts[call].startswith('FileNotFoundError')
    assert '.mim' in facts[call]
