"""COCO files for whoever looks up objects; those that are refused are in tests/test_hostile/test_regressions.py."""

import json

import pytest

from mmdet_ext.datasets.coco_file import read_coco


def write(tmp_path, **changes):
    content = {
        'images': [{'id': 'a'}, {'id': 2}],
        'annotations': [{'image_id': 'a', 'category_id': 1, 'bbox': [-5, 0.5, 0, 3], 'extra': [1]}],
        'categories': [{'id': 1}],
        **changes,
    }
    path = tmp_path / 'c.json'
    path.write_text(json.dumps(content))
    return path


def test_what_is_not_looked_up_is_left_alone(tmp_path):
    """Boxes of no size, categories without name, and ids that are texts are no faults here."""
    data = read_coco(write(tmp_path, info=3))
    assert data['annotations'][0]['extra'] == [1]
    assert data['info'] == 3


def test_nothing_annotated(tmp_path):
    assert read_coco(write(tmp_path, annotations=[]))['annotations'] == []


@pytest.mark.parametrize(('key', 'value'), [('images', {}), ('annotations', None), ('categories', 'x')])
def test_no_lists(tmp_path, key, value):
    with pytest.raises(ValueError, match=rf'c\.json is no COCO file: it lacks the list `{key}`'):
        read_coco(write(tmp_path, **{key: value}))


def test_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_coco(tmp_path)
