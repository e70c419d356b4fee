"""The suites on every supported environment: interpreters are stubs, and so is `make`."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from mmdet_ext.utils import support_matrix as matrix

JUNIT = '<testsuites><testsuite tests="9" failures="{failures}" errors="0" skipped="2"/></testsuites>'


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose only Pythons are stubs: 3.11 on PATH, 3.12 in pyenv behind a shim that complains."""
    script(tmp_path / 'bin/python3.11', 'echo 3.11.7 of stub')
    script(tmp_path / 'bin/python3.12', 'echo "command not found" >&2; exit 127')
    script(tmp_path / 'pyenv/versions/3.12.1/bin/python', 'echo 3.12.1 of stub')
    monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:/usr/bin:/bin')
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path / 'pyenv'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fake_make(machine, failures=0, status=0, report=True):
    """`make` that writes what pytest would have written, and the environment's Python beside it."""
    write = f"echo '{JUNIT.format(failures=failures)}' > ${{PYTEST_ADDOPTS#--junitxml=}}" if report else 'true'
    script(machine / 'bin/make', f'echo "$@" >> {machine}/calls; {write}; exit {status}')
    versions = '{"mmdet_ext": "0.1.0", "onedl-mmcv": "2.3.6", "torch": "2.13.0", "python": "3.11.7", "numpy": "2.3"}'
    for version in matrix.PYTHONS:
        for stack in matrix.SUITES:
            script(machine / matrix.environment(version, stack) / 'bin/python', f"echo '{versions}'")


def test_interpreters(machine):
    assert matrix.find_interpreter('3.11') == str(machine / 'bin/python3.11')
    assert matrix.find_interpreter('3.12') == str(machine / 'pyenv/versions/3.12.1/bin/python')
    assert matrix.find_interpreter('3.10') is None


def test_environments(monkeypatch):
    monkeypatch.setattr(sys, 'version', '3.11.7 (main)')
    names = [matrix.environment(version, stack) for version in ('3.11', '3.12') for stack in matrix.SUITES]
    assert names == ['.venv', '.venv-onedl', '.venv-3.12', '.venv-onedl-3.12']


def test_rows(machine, capsys):
    fake_make(machine)
    rows = matrix.run_matrix('support.json', commit='abc')
    assert [row['python'] for row in rows if 'skipped_because' in row] == ['3.10', '3.10']
    assert 'Python 3.10, onedl: skipped, no Python 3.10 on this machine' in capsys.readouterr().out
    calls = (machine / 'calls').read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [['suite', 'STACK=default'], ['core', 'STACK=onedl']] * 2
    assert f'PYTHON={machine}/bin/python3.11' in calls[0]
    stored = json.loads((machine / 'support.json').read_text())['rows']
    assert [(row['python'], row['stack']) for row in stored] == [
        ('3.11', 'default'), ('3.11', 'onedl'), ('3.12', 'default'), ('3.12', 'onedl'),
    ]  # fmt: skip
    assert {(row['passed'], row['failed'], row['skipped'], row['problem'], row['commit']) for row in stored} == {
        (7, 0, 2, '', 'abc')
    }
    assert stored[0]['command'] == 'make suite STACK=default PYTHON=python3.11'
    assert stored[0]['versions']['torch'] == '2.13.0'


def test_a_row_is_replaced_and_others_stay(machine):
    fake_make(machine)
    matrix.run_matrix('support.json', ['3.11'])
    fake_make(machine, failures=3, status=2)
    (row,) = matrix.run_matrix('support.json', ['3.11'], ['onedl'])
    assert (row['passed'], row['failed']) == (4, 3)
    assert row['problem'] == 'make core STACK=onedl ended with exit code 2, see work_dirs/test_matrix/py3.11-onedl.log'
    stored = json.loads((machine / 'support.json').read_text())['rows']
    assert [(row['stack'], row['failed']) for row in stored] == [('default', 0), ('onedl', 3)]


def test_an_old_report_does_not_count(machine):
    fake_make(machine)
    matrix.run_matrix('support.json', ['3.11'], ['default'])
    fake_make(machine, status=2, report=False)
    (row,) = matrix.run_matrix('support.json', ['3.11'], ['default'])
    assert 'passed' not in row
    assert row['versions'] == {}
    assert 'exit code 2' in matrix.format_matrix({'rows': [row]})


def test_named_interpreter(machine):
    fake_make(machine)
    matrix.run_matrix('support.json', ['3.10'], ['default'], {'3.10': '/opt/python3.10'})
    assert 'PYTHON=/opt/python3.10' in (machine / 'calls').read_text()


def test_table(machine):
    fake_make(machine)
    matrix.run_matrix('support.json', ['3.11'], ['onedl'])
    lines = matrix.format_matrix(json.loads((machine / 'support.json').read_text())).splitlines()
    assert len(lines) == 2 + len(matrix.PYTHONS) * len(matrix.SUITES)
    assert '| 3.11.7 | onedl | 2.13.0 |  | 2.3.6 |  | 2.3 | core: 7 passed, 2 skipped |' in lines
    assert '| 3.12 | onedl |  |  |  |  |  |  |' in lines


def test_failures_stand_in_the_table():
    row = {
        'python': '3.11',
        'stack': 'default',
        'suite': 'suite',
        'versions': {},
        'passed': 1,
        'failed': 2,
        'skipped': 0,
    }
    assert 'all: 1 passed, 0 skipped, 2 failed' in matrix.format_matrix({'rows': [{**row, 'problem': 'x'}]})
    table = matrix.format_matrix({'rows': [{**row, 'failed': 0, 'problem': 'smoke ended'}]})
    assert 'all: 1 passed, 0 skipped, but smoke ended' in table


@pytest.mark.parametrize(
    ('pythons', 'stacks', 'sentence'),
    [
        (['3.9'], ['default'], r'Python 3.9 is not supported: choose of 3.10, 3.11, 3.12'),
        (['3.11'], ['fork'], r'stack fork is not supported: choose of default, onedl'),
        (['3.10'], ['default'], r'none of Python 3.10 is on this machine: name one with --python VERSION PATH'),
    ],
)
def test_wrong_arguments(machine, pythons, stacks, sentence):
    with pytest.raises(ValueError, match=sentence):
        matrix.run_matrix('support.json', pythons, stacks)


def test_no_junit_file(tmp_path):
    (tmp_path / 'x.xml').write_text('tests: 9')
    with pytest.raises(ValueError, match=r'x\.xml is no JUnit file'):
        matrix.count_outcomes(tmp_path / 'x.xml')
    with pytest.raises(FileNotFoundError):
        matrix.count_outcomes(tmp_path / 'y.xml')


def test_the_workflow_has_the_same_rows():
    root = Path(__file__).parents[2]
    jobs = yaml.safe_load((root / '.github/workflows/test.yml').read_text())['jobs']
    axes = jobs['test']['strategy']['matrix']
    assert (tuple(axes['python']), tuple(axes['stack'])) == (matrix.PYTHONS, tuple(matrix.SUITES))
    assert {row['stack']: row['target'] for row in axes['include']} == matrix.SUITES
    makefile = (root / 'Makefile').read_text()
    targets = set(re.findall(r'^([a-z-]+):', makefile, re.MULTILINE))
    commands = [step['run'] for job in jobs.values() for step in job['steps'] if 'run' in step]
    named = {word for command in commands for word in command.split()[1:] if re.fullmatch('[a-z-]+', word)}
    assert named <= targets
    assert {f'Programming Language :: Python :: {version}' for version in matrix.PYTHONS} <= set(
        re.findall(r"'(Programming .*)'", (root / 'setup.py').read_text())
    )
