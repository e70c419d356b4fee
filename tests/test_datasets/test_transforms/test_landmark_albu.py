"""LandmarkAlbu: what belongs to a box goes where the pixels go, which tell their place."""

import sys

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import Albu
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from test_datasets.test_transforms.landmark_sample import BOXES, HEIGHT, WIDTH, face_sample

from mmdet_ext.datasets.transforms import LandmarkAlbu, LandmarkRandomFlip, PackLandmarkInputs, PackPartInputs

pytest.importorskip('albumentations', reason='requirements/optional.txt')

FLIP = dict(type='HorizontalFlip', p=1.0)
NAMES = ('left lung', 'right lung', 'heart')
MOTIONS = {
    'flip': [FLIP],
    'vertical flip': [dict(type='VerticalFlip', p=1.0)],
    'quarter': [dict(type='Rotate', limit=(90, 90), p=1.0)],
    'turned': [dict(type='Affine', rotate=(15, 15), shear=(8, 8), translate_px=(5, 5), p=1.0)],
    'smaller': [dict(type='Affine', scale=(0.7, 0.7), p=1.0)],
    'crop': [dict(type='RandomCrop', height=40, width=50, p=1.0)],
    'nested': [dict(type='OneOf', transforms=[FLIP], p=1.0), dict(type='Blur', p=1.0)],
}


def albu(*transforms, **options):
    return LandmarkAlbu([*transforms], **options)


def with_parts(results):
    """The faces' boxes are parts too."""
    parts = np.array(results['gt_bboxes'].tensor, np.float32)
    return results | dict(part_boxes=parts, part_valid=np.ones(len(parts), bool), part_names=NAMES[: len(parts)])


def boxes_of(results):
    return results['gt_bboxes'].tensor.numpy()


@pytest.mark.parametrize('name', MOTIONS)
def test_boxes_landmarks_and_parts_agree(name):
    """Landmarks in the corners of a box are where the corners of its part are; where nothing is cut, of its box too."""
    places = np.array([[0, 0], [1, 0], [0.5, 0.5], [0, 1], [1, 1]])
    box = np.array([30, 22, 44, 34])
    points = np.concatenate([places * (box[2:] - box[:2]) + box[:2], np.full((5, 1), 2)], axis=1)
    results = with_parts(face_sample([box], [points]))
    moved = albu(*MOTIONS[name], swap_pairs=())(results)
    corners = moved['gt_keypoints'][0, [0, 1, 3, 4], :2]
    hull = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    np.testing.assert_allclose(boxes_of(moved)[0], hull, atol=0.02)
    parts = PackPartInputs(swap_pairs=(), meta_keys=()).transform(moved)['data_samples'].parts
    np.testing.assert_allclose(parts.bboxes[0], hull, atol=0.02)


@pytest.mark.parametrize('name', [name for name in MOTIONS if name != 'nested'])
def test_recorded_motion_is_that_of_the_pixels(name):
    """Channels 0 and 1 hold x and y of a pixel; the recorded motion takes them to where the pixel is now."""
    moved = albu(*MOTIONS[name])(face_sample())
    image, step = moved['img'], moved['homography_matrix']
    inside = np.argwhere(image[..., 2] == 7)
    assert len(inside) > 500
    source = image[inside[:, 0], inside[:, 1], :2] + 0.5
    target = np.concatenate([source, np.ones((len(source), 1))], axis=1) @ step.T
    error = np.abs(target[:, :2] / target[:, 2:] - (inside[:, ::-1] + 0.5)).max(axis=1)
    # Colours are whole numbers: half a pixel, and as much from interpolation.
    assert np.quantile(error, 0.95) < 1.5


def test_mirrored_like_landmark_random_flip():
    expected = LandmarkRandomFlip(prob=1.0)(face_sample())
    moved = albu(FLIP)(face_sample())
    np.testing.assert_allclose(moved['gt_keypoints'], expected['gt_keypoints'], atol=1e-4)
    np.testing.assert_allclose(boxes_of(moved), boxes_of(expected), atol=1e-4)
    np.testing.assert_allclose(moved['homography_matrix'], expected['homography_matrix'], atol=1e-9)
    assert PackLandmarkInputs(meta_keys=()).transform(moved)['data_samples'].gt_instances.keypoints.shape == (3, 5, 3)


def test_motions_add_up():
    moved = albu(FLIP)(albu(dict(type='Resize', height=120, width=160, p=1.0))(face_sample()))
    np.testing.assert_allclose(moved['homography_matrix'], [[-2, 0, 160.5], [0, 2, -0.5], [0, 0, 1]], atol=1e-4)
    # Half a pixel, as the docstring says: points are scaled from the centre of a pixel.
    x1, x2 = boxes_of(moved)[0, [0, 2]]
    assert (x1 + x2) / 2 == pytest.approx(moved['gt_keypoints'][0, 2, 0] - 0.5, abs=1e-3)


def test_a_change_of_colour_touches_nothing():
    results = face_sample()
    before = boxes_of(results).copy(), results['gt_keypoints'].copy()
    moved = albu(dict(type='RandomBrightnessContrast', brightness_limit=(0.2, 0.2), p=1.0))(results)
    assert (moved['img'][..., 2] != 7).all()
    assert (boxes_of(moved) == before[0]).all()
    assert (moved['gt_keypoints'] == before[1]).all()
    assert 'homography_matrix' not in moved
    PackLandmarkInputs(meta_keys=()).transform(moved)


@pytest.mark.parametrize('kind', [BitmapMasks, PolygonMasks])
def test_rows_of_dropped_boxes_go(kind):
    results = face_sample(ignored=[1])
    if kind is BitmapMasks:
        masks = np.zeros((3, HEIGHT, WIDTH), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, BOXES, strict=True):
            mask[y1:y2, x1:x2] = 1
        results['gt_masks'] = BitmapMasks(masks, HEIGHT, WIDTH)
    else:
        polygons = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2], float)] for x1, y1, x2, y2 in BOXES]
        results['gt_masks'] = PolygonMasks(polygons, HEIGHT, WIDTH)
    results['gt_seg_map'] = results['img'][..., 0].copy()
    moved = albu(dict(type='Crop', x_min=40, y_min=10, x_max=80, y_max=60, p=1.0))(results)
    np.testing.assert_allclose(boxes_of(moved), [[10, 10, 26, 34]], atol=1e-4)
    assert moved['gt_bboxes_labels'].tolist() == [1]
    assert moved['gt_ignore_flags'].tolist() == [True]
    assert moved['gt_keypoints'].shape == (1, 5, 3)
    assert isinstance(moved['gt_masks'], BitmapMasks)
    assert moved['gt_masks'].masks.shape == (1, 50, 40)
    assert abs(int(moved['gt_masks'].masks.sum()) - 16 * 24) <= 40
    assert moved['gt_seg_map'][0].tolist() == list(range(40, 80))
    assert moved['img_shape'] == (50, 40)


def test_landmarks_that_leave_the_image_are_absent():
    moved = albu(dict(type='Crop', x_min=20, y_min=0, x_max=80, y_max=60, p=1.0))(face_sample())
    assert moved['gt_keypoints'][0, :, 2].tolist() == [0, 2, 2, 0, 2]


@pytest.mark.parametrize('boxes', [[], [(5, 5, 5, 9)], [(-20, -20, 5, 5)]])
def test_empty_zero_size_and_outside(boxes):
    """mmdet's Albu makes the labels of such an image floats, and cannot transform no masks."""
    results = face_sample(boxes)
    results['gt_masks'] = BitmapMasks(np.zeros((len(boxes), HEIGHT, WIDTH), np.uint8), HEIGHT, WIDTH)
    moved = albu(FLIP)(results)
    kept = int(len(boxes) and boxes[0][0] < 0)
    assert boxes_of(moved).tolist() == [[75, 0, 80, 5]] * kept
    assert moved['gt_bboxes_labels'].shape == (kept,)
    assert moved['gt_bboxes_labels'].dtype == np.int64
    assert moved['gt_keypoints'].shape == (kept, 5, 3)
    assert moved['gt_masks'].masks.shape == (kept, HEIGHT, WIDTH)
    skipped = albu(FLIP, skip_img_without_anno=True)(face_sample(boxes))
    assert (skipped is None) == (kept == 0)


def test_images_without_annotations():
    results = {'img': np.zeros((8, 10, 3), np.uint8), 'img_shape': (8, 10)}
    moved = albu(FLIP)(results)
    assert set(moved) == {'img', 'img_shape', 'homography_matrix'}


def test_limits_of_boxes():
    crop = dict(type='Crop', x_min=30, y_min=0, x_max=80, y_max=60, p=1.0)
    config = dict(type='BboxParams', format='pascal_voc', label_fields=['gt_bboxes_labels'], filter_lost_elements=True)
    assert len(boxes_of(albu(crop, bbox_params=config)(face_sample()))) == 2
    assert len(boxes_of(albu(crop, bbox_params=config | {'min_visibility': 0.5})(face_sample()))) == 1


def test_the_seed_of_the_run_decides():
    def angles(seed):
        np.random.seed(seed)  # noqa: NPY002
        turn = albu(dict(type='Rotate', limit=(-45, 45), p=1.0))
        return [float(turn(face_sample())['homography_matrix'][0, 1]) for _ in range(4)]

    assert angles(1) == angles(1)
    assert len({*angles(1), *angles(2)}) == 8


@pytest.mark.parametrize(
    'bad', [dict(type='ElasticTransform', alpha=300, p=1.0), dict(type='RandomGridShuffle', grid=(3, 3), p=1.0)]
)
def test_distortions_are_refused(bad):
    with pytest.raises(ValueError, match=r'a\.jpg were moved in a way that landmarks and parts cannot follow'):
        albu(bad)(face_sample())


def test_bad_options(monkeypatch):
    with pytest.raises(ValueError, match=r"has no 'HorizontalFlipp' \(nearest: 'HorizontalFlip'\)"):
        albu(dict(type='OneOf', transforms=[dict(type='HorizontalFlipp')]))
    for params in ({'format': 'coco'}, {'min_visibilty': 0.1}):
        with pytest.raises(ValueError, match='bbox_params may have min_area, min_visibility'):
            albu(FLIP, bbox_params=params)
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(ImportError, match=r'needs albumentations: pip install -r requirements/optional\.txt'):
        albu(FLIP)


def test_repr():
    assert 'HorizontalFlip' in repr(albu(FLIP, swap_pairs=()))
    assert repr(albu(FLIP, swap_pairs=())).endswith('swap_pairs=())')


def flipped_by_albu(results):
    return Albu([FLIP], bbox_params=dict(type='BboxParams', format='pascal_voc', label_fields=['gt_bboxes_labels']))(
        results
    )


def test_albu_leaves_landmarks_behind_which_is_noticed():
    with pytest.raises(ValueError, match='left `gt_keypoints` behind; use LandmarkResize'):
        PackLandmarkInputs(meta_keys=()).transform(flipped_by_albu(face_sample()))


def test_albu_leaves_parts_behind():
    """A flip that was not recorded cannot be seen here: the check of the config refuses Albu beside parts."""
    moved = flipped_by_albu(with_parts(face_sample()))
    parts = PackPartInputs(meta_keys=()).transform(moved)['data_samples'].parts
    assert torch.equal(parts.bboxes, torch.tensor(BOXES, dtype=torch.float32))
