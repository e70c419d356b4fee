"""Reading and checking of part files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.datasets.part_file import PartTable, check_part_names, part_boxes, read_part_file, unknown_parts

NAMES = ('left lung', 'right lung', 'heart')
GOOD = {
    'a.png': {'heart': [4, 5, 6, 7], 'left lung': [10, 0, 10, 20], 'right lung': [0, 0, 10, 20]},
    'b.png': {'left lung': [11, 1, 9, 20], 'heart': [5, 5, 6, 7]},
}


@pytest.fixture
def write(tmp_path):
    def to_file(content):
        path = tmp_path / 'parts.json'
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to_file


def one(problems, severity='error'):
    assert [p.severity for p in problems] == [severity], [str(p) for p in problems]
    return str(problems[0])


def table(*names):
    return PartTable(NAMES, np.zeros((len(names), 3, 4), np.float32), {name: i for i, name in enumerate(names)})


def test_a_good_file(write):
    found, problems = read_part_file(write(GOOD), NAMES, {'x/a.png': (20, 21), 'x/b.png': None})
    assert problems == []
    assert found.names == NAMES
    assert found.rows == {'a.png': 0, 'b.png': 1}
    nan = [np.nan] * 4
    expected = [[[10, 0, 20, 20], [0, 0, 10, 20], [4, 5, 10, 12]], [[11, 1, 20, 21], nan, [5, 5, 11, 12]]]
    np.testing.assert_array_equal(found.boxes, np.array(expected, np.float32))
    assert found.boxes.dtype == np.float32


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'does not exist; correct `part_file`'),
        ('', 'is empty'),
        ('{"a.png": {', 'truncated'),
        ('[1]', 'is not a part file: a JSON list instead of an object'),
        ('{}', 'has no entry'),
        ({'a.png': [1, 2, 3, 4], 'b.png': {}}, "1 of 2 entries are no object of part boxes: 'a.png'"),
    ],
)
def test_not_a_part_file(write, tmp_path, content, words):
    path = tmp_path / 'absent.json' if content is None else write(content)
    found, problems = read_part_file(path, NAMES)
    assert found is None
    assert words in one(problems)
    assert str(path) in one(problems)


@pytest.mark.parametrize(
    ('box', 'words'),
    [
        ([1, 2, 3], 'are not four finite numbers'),
        ([1, 2, 3, '4'], 'are not four finite numbers'),
        (None, 'are not four finite numbers'),
        ([1, 2, float('nan'), 4], 'are not four finite numbers'),
        ([1, 2, -3, 4], 'have a negative width or height'),
        ([1, 2, 0, 4], 'have zero width or height'),
        ([19, 2, 2.1, 4], 'reach more than a pixel beyond their image'),
        ([-1.1, 2, 4, 4], 'reach more than a pixel beyond their image'),
        ([50, 2, 4, 4], 'lie outside their image'),
    ],
)
@pytest.mark.parametrize('others', [0, 1200])
def test_bad_boxes(write, box, words, others):
    content = GOOD | {f'{i}.png': GOOD['a.png'] for i in range(others)} | {'c.png': {'heart': box}}
    sizes = {f'/x/{name}': (20, 21) for name in content}
    sentence = one(read_part_file(write(content), NAMES, sizes)[1])  # one of many is an error too
    assert f'boxes {words}' in sentence
    assert "'c.png: heart'" in sentence
    assert '[x, y, width, height]' in sentence


def test_a_pixel_beyond_the_image_is_rounding(write):
    content = GOOD | {'c.png': {'heart': [-1, -1, 22, 23]}}
    assert read_part_file(write(content), NAMES, {'a.png': (20, 21), 'b.png': (20, 21), 'c.png': (20, 21)})[1] == []


def test_a_box_outside_is_found_only_where_the_size_is_known(write):
    assert read_part_file(write({'a.png': {'heart': [500, 0, 5, 5]}}), ['heart'])[1] == []


def test_names(write):
    path = write(GOOD)
    sentence = one(read_part_file(path, [*NAMES, 'left lug'])[1])
    assert "no image has the part 'left lug' (nearest: 'left lung')" in sentence
    assert "the file has 'heart', 'left lung', 'right lung'" in sentence
    sentence = one(read_part_file(path, ['left lung', 'heart'])[1], 'warning')
    assert "`part_names` lacks 'right lung' (nearest: 'left lung')" in sentence
    assert 'the file has none' in one(read_part_file(write({'a.png': {}}), ['heart'])[1])


def test_a_misspelt_part_is_an_error_where_its_image_lacks_the_right_one(write):
    box = [1, 1, 5, 5]
    content = {'a.png': {'left lung': box, 'heart': box}, 'b.png': {'left lnug': box, 'heart': box}}
    error, warning = read_part_file(write(content), ['left lung', 'heart'])[1]
    assert (error.severity, warning.severity) == ('error', 'warning')
    assert "misspelt, for the image lacks the right one: \"b.png: 'left lnug' for 'left lung'\"" in error.message
    # A part of its own beside the right one is nothing but unused.
    path = write({'b.png': {'left lungs': box, 'left lung': box}})
    assert one(read_part_file(path, ['left lung'])[1], 'warning')


def test_unknown_parts_are_listed_up_to_five():
    assert unknown_parts(['heart'], NAMES) == ''
    assert unknown_parts([f'{i}' * 9 for i in range(7)], NAMES).endswith("'444444444' and 2 more")


def test_images_without_entry(write):
    path = write(GOOD)
    images = dict.fromkeys(['a.png', 'd/x.png', 'd/y.png'])
    sentence = one(read_part_file(path, NAMES, images)[1])
    assert "2 of 3 images have no entry: 'd/x.png', 'd/y.png'" in sentence
    assert 'masks2parts.py' in sentence
    assert read_part_file(path, NAMES, images, optional=True)[1] == []
    assert 'is it another file?' in one(read_part_file(path, NAMES, {'x.png': None}, optional=True)[1])


def test_two_images_with_one_entry(write):
    sentence = one(read_part_file(write(GOOD), NAMES, dict.fromkeys(['u/a.png', 'v/a.png', 'b.png']))[1])
    assert "1 entries fit several images, such as 'u/a.png', 'v/a.png'" in sentence


def test_every_problem_is_found(write):
    content = GOOD | {'c.png': {'heart': [1, 2, 0, 4]}, 'd.png': {'heart': [1, 2, -1, 4], 'hart': [1, 1, 1, 1]}}
    problems = read_part_file(write(content), [*NAMES, 'spine'], {'e.png': None})[1]
    words = ['spine', 'hart', 'no entry', 'negative', 'zero']
    assert all(any(word in str(problem) for problem in problems) for word in words)
    assert len(problems) == 5


def test_find():
    found = table('1.png', 'train/1.png', '/abs/2.png', 's3://bucket/3.png', 'p.png')
    assert found.find('/data/train/1.png') == 'train/1.png'
    assert found.find('/data/constrain/1.png') == '1.png'
    assert found.find('1.png') == '1.png'
    assert found.find('/abs/2.png') == '/abs/2.png'
    assert found.find('/other/2.png') is None
    assert found.find('s3://bucket/3.png') == 's3://bucket/3.png'
    assert found.find('s3://other/p.png') == 'p.png'
    assert found.find('/data/xp.png') is None


def test_find_knows_the_folder_of_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / 'train').mkdir()
    monkeypatch.chdir(tmp_path / 'train')
    assert table('train/1.png').find('1.png') == 'train/1.png'
    assert table('train/1.png').find('../val/1.png') is None


def test_namesakes():
    assert table('a/1.png', 'b/1.png', '11.png').namesakes('/x/1.png') == ['a/1.png', 'b/1.png']


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        ('heart', r"the string 'heart'.*part_names=\('heart',\)"),
        ((), 'non-empty list of names'),
        (('heart', ''), 'non-empty list of names'),
        (('heart', 3), 'non-empty list of names'),
        (('heart', 'lung', 'heart'), "more than once: 'heart'"),
    ],
)
def test_part_names(names, words):
    with pytest.raises(ValueError, match=words):
        check_part_names(names)
    assert check_part_names(list(NAMES)) == NAMES


sides = st.floats(0.5, 1000, width=32)


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), st.tuples(sides, sides, sides, sides).map(list)), max_size=5))
def test_boxes_are_where_they_belong(rows):
    entries = {f'{i}.png': row for i, row in enumerate(rows)}
    boxes, problems = part_boxes(entries, NAMES, {}, 'file')
    assert [p for p in problems if p.severity == 'error'] == []
    assert boxes.shape == (len(rows), 3, 4)
    for i, row in enumerate(rows):
        for k, name in enumerate(NAMES):
            if name in row:
                x, y, w, h = row[name]
                np.testing.assert_allclose(boxes[i, k], [x, y, x + w, y + h], rtol=1e-6)
            else:
                assert np.isnan(boxes[i, k]).all()
