"""Error of landmarks in units of the face."""

import json

import numpy as np
import pytest
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope

from mmdet_ext.evaluation import LandmarkNME
from mmdet_ext.evaluation.landmark_nme import choose_faces
from tests.test_evaluation.face_case import evaluate, sample

# A face of 40 x 40 at the origin: eyes 20 px apart, all visible.
FACE, MARKS = [0.0, 0, 40, 40], np.array([(10, 15), (30, 15), (20, 25), (12, 32), (28, 32)], float)


def shift(marks, x, y=0):
    return marks + np.array([x, y])


def with_v(marks, v=2):
    return np.concatenate([marks, np.broadcast_to(np.reshape(v, (-1, 1)), (5, 1))], 1).tolist()


def truth(*faces):
    return {'bboxes': [box for box, _ in faces], 'labels': [0] * len(faces), 'keypoints': [marks for _, marks in faces]}


def values(metric, *samples):
    return {key.removeprefix('landmark/'): value for key, value in evaluate(metric, samples).items()}


def test_perfect():
    one = sample([FACE], keypoints=[MARKS], truth=truth((FACE, with_v(MARKS))))
    assert values(LandmarkNME(), one) == {'nme': 0, 'failure_rate': 0, 'found': 1}


@pytest.mark.parametrize(('normalize', 'expected'), [('bbox', 5 / 40), ('interocular', 5 / 20)])
def test_a_shift_by_3_and_4(normalize, expected):
    """Every landmark is 5 px off; the side of the box is 40, the eyes are 20 apart."""
    one = sample([FACE], keypoints=[shift(MARKS, 3, 4)], truth=truth((FACE, with_v(MARKS))))
    found = values(LandmarkNME(normalize=normalize), one)
    assert found == {'nme': pytest.approx(expected), 'failure_rate': 1, 'found': 1}
    assert values(LandmarkNME(normalize=normalize, failure_thr=0.3), one)['failure_rate'] == 0


def test_only_labelled_points_count():
    """The nose is 8 px off, hidden but labelled; the mouth corners are far off and not labelled: 8 / 3 / 40."""
    guess = MARKS + np.array([(0, 0), (0, 0), (8, 0), (99, 0), (0, 99)])
    one = sample([FACE], keypoints=[guess], truth=truth((FACE, with_v(MARKS, [2, 2, 1, 0, 0]))))
    assert values(LandmarkNME(), one)['nme'] == pytest.approx(8 / 3 / 40)


def test_mean_over_faces_and_share_found():
    """Two images: errors 0 and 10 / 40, and of three faces with landmarks one is not found."""
    far, moved = [100.0, 0, 140, 40], shift(MARKS, 100)
    none = np.zeros((5, 3)).tolist()
    first = sample([FACE, [200.0, 0, 240, 40]], keypoints=[MARKS, MARKS],
                   truth=truth((FACE, with_v(MARKS)), ([200.0, 0, 240, 40], none)))  # fmt: skip
    second = sample([far], keypoints=[shift(moved, 10)], truth=truth((far, with_v(moved)), (FACE, with_v(MARKS))))
    found = values(LandmarkNME(), first, second)
    assert found == {'nme': pytest.approx(0.125), 'failure_rate': 0.5, 'found': pytest.approx(2 / 3)}


def test_interocular_needs_two_eyes():
    one_eye, no_distance = with_v(MARKS, [2, 0, 2, 2, 2]), MARKS.copy()
    no_distance[1] = no_distance[0]
    for marks in (one_eye, with_v(no_distance)):
        one = sample([FACE], keypoints=[MARKS], truth=truth((FACE, marks)))
        assert values(LandmarkNME(normalize='interocular'), one) == dict.fromkeys(('nme', 'failure_rate', 'found'), -1)
        assert values(LandmarkNME(), one)['found'] == 1
    other = sample([FACE], keypoints=[shift(MARKS, 2)], truth=truth((FACE, with_v(MARKS))))
    assert values(LandmarkNME(normalize='interocular', eyes=(3, 4)), other)['nme'] == pytest.approx(2 / 16)
    with pytest.raises(ValueError, match=r'eyes are \[0, 7\], but faces have 5 landmarks'):
        LandmarkNME(normalize='interocular', eyes=(0, 7)).process({}, [other])


def test_worst_and_nothing():
    labelled, bare = truth((FACE, with_v(MARKS))), truth((FACE, np.zeros((5, 3)).tolist()))
    worst = {'nme': 1.0, 'failure_rate': 1.0, 'found': 0.0}
    nothing = dict.fromkeys(worst, -1.0)
    none = np.zeros((0, 5, 2))
    assert values(LandmarkNME(), sample([], keypoints=none, truth=labelled)) == worst
    assert values(LandmarkNME(), sample([[50, 50, 60, 60]], keypoints=[MARKS], truth=labelled)) == worst
    bad = MARKS.copy()
    bad[2, 0] = np.nan
    assert values(LandmarkNME(), sample([FACE], keypoints=[bad], truth=labelled)) == worst
    assert values(LandmarkNME(), sample([FACE], keypoints=[MARKS], truth=bare)) == nothing
    assert values(LandmarkNME(), sample([FACE], keypoints=[MARKS], truth={'bboxes': np.zeros((0, 4))})) == nothing
    flat = truth(([0.0, 0, 0, 40], with_v(MARKS)))
    assert values(LandmarkNME(), sample([[0.0, 0, 0, 40]], keypoints=[MARKS], truth=flat)) == nothing
    assert values(LandmarkNME()) == nothing


def test_ignored_faces_do_not_count_but_take_their_detection():
    """The detection of the higher score sits on the ignored face and must not serve the other one."""
    near = [4.0, 0, 44, 40]
    one = sample([FACE, near], keypoints=[MARKS, MARKS], truth=truth((near, with_v(MARKS))))
    one['ignored_instances'] = {'bboxes': np.array([FACE]), 'labels': np.zeros(1)}
    assert values(LandmarkNME(), one) == {'nme': 0, 'failure_rate': 0, 'found': 1}
    one['pred_instances'] = sample([FACE], keypoints=[MARKS])['pred_instances']
    assert values(LandmarkNME(), one)['found'] == 0


def test_choose_by_score_then_overlap():
    """IoU of boxes of 10 x 10 shifted by 1, 2 and 3: 9/11, 8/12, 7/13."""
    faces = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10]])
    boxes = np.array([[1.0, 0, 11, 10], [0, 0, 10, 10], [2, 0, 12, 10]])
    chosen, by = choose_faces(boxes, faces, 0.5)
    assert dict(zip(by.tolist(), chosen.tolist(), strict=True)) == {0: 0, 1: 1}  # a tie goes to the first face
    chosen, by = choose_faces(boxes[1:], faces, 0.5)
    assert dict(zip(by.tolist(), chosen.tolist(), strict=True)) == {0: 0, 1: 1}
    chosen, by = choose_faces(boxes, faces, 0.9)
    assert dict(zip(by.tolist(), chosen.tolist(), strict=True)) == {1: 0, 2: 1}
    for n, k in ((0, 2), (2, 0), (0, 0)):
        assert [len(part) for part in choose_faces(np.zeros((n, 4)), np.zeros((k, 4)), 0.5)] == [0, 0]


def test_choice_equals_a_slow_one():
    rng = np.random.default_rng(0)
    faces = rng.uniform(0, 60, (30, 4))
    faces[:, 2:] = faces[:, :2] + rng.uniform(10, 30, (30, 2))
    boxes = faces[rng.integers(0, 30, 80)] + rng.normal(0, 2, (80, 4))
    free, slow = set(range(30)), {}
    for n, (x1, y1, x2, y2) in enumerate(boxes):
        best, top = None, 0.5
        for k in sorted(free):
            a1, b1, a2, b2 = faces[k]
            shared = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            iou = shared / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared)
            if iou >= top and (best is None or iou > top):
                best, top = k, iou
        if best is not None:
            slow[n] = best
            free.remove(best)
    chosen, by = choose_faces(boxes, faces, 0.5)
    assert len(slow) > 20
    assert dict(zip(by.tolist(), chosen.tolist(), strict=True)) == slow


def test_faces_of_a_coco_file(tmp_path):
    keypoints = np.round(np.ravel(with_v(MARKS))).tolist()
    common = dict(image_id=7, category_id=1, area=1, iscrowd=0)
    (tmp_path / 'ann.json').write_text(json.dumps({
        'images': [dict(id=7)], 'categories': [dict(id=1, name='face')],
        'annotations': [dict(id=1, bbox=FACE, keypoints=keypoints, **common), dict(id=2, bbox=[90, 0, 9, 9], **common)],
    }))  # fmt: skip
    init_default_scope('mmdet')
    metric = METRICS.build(dict(type='LandmarkNME', ann_file=str(tmp_path / 'ann.json')))
    assert values(metric, sample([FACE], keypoints=[shift(MARKS, 4)], img_id=7))['nme'] == pytest.approx(0.1)
    with pytest.raises(KeyError, match='has no image of id 8'):
        metric.process({}, [sample([FACE], keypoints=[MARKS], img_id=8)])


def test_detector_without_landmarks_or_with_others():
    faces = truth((FACE, with_v(MARKS)))
    metric = LandmarkNME()
    metric.process({}, [sample([FACE], truth=faces)])
    assert metric.evaluate(1) == {}
    metric = LandmarkNME()
    metric.process({}, [sample([FACE], truth=faces), sample([FACE], keypoints=[MARKS], truth=faces)])
    with pytest.raises(KeyError, match='pred_instances of 1 of 2 images have no keypoints; a detector gives them'):
        metric.evaluate(2)
    with pytest.raises(ValueError, match='image 1 has 4 landmarks for each detection and 5 for each face'):
        LandmarkNME().process({}, [sample([FACE], keypoints=[MARKS[:4]], truth=faces)])
    with pytest.raises(KeyError, match='image 1 comes without gt_instances'):
        LandmarkNME().process({}, [sample([FACE], keypoints=[MARKS])])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(normalize='head'), "'bbox' or 'interocular', got 'head'"),
        (dict(eyes=(1, 1)), 'eyes must be two different landmarks'),
        (dict(eyes=(0, 1, 2)), 'eyes must be two different landmarks'),
        (dict(iou_thr=1.1), 'iou_thr must be a number 0 < IoU <= 1, got 1.1'),
        (dict(failure_thr=0), 'failure_thr must be above 0, got 0'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        LandmarkNME(**options)
