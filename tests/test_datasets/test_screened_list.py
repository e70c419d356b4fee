"""Lists of screened images: round trip, and what is refused."""

import pytest

from mmdet_ext.datasets.screened_list import listed_image, read_screened_list, write_screened_list

IMAGE = {'id': 3, 'file_name': 'ä.png', 'width': 9, 'height': 9}


def test_round_trip(tmp_path):
    path = write_screened_list(tmp_path / 'new' / 'a.json', [listed_image(IMAGE, ('loss: high',))], ann_file='x.json')
    content = read_screened_list(path)
    assert content['images'] == [{'image_id': 3, 'file_name': 'ä.png', 'reasons': ['loss: high']}]
    assert content['ann_file'] == 'x.json'
    assert [file.name for file in path.parent.iterdir()] == ['a.json']


def test_an_empty_list(tmp_path):
    assert read_screened_list(write_screened_list(tmp_path / 'a.json', []))['images'] == []


def test_a_missing_list_names_the_tool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no list of screened images .*screen_images\.py'):
        read_screened_list(tmp_path / 'a.json')


@pytest.mark.parametrize(
    'text',
    [
        '{"format": 1, "images": [{"image_id": 3}]}',
        '{"format": 1, "images": {"image_id": 3}}',
        '{"format": 1, "images": [3]}',
        '{"format": 2, "images": []}',
        '{"images": []}',
    ],
)
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(ValueError, match=r'a\.json is no list of screened images of format 1'):
        read_screened_list(tmp_path / 'a.json')


@pytest.mark.parametrize(
    ('text', 'fault'), [('', 'is empty'), ('{"format": 1', 'ends in the middle'), ('[]', 'a JSON list')]
)
def test_a_damaged_file_is_refused(tmp_path, text, fault):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(ValueError, match=rf'a\.json .*{fault}'):
        read_screened_list(tmp_path / 'a.json')
