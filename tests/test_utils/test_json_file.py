"""JSON files are whole, or are those that were there before."""

import json

import pytest

from mmdet_ext.utils.json_file import write_json


def test_folders_are_made_and_nothing_else_stays(tmp_path):
    path = write_json(tmp_path / 'new' / 'a.json', {'name': 'ä'}, indent=1)
    assert path.read_text(encoding='utf-8') == '{\n "name": "ä"\n}\n'
    assert [file.name for file in path.parent.iterdir()] == ['a.json']


def test_nothing_half_written_takes_the_place_of_a_file(tmp_path):
    path = write_json(tmp_path / 'a.json', {'a': 1})
    with pytest.raises(TypeError):
        write_json(path, {'a': {1, 2}})
    assert json.loads(path.read_text()) == {'a': 1}
