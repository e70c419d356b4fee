import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.problems import Problem, listing, severity_of

CLASSES = ('nodule', 'mass')


def coco(n_images=3):
    images = [{'id': i, 'file_name': f'sub/{i}.png', 'width': 40, 'height': 30} for i in range(n_images)]
    annotations = [
        {
            'id': 10 + i,
            'image_id': i % n_images,
            'category_id': 1 + i % 2,
            'bbox': [1, 2, 10, 5],
            'area': 50,
            'iscrowd': 0,
        }
        for i in range(2 * n_images)
    ]
    return {
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 1, 'name': 'nodule'}, {'id': 2, 'name': 'mass'}],
    }


def write(tmp_path, data):
    path = tmp_path / 'train.json'
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def draw(tmp_path, n_images=3):
    (tmp_path / 'sub').mkdir()
    rng = np.random.default_rng(0)
    for i in range(n_images):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f'sub/{i}.png')


def one(problems, severity='error'):
    assert [p.severity for p in problems] == [severity], [str(p) for p in problems]
    return str(problems[0])


def test_good_file_has_no_problem(tmp_path):
    draw(tmp_path)
    assert check_coco(write(tmp_path, coco()), CLASSES, tmp_path) == []
    assert check_coco(write(tmp_path, coco()), CLASSES, tmp_path, 'all') == []


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (None, 'does not exist'),
        ('', 'is empty'),
        ('hello', 'is not valid JSON'),
        ('{"images": [', 'truncated'),
        ('{"images": "ab', 'truncated'),
        ('[1]', 'a JSON list instead of an object'),
        ('{"a": 1}', "lacks the lists 'categories', 'images', 'annotations' (it has 'a')"),
        ('{"images": [], "annotations": {}, "categories": []}', "lacks the lists 'annotations'"),
        ('[' * 100000, 'is not valid JSON'),
    ],
)
def test_file_that_is_not_coco(tmp_path, text, words):
    path = tmp_path / 'train.json'
    if text is not None:
        path.write_text(text)
    sentence = one(check_coco(path, CLASSES))
    assert words in sentence
    assert str(path) in sentence


def test_unreadable_and_binary_file(tmp_path):
    assert 'cannot be read' in one(check_coco(tmp_path))
    (tmp_path / 'a.json').write_bytes(b'\xff\xfe\x00')
    assert 'UTF-8' in one(check_coco(tmp_path / 'a.json'))


def test_annotations_may_lack_in_a_test_set(tmp_path):
    data = coco()
    del data['annotations']
    path = write(tmp_path, data)
    assert "lacks the lists 'annotations'" in one(check_coco(path, CLASSES))
    assert 'not evaluated' in one(check_coco(path, CLASSES, labelled=False), 'warning')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda d: d['annotations'][3].pop('bbox'), '`annotations` lack keys, first at index 3 (id 13), which lacks'),
        (lambda d: d['annotations'].append(7), 'it is no object'),
        (lambda d: d['images'][1].update(width=0), 'image ids 1'),
        (lambda d: d['images'][1].update(width='40'), 'image ids 1'),
        (lambda d: d['annotations'][0].update(id=[1]), '`id` that is no number or string, first [1]'),
        (lambda d: d['annotations'][0].update(image_id=99), '`images` does not have: 99 (annotation ids 10)'),
        (lambda d: d['annotations'][0].update(category_id=7), '`categories` does not have: 7 (annotation ids 10)'),
        (lambda d: d['annotations'][0].update(id=11), '`id` is not unique in `annotations`: 11'),
        (lambda d: d['images'].append(dict(d['images'][0])), '`id` is not unique in `images`: 0'),
    ],
)  # fmt: skip
def test_damaged_entries(tmp_path, change, words):
    data = coco()
    change(data)
    assert words in one(check_coco(write(tmp_path, data), CLASSES))


def test_duplicate_category(tmp_path):
    data = coco()
    data['categories'].append({'id': 3, 'name': 'mass'})
    assert "`name` is not unique in `categories`: 'mass'" in one(check_coco(write(tmp_path, data), CLASSES))


def test_no_images(tmp_path):
    assert 'nothing to train' in one(check_coco(write(tmp_path, coco() | {'images': [], 'annotations': []}), CLASSES))


@pytest.mark.parametrize(
    ('bbox', 'words'),
    [
        ([1, 2, math.nan, 5], 'not four finite numbers'),
        ([1, 2, math.inf, 5], 'not four finite numbers'),
        ([1, 2, 5], 'not four finite numbers'),
        ([1, 2, '3', 5], 'not four finite numbers'),
        (None, 'not four finite numbers'),
        ([1, 2, 10**400, 5], 'not four finite numbers'),
        ([10, 2, -5, 5], 'negative width or height'),
        ([10, 2, 5, 0], 'zero width or height'),
        ([40, 2, 5, 5], 'lie outside their image'),
        ([-9, 2, 9, 5], 'lie outside their image'),
        ([35, 2, 6.1, 5], 'more than a pixel beyond'),
        ([-1.1, 2, 6, 5], 'more than a pixel beyond'),
        ([3, 29, 6, 2.5], 'more than a pixel beyond'),
    ],
)
def test_bad_boxes(tmp_path, bbox, words):
    data = coco()
    data['annotations'][2]['bbox'] = bbox
    sentence = one(check_coco(write(tmp_path, data), CLASSES))
    assert words in sentence
    assert '1 of 6 boxes' in sentence
    assert 'first annotation ids 12' in sentence


@pytest.mark.parametrize('bbox', [[0, 0, 40, 30], [-1, -1, 42, 32], [39.5, 0, 1, 30]])
def test_boxes_within_a_pixel_are_fine(tmp_path, bbox):
    data = coco()
    data['annotations'][2]['bbox'] = bbox
    assert check_coco(write(tmp_path, data), CLASSES) == []


def test_area_and_thin_boxes(tmp_path):
    data = coco()
    data['annotations'][0]['area'] = 0
    assert '`area`' in one(check_coco(write(tmp_path, data)))
    data = coco()
    data['annotations'][0]['bbox'] = [1, 1, 0.5, 9]
    assert 'thinner than a pixel' in one(check_coco(write(tmp_path, data)), 'warning')


def test_rare_boxes_that_mmdet_drops_are_a_warning(tmp_path):
    data = coco(1000)
    data['annotations'][0]['bbox'] = [1, 1, 0, 9]
    data['annotations'][1]['bbox'] = [1, 1, 9, 0]
    assert 'annotation ids 10, 11' in one(check_coco(write(tmp_path, data)), 'warning')
    data['annotations'][2]['bbox'] = [1, 1, 9, 0]
    one(check_coco(write(tmp_path, data)))
    data = coco(1000)
    data['annotations'][0]['bbox'] = [1, 1, -1, 9]
    one(check_coco(write(tmp_path, data)))
    assert [severity_of(1, 999), severity_of(1, 1000)] == ['error', 'warning']


def test_misspelt_class_names_the_nearest(tmp_path):
    problems = check_coco(write(tmp_path, coco()), ('nodul', 'mass'), origin='`x.metainfo`')
    assert [p.severity for p in problems] == ['error', 'warning']
    assert "lack 'nodul' (nearest: 'nodule'), named by `x.metainfo`" in str(problems[0])
    assert "'nodule' (nearest: 'nodul') are not in `x.metainfo`, so mmdet drops their 3 boxes" in str(problems[1])


def test_other_order_says_what_mmdet_would_do(tmp_path):
    sentence = one(check_coco(write(tmp_path, coco()), ('mass', 'nodule')))
    assert "boxes of 'nodule' would get label 0, which is called 'mass'" in sentence
    assert sentence.endswith("write `classes` in the order of the file ('nodule', 'mass')")


def test_subset_of_classes_is_a_warning(tmp_path):
    assert "'nodule' are not in" in one(check_coco(write(tmp_path, coco()), ('mass',)), 'warning')


def test_many_missing_classes_are_shortened(tmp_path):
    sentence = str(check_coco(write(tmp_path, coco()), [f'c{i}' for i in range(80)])[0])
    assert 'and 75 more' in sentence
    assert listing([1, 2, 3], 2) == '1, 2 and 1 more'


def test_problem_is_a_sentence():
    assert str(Problem('error', 'a.json', 'is empty')) == 'a.json: is empty'


@pytest.mark.parametrize('name', ['bccd', 'deeppcb', 'hdbpmn'])
def test_real_data_is_good(name, real_data):
    folder = real_data(name)
    for split in ('train', 'val'):
        assert (
            check_coco(folder / f'annotations/{split}.json', None, folder, 'sample' if name == 'bccd' else 'none') == []
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(['id', 'bbox', 'x']), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_gives_problems_and_never_an_exception(tmp_path, data):
    content = coco()
    for _ in range(data.draw(st.integers(0, 3))):
        kind = data.draw(st.sampled_from(['images', 'annotations', 'categories']))
        entries = content[kind]
        action = data.draw(st.sampled_from(['replace', 'drop', 'entry', 'list', 'copy']))
        if not isinstance(entries, list) or not entries:
            continue
        index = data.draw(st.integers(0, len(entries) - 1))
        if action == 'list':
            content[kind] = data.draw(JSON)
        elif action == 'entry' or not isinstance(entries[index], dict) or not entries[index]:
            entries[index] = data.draw(JSON)
        elif action == 'copy':
            entries.append(dict(entries[index]))
        else:
            key = data.draw(st.sampled_from(sorted(entries[index])))
            if action == 'replace':
                entries[index][key] = data.draw(JSON)
            else:
                del entries[index][key]
    problems = check_coco(write(tmp_path, content), CLASSES, tmp_path)
    assert all(isinstance(problem, Problem) and problem.message for problem in problems)
