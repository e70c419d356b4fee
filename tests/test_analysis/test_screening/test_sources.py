"""Rows of a diagnosis, their images, and faulty annotations."""

import json
import re

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis.per_image import write_per_image
from mmdet_ext.analysis.diagnosis.record import ImageRecord
from mmdet_ext.analysis.screening.rules import RULES, Limits
from mmdet_ext.analysis.screening.sources import (
    check_columns,
    find_bad_annotations,
    match_rows,
    read_annotations,
    read_per_image,
)
from mmdet_ext.evaluation.objects import Objects
from tests.test_analysis.test_screening.screening_case import COLUMNS, row, write_annotations, write_rows

IMAGES = [{'id': 1, 'file_name': '1.png'}, {'id': 2, 'file_name': 'sub/2.png'}]


def match(rows, images=IMAGES):
    return match_rows(images, rows, 'rows.csv', 'ann.json')


def read(folder, rows=None, columns=None):
    return read_per_image(write_rows(folder, rows, columns))


def test_rows_of_the_training_split(tmp_path):
    rows, columns = read(tmp_path)
    assert columns == COLUMNS
    assert [item.image_id for item in rows] == [str(k) for k in range(1, 11)]
    assert rows[2].numbers['loss'] == 0.3
    assert (rows[2].file, rows[2].fault) == ('data/images/3.png', '')


def test_empty_cells_are_no_numbers_and_nan_is_one(tmp_path):
    (item,), _ = read(tmp_path, [row(1, loss='', AP='nan', TP='inf', fault=' truncated ')])
    assert 'loss' not in item.numbers
    assert item.numbers['AP'] != item.numbers['AP']
    assert item.numbers['TP'] == float('inf')
    assert item.fault == 'truncated'


def test_a_row_that_is_cut_off(tmp_path):
    path = write_rows(tmp_path)
    path.write_text(path.read_text().splitlines()[0] + '\ntrain,1,1.png\n')
    (item,), _ = read_per_image(path)
    assert (item.fault, dict(item.numbers)) == ('', {'image_id': 1.0})


def test_it_reads_what_the_diagnosis_writes(tmp_path):
    truth = Objects(np.array([[4, 4, 24, 12]], np.float32), np.array([1]), np.ones(1, np.float32))
    whole = ImageRecord(
        'train', 0, 3, 'data/3.png', ori_shape=(64, 64), input_shape=(128, 128), truth=truth,
        losses={'loss_cls': 1.5, 'loss_bbox': 0.5},
    )  # fmt: skip
    broken = ImageRecord('train', 1, 4, 'data/4.png', fault='truncated')
    rows, columns = read_per_image(write_per_image(tmp_path / 'a.csv', [whole, broken], 2))
    check_columns(columns, Limits(tuple(RULES)).columns, 'a.csv')
    assert [(item.image_id, item.file, item.fault) for item in rows] == [
        ('3', 'data/3.png', ''), ('4', 'data/4.png', 'truncated'),
    ]  # fmt: skip
    expected = {'loss': 2.0, 'loss_cls': 1.5, 'n_gt': 1.0, 'min_side': 16.0, 'TP': 0.0}
    assert {key: rows[0].numbers[key] for key in expected} == expected
    assert 'loss' not in rows[1].numbers


def test_other_tables_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'diagnose\.py writes it'):
        read_per_image(tmp_path / 'gone.csv')
    with pytest.raises(ValueError, match="lacks the columns 'image_id', 'file'"):
        read(tmp_path, [], ['split', 'loss'])
    with pytest.raises(ValueError, match='no row of the split train'):
        read(tmp_path, [row(1, split='val')])
    (tmp_path / 'empty.csv').write_text('')
    with pytest.raises(ValueError, match='lacks the columns'):
        read_per_image(tmp_path / 'empty.csv')


def test_images_find_their_rows(tmp_path):
    first, second, third = read(tmp_path, [row(2, file='d\\sub\\2.png'), row(1, file='other/9.png'), row(1)])[0]
    # Two data sets may share an id; then the name decides.
    assert match([first, second, third]) == [third, first]
    assert match([first]) == [None, first]


def test_rows_of_other_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'image id 1 is 1\.png in ann\.json, but x/7\.png in rows\.csv'):
        match(read(tmp_path, [row(1, file='x/7.png')])[0])
    with pytest.raises(ValueError, match=r"no image of ann\.json is in rows\.csv \(ids there: '8', '9'\)"):
        match(read(tmp_path, [row(8), row(9)])[0])


def test_sound_annotations(tmp_path):
    assert find_bad_annotations(read_annotations(write_annotations(tmp_path))) == {}


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'bbox': [4, 4, -3, 5]}, 'negative width or height'),
        ({'bbox': [4, 4, 0, 5]}, 'zero width or height'),
        ({'bbox': [4, 4, None, 5]}, 'are not four finite numbers'),
        ({'bbox': [4, 4]}, 'are not four finite numbers'),
        ({'bbox': [70, 70, 5, 5]}, 'lie outside their image'),
        ({'bbox': [50, 50, 30, 5]}, 'beyond their image'),
        ({'area': 0}, 'no positive number'),
        ({'area': None}, 'no positive number'),
        ({'category_id': 7}, r'the class of annotation ids 6 is unknown'),
        ({'category_id': [1]}, r'the class of annotation ids 6 is unknown'),
        ({'bbox': [4, 4, 20, 15], 'category_id': 2}, '1 of 2 boxes stand there twice'),
    ],
)
def test_a_faulty_annotation_tells_on_its_image_alone(tmp_path, change, sentence):
    found = find_bad_annotations(read_annotations(write_annotations(tmp_path, a6=change)))
    assert list(found) == [3]
    assert len(found[3]) == 1
    assert re.search(sentence, found[3][0])


def test_thin_boxes_are_left_to_the_rule_for_small_ones(tmp_path):
    coco = read_annotations(write_annotations(tmp_path, a6={'bbox': [4, 4, 0.5, 9]}))
    assert find_bad_annotations(coco) == {}


def test_images_without_size_and_without_boxes():
    images = [
        {'id': 1, 'file_name': 'a', 'width': 0, 'height': 5},
        {'id': 2, 'file_name': 'b', 'width': 4, 'height': 4},
    ]
    assert find_bad_annotations({'images': images, 'annotations': [], 'categories': []}) == {
        1: ['its width or height is no positive number']
    }


def test_annotations_of_no_image_are_left_alone(tmp_path):
    coco = read_annotations(write_annotations(tmp_path, a6={'image_id': 77, 'bbox': None}))
    assert find_bad_annotations(coco) == {}


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ({'images': []}, "lacks the lists 'annotations', 'categories'"),
        ({'images': [3], 'annotations': [], 'categories': []}, 'are no objects'),
        ({'images': [{'id': [3], 'file_name': 'a'}], 'annotations': [], 'categories': []}, 'no number or string'),
        ({'images': [], 'annotations': [{'image_id': {}}], 'categories': []}, 'no number or string'),
        ({'images': [{'id': 3}], 'annotations': [], 'categories': []}, 'images without id or file_name'),
        ({'images': [{'id': 3, 'file_name': 'a'}] * 2, 'annotations': [], 'categories': []}, 'several images: 3'),
    ],
)
def test_other_annotation_files_are_refused(tmp_path, content, sentence):
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf'a\.json .*{sentence}'):
        read_annotations(tmp_path / 'a.json')
    with pytest.raises(ValueError, match='does not exist'):
        read_annotations(tmp_path / 'gone.json')


def test_a_column_that_a_rule_needs():
    check_columns(['loss'], {'loss': 'loss'}, 'a.csv')
    with pytest.raises(
        ValueError, match=r"a\.csv has no column 'los', which the rule 'loss' reads; the nearest is 'loss'"
    ):
        check_columns(['split', 'loss'], {'los': 'loss'}, 'a.csv')
