"""Pixels of the face phantom: a scene becomes a colour picture, painted from far to near."""

import cv2
import numpy as np

from .face_head import EYES, NOSE, Head
from .face_scene import NOMINAL, Scene
from .phantom_drawing import Floats, Pixels, blob, spline, stroke, to_pixels
from .phantom_painter import Painter

_BACKDROP = 128  # px; what is out of focus needs no more
_FINE = 18 / NOMINAL  # height from which irises, lids and lips are drawn apart
_RELIEF = 30 / NOMINAL  # height from which sockets and cheeks are shaded
_RING = np.stack([np.cos(np.arange(20) * np.pi / 10), np.sin(np.arange(20) * np.pi / 10)], 1)
_SKIN = np.array([(0.70, 0.82, 0.98), (0.54, 0.69, 0.90), (0.42, 0.56, 0.78), (0.28, 0.40, 0.58), (0.18, 0.26, 0.40)])
_HAIR = np.array([(0.07, 0.07, 0.09), (0.10, 0.16, 0.26), (0.20, 0.32, 0.46), (0.42, 0.66, 0.82), (0.62, 0.62, 0.64),
                  (0.12, 0.26, 0.55)])  # fmt: skip


def draw_faces(scene: Scene, size: int, noise: np.random.Generator) -> Pixels:
    """Draw a scene.

    Args:
        scene: What to draw.
        size: Side of the image in pixels.
        noise: Source of the camera's noise, the only thing that depends on `size`.

    Returns:
        (size, size, 3), BGR.
    """
    rng = np.random.default_rng(scene.texture)
    painter = Painter(size)
    light = (rng.uniform(-0.28, 0.28), rng.uniform(-0.16, 0.04))
    _backdrop(painter, rng)
    for head in scene.heads:
        _draw_head(painter, head, light)
    for bar in scene.bars:
        grey = rng.uniform(0.1, 0.75)
        painter.paint(bar, rng.uniform(0.85, 1.15, 3) * grey)
        painter.paint(bar * (0.995, 0.995) + 0.0005, (1.0, 1.0, 1.0), 0.12)
    return _expose(painter, rng, noise)


def _backdrop(painter: Painter, rng: np.random.Generator) -> None:
    """Walls, windows, foliage, out of focus: two colours, patches of others, texture."""
    far = Painter(_BACKDROP, work_size=_BACKDROP)
    top, bottom = rng.uniform(0.15, 0.9, (2, 3)) * 0.5 + rng.uniform(0.15, 0.9, (2, 1)) * 0.5
    y = np.linspace(0, 1, far.side)[:, None, None] ** rng.uniform(0.6, 1.6)
    far.picture[:] = top + y * (bottom - top)
    for _ in range(int(rng.integers(3, 16))):
        x, y0, w, h = rng.uniform(-0.1, 1), rng.uniform(-0.1, 0.9), *rng.uniform(0.04, 0.4, 2)
        if rng.random() < 0.6:
            shape = np.array([(x, y0), (x + w, y0), (x + w, y0 + h), (x, y0 + h)])
        else:
            shape = blob(rng, w, rng.uniform(0.5, 2), rough=0.25) + np.array([x, y0])
        hue = _SKIN[rng.integers(5)] if rng.random() < 0.25 else rng.uniform(0.05, 0.95, 3)
        far.paint(shape, hue, rng.uniform(0.25, 0.9), rng.choice([0.0, 0.004, 0.02]), (rng.uniform(-0.2, 0.2), 0.0))
    for cells, height in ((9, 0.04), (40, 0.03)):
        grain = rng.normal(0, height, (cells, cells, 3)) * 0.3 + rng.normal(0, height, (cells, cells, 1))
        far.picture += cv2.resize(grain, (far.side, far.side), interpolation=cv2.INTER_LINEAR)
    np.clip(far.picture, 0, 1, out=far.picture)
    painter.picture = far.at_side(painter.side)


def _draw_head(painter: Painter, head: Head, light: tuple[float, float]) -> None:
    rng = np.random.default_rng(head.texture)
    tone = rng.uniform(0, 3.999)
    skin = _SKIN[int(tone)] + (tone % 1) * (_SKIN[int(tone) + 1] - _SKIN[int(tone)])
    skin = skin * rng.uniform(0.92, 1.06, 3)
    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.8, 1.2)
    cloth = rng.uniform(0.05, 0.9, 3) * rng.uniform(0.5, 1.0)
    if head.look in ('ball', 'plate'):
        _draw_thing(painter, head, rng, skin, light)
        return
    for outline, ink in zip(head.trunk(), (skin * 0.8, cloth), strict=False):
        painter.paint(outline, ink, shade=light)
    behind = cloth * 0.7 if head.hair == 'hat' else hair
    if head.hair != 'bald':
        painter.paint(head.back(), behind, shade=light)
    w = head.width
    ears = [head.flat(_RING * (0.13, 0.23) + (s * w * 1.0, -0.02)) for s in (-1, 1)]
    painter.paint(ears, skin * 0.86)
    painter.paint(head.oval(), skin, shade=light)
    if head.look == 'back':
        painter.paint(head.oval(), behind if head.hair != 'bald' else skin * 0.92, shade=light)
        if head.hair != 'long':
            nape = np.array([(-0.5 * w, 0.55), (0.5 * w, 0.55), (0.4 * w, 1.02), (-0.4 * w, 1.02)])
            painter.paint(head.flat(nape), skin * 0.8)
        return
    _paint_hairline(painter, head, rng, behind)
    if head.look != 'blank':
        _paint_parts(painter, head, rng, skin, hair)
        _paint_worn(painter, head, rng)
    outlines = head.hand()
    if outlines:
        painter.paint(outlines[0], cloth)
        painter.paint(outlines[1:], skin * 0.8)
        inner = [o.mean(0) + (o - o.mean(0)) * 0.86 for o in outlines[1:]]
        painter.paint(inner, skin * 0.97, shade=light)


def _near(spot: Floats, *offsets: tuple[float, float]) -> Floats:
    """Corners (K, 2) around a spot."""
    return spot + np.array(offsets)


def _paint_hairline(painter: Painter, head: Head, rng: np.random.Generator, ink: Floats) -> None:
    """Hair, or the brim of a hat, over the forehead."""
    if head.hair == 'bald':
        return
    w, dip = head.width, rng.uniform(-0.1, 0.16)
    if head.hair == 'hat':
        edge = [(-1.12, -0.52), (-0.5, -0.60), (0.0, -0.62), (0.5, -0.60), (1.12, -0.52), (1.0, -0.85), (0.5, -1.15),
                (0.0, -1.25), (-0.5, -1.15), (-1.0, -0.85)]  # fmt: skip
        painter.paint(head.flat(spline(edge, steps=4) * (w, 1)), ink)
        brim = [(-1.18, -0.50), (0.0, -0.66), (1.18, -0.50)]
        painter.paint(head.flat(stroke(spline(brim, closed=False, steps=5) * (w, 1), 0.12)), ink * 0.7)
        return
    edge = [(-1.0, -0.28), (-0.86, -0.52), (-0.45, -0.72 + dip), (0.1, -0.76 - dip / 2), (0.6, -0.68 + dip / 2),
            (0.88, -0.5), (1.0, -0.28), (1.02, -0.6), (0.72, -1.0), (0.0, -1.14), (-0.72, -1.0),
            (-1.02, -0.6)]  # fmt: skip
    painter.paint(head.flat(spline(edge, steps=4) * (w, 1)), ink)


def _paint_parts(painter: Painter, head: Head, rng: np.random.Generator, skin: Floats, hair: Floats) -> None:
    fine, unit = head.height >= _FINE, head.radius
    iris = [(0.10, 0.16, 0.25), (0.45, 0.35, 0.2), (0.2, 0.32, 0.22), (0.05, 0.06, 0.08)][rng.integers(4)]
    lips = skin * rng.uniform((0.62, 0.52, 0.80), (0.80, 0.66, 0.98))
    gap = max(0.0, rng.normal(0.01, 0.09))
    bearded = head.look == 'face' and rng.random() < 0.18
    if head.height >= _RELIEF:
        for side in (-1, 1):  # sockets and cheeks give the face its relief
            painter.paint(head.skin(_RING * (0.24, 0.17) + (side * 0.42, -0.2)), skin * 0.72, 0.45, 0.06 * unit)
            painter.paint(head.skin(_RING * (0.2, 0.2) + (side * 0.5, 0.3)), skin * (0.86, 0.86, 1.06), 0.5, 0.1 * unit)
    if bearded:
        edge = [(-0.88, 0.1), (-0.6, 0.34), (-0.3, 0.38), (0.0, 0.40), (0.3, 0.38), (0.6, 0.34), (0.88, 0.1),
                (0.80, 0.62), (0.45, 0.95), (0.0, 1.08), (-0.45, 0.95), (-0.80, 0.62)]  # fmt: skip
        painter.paint(head.flat(spline(edge, steps=4) * (head.width, 1)), hair * 0.9, 0.85, 0.02 * unit)
    for name, u, v in head.parts:
        spot = np.array([u, v])
        if name == 'eye':
            brow = _near(spot, (-0.21, -0.18), (0.0, -0.27), (0.21, -0.18))
            brow = spline(brow, closed=False, steps=4) if fine else brow
            painter.paint(head.skin(stroke(brow, 0.075, 0.06)), hair * 0.8, 0.85)
            if fine:
                painter.paint(head.skin(_RING * (0.185, 0.10) + spot), (0.93, 0.94, 0.95))
                painter.paint(head.skin(_RING * (0.09, 0.095) + spot), iris)
                painter.paint(head.skin(_RING * (0.045, 0.05) + spot), (0.02, 0.02, 0.02))
                lid = spline(_near(spot, (-0.2, 0.01), (0.0, -0.115), (0.2, 0.01)), closed=False, steps=4)
                painter.paint(head.skin(stroke(lid, 0.045)), skin * 0.35)
            else:
                painter.paint(head.skin(_RING * (0.18, 0.11) + spot), np.multiply(skin, 0.22))
        elif name == 'nose':
            _paint_nose(painter, head, spot, skin)
        else:
            line = _near(spot, (-0.31, 0.0), (0.0, -0.01), (0.31, 0.0), (0.0, 0.04 + gap))
            if fine:
                mouth = _near(spot, (-0.31, 0.0), (-0.12, -0.075), (0.0, -0.05), (0.12, -0.075), (0.31, 0.0),
                              (0.15, 0.09 + gap), (0.0, 0.11 + gap), (-0.15, 0.09 + gap))  # fmt: skip
                painter.paint(head.skin(spline(mouth, steps=3)), lips)
                line = spline(line, steps=4)
            else:
                line = (line - spot) * (1.0, 1.6) + spot
            painter.paint(head.skin(line), skin * 0.2 if fine else lips * 0.5)
            if fine and gap > 0.05:
                painter.paint(head.skin(_RING * (0.17, 0.3 * gap) + spot + (0.0, 0.3 * gap)), (0.9, 0.92, 0.93))


def _paint_nose(painter: Painter, head: Head, spot: Floats, skin: Floats) -> None:
    tip, unit = spot + np.array([0.0, NOSE[1]]), head.radius
    if head.height < _FINE:
        painter.paint(head.skin(_RING * (0.12, 0.05) + tip + (0.0, 0.08), NOSE[2]), skin * 0.5)
        return
    ridge = np.concatenate([head.skin(_near(spot, (0.03, -0.12), (0.07, 0.05)), 0.08),
                            head.skin(_near(spot, (0.14, 0.22), (0.0, 0.27)), 0.12)])  # fmt: skip
    painter.paint(ridge, skin * 0.72, 0.8, 0.015 * unit)
    painter.paint(head.skin(_RING * (0.085, 0.075) + tip, NOSE[2]), np.minimum(skin * 1.13, 1), 0.9, 0.02 * unit)
    holes = [head.skin(_RING * (0.045, 0.03) + tip + (side * 0.085, 0.10), 0.12) for side in (-1, 1)]
    painter.paint(holes, skin * 0.32, 0.9)


def _paint_worn(painter: Painter, head: Head, rng: np.random.Generator) -> None:
    rim = rng.uniform(0.02, 0.25, 3)
    if head.wears == 'mask':
        ink = [(0.85, 0.78, 0.6), (0.92, 0.92, 0.92), (0.12, 0.12, 0.13)][rng.integers(3)]
        edge = [(-0.9, 0.1), (-0.45, -0.02), (0.0, -0.06), (0.45, -0.02), (0.9, 0.1), (0.82, 0.6), (0.45, 0.97),
                (0.0, 1.02), (-0.45, 0.97), (-0.82, 0.6)]  # fmt: skip
        painter.paint(head.flat(spline(edge, steps=4) * (head.width, 1)), ink, shade=(0.1, -0.08))
        return
    if head.wears not in ('glasses', 'sunglasses'):
        return
    for side in (-1, 1):
        spot = np.array([side * EYES[0], EYES[1] + 0.02])
        lens = np.sign(_RING) * np.abs(_RING) ** 0.7 * (0.29, 0.22) + spot
        if head.wears == 'sunglasses':
            painter.paint(head.skin(lens, 0.05), rim * 0.5, shade=(0.2, -0.3))
        else:
            hole = (lens - spot) * 0.84 + spot
            frame = np.concatenate([lens, lens[:1], hole[:1], hole[::-1]])
            painter.paint(head.skin(frame, 0.05), rim)
    bridge = [(-0.16, EYES[1] - 0.03), (0.0, EYES[1] - 0.06), (0.16, EYES[1] - 0.03)]
    painter.paint(head.skin(stroke(bridge, 0.06), 0.08), rim)


def _draw_thing(
    painter: Painter, head: Head, rng: np.random.Generator, skin: Floats, light: tuple[float, float]
) -> None:
    """A ball with holes or a fruit, often of the colour of skin; a plate or a socket with two dots."""
    disc = head.oval()
    middle = disc.mean(0)
    if head.look == 'ball':
        ink = skin if rng.random() < 0.6 else rng.uniform(0.1, 0.9, 3)
        painter.paint(disc, ink * 0.8)
        painter.paint(middle + (disc - middle) * 0.9, ink, shade=(2 * light[0], 2 * light[1]))
        painter.paint(middle + (disc - middle) * 0.3 + 0.25 * head.radius * np.array([-1, -1]), (1, 1, 1), 0.35,
                      0.1 * head.radius)  # fmt: skip
        spots = [(-0.28, -0.2), (0.28, -0.2), (0.0, 0.25)] if rng.random() < 0.5 else []
    else:
        ink = rng.uniform(0.75, 0.98) * rng.uniform(0.9, 1.0, 3)
        painter.paint(disc, ink * 0.75)
        painter.paint(middle + (disc - middle) * 0.82, ink, shade=light)
        spots = [(-0.35, 0.0), (0.35, 0.0)]
    for spot in spots:
        painter.paint(middle + head.radius * (_RING * 0.14 + spot), ink * 0.15)


def _expose(painter: Painter, rng: np.random.Generator, noise: np.random.Generator) -> Pixels:
    """Blur of the lens, white balance, contrast, sometimes no colour, noise."""
    blur = rng.uniform(0.0, 0.0022)
    gain, lift = rng.uniform(0.8, 1.12) * rng.uniform(0.93, 1.07, 3), rng.uniform(-0.03, 0.06)
    grey, grain = rng.random() < 0.08, rng.uniform(0.005, 0.022)
    picture = painter.at_side(painter.size) * gain + lift
    if blur * painter.size > 0.15:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur * painter.size), np.float64)
    if grey:
        picture = np.repeat(picture @ np.array([[0.114], [0.587], [0.299]]), 3, axis=2)
    return to_pixels(picture + grain * noise.standard_normal((painter.size, painter.size, 3)))
