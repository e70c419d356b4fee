"""Faults in annotations and images, planted into the data of a healthy detector: each must be named first."""

import shutil

import cv2
import numpy as np
import pytest

from tests.test_analysis.test_diagnosis.planted_case import CLASSES, Plant

# One process trains the detectors.
pytestmark = pytest.mark.xdist_group('planted')


@pytest.fixture
def two(tmp_path):
    return Plant('two', tmp_path)


@pytest.fixture
def one(tmp_path):
    return Plant('one', tmp_path)


def shift_labels(coco):
    for each in coco['annotations']:
        each['category_id'] = each['category_id'] % len(CLASSES) + 1


def transpose_boxes(coco):
    for each in coco['annotations']:
        x, y, w, h = each['bbox']
        each['bbox'] = [y, x, h, w]


def test_labels_off_by_one(two):
    two.annotations('train', shift_labels)
    two.annotations('val', shift_labels)
    verdict = two.named()
    assert verdict['rule'] == 'labels_shifted'
    assert 'train and val are off by one' in verdict['cause']


@pytest.mark.slow
def test_labels_off_by_one_in_validation_only(one):
    one.annotations('val', shift_labels)
    verdict = one.named()
    assert verdict['rule'] == 'labels_shifted'
    assert 'Labels of val are off by one' in verdict['cause']
    assert 'the annotation file of val' in verdict['fix']


def test_categories_in_another_order(two):
    two.annotations('val', lambda coco: coco['categories'].reverse())
    verdict = two.named()
    assert verdict['rule'] == 'class_order'
    assert 'another order' in verdict['evidence']


def test_two_classes_exchanged_in_validation(two):
    def exchange(coco):
        for each in coco['annotations']:
            each['category_id'] = {3: 4, 4: 3}.get(each['category_id'], each['category_id'])

    two.annotations('val', exchange)
    verdict = two.named()
    assert verdict['rule'] == 'classes_exchanged'
    assert "'bar' for 'dot'" in verdict['evidence']


@pytest.mark.parametrize('kind', ['two', pytest.param('one', marks=pytest.mark.slow)])
def test_x_and_y_swapped(kind, tmp_path):
    plant = Plant(kind, tmp_path)
    plant.annotations('train', transpose_boxes)
    plant.annotations('val', transpose_boxes)
    verdict = plant.named()
    assert verdict['rule'] == 'boxes_transposed'
    assert '[y, x, h, w]' in verdict['cause']
    assert verdict['gain'] > 0.5, 'AP comes back with the boxes'


def test_boxes_written_as_corners(two):
    def corners(coco):
        for each in coco['annotations']:
            x, y, w, h = each['bbox']
            each['bbox'] = [x, y, x + w, y + h]

    two.annotations('train', corners)
    two.annotations('val', corners)
    verdict = two.named()
    assert verdict['rule'] == 'boxes_as_corners'
    assert '[x, y, width, height]' in verdict['fix']


def test_every_object_annotated_twice(two):
    def double(coco):
        coco['annotations'] += [{**each, 'id': each['id'] + 10**7} for each in coco['annotations']]

    two.annotations('train', double)
    two.annotations('val', double)
    verdict = two.named()
    assert verdict['rule'] == 'duplicate_annotations'
    assert '50 %' in verdict['evidence']


def test_objects_without_annotation(two):
    def forget(coco):
        coco['annotations'] = coco['annotations'][::3]

    two.annotations('val', forget)
    assert two.named()['rule'] == 'unlabelled_objects'


def test_a_class_that_training_lacks(two):
    def drop(coco):
        coco['annotations'] = [each for each in coco['annotations'] if each['category_id'] != 3]

    two.annotations('train', drop)
    two.fit(40)
    verdict = two.named()
    assert verdict['rule'] == 'class_without_training'
    assert "'bar'" in verdict['evidence']


def test_training_images_in_validation(two):
    for number in range(8):
        name = f'val_{1000 + number:04d}.png'
        (two.root / 'val' / name).unlink()
        shutil.copy(two.root / 'train' / f'train_{number:04d}.png', two.root / 'val' / name)
    learnt = {}

    def copy_boxes(coco):
        coco['annotations'] = [each for each in coco['annotations'] if each['image_id'] >= 1008]
        for each in learnt['annotations']:
            if each['image_id'] < 8:
                coco['annotations'].append({**each, 'id': each['id'] + 10**7, 'image_id': each['image_id'] + 1000})

    two.annotations('train', learnt.update)
    two.annotations('val', copy_boxes)
    verdict = two.named()
    assert (verdict['rule'], verdict['gain']) == ('leakage', 0.0)
    assert '8 of 24 images of val' in verdict['evidence']


def test_most_objects_to_be_ignored(two):
    def ignore(coco):
        for each in coco['annotations'][::2]:
            each['iscrowd'] = 1
            each['segmentation'] = {'size': [128, 128], 'counts': [128 * 128]}

    two.annotations('val', ignore)
    assert two.named()['rule'] == 'ignored_objects'


def test_images_that_cannot_be_read(two):
    for link in sorted((two.root / 'val').iterdir())[:8]:
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content[: len(content) // 3])
    summary = two.diagnose()
    assert summary['verdicts'][0]['rule'] == 'unreadable_images'
    assert len(summary['splits']['val']['faults']) == 4
    assert summary['splits']['val']['n_images'] == 8


def test_most_training_images_are_empty(two):
    def add_empty(coco):
        first = coco['images'][0]
        coco['images'] += [{**first, 'id': 5000 + number} for number in range(700)]

    two.annotations('train', add_empty)
    assert two.named(num=None, image_ids=[str(n) for n in [*range(6), *range(1000, 1012)]])['rule'] == 'empty_images'


def test_validation_from_another_world(two):
    def darken(image):
        noise = np.random.default_rng(0).normal(0, 12, image.shape)
        return (0.25 * cv2.GaussianBlur(image, (7, 7), 0) + noise + 12).clip(0, 255).astype(np.uint8)

    two.pictures('val', darken)
    verdict = two.named()
    assert verdict['rule'] == 'domain_gap'
    assert 'AP is' in verdict['evidence']
