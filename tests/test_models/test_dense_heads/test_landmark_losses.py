"""Landmarks of a batch, and their loss against sums over single points."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch.testing import assert_close

from mmdet_ext.models.dense_heads.dense_maths import flatten_levels
from mmdet_ext.models.dense_heads.landmark_losses import batch_landmarks, landmark_losses

from .dense_case import EMPTY, GTS, SIZES, face, images, predictions, retina_face

PLAIN = {name: value for name, value in GTS[0].items() if name != 'keypoints'}


def landmarks(*gts, needed=True, number=5):
    inputs = images(*gts)
    return batch_landmarks(inputs['batch_gt_instances'], inputs['batch_img_metas'], number, needed, 'Head')


class TestBatchLandmarks:
    def test_of_every_image(self):
        found = landmarks(*GTS, EMPTY)
        assert [tuple(points.shape) for points in found] == [(3, 5, 3), (1, 5, 3), (0, 5, 3)]
        assert_close(found[0], torch.tensor(GTS[0]['keypoints']), equal_nan=True)

    @pytest.mark.parametrize(
        'empty', [torch.zeros(0), torch.zeros(0, 5, 3), torch.zeros(0, 7, 2)], ids=lambda x: str(x.shape)
    )
    def test_no_boxes(self, empty):
        """Whatever a pipeline makes of nothing."""
        gts = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long), keypoints=empty)
        assert batch_landmarks([gts], [{}], 5, True, 'Head')[0].shape == (0, 5, 3)

    def test_boxes_of_a_type(self):
        gts = InstanceData(bboxes=HorizontalBoxes(torch.rand(2, 4)), keypoints=torch.ones(2, 5, 3))
        assert batch_landmarks([gts], [{}], 5, True, 'Head')[0].shape == (2, 5, 3)

    def test_missing(self):
        text = re.escape(
            'Head: image image_1.png has 3 boxes but no gt_instances.keypoints: load landmarks as gt_keypoints '
            '(N, 5, 3), with v = 0 where an object has none, and pack with PackLandmarkInputs (the mapping_table of '
            "mmdet's PackDetInputs leaves gt_keypoints out), or set num_landmarks=0"
        )
        for others in ([GTS[0]], [EMPTY]):
            with pytest.raises(ValueError, match=text):
                landmarks(*others, PLAIN)

    def test_not_needed(self):
        with_none, with_some = landmarks(PLAIN, GTS[1], needed=False)
        assert with_none.tolist() == [[[0, 0, 0]] * 5] * 3
        assert with_some[0, 0, 2] == 2

    @pytest.mark.parametrize(
        ('points', 'found'),
        [
            (torch.zeros(3, 5, 2), 'Tensor (3, 5, 2)'),
            (torch.zeros(3, 4, 3), 'Tensor (3, 4, 3)'),
            (torch.zeros(3, 15), 'Tensor (3, 15)'),
            (np.zeros((3, 5, 3)), 'ndarray (3, 5, 3)'),
        ],
        ids=str,
    )
    def test_other_shapes(self, points, found):
        inputs = images(PLAIN)
        (gts,) = inputs['batch_gt_instances']
        gts.keypoints = points
        text = re.escape(
            f'Head: image image_0.png has gt_instances.keypoints of {found}, needed is a tensor (3, 5, 3): (x, y, v) '
            'of 5 landmarks for each of its boxes; make num_landmarks and the data set agree'
        )
        with pytest.raises(ValueError, match=text):
            batch_landmarks([gts], inputs['batch_img_metas'], 5, False, 'Head')


def slow_loss(head, maps, inputs):
    """One positive after the other, one point after the other; the matching is the head's."""
    deltas = flatten_levels(maps[2], 10)
    targets = head.match(SIZES, flatten_levels(maps[1], 4).detach(), **inputs)
    priors = torch.cat(head.prior_generator.grid_priors(SIZES, device='cpu'))
    loss, faces = torch.zeros(()), 0
    for i, (gts, result) in enumerate(zip(inputs['batch_gt_instances'], targets.sampling_results, strict=True)):
        for prior, gt in zip(result.pos_inds.tolist(), result.pos_assigned_gt_inds.tolist(), strict=True):
            x1, y1, x2, y2 = priors[prior].tolist()
            terms = []
            for k, (x, y, v) in enumerate(gts.keypoints[gt].tolist()):
                if v > 0:
                    goal = [(x - (x1 + x2) / 2) / (0.1 * (x2 - x1)), (y - (y1 + y2) / 2) / (0.1 * (y2 - y1))]
                    own = deltas[i, prior, 2 * k : 2 * k + 2]
                    terms.append(F.smooth_l1_loss(own, torch.tensor(goal), reduction='sum'))
            loss = loss + sum(terms)
            faces += bool(terms)
    return loss / max(faces, 1), faces


@pytest.mark.parametrize('gts', [GTS, [EMPTY, GTS[1], GTS[0]], [GTS[1], EMPTY]], ids=['two', 'three', 'one_empty'])
def test_equals_a_slow_reference(gts):
    head = retina_face()
    maps, inputs = predictions(head, len(gts)), images(*gts)
    losses = head.loss_by_feat(*maps, **inputs)
    expected, faces = slow_loss(head, maps, images(*[dict({'keypoints': []}, **own) for own in gts]))
    assert losses['num_pos_landmarks'] == faces > 0
    assert_close(losses['loss_landmark'], expected)
    assert_close(
        torch.autograd.grad(losses['loss_landmark'], maps[2], retain_graph=True),
        torch.autograd.grad(expected, maps[2]),
    )
    # The other branches learn nothing from it.
    assert torch.autograd.grad(losses['loss_landmark'], [*maps[0], *maps[1]], allow_unused=True) == (None,) * 6


def test_what_is_not_labelled_may_be_anything():
    """Neither value nor gradient."""
    head, results = retina_face(), []
    for anything in (0.0, 1e30, math.nan, math.inf):
        maps, points = predictions(head, 1), torch.tensor(GTS[0]['keypoints'])
        points[..., :2] = torch.where(points[..., 2:] > 0, points[..., :2], anything)
        loss = head.loss_by_feat(*maps, **images(dict(GTS[0], keypoints=points.tolist())))['loss_landmark']
        results.append((loss, torch.autograd.grad(loss, maps[2])))
        assert_close(results[0], results[-1], rtol=0, atol=0)
    assert results[0][0] > 0


def test_any_order_of_ground_truth():
    head, order = retina_face(), [2, 0, 1]
    maps = predictions(head, 1)
    turned = {name: [value[i] for i in order] for name, value in GTS[0].items()}
    one, other = (head.loss_by_feat(*maps, **images(gts))['loss_landmark'] for gts in (GTS[0], turned))
    assert_close(one, other)


def test_swapped_landmarks_matter():
    head = retina_face()
    maps = predictions(head, 1)
    points = GTS[1]['keypoints'][0]
    swapped = dict(GTS[1], keypoints=[[points[i] for i in (1, 0, 2, 4, 3)]])
    one, other = (head.loss_by_feat(*maps, **images(gts))['loss_landmark'] for gts in (GTS[1], swapped))
    assert abs(one - other) > 0.1


def test_a_weight_that_counts(monkeypatch):
    """The loss sees which of x and y of each point is labelled."""
    head = retina_face()
    seen = []
    monkeypatch.setattr(
        head.loss_landmark, 'forward', lambda *args, **kwargs: seen.append((args, kwargs)) or args[0].sum()
    )
    gts = dict(GTS[1], keypoints=[face(GTS[1]['bboxes'][0], (0, 1, 2, 0, 2))])
    maps, inputs = predictions(head, 1), images(gts)
    targets = head.match(SIZES, flatten_levels(maps[1], 4).detach(), **inputs)
    found = landmark_losses(head, flatten_levels(maps[2], 10), targets, landmarks(gts))
    ((pred, goal, weight), options) = seen[0]
    assert weight.tolist() == [[0, 0, 1, 1, 1, 1, 0, 0, 1, 1]] * len(pred)
    assert goal.isfinite().all()
    assert options == dict(avg_factor=len(pred))
    assert found['num_pos_landmarks'] == len(pred) == targets.num_pos
