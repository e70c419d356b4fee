import itertools
from collections import Counter

import numpy as np
import pytest

from mmdet_ext.datasets.phantoms import chest_scene
from mmdet_ext.datasets.phantoms.chest_scene import LEFT, LOOKS, RIGHT, Patient, draw_composition, draw_scene
from mmdet_ext.datasets.phantoms.phantom_drawing import bounds


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene((7, 0, k)) for k in range(150)]


def _area(box):
    return np.prod(np.clip(box[2:] - box[:2], 0, None))


def _iou(a, b):
    shared = _area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))
    return shared / (_area(a) + _area(b) - shared)


def test_a_key_names_one_scene():
    first, again, other = (draw_scene(key) for key in ((1, 0, 3), (1, 0, 3), (1, 1, 3)))
    assert first.patient.n == again.patient.n
    assert [lesion.look for lesion in first.lesions] == [lesion.look for lesion in again.lesions]
    for a, b in zip(first.lesions, again.lesions, strict=True):
        np.testing.assert_array_equal(a.outline, b.outline)
    assert first.patient.n != other.patient.n


def test_parts_follow_the_patient_not_the_picture(scenes):
    for scene in scenes:
        parts = scene.patient.parts()
        for part in ('lung', 'scapula'):
            assert parts[f'left {part}'][0] > parts[f'right {part}'][0]  # the patient's left is on the right
        heart, middle = parts['heart'], scene.patient.place([(0.0, 0.7)])[0, 0]
        assert heart[2] - middle > middle - heart[0]
        for box in parts.values():
            assert (box >= 0).all()
            assert (box <= 1).all()
            assert (box[2:] - box[:2] > 0.1).all()


def test_sides_mirror_but_for_the_diaphragm():
    patient = Patient(np.random.default_rng(0))
    patient.n['dome_left'] = patient.n['dome_right']
    np.testing.assert_allclose(patient.lung_uv(LEFT) * (-1, 1), patient.lung_uv(RIGHT))


def test_sizes_stay_in_their_ranges(scenes):
    limits = {'small round': (0.056, 0.094), 'medium blurred': (0.13, 0.23), 'mass': (0.16, 0.28),
              'cavity': (0.12, 0.20), 'fibrosis': (0.15, 0.30), 'effusion': (0.14, 0.34)}  # fmt: skip
    assert {lesion.look for scene in scenes for lesion in scene.lesions} == set(LOOKS) == set(limits)
    for scene in scenes:
        for lesion in scene.lesions:
            box = bounds(lesion.outline)
            width, height = box[2:] - box[:2]
            assert limits[lesion.look][0] <= width <= limits[lesion.look][1]
            assert limits[lesion.look][0] <= height <= limits[lesion.look][1]
            assert lesion.look != 'small round' or 0.9 <= width / height <= 1.1
            assert lesion.look != 'effusion' or width >= 0.2


def test_lesions_lie_apart_and_in_a_lung(scenes):
    for scene in scenes:
        parts = scene.patient.parts()
        boxes = [bounds(lesion.outline) for lesion in scene.lesions]
        for box in boxes:
            centre = (box[:2] + box[2:]) / 2
            assert any(
                (parts[s][:2] < centre).all() and (centre < parts[s][2:]).all() for s in ('left lung', 'right lung')
            )
        for (a, first), (b, second) in itertools.combinations(zip(boxes, scene.lesions, strict=True), 2):
            assert _iou(a, b) <= 0.051
            if 'effusion' not in (first.look, second.look):
                distance = np.hypot(*((a[:2] + a[2:] - b[:2] - b[2:]) / 2))
                assert distance >= 0.5 * ((a[2:] - a[:2]).max() + (b[2:] - b[:2]).max()) - 1e-9


def test_looks_are_drawn_independently():
    rng = np.random.default_rng(0)
    drawn = [draw_composition(rng) for _ in range(6000)]
    assert 0.08 < np.mean([not any(c.values()) for c in drawn]) < 0.14
    sick = np.array([[c[look] for look in LOOKS] for c in drawn if any(c.values())])
    small = Counter(sick[:, 0].tolist())
    assert set(small) == set(range(10))
    # normal images and images without any lesion tie all looks weakly; beyond them nothing is tied
    correlation = np.corrcoef((sick > 0).T)[~np.eye(len(LOOKS), dtype=bool)]
    assert np.abs(correlation).max() < 0.12
    medium = sick[sick[:, 1] > 0]
    cavity, fluid = medium[:, 3] > 0, medium[:, 5] > 0
    for share in (cavity.mean(), (~cavity & fluid).mean(), (~cavity & ~fluid).mean()):
        assert 0.25 < share < 0.45


def test_size_of_a_small_opacity_does_not_tell_how_many_there_are(scenes):
    groups = {1: [], 9: []}
    for scene in [*scenes, *(draw_scene((8, 0, k)) for k in range(250))]:
        sizes = [np.sqrt(_area(bounds(one.outline))) for one in scene.lesions if one.look == 'small round']
        groups[1 if len(sizes) == 1 else 9] += sizes
    assert np.mean(groups[1]) == pytest.approx(np.mean(groups[9]), abs=0.0035)  # 4 standard errors; the range is 0.03


def test_scene_without_room_gets_another_composition(monkeypatch):
    crowded = dict.fromkeys(LOOKS, 0) | {'mass': 40}
    modest = dict.fromkeys(LOOKS, 0) | {'mass': 1, 'effusion': 2}
    answers = iter([crowded, modest])
    monkeypatch.setattr(chest_scene, 'draw_composition', lambda rng: next(answers))
    monkeypatch.setattr(chest_scene, '_PATIENTS', 2)
    assert Counter(lesion.look for lesion in draw_scene((0, 0, 0)).lesions) == {'mass': 1, 'effusion': 2}
