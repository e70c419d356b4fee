import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from mmdet_ext.graphs.coco_counts import count_coco

IMAGES = {1: ['cat', 'cat', 'dog'], 5: ['cat', 'cat', 'cat', 'dog', 'dog'], 9: ['dog'], 11: []}
CLASSES = ['cat', 'dog', 'owl']


def test_image_level_by_hand(write_coco):
    path = write_coco(IMAGES, CLASSES)
    counted = count_coco(path)
    assert counted.classes == ('cat', 'dog', 'owl')
    assert counted.counts.tolist() == [[2, 2, 0], [2, 3, 0], [0, 0, 0]]
    assert counted.counts.dtype == np.int64
    assert counted.n_images == 4
    assert counted.sources == [{'file': path.as_posix(), 'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}]


def test_instance_level_by_hand(write_coco):
    # min(2, 1) + min(3, 2) pairs of a cat and a dog; 2 + 3 cats; 1 + 2 + 1 dogs.
    counted = count_coco(write_coco(IMAGES, CLASSES), level='instance')
    assert counted.counts.tolist() == [[5, 3, 0], [3, 4, 0], [0, 0, 0]]


def test_crowds_and_ignored_do_not_count(write_coco):
    extra = [
        {'image_id': 9, 'category_id': 'cat', 'iscrowd': 1},
        {'image_id': 9, 'category_id': 'owl', 'iscrowd': 0, 'ignore': True},
    ]
    path = write_coco(IMAGES, CLASSES, extra=extra)
    assert count_coco(path, level='instance').counts.tolist() == [[5, 3, 0], [3, 4, 0], [0, 0, 0]]
    # A crowd counts as one box, an ignored box never.
    with_crowd = count_coco(path, level='instance', exclude_crowd=False)
    assert with_crowd.counts.tolist() == [[6, 4, 0], [4, 4, 0], [0, 0, 0]]


def test_empty_images(write_coco):
    crowd = [{'image_id': 11, 'category_id': 'cat', 'iscrowd': 1}]
    path = write_coco({**IMAGES, 12: []}, CLASSES, extra=crowd)
    assert count_coco(path).n_images == 5
    assert count_coco(path, include_empty=False).n_images == 3
    assert count_coco(path, include_empty=False, exclude_crowd=False).n_images == 4
    assert count_coco(path, include_empty=False).counts.tolist() == count_coco(path).counts.tolist()


def test_drop_if(write_coco):
    path = write_coco({1: 'aab', 2: 'a', 3: 'bc', 4: 'abc'}, 'abc')
    counted = count_coco(path, drop_if={'a': ['b']})
    assert counted.counts.tolist() == [[1, 0, 0], [0, 3, 2], [0, 2, 2]]
    assert counted.n_images == 4
    # Each rule sees the image as it is: in image 4 'b' takes 'a' out although 'c' takes 'b' out.
    chain = count_coco(path, drop_if={'a': ['b'], 'b': ['c']})
    assert chain.counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 2]]
    # The class that is present need not be among those that are counted.
    assert count_coco(path, drop_if={'a': ['c', 'b']}, classes=['a']).counts.tolist() == [[1]]
    boxes = count_coco(path, level='instance', drop_if={'a': ['c']})
    assert boxes.counts.tolist() == [[3, 1, 0], [1, 3, 2], [0, 2, 2]]


def test_drop_if_takes_names_after_merging(write_coco):
    path = write_coco({1: 'ab', 2: 'ac', 3: 'a'}, 'abc')
    counted = count_coco(path, merge={'many': ['b', 'c']}, drop_if={'a': ['many']})
    assert counted.classes == ('a', 'many')
    assert counted.counts.tolist() == [[1, 0], [0, 2]]
    with pytest.raises(KeyError, match=r"`drop_if` .*'b'"):
        count_coco(path, merge={'many': ['b', 'c']}, drop_if={'a': ['b']})


def test_several_files_with_other_ids_and_order(write_coco):
    one = write_coco(IMAGES, CLASSES)
    two = write_coco({1: ['owl', 'cat']}, CLASSES[::-1], first_id=40)
    counted = count_coco([one, str(two)])
    assert counted.classes == ('cat', 'dog', 'owl')
    assert counted.counts.tolist() == [[3, 2, 1], [2, 3, 0], [1, 0, 1]]
    assert counted.n_images == 5
    assert [source['file'] for source in counted.sources] == [one.as_posix(), two.as_posix()]


def test_classes_order_and_leave_out(write_coco):
    counted = count_coco(write_coco(IMAGES, CLASSES), classes=['dog', 'cat'])
    assert counted.classes == ('dog', 'cat')
    assert counted.counts.tolist() == [[3, 2], [2, 2]]


def test_merge(write_coco):
    path = write_coco({1: ['cat', 'lion'], 2: ['lion', 'dog'], 3: ['dog']}, ['dog', 'lion', 'owl', 'cat'])
    counted = count_coco(path, merge={'feline': ['cat', 'lion']})
    assert counted.classes == ('dog', 'feline', 'owl')
    assert counted.counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    boxes = count_coco(path, level='instance', merge={'lion': ['cat', 'lion']}, classes=['lion'])
    assert boxes.counts.tolist() == [[3]]


# The other public script counts ordered pairs of annotations: what it gives depends on the order of the file.
def test_counts_do_not_depend_on_the_order_of_annotations(write_coco):
    path = write_coco(IMAGES, CLASSES)
    turned = break_file(write_coco(IMAGES, CLASSES), lambda data: data['annotations'].reverse())
    for level in ('image', 'instance'):
        assert count_coco(path, level).counts.tolist() == count_coco(turned, level).counts.tolist()


LABELS = st.lists(st.lists(st.sampled_from('abcd'), max_size=7), max_size=6)


@settings(max_examples=40, deadline=None)
@given(labels=LABELS, level=st.sampled_from(['image', 'instance']))
def test_equals_a_slow_reference(write_coco, labels, level):
    path = write_coco(dict(enumerate(labels)), list('abcd'), name='property.json')
    expected = np.zeros((4, 4), dtype=int)
    for image in labels:
        for i, one in enumerate('abcd'):
            for j, other in enumerate('abcd'):
                both = min(image.count(one), image.count(other))
                expected[i, j] += min(both, 1) if level == 'image' else both
    np.testing.assert_array_equal(count_coco(path, level=level).counts, expected)


def break_file(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda d: d.pop('images'), 'is not a COCO annotation file: it needs the lists'),
        (lambda d: d['images'][0].pop('id'), 'every image needs an `id`'),
        (lambda d: d['categories'][0].pop('name'), 'a `name`'),
        (lambda d: d['images'].append({'id': 5}), 'uses the image id 5 more than once'),
        (lambda d: d['categories'].append({'id': 3, 'name': 'x'}), 'uses the category id 3 more than once'),
        (lambda d: d['categories'].append({'id': 4, 'name': 'owl'}), 'more than once: owl'),
        (lambda d: d['annotations'][2].update(image_id=77), 'annotation 2 belongs to the image id 77'),
        (lambda d: d['annotations'][2].update(category_id=77), 'annotation 2 has the category id 77'),
        (lambda d: d['annotations'][2].pop('image_id'), 'annotation 2 of the list lacks `image_id`'),
    ],
)
def test_broken_files(write_coco, change, sentence):
    path = break_file(write_coco(IMAGES, CLASSES), change)
    with pytest.raises(ValueError, match=sentence) as caught:
        count_coco(path)
    assert str(path) in str(caught.value)


def test_bad_files(write_coco, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotation file .*absent\.json does not exist'):
        count_coco(tmp_path / 'absent.json')
    (tmp_path / 'text.json').write_text('not json')
    with pytest.raises(ValueError, match=r'text\.json is not a JSON file'):
        count_coco(tmp_path / 'text.json')
    with pytest.raises(ValueError, match='at least one COCO annotation file'):
        count_coco([])
    with pytest.raises(ValueError, match=r'has other categories than .*: dog, emu only'):
        count_coco([write_coco({}, ['cat', 'dog']), write_coco({}, ['emu', 'cat'])])


def test_bad_options(write_coco):
    path = write_coco(IMAGES, CLASSES)
    with pytest.raises(ValueError, match=r"level must be one of .*got 'box'"):
        count_coco(path, level='box')
    with pytest.raises(KeyError, match=r"`classes` .*'dgo' \(nearest: 'dog'\)"):
        count_coco(path, classes=['cat', 'dgo'])
    with pytest.raises(ValueError, match='`classes` has class names that occur more than once: cat'):
        count_coco(path, classes=['cat', 'cat'])
    with pytest.raises(KeyError, match=r"`merge` .*'cta' \(nearest: 'cat'\)"):
        count_coco(path, merge={'pet': ['cta', 'dog']})
    with pytest.raises(ValueError, match="makes 'owl', which is already a class"):
        count_coco(path, merge={'owl': ['cat', 'dog']})
    with pytest.raises(ValueError, match="uses 'dog' twice: for 'pet' and for 'bird'"):
        count_coco(path, merge={'pet': ['cat', 'dog'], 'bird': ['owl', 'dog']})
    with pytest.raises(ValueError, match="list of names for 'pet', got the string 'cat'"):
        count_coco(path, merge={'pet': 'cat'})
    with pytest.raises(KeyError, match=r"`drop_if` .*'cta' \(nearest: 'cat'\)"):
        count_coco(path, drop_if={'cta': ['dog']})
    with pytest.raises(ValueError, match="`drop_if` must give a list of names for 'cat', got the string 'dog'"):
        count_coco(path, drop_if={'cat': 'dog'})
    with pytest.raises(ValueError, match="drops 'cat' where 'cat' is present"):
        count_coco(path, drop_if={'cat': ['dog', 'cat']})


@pytest.mark.parametrize('name', ['bccd', 'deeppcb', 'hdbpmn'])
def test_real_data_agrees_with_pycocotools(real_data, name, capsys):
    path = real_data(name) / 'annotations' / 'val.json'
    counted = count_coco(path)
    coco = COCO(str(path))
    assert counted.n_images == len(coco.imgs)
    images = [set(coco.getImgIds(catIds=coco.getCatIds(catNms=[label]))) for label in counted.classes]
    expected = [[len(one & other) for other in images] for one in images]
    assert counted.counts.tolist() == expected
