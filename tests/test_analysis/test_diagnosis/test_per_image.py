"""One row for each image, and which images to look at."""

import csv

import pytest

from mmdet_ext.analysis.diagnosis.per_image import image_row, worst_images, write_per_image
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record, stage

TRUTH = objects([[0, 0, 10, 20], [20, 20, 60, 60]], [0, 1])


def seen(index=0, found=2, **fields):
    detections = objects(
        [[0, 0, 10, 20], [20, 20, 60, 60], [80, 80, 90, 90]][:found], [0, 1, 1][:found], [0.9, 0.8, 0.7][:found]
    )
    values = {
        'truth': TRUTH, 'detections': detections, 'losses': {'loss_cls': 1.0, 'loss_bbox': 0.5},
        'ori_shape': (100, 100), 'input_shape': (50, 200),
        'stages': {
            'rpn_head': stage([(1, 1), (3, 0), (5, 0)], [2, 0], [0.7, 0.5]),
            'roi_head': stage([(1, 0), (2, 0), (0, 0)]),
        },
    }  # fmt: skip
    return record(index, **(values | fields))


def test_row():
    row = image_row(seen(found=3), 2)
    assert {key: row[key] for key in ('split', 'index', 'image_id', 'file', 'fault')} == {
        'split': 'val', 'index': 0, 'image_id': 100, 'file': '0.png', 'fault': None,
    }  # fmt: skip
    assert (row['loss'], row['loss_cls'], row['loss_bbox']) == (1.5, 1.0, 0.5)
    assert (row['n_gt'], row['n_pos'], row['n_neg'], row['n_ignored'], row['gt_without_positive']) == (2, 2, 3, 5, 1)
    assert (row['roi_head n_pos'], row['roi_head n_neg']) == (1, 2)
    # 10 wide times 2, 20 high times 0.5.
    assert row['min_side'] == 10.0
    assert (row['AP'], row['AP50'], row['TP'], row['FP'], row['FN']) == (1.0, 1.0, 2, 1, 0)


def test_what_is_not_known_is_left_out():
    assert set(image_row(faulty(), 2)) == {'split', 'index', 'image_id', 'file', 'fault'}
    row = image_row(record(), 2)
    assert not {'loss', 'min_side', 'AP', 'n_pos'} & set(row)
    assert (row['n_gt'], row['TP'], row['FP'], row['FN']) == (0, 0, 0, 0)


def test_file(tmp_path):
    file = write_per_image(tmp_path / 'a' / 'per_image.csv', [faulty(1), seen(2)], 2)
    with file.open(newline='') as opened:
        first, second = csv.DictReader(opened)
    assert list(first)[:8] == ['split', 'index', 'image_id', 'file', 'fault', 'loss', 'loss_cls', 'loss_bbox']
    assert (first['fault'], first['loss'], first['TP']) == ('cannot be read', '', '')
    assert (second['fault'], second['loss'], second['roi_head n_neg'], second['FN']) == ('', '1.5', '2', '0')


def test_screening_reads_the_file(tmp_path):
    from mmdet_ext.analysis.screening.sources import read_per_image

    file = write_per_image(tmp_path / 'per_image.csv', [seen(2, split='train')], 2)
    (row,), _ = read_per_image(file)
    assert (row.image_id, row.fault) == ('102', '')
    assert {'loss', 'n_gt', 'n_pos', 'TP', 'min_side'} <= set(row.numbers)


def test_worst_images():
    records = [
        seen(0),
        seen(1, found=1),
        seen(2, found=1, losses={'loss_cls': 9.0}),
        faulty(),
        record(4),
        seen(5, found=0),
    ]
    assert worst_images(records, 4, 2) == [('val', 5), ('val', 2), ('val', 1), ('val', 0)]
    assert worst_images(records, 0, 2) == []
    assert worst_images(records, 99, 2)[-1] == ('val', 4)


@pytest.mark.parametrize('records', [[], [faulty()]])
def test_no_images(tmp_path, records):
    assert worst_images(records, 3, 2) == []
    assert len(write_per_image(tmp_path / 'p.csv', records, 2).read_text().splitlines()) == 1 + len(records)


def test_losses_that_are_no_numbers_come_first():
    endless = [seen(place, losses={'loss_cls': value}) for place, value in ((1, float('nan')), (3, float('inf')))]
    others = [seen(place, losses={'loss_cls': float(place)}) for place in (0, 2, 4)]
    records = [others[0], endless[0], others[1], endless[1], others[2]]
    expected = [('val', 1), ('val', 3), ('val', 4), ('val', 2), ('val', 0)]
    assert worst_images(records, 5, 2) == expected
    assert worst_images(records[::-1], 5, 2) == expected
