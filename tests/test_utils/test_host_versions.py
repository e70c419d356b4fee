"""Tested ranges of the host packages, and what is said about others."""

import warnings

import pytest

from mmdet_ext.compat import check_versions
from mmdet_ext.utils import host_versions
from mmdet_ext.utils.host_versions import HOSTS, find_hosts, installed, is_tested, release, untested_hosts

GOOD = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0'}
FORK = {'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6', 'onedl-mmdetection': '3.5.1'}


def pretend(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    monkeypatch.setattr(host_versions, 'installed', versions.get)


@pytest.mark.parametrize(
    ('text', 'numbers'),
    [('2.13.0+cpu', (2, 13, 0)), ('3.0.0rc4', (3, 0, 0)), ('7', (7,)), ('unknown', ())],
)
def test_release(text: str, numbers: tuple[int, ...]) -> None:
    assert release(text) == numbers


def test_installed_reads_distributions() -> None:
    assert installed('torch')
    assert installed('no-such-distribution-as-this') is None


@pytest.mark.parametrize('versions', [GOOD, FORK])
def test_both_stacks_are_tested(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    pretend(monkeypatch, versions)
    assert untested_hosts() == []


@pytest.mark.parametrize(('number', 'tested'), [('2.0.9', False), ('2.1.0', True), ('2.1.9', True), ('2.2.0', False)])
def test_range_is_half_open(number: str, tested: bool) -> None:
    host = next(host for host in HOSTS if host.name == 'mmcv')
    assert is_tested(host, number) is tested


def test_other_version_is_named_with_both_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {**GOOD, 'mmcv': '2.2.0'})
    assert untested_hosts() == ['mmcv 2.2.0 (tested: mmcv>=2.1.0,<2.2 or onedl-mmcv>=2.3.6,<2.4)']


def test_two_distributions_of_a_module_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {**GOOD, 'onedl-mmcv': '2.3.6'})
    assert [host.name for host, _ in find_hosts('mmcv')] == ['mmcv', 'onedl-mmcv']
    assert untested_hosts()[0].startswith('mmcv 2.1.0 and onedl-mmcv 2.3.6 (tested')


def test_missing_distribution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {'mmcv': '2.1.0', 'mmdet': '3.3.0'})
    assert untested_hosts()[0].startswith('no distribution of mmengine (tested: mmengine>=0.10.7')


def test_the_package_warns_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {**GOOD, 'mmdet': '3.2.0'})
    with pytest.warns(UserWarning, match=r'not tested with: mmdet 3\.2\.0 \(tested: mmdet>=3\.3\.0,<3\.4 or') as caught:
        check_versions()
    assert len(caught) == 1


def test_the_package_is_silent_on_tested_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_versions()
