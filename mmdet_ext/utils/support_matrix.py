"""The suites on every supported Python and both stacks, and the table of what was tested.

A row is one environment: a Python, a stack (the original hosts or the onedl fork), and what `make` says about it. Rows
that were measured earlier stay in the file until they are run again, each with its own date and commit.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .json_file import write_json

PYTHONS = ('3.10', '3.11', '3.12')
# The whole suite where users start; on the fork what its versions can touch. Both are targets of the Makefile.
SUITES = {'default': 'suite', 'onedl': 'core'}
SUITE_NAMES = {'suite': 'all', 'core': 'core'}
_FACTS = (
    'import json, numpy; from mmdet_ext.utils.provenance import collect_versions; '
    'print(json.dumps({**collect_versions(), "numpy": numpy.__version__}))'
)


def find_interpreter(version: str) -> str | None:
    """Path of a Python of that minor version, such as `'3.12'`, that answers: on PATH, else one of pyenv's; else None.

    pyenv puts names on PATH that only complain, hence the question to each.
    """
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'), 'versions')
    found = [shutil.which(f'python{version}'), *sorted(pyenv.glob(f'{version}.*/bin/python'), reverse=True)]
    for candidate in filter(None, found):
        command = [str(candidate), '-c', 'import sys; print(sys.version)']
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode == 0 and _minor(answer.stdout) == version:
            return str(candidate)
    return None


def _minor(version: str) -> str:
    return '.'.join(version.split('.')[:2])


def environment(version: str, stack: str) -> str:
    """Folder of a row's virtual environment: the one that `make` uses by itself, or that with the version behind."""
    name = '.venv' if stack == 'default' else f'.venv-{stack}'
    return name if version == _minor(sys.version) else f'{name}-{version}'


def count_outcomes(report: str | Path) -> dict[str, int]:
    """Number of passed, failed (with errors) and skipped tests of a JUnit file of pytest.

    Raises:
        OSError: It is not there: pytest has not come to its end.
        ValueError: It is not such a file.
    """
    try:
        suites = ElementTree.parse(report).getroot().iter('testsuite')
        counts = [
            {key: int(suite.get(key, 0)) for key in ('tests', 'failures', 'errors', 'skipped')} for suite in suites
        ]
    except ElementTree.ParseError as error:
        raise ValueError(f'{report} is no JUnit file: {error}') from error
    total = {key: sum(count[key] for count in counts) for key in ('tests', 'failures', 'errors', 'skipped')}
    failed = total['failures'] + total['errors']
    return {'passed': total['tests'] - failed - total['skipped'], 'failed': failed, 'skipped': total['skipped']}


def run_row(version: str, stack: str, python: str, folder: Path, commit: str | None) -> dict[str, Any]:
    """Set up one environment and run its suite.

    Args:
        version: `'3.10'`, ...
        stack: `'default'` or `'onedl'`.
        python: The interpreter that makes the environment.
        folder: Where console output and the JUnit file go.
        commit: What is tested.

    Returns:
        The row: `python, stack, suite, versions, passed, failed, skipped, problem, minutes, date, commit, command`.
        `problem` is empty, or a sentence where set-up or suite ended otherwise.
    """
    suite, venv = SUITES[stack], environment(version, stack)
    name = f'py{version}-{stack}'
    report, log = (folder / f'{name}.xml').resolve(), folder / f'{name}.log'
    report.unlink(missing_ok=True)
    command = ['make', suite, f'STACK={stack}', f'PYTHON={python}', f'VENV={venv}']
    start = datetime.now(timezone.utc)
    with open(log, 'w', encoding='utf-8') as output:
        status = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTEST_ADDOPTS': f'--junitxml={report}'},
        ).returncode
    minutes = (datetime.now(timezone.utc) - start).total_seconds() / 60
    try:
        counts: dict[str, int] = count_outcomes(report)
    except OSError:
        counts = {}
    problem = f'{" ".join(command[:3])} ended with exit code {status}, see {log}' if status else ''
    facts = subprocess.run([f'{venv}/bin/python', '-c', _FACTS], capture_output=True, text=True) if counts else None
    return {
        'python': version,
        'stack': stack,
        'suite': suite,
        'versions': json.loads(facts.stdout) if facts and facts.returncode == 0 else {},
        **counts,
        'problem': problem,
        'minutes': round(minutes, 1),
        'date': start.date().isoformat(),
        'commit': commit,
        'command': f'make {suite} STACK={stack} PYTHON=python{version}',
    }


def run_matrix(
    out: str | Path,
    pythons: Sequence[str] = PYTHONS,
    stacks: Sequence[str] = tuple(SUITES),
    interpreters: Mapping[str, str] | None = None,
    folder: str | Path = 'work_dirs/test_matrix',
    commit: str | None = None,
) -> list[dict[str, Any]]:
    """Run the suites and write what came of them.

    Args:
        out: Json file; rows of other environments that stand in it stay.
        pythons: Minor versions.
        stacks: Of `SUITES`.
        interpreters: Paths of interpreters by minor version, for those that are not found by themselves.
        folder: For logs and JUnit files.
        commit: What is tested, for the record.

    Returns:
        The rows that were asked for, in order; one whose interpreter is missing has `skipped_because` only.

    Raises:
        ValueError: Unknown version or stack, or nothing could be run.
    """
    _check('Python', pythons, PYTHONS)
    _check('stack', stacks, SUITES)
    out, folder = Path(out), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for version in pythons:
        python = (interpreters or {}).get(version) or find_interpreter(version)
        for stack in stacks:
            if python is None:
                reason = f'no Python {version} on this machine'
                print(f'Python {version}, {stack}: skipped, {reason}', flush=True)
                rows.append({'python': version, 'stack': stack, 'skipped_because': reason})
                continue
            print(f'Python {version}, {stack}: make {SUITES[stack]}, {folder}/py{version}-{stack}.log', flush=True)
            rows.append(run_row(version, stack, python, folder, commit))
            print(f'Python {version}, {stack}: {_outcome(rows[-1])}', flush=True)
            _store(out, rows[-1])
    if all('skipped_because' in row for row in rows):
        raise ValueError(f'none of Python {", ".join(pythons)} is on this machine: name one with --python VERSION PATH')
    return rows


def format_matrix(content: Mapping[str, Any]) -> str:
    """Markdown table of a file that `run_matrix` wrote; an environment that nobody ran has an empty cell."""
    rows = {(row['python'], row['stack']): row for row in content['rows']}
    lines = [
        '| Python | stack | torch | mmengine | mmcv | mmdet | numpy | tests |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for version in PYTHONS:
        for stack in SUITES:
            row = rows.get((version, stack), {})
            versions = row.get('versions', {})
            hosts = [_host(versions, name) for name in ('mmengine', 'mmcv', 'mmdet')]
            cells = [
                versions.get('python', version),
                stack,
                versions.get('torch', ''),
                *hosts,
                versions.get('numpy', ''),
            ]
            lines.append(
                '| ' + ' | '.join([*cells, f'{SUITE_NAMES[row["suite"]]}: {_outcome(row)}' if row else '']) + ' |'
            )
    return '\n'.join(lines) + '\n'


def _host(versions: Mapping[str, str], name: str) -> str:
    return next(
        (
            number
            for key, number in versions.items()
            if key.removeprefix('onedl-').startswith(name) and key != 'mmdet_ext'
        ),
        '',
    )


def _outcome(row: Mapping[str, Any]) -> str:
    if 'passed' not in row:
        return row['problem']
    text = f'{row["passed"]} passed, {row["skipped"]} skipped'
    return (
        f'{text}, {row["failed"]} failed'
        if row['failed']
        else f'{text}, but {row["problem"]}'
        if row['problem']
        else text
    )


def _store(out: Path, row: Mapping[str, Any]) -> None:
    stored = json.loads(out.read_text(encoding='utf-8'))['rows'] if out.is_file() else []
    key = (row['python'], row['stack'])
    rows = [*(other for other in stored if (other['python'], other['stack']) != key), row]
    rows.sort(key=lambda each: (PYTHONS.index(each['python']), list(SUITES).index(each['stack'])))
    write_json(out, {'rows': rows}, indent=1)


def _check(what: str, given: Sequence[str], allowed: Iterable[str]) -> None:
    wrong = [value for value in given if value not in allowed]
    if wrong:
        raise ValueError(f'{what} {", ".join(wrong)} is not supported: choose of {", ".join(allowed)}')
