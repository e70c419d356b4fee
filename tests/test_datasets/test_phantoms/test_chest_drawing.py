import cv2
import numpy as np
import pytest

from mmdet_ext.datasets.phantoms.chest_drawing import draw_chest
from mmdet_ext.datasets.phantoms.chest_scene import draw_scene
from mmdet_ext.datasets.phantoms.phantom_drawing import bounds


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene((3, 0, k)) for k in range(16)]


def _draw(scene, size=160):
    return draw_chest(scene, size, np.random.default_rng(0)).astype(float)


def test_same_scene_and_noise_give_the_same_pixels(scenes):
    first = draw_chest(scenes[0], 96, np.random.default_rng(0))
    assert first.dtype == np.uint8
    assert first.shape == (96, 96)
    np.testing.assert_array_equal(first, draw_chest(scenes[0], 96, np.random.default_rng(0)))
    assert (first != draw_chest(scenes[0], 96, np.random.default_rng(1))).any()


def test_every_size_shows_the_same_patient(scenes):
    large = cv2.resize(_draw(scenes[2], 640), (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(large - _draw(scenes[2], 128)).mean() < 5


def test_looks_like_a_radiograph(scenes):
    for scene in scenes:
        healthy = _draw(scene._replace(lesions=[]))
        assert healthy[:6, :20].max() < 40  # air beside the neck
        for box in (scene.patient.parts()[name] for name in ('left lung', 'right lung')):
            x1, y1, x2, y2 = np.rint(box * 160).astype(int)
            lung = np.median(healthy[y1 + 5 : (y1 + y2) // 2, x1 + 5 : x2 - 5])
            assert lung < 120
        below = healthy[min(150, round(160 * max(scene.patient.parts()['left lung'][3], 0.85))), 60:100]
        spine = healthy[40:60, 76:84].mean()
        assert below.mean() > lung + 60
        assert spine > lung + 60


def test_every_lesion_can_be_seen(scenes):
    for scene in scenes:
        change = _draw(scene) - _draw(scene._replace(lesions=[]))
        for lesion in scene.lesions:
            x1, y1, x2, y2 = np.rint(bounds(lesion.outline) * 160).astype(int)
            assert np.percentile(change[y1:y2, x1:x2], 80) > 20, lesion.look
        outside = np.ones((160, 160), bool)
        for lesion in scene.lesions:
            x1, y1, x2, y2 = np.rint(bounds(lesion.outline) * 160).astype(int)
            outside[max(0, y1 - 7) : y2 + 7, max(0, x1 - 7) : x2 + 7] = False
        assert np.abs(change[outside]).max(initial=0) < 12


def test_boxes_follow_half_of_the_full_brightness(scenes):
    checked = 0
    for scene in scenes[:10]:
        plain = _draw(scene._replace(lesions=[]), 320)
        for lesion in scene.lesions:
            if lesion.look not in ('small round', 'medium blurred', 'mass'):
                continue
            change = _draw(scene._replace(lesions=[lesion]), 320) - plain
            box = bounds(lesion.outline) * 320
            x, y = np.rint((box[:2] + box[2:]) / 2).astype(int)
            row = change[y - 1 : y + 2].mean(0)
            full = np.median(row[x - 4 : x + 5])
            inside = np.nonzero(row > full / 2)[0]
            inside = inside[(inside > box[0] - 16) & (inside < box[2] + 16)]
            width = inside.max() - inside.min() + 1
            assert abs(width - (box[2] - box[0])) < 0.2 * (box[2] - box[0])
            checked += 1
    assert checked > 12
