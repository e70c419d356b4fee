import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.datasets.phantoms.face_head import LOOKS, SAMPLES, Head, inside
from mmdet_ext.datasets.transforms.landmark_geometry import FACE_LANDMARKS

RANDOM = {look: [Head(np.random.default_rng(k), look, 0.25) for k in range(40)] for look in LOOKS}


def frontal(height=0.5):
    head = next(h for h in (Head(np.random.default_rng(k), 'face', height) for k in range(200)) if h.body)
    head.yaw = head.pitch = head.roll = 0.0
    return head


@pytest.mark.parametrize('look', LOOKS)
def test_the_box_has_the_asked_height_wherever_it_is(look):
    for head in RANDOM[look]:
        for at in ((0.0, 0.0), (0.3, 0.7)):
            head.move_to(np.array(at))
            x1, y1, x2, y2 = head.box()
            assert y2 - y1 == pytest.approx(0.25)
            assert 0.5 < (x2 - x1) / (y2 - y1) < 1.3
            assert (x1 < at[0] < x2) & (y1 < at[1] < y2)
            np.testing.assert_allclose([x1, y1, x2, y2], [*head.oval().min(0), *head.oval().max(0)])


def test_landmarks_of_a_frontal_face():
    """Symmetric, in the order of the names, eyes above nose above mouth."""
    head = frontal()
    marks = np.concatenate([head.skin([(-0.42, -0.17), (0.42, -0.17)]), head.skin([(0, 0.22)], 0.2),
                            head.skin([(-0.31, 0.57), (0.31, 0.57)])])  # fmt: skip
    assert len(FACE_LANDMARKS) == len(marks)
    np.testing.assert_allclose(marks[:, 0] + marks[[1, 0, 2, 4, 3], 0], 0, atol=1e-12)
    np.testing.assert_allclose(marks[[0, 3], 1], marks[[1, 4], 1])
    assert marks[0, 0] < marks[3, 0] < marks[2, 0] < marks[4, 0] < marks[1, 0]
    assert marks[0, 1] < marks[2, 1] < marks[3, 1]
    np.testing.assert_allclose(marks[0, 1] / head.radius, -0.17, atol=1e-12)


def test_landmarks_are_inside_the_face_and_keep_their_order():
    for head in RANDOM['face']:
        head.move_to(np.array([0.4, 0.6]))
        assert inside(head.landmarks(), head.oval()).all()
        x = ((head.landmarks() - head.at) @ [np.cos(head.roll), np.sin(head.roll)]) / head.radius  # turned upright
        assert x[0] < x[1]
        assert x[3] < x[4]
        assert inside(head.points()[:SAMPLES], head.oval()).all()


def test_a_turned_head_shows_less_of_its_far_side():
    head = frontal()
    head.yaw = 0.6
    left, right, nose = *head.skin([(-0.42, -0.17), (0.42, -0.17)]), head.skin([(0.0, 0.22)], 0.2)[0]
    straight = frontal()
    before = straight.skin([(-0.42, -0.17), (0.42, -0.17)])
    assert nose[0] > 0.2 * head.radius  # the tip of the nose sticks out
    assert np.ptp([left[0], right[0]]) < np.ptp(before[:, 0])
    assert right[0] - nose[0] < nose[0] - left[0]
    head.yaw, head.pitch = 0.0, 0.2
    assert head.skin([(0.0, 0.22)])[0, 1] > straight.skin([(0.0, 0.22)])[0, 1]  # looks down


def test_pose_has_bounds_and_spreads():
    yaw, pitch, roll = np.array([(head.yaw, head.pitch, head.roll) for head in RANDOM['face']]).T
    for angle, most in ((yaw, 0.68), (pitch, 0.26), (roll, 0.5)):
        assert np.abs(angle).max() <= most
        assert angle.std() > 0.2 * most


def test_small_faces_have_bodies_and_no_hands():
    small = [Head(np.random.default_rng(k), 'face', 12 / 256) for k in range(60)]
    assert all(head.body and len(head.trunk()) == 2 and not head.hand() for head in small)
    assert sum(bool(head.hand()) for head in RANDOM['face']) > 0
    assert not any(head.trunk() for head in RANDOM['ball'] + RANDOM['plate'])
    assert not any(head.hand() for look in LOOKS[1:] for head in RANDOM[look])


def test_only_faces_wear_something_and_it_hides_landmarks():
    assert {head.wears for look in LOOKS[1:] for head in RANDOM[look]} == {'nothing'}
    hidden = {head.wears: head.masked().tolist() for head in RANDOM['face']}
    assert hidden['nothing'] == hidden['glasses'] == [False] * 5
    assert hidden['sunglasses'] == [True, True, False, False, False]
    assert hidden['mask'] == [False, False, True, True, True]


def test_covers_hold_the_face():
    for head in RANDOM['face']:
        count = 2 + 2 * head.body + (6 if head.hand() else 0)
        assert len(head.covers()) == count
        assert any(inside(head.at[None], cover)[0] for cover in head.covers())
        if head.body:
            assert head.trunk()[1].min(0)[1] > head.at[1]  # shoulders are below


def test_scrambled_heads_have_no_order_of_a_face():
    for head in RANDOM['scrambled']:
        eyes = [(u, v) for name, u, v in head.parts if name == 'eye']
        mouths = [v for name, _, v in head.parts if name == 'mouth']
        level = len(eyes) == 2 and eyes[0][1] == eyes[1][1]
        assert not (level and len(mouths) == 1 and eyes[0][1] < mouths[0])
    assert len({head.parts for head in RANDOM['scrambled']}) > 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=9))
def test_inside_a_square(points):
    """Beside the border, on which either answer is right."""
    points = np.array([p for p in points if min(abs(abs(v) - 1) for v in p) > 1e-9]).reshape(-1, 2)
    square = np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)])
    assert inside(points, square).tolist() == (np.abs(points).max(1, initial=0) < 1).tolist()


def test_inside_a_hollow_shape():
    u = np.array([(0.0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)])
    points = np.array([(0.5, 2.0), (1.5, 2.0), (2.5, 2.0), (1.5, 0.5)])
    assert inside(points, u).tolist() == [True, False, True, True]
