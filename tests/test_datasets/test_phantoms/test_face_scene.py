import itertools

import numpy as np
import pytest

from mmdet_ext.datasets.phantoms import face_scene
from mmdet_ext.datasets.phantoms.face_head import SAMPLES, Head, inside
from mmdet_ext.datasets.phantoms.face_scene import KINDS, MIN_FACE, MIN_LABELLED, NOMINAL, draw_composition, draw_scene


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene((7, 0, k)) for k in range(150)]


def test_a_key_names_one_scene():
    first, again, other = (draw_scene(key) for key in ((1, 0, 3), (1, 0, 3), (1, 1, 3)))
    assert (first.kind, first.texture) == (again.kind, again.texture)
    for a, b in zip(first.faces, again.faces, strict=True):
        np.testing.assert_array_equal(a.box, b.box)
        np.testing.assert_array_equal(a.landmarks, b.landmarks)
    assert first.texture != other.texture


def test_kinds_and_numbers(scenes):
    share = {kind: np.mean([scene.kind == kind for scene in scenes]) for kind in KINDS}
    assert share == pytest.approx(KINDS, abs=0.11)
    faces = {kind: [len(scene.faces) for scene in scenes if scene.kind == kind] for kind in KINDS}
    assert set(faces['empty']) == {0}
    assert min(min(faces[kind]) for kind in KINDS if kind != 'empty') >= 1
    assert max(faces['crowd']) > 20
    assert all(scene.heads for scene in scenes if scene.kind == 'empty')  # there is something to mistake for a face
    looks = [head.look for scene in scenes for head in scene.heads if head.look != 'face']
    assert {look: looks.count(look) > 10 for look in set(looks)} == dict.fromkeys(
        ('scrambled', 'blank', 'back', 'ball', 'plate'), True
    )


def test_sizes_from_8_px_on(scenes):
    heights = np.array([head.height * NOMINAL for scene in scenes for head in scene.heads if head.look == 'face'])
    assert MIN_FACE <= heights.min() < 8.5
    assert heights.max() > 120
    for low, high, least in ((8, 12, 0.15), (12, 24, 0.25), (24, 64, 0.1), (64, 170, 0.04)):
        assert ((heights >= low) & (heights < high)).mean() > least
    assert min(h.height * NOMINAL for s in scenes for h in s.heads if h.look == 'scrambled') >= 20


def test_boxes_lie_in_the_picture_and_small_ones_whole(scenes):
    for scene in scenes:
        heads = [head for head in scene.heads if head.look == 'face']
        for head, face in zip(heads, scene.faces, strict=True):
            assert (face.box >= 0).all()
            assert (face.box <= 1).all()
            assert (face.box[2:] > face.box[:2]).all()
            whole = head.box()
            share = (face.box[2:] - face.box[:2]).prod() / (whole[2:] - whole[:2]).prod()
            assert share >= (1 - 1e-6 if head.height * NOMINAL < 20 else 0.6)


def test_heads_do_not_pile_up(scenes):
    for scene in scenes:
        for a, b in itertools.combinations([head.box() for head in scene.heads], 2):
            shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
            areas = [(box[2:] - box[:2]).prod() for box in (a, b)]
            assert shared <= 0.3 * (sum(areas) - shared) + 1e-12
        heights = [head.height for head in scene.heads]
        assert heights == sorted(heights)  # painted from far to near


def test_hidden_follows_what_is_nearer(scenes):
    """Flags and shares once more, from the outlines alone."""
    checked = 0
    for scene in scenes:
        faces = iter(scene.faces)
        for k, head in enumerate(scene.heads):
            covers = [*scene.bars, *head.hand(), *(cover for other in scene.heads[k + 1 :] for cover in other.covers())]
            behind = np.any([inside(head.points(), cover) for cover in covers] or [np.zeros(SAMPLES + 5, bool)], axis=0)
            assert behind[:SAMPLES].mean() <= 0.55
            if head.look != 'face':
                continue
            face = next(faces)
            assert face.hidden == pytest.approx(behind[:SAMPLES].mean())
            v = face.landmarks[:, 2]
            if v.any():
                np.testing.assert_array_equal(v[v > 0] == 1, (behind[SAMPLES:] | head.masked())[v > 0])
                checked += int((v == 1).sum())
    assert checked > 100


def test_landmarks_are_labelled_as_stated(scenes):
    small, large, cut = [], [], 0
    for scene in scenes:
        heads = [head for head in scene.heads if head.look == 'face']
        for head, face in zip(heads, scene.faces, strict=True):
            v = face.landmarks[:, 2]
            assert set(v) <= {0, 1, 2}
            assert (face.landmarks[v == 0] == 0).all()
            points = face.landmarks[v > 0, :2]
            assert ((points >= face.box[:2]) & (points <= face.box[2:])).all()
            np.testing.assert_array_equal(points, head.landmarks()[v > 0])
            (small if head.height * NOMINAL < MIN_LABELLED else large).append(v.any())
            cut += bool(v.any() and not v.all())
    assert not any(small)
    assert len(small) > 100
    assert np.mean(large) == pytest.approx(0.85, abs=0.04)
    assert cut > 3  # faces at the border, with some of their landmarks outside


def test_bars_leave_enough_of_every_face(scenes):
    share = np.mean([bool(scene.bars) for scene in scenes])
    assert 0.08 < share < 0.3
    assert all(1 <= len(scene.bars) <= 2 for scene in scenes if scene.bars)
    assert max(face.hidden for scene in scenes for face in scene.faces) <= 0.55


def test_small_scrambled_heads_become_balls():
    rng = np.random.default_rng(0)
    heads = [one for _ in range(300) for one in draw_composition(rng, 'crowd')]
    assert [look for look, height in heads if look == 'scrambled' and height < 20] == []
    assert any(look == 'scrambled' for look, _ in heads)
    assert min(height for _, height in heads) >= MIN_FACE
    groups = [[height for look, height in draw_composition(rng, 'group') if look == 'face'] for _ in range(200)]
    assert max(max(group) / min(group) for group in groups) <= 1.25 / 0.8
    assert min(map(min, groups)) >= 22
    assert max(map(max, groups)) <= 62


def test_a_head_without_a_place_is_left_out(monkeypatch):
    """One face fills the middle; all the others find nothing but that place."""
    monkeypatch.setattr(face_scene, 'draw_composition', lambda rng, kind: [('face', 100.0)] + [('face', 30.0)] * 3)
    monkeypatch.setattr(face_scene, '_place', lambda rng, kind, height: np.array([0.5, 0.5]))
    monkeypatch.setattr(Head, 'hand', lambda self: [])
    assert len(draw_scene((0, 0, 0)).heads) == 1
