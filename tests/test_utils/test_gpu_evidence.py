"""The commands for a GPU: here they are only looked at, or replaced by ones that need none."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet_ext.utils import gpu_evidence
from mmdet_ext.utils.gpu_evidence import PARTS, Part, gather_gpu_evidence

ROOT = Path(__file__).parents[2]


def test_without_a_gpu_it_says_what_it_would_write(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(RuntimeError) as error:
        gather_gpu_evidence(folder=tmp_path / 'gpu')
    assert [line.split(':')[0].split('/')[-1] for line in str(error.value).splitlines()[1:]] == [
        'tests.json', 'speed.json', 'mixed_precision.json',
    ]  # fmt: skip
    assert not (tmp_path / 'gpu').exists()
    with pytest.raises(ValueError, match="no part is called 'sped'; there are tests, speed"):
        gather_gpu_evidence(['sped'], tmp_path)
    monkeypatch.setattr(sys, 'argv', ['gpu_evidence.py', 'speed', '--out', str(tmp_path)])
    with pytest.raises(SystemExit, match=rf'error: torch .* sees no GPU here.*\n  {tmp_path}/speed\.json: losses'):
        runpy.run_path(str(ROOT / 'tools' / 'gpu_evidence.py'), run_name='__main__')


@pytest.mark.parametrize('name', [name for name in PARTS if name != 'tests'])
def test_the_tools_take_these_arguments(name, monkeypatch, tmp_path):
    """By what they say of themselves; argparse would end with code 2."""
    words = [word.format(out=tmp_path / 'x.json', junit='') for word in PARTS[name].words]
    found = subprocess.run([sys.executable, words[0], '--help'], cwd=ROOT, capture_output=True, text=True)
    options = [word for word in words if word.startswith('--')]
    assert options
    assert all(f'{option} ' in found.stdout for option in options)


def test_without_an_installation_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(gpu_evidence.mmdet_ext, '__file__', str(tmp_path / '__init__.py'))
    with pytest.raises(RuntimeError, match='mmdet_ext is not installed here: python -m pip install'):
        gather_gpu_evidence(['speed'], tmp_path / 'gpu')


def test_files_and_exit_codes(monkeypatch, tmp_path):
    tests = tmp_path / 'test_three.py'
    tests.write_text(
        'import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip\ndef test_c(): pass\n'
    )
    pytest_words = ('-m', 'pytest', '-q', '-p', 'no:cacheprovider', str(tests), '--junitxml', '{junit}')
    write = ('-c', 'import sys; open(sys.argv[1], "w").write("[1]")', '{out}')
    parts = {'tests': Part('t.json', 'tests', pytest_words), 'other': Part('o.json', 'other', write)}
    monkeypatch.setattr(gpu_evidence, 'PARTS', parts)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(gpu_evidence, '_describe_machine', lambda repository: {'gpu': 'X'})
    said = []
    codes = gather_gpu_evidence(list(parts), tmp_path / 'gpu', tmp_path, said.append)
    assert codes == {'tests': 1, 'other': 0}
    assert said[0].startswith('tests: python -m pytest -q')
    found = {file.name: json.loads(file.read_text()) for file in (tmp_path / 'gpu').iterdir()}
    counts = {'failed': 1, 'skipped': 1, 'passed': 1, 'failures': ['test_three::test_b']}
    assert found == {'machine.json': {'gpu': 'X'}, 't.json': counts, 'o.json': [1]}
