"""Who may know whom: the imports of every file, read without running it."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'mmdet_ext'
# What the files of a folder may import beside the standard library and the folder itself.
ALLOWED = {
    'graphs': {'numpy'},
    'models/relations': {'torch', 'mmengine', 'mmcv.cnn', 'mmdet.registry', 'mmdet_ext.graphs'},
    'models/necks': {'torch', 'mmengine', 'mmcv.cnn', 'mmdet.registry', 'mmdet.utils'},
    'models/backbones': {'torch', 'mmengine', 'mmcv.cnn', 'mmdet.registry', 'mmdet.utils', 'mmdet.models.utils'},
}
# What the files of a folder must not import.
FORBIDDEN = {
    'models': {
        'mmdet_ext.analysis',
        'mmdet_ext.datasets',
        'mmdet_ext.engine',
        'mmdet_ext.reliability',
        'mmdet_ext.zoo',
    },
    'datasets': {'mmdet_ext.analysis', 'mmdet_ext.reliability', 'mmdet_ext.zoo'},
    'engine': {'mmdet_ext.reliability', 'mmdet_ext.zoo'},
    'evaluation': {'mmdet_ext.analysis', 'mmdet_ext.reliability', 'mmdet_ext.zoo'},
    'zoo': {'mmdet_ext.reliability'},
    'visualization': {
        'mmdet_ext.analysis',
        'mmdet_ext.datasets',
        'mmdet_ext.engine',
        'mmdet_ext.models',
        'mmdet_ext.zoo',
    },
}


def imported(path: Path) -> set[str]:
    """Full names of the modules, or of the objects, that a file imports anywhere."""
    found = set()
    package = path.relative_to(ROOT).with_suffix('').parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*start, *([node.module] if node.module else [])])
            found |= {f'{module}.{alias.name}' for alias in node.names}
    return found


def below(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f'{root}.') for root in roots)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*.py') if '.mim' not in path.parts)


@pytest.mark.parametrize('folder', ALLOWED)
def test_knows_only(folder):
    own = f'mmdet_ext.{folder.replace("/", ".")}'
    allowed = ALLOWED[folder] | {own} | sys.stdlib_module_names
    strangers = {
        f'{path.name}: {name}'
        for path in files(PACKAGE / folder)
        for name in imported(path)
        if not below(name, allowed)
    }
    assert files(PACKAGE / folder)
    assert strangers == set()


@pytest.mark.parametrize('folder', FORBIDDEN)
def test_never_imports(folder):
    strangers = {
        f'{path.name}: {name}'
        for path in files(PACKAGE / folder)
        for name in imported(path)
        if below(name, FORBIDDEN[folder])
    }
    assert files(PACKAGE / folder)
    assert strangers == set()


@pytest.mark.parametrize('path', files(ROOT / 'tools'), ids=lambda path: path.name)
def test_a_tool_parses_arguments_and_computes_nothing(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While) and len(node.body) > 2]
    heavy = {'torch', 'numpy', 'mmcv', 'mmdet', 'cv2', 'matplotlib', 'pandas', 'scipy', 'pycocotools'}
    assert {name for name in imported(path) if below(name, heavy)} == set()
    assert 'argparse' in imported(path)


def test_the_check_itself_sees_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    path = tmp_path / 'pkg' / 'sub' / 'file.py'
    path.parent.mkdir(parents=True)
    path.write_text('import a.b\nfrom ..up import x\nfrom . import near\ndef f():\n    from deep import y\n')
    assert imported(path) == {'a.b', 'pkg.up.x', 'pkg.sub.near', 'deep.y'}


@pytest.mark.parametrize('path', files(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_stays_readable(path):
    assert len(path.read_text(encoding='utf-8').splitlines()) <= 300
