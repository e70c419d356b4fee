"""Commands that write a data set as COCO json: bad input ends in a sentence, not in a traceback."""

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools' / 'dataset_tools'


@pytest.mark.parametrize(
    ('tool', 'arguments'),
    [
        ('chestxdet2coco.py', ['{}/missing.json']),
        ('voc2coco.py', ['{}', 'missing.txt', '--classes', 'cell']),
        ('voc_masks2coco.py', ['{}', 'missing.txt']),
        ('wider2coco.py', ['{}/missing.txt', '{}']),
    ],
)
def test_missing_file(monkeypatch, tmp_path, tool, arguments):
    given = [argument.format(tmp_path) for argument in arguments]
    monkeypatch.setattr(sys, 'argv', [tool, *given, '-o', str(tmp_path / 'out.json')])
    with pytest.raises(SystemExit, match=r'^error: .*missing\.(json|txt).*'):
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    assert not (tmp_path / 'out.json').exists()
