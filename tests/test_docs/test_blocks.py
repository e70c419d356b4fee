"""What README, site and the READMEs of families say works: blocks run, commands, options, files and names exist."""

import ast
import contextlib
import importlib
import inspect
import io
import re
from pathlib import Path

import mmdet.registry
import mmengine.registry
import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope

import mmdet_ext  # noqa: F401
from tests.markdown_blocks import ROOT, Block, check_arguments, fenced_blocks, inline_code, shell_commands

# Their blocks are whole programs; those of the other files may be pieces of one.
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
FILES = [*PAGES, *sorted((ROOT / 'configs').rglob('*.md')), *sorted((ROOT / 'tools').rglob('*.md'))]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
PROGRAMS = {'python', 'make', 'pip', 'git', 'mim', 'cd', '.'}
# What a reader puts something in place of, or puts there.
PLACEHOLDERS = {'configs/scratch_gn/YOURS.py', 'benchmarks/relation_experiments_c4.json'}
# Arguments of a launcher before those of tools/train.py or tools/test.py: how many, and which of them is the config.
LAUNCHERS = {'dist_train.sh': (2, 0), 'dist_test.sh': (3, 0), 'slurm_train.sh': (4, 2), 'slurm_test.sh': (4, 2)}


def name(value: object) -> str:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


def with_blocks(files: list[Path], language: str) -> list[Path]:
    return [file for file in files if fenced_blocks(file, language)]


def run_block(block: Block, namespace: dict) -> str:
    """Run code under the name and lines of its file, and return what it prints."""
    code = compile('\n' * (block.line - 1) + block.text, str(block.file), 'exec')
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def expected_output(text: str) -> list[str]:
    """Comments behind `print(...)` and at the end of a block: what it prints, line by line."""
    said = re.findall(r'^print\(.*\)  # (.*)$', text, re.MULTILINE)
    return said or [line[2:] for line in re.search(r'((?:^# .*\n)*)\Z', text, re.MULTILINE)[1].splitlines()]


def components(value: object) -> list[dict]:
    """Dictionaries with a type, anywhere inside."""
    if isinstance(value, dict):
        own = [value] if isinstance(value.get('type'), str) else []
        return own + [found for part in value.values() for found in components(part)]
    return [found for part in value for found in components(part)] if isinstance(value, list | tuple) else []


REGISTRIES = [
    registry for room in (mmdet.registry, mmengine.registry) for registry in vars(room).values()
    if isinstance(registry, Registry)
]  # fmt: skip


def check_component(cfg: dict) -> None:
    """Its type is registered, and takes these options."""
    built = next((found for registry in REGISTRIES if (found := registry.get(cfg['type'])) is not None), None)
    assert built is not None, f'{cfg["type"]} is in no registry'
    takes = inspect.signature(built).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        options = set(cfg) - {'type', '_delete_', '_scope_'}
        assert options <= {parameter.name for parameter in takes}, cfg['type']


def check_config(text: str, path: Path) -> None:
    """A config with bases is read; its model is built, without memory for weights."""
    path.write_text(text, encoding='utf-8')
    cfg = Config.fromfile(path)
    if 'model' in cfg:
        cfg.model.backbone.init_cfg = None
        with torch.device('meta'):
            MODELS.build(cfg.model)


@pytest.mark.parametrize('file', with_blocks(FILES, 'python'), ids=name)
def test_python_blocks_run(file, tmp_path, monkeypatch):
    init_default_scope('mmdet')
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for block in fenced_blocks(file, 'python'):
        imports = [node for node in ast.parse(block.text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        if file not in PAGES and imports:
            # A piece of a program about files that are not here: what it imports exists, and the rest is Python.
            for node in imports:
                for alias in node.names:
                    module = node.module if isinstance(node, ast.ImportFrom) else alias.name
                    assert hasattr(importlib.import_module(module), alias.name.split('.')[-1]) or module == alias.name
            continue
        printed = run_block(block, namespace)
        expected = expected_output(block.text)
        if printed or expected:
            assert printed.splitlines() == expected, f'{name(file)}, line {block.line}'
        values = {key: value for key, value in namespace.items() if not key.startswith('__')}
        for cfg in components(values):
            check_component(cfg)
        if re.search(r'^_base_ =', block.text, re.MULTILINE):
            check_config(block.text, tmp_path / f'line_{block.line}.py')


@pytest.mark.parametrize('file', with_blocks(PAGES[1:], 'python'), ids=name)
def test_python_blocks_fit_the_page(file):
    """Longer lines scroll out of sight."""
    lines = [line for block in fenced_blocks(file, 'python') for line in block.text.splitlines()]
    assert [line for line in lines if len(line) > 90] == []


def check_command(words: list[str], targets: set[str]) -> None:
    """Program, tool, options and target exist."""
    program, *arguments = words
    if program == 'make':
        assert {word for word in arguments if '=' not in word} <= targets, words
    elif program == 'python' and arguments[0].endswith('.py'):
        tool = ROOT / arguments[0]
        assert tool.is_file(), f'{arguments[0]} is not there'
        check_arguments(tool, [word for word in arguments[1:] if word != '...'])
    elif program == 'pip' and '-r' in arguments:
        assert (ROOT / arguments[arguments.index('-r') + 1]).is_file(), words
    elif program.endswith('.sh'):
        script = ROOT / program
        assert script.is_file(), f'{program} is not there'
        before, config = LAUNCHERS[script.name]
        tool = 'train.py' if 'train' in script.name else 'test.py'
        given = [arguments[config], *(['CHECKPOINT'] if tool == 'test.py' else []), *arguments[before:]]
        assert len(arguments) >= before, words
        check_arguments(ROOT / 'tools' / tool, given)
    else:
        assert program in PROGRAMS, f'unknown program {program!r}'


@pytest.fixture(scope='module')
def targets() -> set[str]:
    return set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.MULTILINE))


@pytest.mark.parametrize('file', FILES, ids=name)
def test_commands_exist(file, targets):
    commands = [words for block in fenced_blocks(file, 'bash') for words in shell_commands(block.text)]
    inline = [code for code in inline_code(file) if re.match(r'(python tools/|make [a-z])', code)]
    commands += [words for code in inline for words in shell_commands(code)]
    for words in commands:
        check_command(words, targets)


@pytest.mark.parametrize('file', FILES, ids=name)
def test_named_files_exist(file):
    text = file.read_text(encoding='utf-8')
    found = re.findall(
        r'(?<![\w./-])((?:tools|configs|docs|benchmarks|requirements|tests|mmdet_ext)/[\w./-]*\w)(?![\w{*<$])', text
    )
    missing = {path for path in found if not (ROOT / path).exists() and not list(ROOT.glob(f'{path}*'))}
    assert missing <= PLACEHOLDERS


@pytest.mark.parametrize('file', FILES, ids=name)
def test_named_components_are_registered(file):
    """A backticked name that ends as our components do is one of a registry."""
    kinds = ('Relation', 'Hook', 'Loss', 'Assigner', 'Metric', 'Head', 'Coder', 'Visualizer')
    named = {code for code in inline_code(file) if re.fullmatch(rf'[A-Z]\w+(?:{"|".join(kinds)})', code)}
    unknown = {item for item in named if all(registry.get(item) is None for registry in REGISTRIES)}
    assert unknown <= {'BaseRelation'}


def test_the_readme_names_what_matters(targets):
    words = {word for line in re.findall(r'\bmake ((?:[a-z-]+ ?)+)', README) for word in line.split()}
    assert {'demo', 'test', 'setup', 'doctor', 'help', 'lint', 'test-all'} <= words & targets
    names = set(re.findall(r'`((?:\w+Relation|Relation\w+|\w+Hook))`', README))
    assert len(names) >= 10
    assert [item for item in sorted(names) if MODELS.get(item) is None and HOOKS.get(item) is None] == []


class TestTheChecks:
    """They fail where they should."""

    def test_an_unknown_option_is_found(self):
        with pytest.raises(AssertionError, match='--folds'):
            check_command(['python', 'tools/train.py', 'CONFIG', '--folds', '3'], set())

    def test_a_missing_argument_is_found(self):
        with pytest.raises(AssertionError, match='config'):
            check_command(['python', 'tools/train.py'], set())

    def test_options_behind_a_launcher_are_read(self):
        with pytest.raises(AssertionError, match='--folds'):
            check_command(['tools/dist_train.sh', 'CONFIG', '8', '--folds'], set())

    @pytest.mark.parametrize(
        'command', ['python tools/trian.py CONFIG', 'make tset', 'pyhton x.py', 'pip install -r requirements/x.txt']
    )
    def test_what_is_not_there_is_found(self, command):
        with pytest.raises(AssertionError):
            check_command(command.split(), {'test'})

    @pytest.mark.parametrize('cfg', [dict(type='GHMCLos'), dict(type='GHMCLoss', bin=3)])
    def test_a_misspelt_config_is_found(self, cfg):
        init_default_scope('mmdet')
        with pytest.raises(AssertionError):
            check_component(cfg)

    def test_commands_of_a_loop(self):
        text = 'for x in a b; do\n  A=1 python t.py $x \\\n    --o "c d"  # why\ndone; make x && pip y'
        assert shell_commands(text) == [['python', 't.py', '$x', '--o', 'c d'], ['make', 'x'], ['pip', 'y']]

    def test_output_is_read_from_comments(self):
        assert expected_output('print(1)  # 1\nx = 2  # two\nprint(x)  # 2\n') == ['1', '2']
        assert expected_output('for x in 1, 2:\n    print(x)\n# 1\n# 2\n') == ['1', '2']
        assert expected_output('x = 1\n') == []

    def test_blocks_in_lists_have_their_lines(self, tmp_path):
        file = tmp_path / 'a.md'
        file.write_text('# A\n\n- b:\n\n  ```python\n  x = 1\n  ```\n')
        assert fenced_blocks(file, 'python') == [Block(file, 6, 'x = 1\n')]
