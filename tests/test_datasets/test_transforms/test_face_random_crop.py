"""FaceRandomCrop: squares that keep a trainable face, or the whole image."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import init_default_scope
from test_datasets.test_transforms.landmark_sample import BOXES, HEIGHT, WIDTH, face_landmarks, face_sample

from mmdet_ext.datasets.transforms import FaceRandomCrop
from mmdet_ext.datasets.transforms.face_random_crop import centres_inside, first_trainable
from mmdet_ext.datasets.transforms.part_geometry import project_parts

COLOUR = (9, 200, 31)


def cropped(results, seed=0, **options):
    np.random.seed(seed)  # noqa: NPY002  (mmdet draws from the global generator)
    return FaceRandomCrop(**{'train_size': 64, 'min_size': 8, 'pad_val': COLOUR, **options})(results)


def window(results):
    """Place and side of the crop: a pixel of the sample tells its place."""
    image = results['img']
    x, y = (int(value) for value in image[0, 0, :2])
    inside = (image[..., 2] == 7) & (image[..., 0] < WIDTH) & (image[..., 1] < HEIGHT)
    return x, y, int(inside[0].sum()), int(inside[:, 0].sum())


def slow_faces(boxes, keypoints, x, y, width, height, ignored=()):
    """Index, clipped box and landmarks of what is left in a crop, face by face."""
    rows = []
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        box = [min(max(v - o, 0), m) for v, o, m in zip((x1, y1, x2, y2), (x, y) * 2, (width, height) * 2, strict=True)]
        centred = x < (x1 + x2) / 2 < x + width and y < (y1 + y2) / 2 < y + height
        touched = x1 < x + width and y1 < y + height and x2 > x and y2 > y
        if not touched or not (centred or index in ignored):
            continue
        points = []
        for px, py, v in keypoints[index]:
            seen = v and x <= px <= x + width and y <= py <= y + height
            points.append([px - x, py - y, v] if seen else [0, 0, 0])
        rows.append((index, box, points))
    return rows


edges = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=80, deadline=None)
@given(st.lists(edges, max_size=6), st.integers(0, 999), st.sets(st.integers(0, 5)), st.sampled_from([4, 8, 30]))
def test_what_is_left_against_a_loop(rows, seed, ignored, min_size):
    boxes = [(x, y, min(x + w, WIDTH), min(y + h, HEIGHT)) for x, y, w, h in rows]
    keypoints = [face_landmarks(box, 1 + index % 2) for index, box in enumerate(boxes)]
    results = cropped(face_sample(boxes, keypoints, ignored=ignored), seed, min_size=min_size, tries=5)
    x, y, width, height = window(results)
    expected = slow_faces(boxes, keypoints, x, y, width, height, ignored)
    assert results['gt_bboxes_labels'].tolist() == [index for index, _, _ in expected]
    assert results['gt_ignore_flags'].tolist() == [index in ignored for index, _, _ in expected]
    assert results['gt_bboxes'].tensor.tolist() == [box for _, box, _ in expected]
    assert results['gt_keypoints'].tolist() == [points for _, _, points in expected]
    side = max(width, height)
    assert results['img'].shape == (side, side, 3)
    assert results['img_shape'] == (side, side)
    if (width, height) != (WIDTH, HEIGHT):
        assert width == height
        assert width in [int(share * HEIGHT) for share in (0.3, 0.45, 0.6, 0.8, 1.0)]
        sides = [min(b[2] - b[0], b[3] - b[1]) * 64 / side for i, b, _ in expected if i not in ignored]
        assert max(sides) >= min_size - 1e-6
    else:
        assert (results['img'][height:] == COLOUR).all()
        assert (results['img'][:height] != COLOUR).any(axis=-1).all()


squares = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60))


@settings(deadline=None)
@given(st.lists(squares, min_size=1, max_size=5), st.lists(edges, max_size=5), st.sampled_from([0.1, 0.25, 0.5]))
def test_first_trainable_against_a_loop(places, rows, share):
    boxes = [(x, y, x + w, y + h) for x, y, w, h in rows]
    expected = None
    for index, (x, y, side) in enumerate(places):
        for x1, y1, x2, y2 in boxes:
            w, h = min(x2, x + side) - max(x1, x), min(y2, y + side) - max(y1, y)
            inside = x < (x1 + x2) / 2 < x + side and y < (y1 + y2) / 2 < y + side
            if expected is None and inside and min(w, h) >= share * side:
                expected = index
    windows = np.array([[x, y, x + side, y + side] for x, y, side in places])
    assert first_trainable(windows, np.array(boxes, np.float32).reshape(-1, 4), share) == expected


def test_a_centre_on_the_border_is_outside():
    boxes = np.array([[0, 0, 20, 20], [0, 0, 20.5, 20.5], [10, 0, 30, 20]], np.float32)
    assert centres_inside(boxes, np.array([10, 5, 20, 20])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ('boxes', 'options'),
    [
        ([], {}),
        ([(10, 10, 13, 40)], {}),  # 3 pixels are at most 3 * 64 / 18 of the smallest square
        ([(5, 5, 5, 9), (6, 6, 6, 6)], {}),
        ([(10, 8, 34, 40)], {'ignored': (0,)}),
    ],
)
def test_without_a_trainable_face_the_whole_image_is_padded(boxes, options):
    sample = face_sample(boxes, **options)
    image = sample['img'].copy()
    results = cropped(sample, min_size=12)
    assert results['img'].shape == (WIDTH, WIDTH, 3)
    assert np.array_equal(results['img'][:HEIGHT], image)
    assert (results['img'][HEIGHT:] == COLOUR).all()
    assert results['img'].dtype == np.uint8
    assert results['gt_keypoints'].shape == (len(results['gt_bboxes']), 5, 3)


def test_a_small_face_is_cut_out_so_that_it_gets_large():
    box = (40, 30, 46, 36)  # 6 pixels: 4.8 of 64 in the whole image, 8 in a square of 48, 21.3 in one of 18
    sides = {window(cropped(face_sample([box]), seed, min_size=8))[2] for seed in range(40)}
    assert {27, 36, 48} <= sides <= {18, 27, 36, 48}
    assert {window(cropped(face_sample([box]), seed, min_size=20, tries=2000))[2] for seed in range(5)} == {18}


def test_ignored_faces_stay_while_they_overlap():
    boxes = [(30, 20, 50, 40), (0, 0, 79, 59)]
    for seed in range(20):
        results = cropped(face_sample(boxes, ignored=(1,)), seed, scales=(0.45,))
        assert results['gt_bboxes_labels'].tolist() == [0, 1]
        assert results['gt_bboxes'].tensor[1].tolist() == pytest.approx([0, 0, 27, 27], abs=1)
        assert results['gt_ignore_flags'].tolist() == [False, True]


def test_the_same_seed_gives_the_same_crop_and_every_image_draws_alike():
    results = [cropped(face_sample(), seed=3) for _ in range(2)]
    assert np.array_equal(results[0]['img'], results[1]['img'])
    states = []
    for boxes in (BOXES, [], [(1, 1, 2, 2)]):
        cropped(face_sample(boxes), seed=3)
        states.append(np.random.rand())  # noqa: NPY002
    assert len(set(states)) == 1
    assert len({window(cropped(face_sample(), seed)) for seed in range(20)}) > 5


def test_several_images_can_share_a_crop():
    crop = FaceRandomCrop(train_size=64, min_size=8)
    with cache_random_params(crop):
        windows = {window(crop(face_sample())) for _ in range(5)}
    assert len(windows) == 1


def test_masks_maps_ids_and_parts_follow():
    sample = face_sample()
    masks = np.zeros((3, HEIGHT, WIDTH), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES, strict=True):
        mask[y1:y2, x1:x2] = 1
    more = {'gt_masks': BitmapMasks(masks, HEIGHT, WIDTH), 'gt_seg_map': sample['img'][..., 0].copy()}
    results = cropped({**sample, **more, 'gt_instances_ids': np.array([5, 6, 7])}, seed=2)
    kept = results['gt_bboxes_labels']
    assert 0 < len(kept) < 3
    assert results['gt_instances_ids'].tolist() == (kept + 5).tolist()
    found = results['gt_masks'].get_bboxes('hbox').tensor
    assert found.tolist() == results['gt_bboxes'].tensor.tolist()
    x, y, width, height = window(results)
    assert np.array_equal(results['gt_seg_map'][:height, :width], results['img'][:height, :width, 0])
    parts = np.array([[x, y, x + 5, y + 6]], np.float32)
    moved, _ = project_parts(parts, np.array([True]), results['homography_matrix'], results['img_shape'], 0)
    assert moved.tolist() == [[0, 0, 5, 6]]


def test_arrays_of_boxes_and_images_without_landmarks():
    arrays, plain = cropped(face_sample(box_type=None), seed=1), face_sample()
    del plain['gt_keypoints'], plain['landmark_bboxes']
    plain = cropped(plain, seed=1)
    assert isinstance(arrays['gt_bboxes'], np.ndarray)
    assert (arrays['gt_bboxes'] == plain['gt_bboxes'].tensor.numpy()).all()
    assert 'gt_keypoints' not in plain


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 2)])
def test_tiny_images(shape):
    results = cropped(face_sample([(0, 0, shape[1], shape[0])], shape=shape))
    assert results['img'].shape[0] == results['img'].shape[1] >= 1


def test_the_configured_transform():
    init_default_scope('mmdet')
    crop = TRANSFORMS.build(dict(type='FaceRandomCrop', scales=[0.5], pad_val=list(COLOUR)))
    assert 'train_size=640, scales=(0.5,), min_size=16.0, tries=50, pad_val=(9, 200, 31)' in repr(crop)
    assert copy.deepcopy(crop)(face_sample())['img'].shape[0] in (30, WIDTH)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'scales': ()}, r'scales must be shares of the short side in \(0, 1\], got \(\)'),
        ({'scales': (0.5, 0)}, 'scales must be'),
        ({'scales': (1.2,)}, 'scales must be'),
        ({'train_size': 0}, 'train_size must be positive, got 0'),
        ({'min_size': -1}, 'min_size must be positive, got -1'),
        ({'tries': 0}, 'tries must be positive, got 0'),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        FaceRandomCrop(**options)


def test_bad_order():
    with pytest.raises(ValueError, match='put LoadLandmarkAnnotations or LoadAnnotations before it'):
        FaceRandomCrop()({'img': np.zeros((9, 9, 3), np.uint8)})
    results = face_sample()
    results['gt_bboxes'].translate_([1, 0])
    with pytest.raises(ValueError, match=r'FaceRandomCrop: in a\.jpg the boxes 0, 1, 2 were moved'):
        FaceRandomCrop()(results)
