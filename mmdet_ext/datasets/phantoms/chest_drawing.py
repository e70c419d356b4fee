"""Pixels of the chest phantom: a scene becomes a frontal (PA) radiograph.

Tissue adds up along the beam: each layer adds to or takes from the density, and the exposure turns density into grey.
"""

import numpy as np

from .chest_scene import LEFT, RIGHT, Patient, Scene
from .phantom_drawing import Canvas, Floats, Pixels, blob, spline, stroke, to_pixels

_SIDES = (RIGHT, LEFT)
_SOLID = 0.73  # density of solid tissue and fluid
# look: (softness of the edge in unit coordinates, opacity of a lesion of value 1)
_LESIONS = {
    'small round': (0.004, 0.90), 'medium blurred': (0.014, 0.90), 'mass': (0.005, 0.97), 'cavity': (0.004, 0.90),
    'fibrosis': (0.0012, 0.85), 'effusion': (0.004, 1.0),
}  # fmt: skip


def draw_chest(scene: Scene, size: int, noise: np.random.Generator) -> Pixels:
    """Draw a scene.

    Args:
        scene: Patient and lesions.
        size: Side of the image in pixels.
        noise: Source of the quantum noise, the only thing that depends on `size`.

    Returns:
        (size, size) grey image.
    """
    patient, canvas = scene.patient, Canvas(size)
    body = canvas.fill([_body(patient)], 0.010)
    lungs = canvas.fill([patient.lung(side) for side in _SIDES], 0.0035)
    middle = canvas.fill([patient.heart(), patient.mediastinum()], 0.005)
    density = _soft_tissue(canvas, patient, body, lungs, middle)
    density += body * _bones(canvas, patient, lungs * (1 - 0.7 * middle))
    _add_lesions(canvas, scene, density, lungs)
    return _expose(canvas, patient, density, noise)


def _soft_tissue(canvas: Canvas, patient: Patient, body: Floats, lungs: Floats, middle: Floats) -> Floats:
    """Body, lungs with vessels, heart, airways, stomach."""
    deep = canvas.soften(lungs, 0.035)  # lungs are thin at their edges, so they are darker inside
    aerated = lungs * (1 - 0.93 * middle)
    depth = np.clip((canvas.y - patient.n['top']) / patient.n['height'], -0.2, 1.3)
    density = body * (0.56 + 0.10 * depth * (1 - lungs) + 0.05 * canvas.soften(body, 0.06))
    density -= aerated * (0.22 + 0.23 * deep - 0.05 * depth)
    chest = np.clip((0.96 - depth) / 0.15, 0, 1)  # the heart's lower border vanishes in the abdomen
    density += chest * body * middle * (0.05 + 0.06 * canvas.soften(middle, 0.04))
    density += 0.105 * aerated * _vessels(canvas, patient)
    trunk = patient.place(spline([(0.01, -0.30), (0.0, -0.05), (-0.02, 0.15), (-0.02, 0.30)], closed=False))
    bronchi = [patient.place(spline([(-0.02, 0.29), (-0.02 + s * 0.10, 0.355), (s * 0.22, 0.42)], closed=False))
               for s in _SIDES]  # fmt: skip
    airways = [stroke(trunk, 0.040, 0.036), *(stroke(path, 0.026, 0.018) for path in bronchi)]
    density -= 0.11 * canvas.fill(airways, 0.004, [1.0, 0.6, 0.6])
    if patient.n['bubble'] > 0:  # air in the stomach, below the left half of the diaphragm
        centre = patient.place([(0.50, patient.n['dome_left'] + 0.10)])
        gas = blob(np.random.default_rng(patient.texture), 0.10 + 0.05 * patient.n['bubble'], rough=0.08) * (1.25, 0.75)
        density -= 0.14 * (1 - lungs) * canvas.fill([centre + gas], 0.006)
    return density


def _body(patient: Patient) -> Floats:
    d, wall = patient.n['shoulder'], patient.n['wall']
    half = spline([(0.27, -0.60), (0.26, -0.25), (0.36, -0.14 + d), (0.72, -0.09 + d), (1.10, -0.03 + d),
                   (1.36, 0.06 + d), (1.52, 0.22), (1.58, 0.42), (1.50, 0.50), (1.30, 0.47), (wall - 0.02, 0.52),
                   (wall, 0.70), (wall + 0.01, 1.0), (wall + 0.03, 1.7)], closed=False)  # fmt: skip
    return patient.place(np.concatenate([half, half[::-1] * (-1, 1)]))


def _vessels(canvas: Canvas, patient: Patient) -> Floats:
    """Two hila and the vessels that branch from them."""
    rng = np.random.default_rng(patient.texture)
    strokes: list[Floats] = []
    values: list[float] = []

    def grow(start: Floats, heading: float, length: float, width: float, order: int) -> None:
        turns = heading + np.cumsum(rng.uniform(-0.16, 0.16, 7))
        steps = np.stack([np.cos(turns), np.sin(turns)], 1) * (length / 7)
        path = start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])
        strokes.append(stroke(path, width, 0.45 * width))
        values.append((0.8, 0.65, 0.5)[order])
        if order < 2:
            for k, turn in zip(rng.integers(2, 7, 2), rng.uniform(0.35, 0.8, 2) * (1, -1), strict=True):
                grow(path[k], turns[k] + turn, length * rng.uniform(0.4, 0.65), 0.6 * width, order + 1)

    hila = []
    for side in _SIDES:
        root = patient.place([(side * 0.21, 0.44 if side == RIGHT else 0.41)])[0]
        hila.append(root + blob(rng, 0.085, 0.6, 0.2) * (0.7, 1.2))
        for angle in np.linspace(-1.35, 1.35, 8) + rng.uniform(-0.12, 0.12, 8):
            heading = angle if side == LEFT else np.pi - angle
            grow(root, heading, rng.uniform(0.16, 0.26), 0.0085, 0)
    return canvas.fill(strokes[::-1], 0.001, values[::-1]) + 0.8 * canvas.fill(hila, 0.014)


def _bones(canvas: Canvas, patient: Patient, air: Floats) -> Floats:
    """Spine, ribs, clavicles, scapulae and arms; ribs show best in front of `air`."""
    place, n = patient.place, patient.n
    levels = np.arange(-0.32, 1.35, 0.083) + n['rib_shift']
    vertebrae = [place(spline([(-0.085, v), (-0.075, v + 0.032), (-0.085, v + 0.064), (0.085, v + 0.064),
                               (0.075, v + 0.032), (0.085, v)], steps=4)) for v in levels]  # fmt: skip
    spines = [place(np.array([0.0, v + 0.045]) + 0.5 * blob(np.random.default_rng(0), 0.06, 1.0)) for v in levels]
    bones = 0.04 * canvas.fill(vertebrae, 0.003) + 0.03 * canvas.fill(spines, 0.003)
    posterior, anterior = [], []
    for side in _SIDES:
        for i in range(10):
            back, front = _rib(i, n['rib_slope'], n['rib_shift'])
            width = 0.0185 * n['rib_width'] * (0.85 + 0.02 * i)
            posterior.append(stroke(place(back * (side, 1)), width, 0.95 * width))
            if i < 7:
                anterior.append(stroke(place(front * (side, 1)), 0.95 * width, 1.15 * width))
    for ribs, weight in ((posterior, 0.11), (anterior, 0.065)):
        full = canvas.fill(ribs, 0.0015)
        bones += weight * (0.3 + 0.7 * air) * (full - 0.45 * canvas.soften(full, 0.005) * full)
    blades = [patient.scapula(side) for side in _SIDES]
    bones += 0.055 * canvas.fill(blades, 0.003)
    for side in _SIDES:
        mirror, d = (side, 1), n['clavicle']
        collar = np.array([(0.10, 0.075), (0.30, 0.06 + d / 2), (0.60, 0.0 + d), (0.85, -0.04 + d), (1.10, -0.01 + d)])
        ridge = np.array([(0.86, 0.12), (1.02, 0.06), (1.20, 0.0)]) + np.array([n['scapula'], 0.0])
        arm = np.array([(1.31, 0.13), (1.40, 0.30), (1.45, 0.55)])
        bones += 0.10 * canvas.fill([stroke(place(spline(collar * mirror, closed=False)), 0.027, 0.021)], 0.002)
        bones += 0.05 * canvas.fill([stroke(place(spline(ridge * mirror, closed=False)), 0.012, 0.022)], 0.003)
        shaft = stroke(place(spline(arm * mirror, closed=False)), 0.075, 0.045)
        head = place(arm[:1] * mirror) + blob(np.random.default_rng(1), 0.085)
        bones += 0.09 * canvas.fill([shaft, head], 0.003)
    return bones


def _rib(i: int, slope: float, shift: float) -> tuple[Floats, Floats]:
    """Back and front part of a rib in the patient frame, on the positive side; 0 is the uppermost rib."""
    t = np.linspace(0, 1, 24)
    start = 0.015 + 0.086 * i + shift
    end = start + slope * (0.045 + 0.012 * i)
    edge = 1.03 * (1 - 0.55 * np.clip(1 - end / 0.9, 0, 1) ** 2.2)
    back = np.stack([0.09 + (edge - 0.09) * np.sin(t * np.pi / 2) ** 0.9, start - 0.022 * np.sin(np.pi * t)
                     + (end - start) * t**2.6], 1)  # fmt: skip
    reach = 0.30 + 0.02 * i
    front = np.stack([reach + (edge - reach) * np.cos(t * np.pi / 2), end + slope * 0.15 * np.sin(t * np.pi / 2)], 1)
    return back, front


def _add_lesions(canvas: Canvas, scene: Scene, density: Floats, lungs: Floats) -> None:
    """Draw the lesions into `density`, those of one look together: each pulls what it covers towards solid tissue."""
    for look, (soft, opacity) in _LESIONS.items():
        lesions = [lesion for lesion in scene.lesions if lesion.look == look]
        if not lesions:
            continue
        outlines, values = [lesion.outline for lesion in lesions], [lesion.value for lesion in lesions]
        if look != 'effusion':
            outlines = [canvas.tight(outline) for outline in outlines]
        inner = [outline for lesion in lesions for outline in lesion.inner]
        cover = lungs
        if look == 'fibrosis':
            layer = values[0] * np.maximum(canvas.fill(inner, soft), 0.22 * canvas.fill(outlines, 0.012))
        elif look == 'cavity':
            layer = canvas.fill(outlines, soft, values)
            hollow = canvas.fill(inner, soft)
            layer = layer * (1 - hollow) - 0.15 * hollow
        elif look == 'effusion':  # its inner outline closes the seam of air between fluid and diaphragm
            layer, cover = canvas.fill(outlines + inner, soft, values * 2), np.ones_like(lungs)
        else:
            layer = canvas.fill(outlines, soft, values)
        density += cover * opacity * layer * np.maximum(_SOLID - density, 0)


def _expose(canvas: Canvas, patient: Patient, density: Floats, noise: np.random.Generator) -> Pixels:
    """Blur, collimate, tone curve, noise."""
    n = patient.n
    light = canvas.reduce(canvas.soften(density, n['blur']))
    light = np.clip((light - 0.5) * n['contrast'] + 0.5 + n['exposure'], 0, 1) ** n['gamma'] * 1.12
    grain = noise.standard_normal(light.shape) * n['noise'] * np.sqrt(0.25 + light)
    x1, y1, x2, y2 = n['frame_left'], n['frame_top'], 1 - n['frame_right'], 1 - n['frame_bottom']
    frame = canvas.fill([np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])], 0.0015)
    return to_pixels((light + grain) * canvas.reduce(frame))
