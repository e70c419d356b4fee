"""Loads what builds the site, which is no package."""

import importlib.util
import sys
from types import ModuleType
from unittest import mock

from tests.markdown_blocks import ROOT

BUILDING = ROOT / 'docs' / 'building'


def load(name: str) -> ModuleType:
    """A module of `docs/building`, under a name that is nobody else's."""
    spec = importlib.util.spec_from_file_location(f'docs_building_{name}', BUILDING / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, 'path', [str(BUILDING), *sys.path]):
        spec.loader.exec_module(module)
    return module
