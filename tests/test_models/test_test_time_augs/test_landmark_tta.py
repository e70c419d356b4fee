"""Views of one image, seen by a detector that finds coloured dots, merged to the same landmarks."""

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from mmdet_ext.models.test_time_augs import LandmarkTTAModel

SHAPE = (40, 60)
CFG = ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
# Left eye, right eye, nose, left and right mouth corner of a face that is not symmetric.
FACE = torch.tensor([[12.0, 14.0], [21.0, 13.0], [17.0, 19.0], [13.0, 24.0], [20.0, 25.0]])
BOX = torch.tensor([8.0, 8.0, 26.0, 30.0])
MIRROR = {'horizontal': [1, 0, 2, 4, 3], 'vertical': [1, 0, 2, 4, 3], 'diagonal': [0, 1, 2, 3, 4]}


def flipped(points, direction, shape=SHAPE):
    points = points.clone()
    if direction in ('horizontal', 'diagonal'):
        points[..., 0] = shape[1] - points[..., 0]
    if direction in ('vertical', 'diagonal'):
        points[..., 1] = shape[0] - points[..., 1]
    return points


def view(direction=None, score=0.9, shift=0.0, faces=1, keypoints=True, **meta):
    """What a perfect detector finds in a view of the image, mapped to the original size."""
    corners = BOX.view(2, 2) + shift
    points = FACE + shift
    if direction:
        corners = flipped(corners, direction)
        corners = torch.stack([corners.amin(dim=0), corners.amax(dim=0)])
        # It names what it sees: the eye that looks like a left one is the left one.
        points = flipped(points, direction)[MIRROR[direction]]
        meta |= {'flip': True, 'flip_direction': direction}
    sample = DetDataSample(metainfo={'ori_shape': SHAPE, 'img_path': 'a.png', **meta})
    sample.pred_instances = InstanceData(
        bboxes=corners.view(1, 4).repeat(faces, 1),
        scores=torch.full((faces,), score),
        labels=torch.zeros(faces, dtype=torch.long),
    )
    if keypoints:
        sample.pred_instances.keypoints = points.repeat(faces, 1, 1)
    return sample


def model(**options):
    return LandmarkTTAModel(**{'tta_cfg': CFG, 'module': _Module(), **options})


class _Module(nn.Module):
    def test_step(self, data):
        raise NotImplementedError


def merge(*views, **options):
    (merged,) = model(**options).merge_preds([list(views)])
    return merged.pred_instances


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
def test_a_view_alone_gives_the_landmarks_of_the_image(direction):
    found = merge(view(direction))
    torch.testing.assert_close(found.keypoints, FACE[None])
    torch.testing.assert_close(found.bboxes, BOX[None])


def test_the_landmarks_of_the_kept_box_stay_with_it():
    found = merge(view(score=0.6), view('horizontal', score=0.8, shift=1.0), view('diagonal', score=0.7, shift=-1.0))
    assert found.scores.tolist() == pytest.approx([0.8])
    torch.testing.assert_close(found.keypoints, FACE[None] + 1)
    torch.testing.assert_close(found.bboxes, BOX[None] + 1)


def test_faces_that_only_one_view_has_are_kept_in_order_of_score():
    found = merge(view(score=0.6), view('horizontal', score=0.8, shift=13.0))
    assert found.scores.tolist() == pytest.approx([0.8, 0.6])
    torch.testing.assert_close(found.keypoints, torch.stack([FACE + 13, FACE]))
    found = merge(view(score=0.6), view('horizontal', score=0.8, shift=13.0), tta_cfg=ConfigDict(CFG, max_per_img=1))
    torch.testing.assert_close(found.keypoints, FACE[None] + 13)


def test_boxes_are_those_of_mmdet():
    views = [view(score=0.6), view('horizontal', score=0.8, shift=13.0), view('vertical', shift=2.0)]
    plain = [view(score=0.6, flip=False, flip_direction=None), *views[1:]]
    expected = DetTTAModel(tta_cfg=CFG, module=_Module()).merge_preds([plain])[0].pred_instances
    found = merge(view(score=0.6), view('horizontal', score=0.8, shift=13.0), view('vertical', shift=2.0))
    for name in ('bboxes', 'scores', 'labels'):
        torch.testing.assert_close(found[name], expected[name])


def test_soft_nms_lowers_scores_and_keeps_pairs_together():
    cfg = ConfigDict(nms=dict(type='soft_nms', iou_threshold=0.3, min_score=0.01), max_per_img=10)
    found = merge(view(score=0.9), view('horizontal', score=0.8, shift=2.0), tta_cfg=cfg)
    assert found.scores[0] == pytest.approx(0.9)
    assert 0 < found.scores[1] < 0.8
    torch.testing.assert_close(found.keypoints, torch.stack([FACE, FACE + 2]))


@pytest.mark.parametrize(('first', 'second'), [(0, 0), (1, 0), (0, 1)])
def test_views_without_detections(first, second):
    found = merge(view(faces=first), view('horizontal', faces=second))
    assert len(found) == first + second
    assert found.keypoints.shape == (len(found), 5, 2)
    assert found.bboxes.shape == (len(found), 4)
    if len(found):
        torch.testing.assert_close(found.keypoints[0], FACE)


def test_a_detector_without_landmarks():
    found = merge(view(keypoints=False), view('horizontal', keypoints=False))
    assert 'keypoints' not in found
    assert len(found) == 1


def test_no_pairs_and_other_numbers_of_landmarks():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert model(swap_pairs=()).flip_back(x, SHAPE, 'horizontal').tolist() == [[[59, 2], [57, 4]]]
    assert model(swap_pairs=[(0, 1)]).flip_back(x, SHAPE, 'vertical').tolist() == [[[3, 36], [1, 38]]]
    with pytest.raises(ValueError, match=r'swap_pairs has \(3, 4\), but predictions have 2 landmarks'):
        model(swap_pairs=[(3, 4)]).flip_back(x, SHAPE, 'horizontal')
    # Turned, nothing changes places.
    assert model().flip_back(x, SHAPE, 'diagonal').tolist() == [[[59, 38], [57, 36]]]


def test_flipping_back_is_its_own_inverse():
    points = torch.rand(7, 5, 2) * 40
    for direction in MIRROR:
        twice = model().flip_back(model().flip_back(points, SHAPE, direction), SHAPE, direction)
        torch.testing.assert_close(twice, points)


@pytest.mark.parametrize('pairs', [[(0, 1), (1, 2)], [(0, 0)], [(0, 1, 2)], [(-1, 0)]])
def test_bad_pairs(pairs):
    with pytest.raises(ValueError, match='swap_pairs must be pairs of indices, each index in one pair at most, got'):
        model(swap_pairs=pairs)


@pytest.mark.parametrize('cfg', [None, {}, {'nms': {}}, 3])
def test_bad_config(cfg):
    with pytest.raises(ValueError, match="tta_cfg must have 'nms' and 'max_per_img', such as dict"):
        model(tta_cfg=cfg)


def test_views_that_do_not_fit_each_other():
    with pytest.raises(ValueError, match=r'a\.png: some views have keypoints and some have none'):
        merge(view(), view('horizontal', keypoints=False))
    masked = view()
    masked.pred_instances.masks = torch.zeros(1, *SHAPE)
    with pytest.raises(ValueError, match=r'a\.png: test-time augmentation does not merge masks'):
        merge(masked)


class DotDetector(nn.Module):
    """Finds a face by the dots in it, one colour for each landmark of the mirror-symmetric pairs.

    Like a real detector it goes by looks: of two dots of a pair's colour the one with the smaller x is the left one.
    """

    def test_step(self, data):
        found = []
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            where = [(image[channel] == value).nonzero().flip(1).float() for channel, value in ((0, 9), (1, 9), (2, 9))]
            eyes, nose, mouth = (places[places[:, 0].argsort()] for places in where)
            points = torch.cat([eyes, nose, mouth]) + 0.5
            scale = torch.tensor(sample.metainfo['scale_factor'])
            corners = torch.cat([points.amin(dim=0) - 2 * scale, points.amax(dim=0) + 2 * scale])
            sample.pred_instances = InstanceData(
                bboxes=(corners / scale.repeat(2))[None],
                scores=torch.tensor([0.5 + 0.1 * len(sample.metainfo.get('flip_direction') or '')]),
                labels=torch.tensor([0]),
                keypoints=(points / scale)[None],
            )
            found.append(sample)
        return found


def test_views_of_a_pipeline_give_the_landmarks_of_the_plain_image():
    """Flips and sizes by mmdet's own transforms; every view alone, and all together."""
    init_default_scope('mmdet')
    from mmdet.registry import TRANSFORMS

    image = np.zeros((*SHAPE, 3), dtype=np.uint8)
    for (x, y), channel in zip(FACE.int().tolist(), (0, 0, 1, 2, 2), strict=True):
        image[y, x, channel] = 9
    truth = FACE + 0.5
    keys = ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    scales = [dict(type='Resize', scale_factor=factor, interpolation='nearest') for factor in (1.0, 3.0)]
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    augment = TRANSFORMS.build(
        dict(type='TestTimeAug', transforms=[scales, flips, [dict(type='PackDetInputs', meta_keys=keys)]])
    )
    data = augment({'img': image, 'img_path': 'a.png', 'ori_shape': SHAPE, 'img_shape': SHAPE})
    views = {
        'inputs': [value[None] for value in data['inputs']],
        'data_samples': [[sample] for sample in data['data_samples']],
    }
    assert len(views['inputs']) == 4
    tta = MODELS.build(dict(type='LandmarkTTAModel', tta_cfg=CFG, module=CenterDots()))
    (merged,) = tta.test_step(views)
    found = merged.pred_instances
    assert len(found) == 1
    torch.testing.assert_close(found.keypoints[0], truth, rtol=0, atol=1e-4)
    for index in range(4):
        alone = {key: value[index : index + 1] for key, value in views.items()}
        torch.testing.assert_close(tta.test_step(alone)[0].pred_instances.keypoints[0], truth, rtol=0, atol=1e-4)


class CenterDots(DotDetector):
    """A dot of an enlarged image is a square: its middle counts."""

    def test_step(self, data):
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            side = round(sample.metainfo['scale_factor'][0])
            middle = torch.zeros_like(image)
            middle[:, side // 2 :: side, side // 2 :: side] = image[:, side // 2 :: side, side // 2 :: side]
            image.copy_(middle)
        return super().test_step(data)


def test_the_helper_of_mmcv_keeps_an_order():
    """What the merging relies on: the n-th result is box `keep[n]`."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 11]])
    found, keep = batched_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), torch.zeros(3, dtype=torch.long), CFG.nms)
    assert keep.tolist() == [1, 2]
    torch.testing.assert_close(found[:, :4], boxes[keep])
