import cv2
import numpy as np
import pytest

from mmdet_ext.datasets.phantoms.face_drawing import draw_faces
from mmdet_ext.datasets.phantoms.face_head import LOOKS, Head
from mmdet_ext.datasets.phantoms.face_scene import Scene, draw_scene


def draw(scene, size=128, noise=0):
    return draw_faces(scene, size, np.random.default_rng(noise))


def alone(look, height=0.5, seed=0, at=(0.5, 0.45), **changes):
    head = Head(np.random.default_rng(seed), look, height)
    for name, value in changes.items():
        setattr(head, name, value)
    head.move_to(np.array(at))
    return Scene('portrait', [head], [], [], 5)


def test_same_scene_and_noise_give_the_same_pixels():
    scene = draw_scene((3, 0, 1))
    first = draw(scene)
    assert first.dtype == np.uint8
    assert first.shape == (128, 128, 3)
    np.testing.assert_array_equal(first, draw(scene))
    assert (first != draw(scene, noise=1)).any()


def test_every_size_shows_the_same_scene():
    scene = draw_scene((3, 0, 2))
    large = cv2.resize(draw(scene, 512), (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(large.astype(float) - draw(scene)).mean() < 6


@pytest.mark.parametrize('look', LOOKS)
def test_a_head_changes_its_box_and_nothing_far_from_it(look):
    """Against the same background without it."""
    scene = alone(look, height=0.3, at=(0.5, 0.3))
    change = np.abs(draw(scene).astype(float) - draw(scene._replace(heads=[]))).max(-1)
    x1, y1, x2, y2 = np.rint(scene.heads[0].box() * 128).astype(int)
    assert np.median(change[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4]) > 12
    assert change[:, :12].max() == 0
    assert change[:, -12:].max() == 0


def test_eyes_and_mouth_are_darker_than_the_skin_between_them():
    """At the landmarks of faces of all sizes down to 8 px, drawn at 256 px."""
    for height in (8, 12, 20, 40, 120):
        darker = []
        for seed in range(12):
            scene = alone('face', height / 256, seed, wears='nothing')
            head = scene.heads[0]
            head._hand = []
            picture = draw(scene, 256).astype(float).mean(-1)
            reach = max(1, round(0.02 * height))
            dark = []
            for x, y in np.rint(head.landmarks()[[0, 1]] * 256 - 0.5).astype(int):
                dark.append(picture[y - reach : y + reach + 1, x - reach : x + reach + 1].min())
            x, y = np.rint((head.landmarks()[[0, 1]].mean(0) * 0.7 + head.landmarks()[2] * 0.3) * 256 - 0.5).astype(int)
            darker.append(picture[y, x] - np.mean(dark))
        assert np.mean(darker) > 12, height
        assert np.mean(np.array(darker) > 0) > 0.8, height


def test_what_is_worn_hides_the_face():
    worn = ('nothing', 'sunglasses', 'mask')
    bare, shades, mask = (draw(alone('face', 0.7, 4, wears=one)).astype(float) for one in worn)
    head = alone('face', 0.7, 4).heads[0]
    eyes, mouth = head.landmarks()[:2].mean(0), head.landmarks()[3:].mean(0)
    rows = [slice(round(y * 128) - 6, round(y * 128) + 6) for y in (eyes[1], mouth[1])]
    columns = slice(round(eyes[0] * 128) - 20, round(eyes[0] * 128) + 20)
    for changed, here, there in ((shades, *rows), (mask, *rows[::-1])):
        change = np.abs(changed - bare).mean(-1)[:, columns]
        assert change[here].mean() > 4 * change[there].mean()
        assert change[here].mean() > 15


def test_bars_and_hands_are_painted_over_faces():
    scene = alone('face', 0.6, 1)
    bar = np.array([(0.45, -0.1), (0.55, -0.1), (0.55, 1.1), (0.45, 1.1)])
    crossed = np.abs(draw(scene._replace(bars=[bar])).astype(float) - draw(scene)).mean(-1)
    assert crossed[:, 58:70].mean() > 10 * crossed[:, :50].mean()
    with_hand = next(k for k in range(200) if alone('face', 0.6, k).heads[0].hand())
    shown, hidden = alone('face', 0.6, with_hand), alone('face', 0.6, with_hand)
    hidden.heads[0]._hand = []
    change = np.abs(draw(shown).astype(float) - draw(hidden)).mean(-1)
    palm = shown.heads[0].hand()[1].mean(0)
    x, y = np.clip(np.rint(palm * 128).astype(int), 3, 124)
    assert change[y - 3 : y + 3, x - 3 : x + 3].mean() > 1
    assert change[:20].max() == 0


def test_some_pictures_are_grey():
    grey = [np.ptp(draw(draw_scene((5, 0, k)), 64).astype(int), axis=-1).mean() for k in range(24)]
    assert 0 < sum(value < 12 for value in grey) < 12
