"""Landmarks in pictures: where, filled or hollow, in which colour, and which ones are not drawn."""

import warnings

import mmcv
import numpy as np
import pytest
import torch
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from mmdet_ext.visualization.landmark_visualizer import COLORS, LandmarkLocalVisualizer

GREY = 128
PLACES = [[40.5, 40.5], [80.5, 40.5], [60.5, 60.5], [45.5, 80.5], [75.5, 80.5]]


@pytest.fixture
def image():
    return np.full((120, 160, 3), GREY, dtype=np.uint8)


def instances(keypoints, scores=None, box=(20.0, 20, 120, 100)):
    found = InstanceData(bboxes=torch.tensor([box] * len(keypoints)).reshape(-1, 4))
    found.labels = torch.zeros(len(keypoints), dtype=torch.long)
    found.keypoints = torch.as_tensor(keypoints, dtype=torch.float32)
    if scores is not None:
        found.scores = torch.tensor(scores)
    return found


def draw(image, visualizer=None, gt=None, pred=None, **options):
    visualizer = visualizer or LandmarkLocalVisualizer(landmark_radius=4)
    visualizer.dataset_meta = {'classes': ('face',), 'palette': [(0, 0, 0)]}
    sample = DetDataSample()
    if gt is not None:
        sample.gt_instances = gt
    if pred is not None:
        sample.pred_instances = pred
    visualizer.add_datasample('x', image, sample, **options)
    return visualizer.get_image()


def near(pixel, color):
    return np.abs(pixel.astype(int) - color).max() <= 8


def test_registered():
    visualizer = VISUALIZERS.build(dict(type='LandmarkLocalVisualizer', name='landmarks', line_width=1))
    assert isinstance(visualizer, LandmarkLocalVisualizer)
    assert visualizer.instance_name == 'landmarks'
    assert visualizer.line_width == 1


def test_visible_hidden_and_absent(image):
    points = [[*place, v] for place, v in zip(PLACES, (2, 1, 0, 2, 1), strict=True)]
    picture = draw(image, gt=instances([points]), draw_pred=False)
    for (x, y, v), color in zip(points, COLORS, strict=True):
        centre = picture[int(y), int(x)]
        rim = picture[int(y), int(x) + 4]
        assert near(centre, color if v == 2 else (GREY,) * 3)
        assert near(rim, (GREY,) * 3) == (v == 0)
        if v:
            # Its own colour, if blended with the grey at the edge.
            assert np.dot(rim - 128.0, np.array(color) - 128.0) > 0


def test_predictions_above_the_threshold(image):
    pred = instances([PLACES, [[x + 30, y] for x, y in PLACES]], scores=[0.9, 0.2])
    picture = draw(image, pred=pred, draw_gt=False)
    for (x, y), color in zip(PLACES, COLORS, strict=True):
        assert near(picture[int(y), int(x)], color)
    # Of the second one, the mouth's right corner is where no box or text is.
    assert near(picture[80, 105], (GREY,) * 3)
    picture = draw(image, pred=pred, draw_gt=False, pred_score_thr=0.1)
    assert near(picture[80, 105], COLORS[4])


def test_both_side_by_side(image):
    picture = draw(image, gt=instances([[[*place, 2] for place in PLACES]]), pred=instances([PLACES], scores=[0.9]))
    assert picture.shape == (120, 320, 3)
    assert near(picture[60, 60], COLORS[2])
    assert near(picture[60, 220], COLORS[2])


def test_the_size_follows_the_box(image):
    visualizer = LandmarkLocalVisualizer('x')
    small = draw(image, visualizer, pred=instances([PLACES], scores=[1.0], box=(50.0, 50, 70, 70)), draw_gt=False)
    large = draw(image, visualizer, pred=instances([PLACES], scores=[1.0], box=(5.0, 5, 155, 115)), draw_gt=False)

    def size(picture):
        return sum(near(pixel, COLORS[4]) for row in picture[70:92, 65:87] for pixel in row)

    # Radii of 1 and 5; around the edge colours blend.
    assert size(small) < 10
    assert 50 < size(large) < 110


def test_outside_and_not_finite_ones_do_no_harm(image):
    places = [[-50.0, -50], [float('nan'), 3], [float('inf'), 3], [300, 300], PLACES[4]]
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        picture = draw(image, pred=instances([places], scores=[1.0]), draw_gt=False)
    assert near(picture[80, 75], COLORS[4])
    # The picture has not made room for what is outside of it.
    assert np.array_equal(picture[:10], image[:10])
    assert np.array_equal(picture[-10:], image[-10:])


def test_without_landmarks_as_mmdet_draws(image):
    found = instances([PLACES], scores=[1.0])
    del found.keypoints
    plain = draw(image, DetLocalVisualizer('plain'), pred=found, draw_gt=False)
    assert np.array_equal(draw(image, pred=found, draw_gt=False), plain)
    nothing = instances(np.zeros((0, 5, 2)), scores=[])
    assert near(draw(image, pred=nothing, draw_gt=False), (GREY,) * 3)


def test_boxes_of_mmdet_and_instances_without_boxes(image):
    found = InstanceData(keypoints=torch.tensor([[[*place, 2] for place in PLACES]]))
    assert near(draw(image, LandmarkLocalVisualizer('y'), gt=found, draw_pred=False)[60, 60], COLORS[2])


def test_more_landmarks_than_colours(image):
    visualizer = LandmarkLocalVisualizer('z', landmark_colors=[(255, 0, 0), (0, 255, 0)], landmark_radius=4)
    picture = draw(image, visualizer, pred=instances([PLACES[:3]], scores=[1.0]), draw_gt=False)
    for (x, y), color in zip(PLACES[:3], [(255, 0, 0), (0, 255, 0), (255, 0, 0)], strict=True):
        assert near(picture[int(y), int(x)], color)


def test_a_file(image, tmp_path):
    draw(image, pred=instances([PLACES], scores=[1.0]), draw_gt=False, out_file=str(tmp_path / 'a.png'))
    assert near(mmcv.imread(str(tmp_path / 'a.png'), channel_order='rgb')[60, 60], COLORS[2])


@pytest.mark.parametrize('keypoints', [np.zeros((1, 10)), np.zeros((1, 5, 4))])
def test_keypoints_of_another_shape(image, keypoints):
    with pytest.raises(
        ValueError, match=r'keypoints to draw must be \(1, K, 2\) in x, y or \(1, K, 3\) in x, y, v, got'
    ):
        draw(image, pred=instances(keypoints, scores=[1.0]), draw_gt=False)


def test_bad_options():
    with pytest.raises(ValueError, match='landmark_colors must be RGB triples'):
        LandmarkLocalVisualizer('a', landmark_colors=[])
    with pytest.raises(ValueError, match='landmark_colors must be RGB triples'):
        LandmarkLocalVisualizer('a', landmark_colors=[(1, 2)])
    with pytest.raises(ValueError, match='landmark_radius must be above 0, got 0'):
        LandmarkLocalVisualizer('a', landmark_radius=0)
