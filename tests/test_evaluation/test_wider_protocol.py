"""WIDER FACE's protocol against hand-made cases and a slow reading of the official steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.evaluation.wider_protocol import average_precision, nearest_faces, stretch_scores


def slow_iou(a, b):
    """With the official code's one pixel more."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    areas = [(x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2 in (a, b)]
    return w * h / (areas[0] + areas[1] - w * h)


def slow_ap(images, num_thresholds=1000):
    """Image by image, detection by detection, threshold by threshold. `images`: (boxes, scores, faces, keep)."""
    everything = [score for _, scores, _, _ in images for score in scores]
    low, high = min(everything), max(everything)
    curve = np.zeros((num_thresholds, 2))
    for boxes, scores, faces, keep in images:
        taken, proposal, recall = [0] * len(faces), [1] * len(boxes), []
        for n, box in enumerate(boxes):
            overlaps = [slow_iou(box, face) for face in faces]
            best = int(np.argmax(overlaps)) if faces else -1
            if faces and overlaps[best] >= 0.5:
                if not keep[best]:
                    taken[best], proposal[n] = -1, -1
                elif taken[best] == 0:
                    taken[best] = 1
            recall.append(taken.count(1))
        for t in range(num_thresholds):
            threshold = 1 - (t + 1) / num_thresholds
            shown = [n for n, score in enumerate(scores) if (score - low) / (high - low) >= threshold]
            if shown:
                curve[t] += sum(proposal[n] == 1 for n in shown), recall[shown[-1]]
    total = sum(sum(keep) for _, _, _, keep in images)
    recalls = [0.0, *(curve[:, 1] / total), 1.0]
    precisions = [0.0, *(found / shown if shown else 0.0 for shown, found in curve), 0.0]
    for k in range(len(precisions) - 2, -1, -1):
        precisions[k] = max(precisions[k], precisions[k + 1])
    return sum((recalls[k + 1] - recalls[k]) * precisions[k + 1] for k in range(len(recalls) - 1))


def fast_ap(images, **options):
    split = np.cumsum([len(scores) for _, scores, _, _ in images])[:-1]
    scores = np.split(stretch_scores(np.concatenate([np.array(s, float) for _, s, _, _ in images])), split)
    nearest = [nearest_faces(np.reshape(b, (-1, 4)).astype(float), np.reshape(f, (-1, 4)).astype(float))
               for b, _, f, _ in images]  # fmt: skip
    return average_precision(scores, nearest, [np.array(keep, bool) for *_, keep in images], **options)


@st.composite
def pictures(draw):
    """Faces and detections on a coarse grid: many equal overlaps, equal scores, repeated and ignored hits."""
    number = st.integers(0, 6)
    images = []
    for _ in range(draw(st.integers(1, 4))):
        boxes = [
            [
                [x, y, x + w, y + h]
                for x, y, w, h in draw(st.lists(st.tuples(number, number, number, number), max_size=6))
            ]
            for _ in range(2)
        ]
        scores = sorted(draw(st.lists(st.integers(0, 9), min_size=len(boxes[0]), max_size=len(boxes[0]))), reverse=True)
        keep = draw(st.lists(st.booleans(), min_size=len(boxes[1]), max_size=len(boxes[1])))
        images.append((boxes[0], [score / 10 for score in scores], boxes[1], keep))
    return images


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_equals_the_slow_reading(images):
    scores = {score for _, some, _, _ in images for score in some}
    if len(scores) < 2 or not any(sum(keep) for *_, keep in images):
        return
    assert fast_ap(images, num_thresholds=50) == pytest.approx(slow_ap(images, 50), abs=1e-12)


def test_equals_the_slow_reading_on_crowds():
    rng = np.random.default_rng(3)
    images = []
    for faces in (40, 3, 17):
        truth = rng.uniform(0, 200, (faces, 4))
        truth[:, 2:] = truth[:, :2] + rng.uniform(4, 40, (faces, 2))
        found = np.concatenate(
            [truth[rng.integers(0, faces, 60)] + rng.normal(0, 2, (60, 4)), rng.uniform(0, 200, (9, 4))]
        )
        scores = np.sort(rng.normal(0, 3, len(found)))[::-1]
        images.append((found.tolist(), scores.tolist(), truth.tolist(), (rng.random(faces) < 0.7).tolist()))
    value = slow_ap(images)
    assert 0.2 < value < 0.95
    assert fast_ap(images) == pytest.approx(value, abs=1e-12)


A, B, FAR = [0, 0, 9, 9], [20, 0, 29, 9], [60, 60, 69, 69]


@pytest.mark.parametrize(
    ('boxes', 'scores', 'keep', 'expected'),
    [
        # Both faces at once, nothing else: recall 0.5 at precision 1, recall 1 at precision 1.
        ([A, B], [0.9, 0.1], [1, 1], 1.0),
        # Wrong first: recall 0.5 at 1/2, recall 1 at 2/3, whose envelope is 2/3 everywhere.
        ([FAR, A, B], [0.9, 0.5, 0.1], [1, 1], 2 / 3),
        # The second hit on a face is wrong: 0.5 at 1, then 1.0 at 2/3.
        ([A, A, B], [0.9, 0.5, 0.1], [1, 1], 0.5 + 0.5 * 2 / 3),
        # ... but hits on a face that does not count are left out, however many.
        ([B, B, A], [0.9, 0.5, 0.1], [1, 0], 1.0),
        # Half of the faces.
        ([A, FAR], [0.9, 0.1], [1, 1], 0.5),
        # The wrong one comes after all faces: it changes no point that counts.
        ([A, B, FAR], [0.9, 0.5, 0.1], [1, 1], 1.0),
        # Nothing found, and nothing to be found.
        ([], [], [1, 1], 0.0),
        ([A, B], [0.9, 0.1], [0, 0], -1.0),
    ],
)
def test_by_hand(boxes, scores, keep, expected):
    assert fast_ap([(boxes, scores, [A, B], keep)]) == pytest.approx(expected)


def test_thresholds_join_scores():
    """Two steps only, at 0.5 and 0: the wrong 0.6 and the right 1.0 come together, so precision starts at 1/2."""
    images = [([A, FAR, B], [1.0, 0.6, 0.0], [A, B], [1, 1])]
    assert fast_ap(images, num_thresholds=2) == pytest.approx(2 / 3)
    assert fast_ap(images) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_nearest_has_one_pixel_more():
    """A detection of 5 x 10 official pixels on a face of 10 x 10 has IoU 0.5; without that pixel 4/9."""
    face = np.array([[0.0, 0, 9, 9]])
    assert nearest_faces(np.array([[0.0, 0, 4, 9], [0, 0, 3.9, 9]]), face).tolist() == [0, -1]
    assert nearest_faces(np.array([[0.0, 0, 3, 9]]), face, iou_thr=0.4).tolist() == [0]
    assert nearest_faces(np.array([[3.0, 3, 3, 3]]), np.array([[3.0, 3, 3, 3]])).tolist() == [
        0
    ]  # zero size is one pixel


def test_nearest_takes_the_best_then_the_first():
    faces = np.array([[0.0, 0, 9, 12], [0, 0, 9, 9], [0, 0, 9, 9]])
    assert nearest_faces(np.array([[0.0, 0, 9, 9]]), faces).tolist() == [1]
    for boxes, some in ((0, 3), (2, 0), (0, 0)):
        assert nearest_faces(np.zeros((boxes, 4)), np.zeros((some, 4))).tolist() == [-1] * boxes
    inverted = np.array([[9.0, 9, 0, 0]])
    assert nearest_faces(inverted, inverted).tolist() == [-1]


def test_stretch_scores():
    assert stretch_scores(np.array([0.4, 0.3, 0.2])).tolist() == pytest.approx([1, 0.5, 0])
    assert stretch_scores(np.array([-3.0, 7.0])).tolist() == [0, 1]
    assert stretch_scores(np.array([0.2, 0.2])).tolist() == [1, 1]
    assert stretch_scores(np.zeros(0)).shape == (0,)


def test_no_images():
    assert average_precision([], [], []) == -1
