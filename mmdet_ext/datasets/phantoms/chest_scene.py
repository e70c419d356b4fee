"""Patients and lesions of the chest phantom as numbers and outlines; no pixels.

The patient's own frame is (u, v): u = 0 is the midline and |u| = 1 the outer edge of the lungs, positive towards the
patient's left, which a radiograph shows on the right of the image; v = 0 is the apex of the lungs and v = 1 their
lowest point. `Patient.place` turns it into unit image coordinates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .phantom_drawing import Floats, Pixels, blob, bounds, spline, stroke

RIGHT, LEFT = -1, 1  # sides of the patient as the sign of u
LOOKS = ('small round', 'medium blurred', 'mass', 'cavity', 'fibrosis', 'effusion')
_PLACING_ORDER = ('fibrosis', 'mass', 'medium blurred', 'cavity', 'small round')

_RANGES = {
    'center': (0.485, 0.515), 'top': (0.12, 0.175), 'half_width': (0.34, 0.385), 'height': (0.62, 0.705),
    'tilt': (-0.045, 0.045), 'taper': (-0.03, 0.04), 'dome_right': (0.82, 0.87), 'dome_left': (0.86, 0.91),
    'heart': (0.88, 1.14), 'mediastinum': (0.9, 1.15), 'shoulder': (-0.04, 0.05), 'wall': (1.13, 1.24),
    'rib_shift': (-0.02, 0.02), 'rib_slope': (0.8, 1.3), 'rib_width': (0.9, 1.15), 'clavicle': (-0.03, 0.045),
    'scapula': (-0.03, 0.09), 'bubble': (-0.8, 1.0), 'exposure': (-0.035, 0.035), 'contrast': (0.92, 1.1),
    'gamma': (0.9, 1.15), 'noise': (0.008, 0.016), 'blur': (0.0008, 0.0018), 'frame_left': (0.0, 0.03),
    'frame_right': (0.0, 0.03), 'frame_top': (0.0, 0.03), 'frame_bottom': (0.0, 0.03),
}  # fmt: skip
_GRID = 128  # side of the map of free places
_PATIENTS = 60  # tried for one composition
_MAX_IOU = 0.05  # of the boxes of two lesions


class Patient:
    """Shape of one patient and settings of one exposure.

    Args:
        rng: Source of all numbers.

    Attributes:
        n: Drawn numbers by name.
        texture: Seed of the vessels.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.n = {name: float(rng.uniform(*limits)) for name, limits in _RANGES.items()}
        self.texture = int(rng.integers(2**32))

    def place(self, uv: ArrayLike) -> Floats:
        """Patient frame (K, 2) to unit image coordinates (K, 2)."""
        n = self.n
        u, v = np.moveaxis(np.asarray(uv, dtype=np.float64), -1, 0)
        x = n['half_width'] * u * (1 + n['taper'] * (v - 0.5))
        y = n['height'] * (v - 0.5)
        cos, sin = np.cos(n['tilt']), np.sin(n['tilt'])
        return np.stack([n['center'] + x * cos - y * sin, n['top'] + n['height'] / 2 + x * sin + y * cos], -1)

    def lung_uv(self, side: int) -> Floats:
        """Outline of a lung in the patient frame."""
        dome = self.n['dome_right' if side == RIGHT else 'dome_left']
        points = [(0.40, 0.0), (0.60, 0.05), (0.78, 0.19), (0.90, 0.37), (0.97, 0.58), (1.0, 0.80), (1.0, 0.94),
                  (0.985, 0.995), (0.94, 0.97), (0.80, dome + 0.035), (0.58, dome), (0.36, dome + 0.015),
                  (0.20, dome + 0.06), (0.14, dome), (0.13, 0.60), (0.15, 0.42), (0.13, 0.25), (0.15, 0.10),
                  (0.23, 0.02)]  # fmt: skip
        return spline(points) * (side, 1)

    def lung(self, side: int) -> Floats:
        return self.place(self.lung_uv(side))

    def heart(self) -> Floats:
        k = self.n['heart']
        points = [(0.10, 0.42), (0.20, 0.47), (0.27 * k, 0.53), (0.42 * k, 0.65), (0.53 * k, 0.77), (0.53 * k, 0.86),
                  (0.42 * k, 0.915), (0.12, 0.94), (-0.18, 0.92), (-0.26 * k, 0.84), (-0.29 * k, 0.73),
                  (-0.24 * k, 0.61), (-0.17, 0.51), (-0.10, 0.42)]  # fmt: skip
        return self.place(spline(points))

    def mediastinum(self) -> Floats:
        k = self.n['mediastinum']
        points = [(0.12, -0.04), (0.14, 0.10), (0.17, 0.19), (0.225 * k, 0.24), (0.22 * k, 0.30), (0.16, 0.34),
                  (0.19, 0.39), (0.17, 0.50), (0.0, 0.60), (-0.16, 0.50), (-0.16 * k, 0.36), (-0.165 * k, 0.25),
                  (-0.14, 0.10), (-0.12, -0.04)]  # fmt: skip
        return self.place(spline(points))

    def scapula(self, side: int) -> Floats:
        d = self.n['scapula']
        points = [(0.84, 0.04), (1.02, 0.05), (1.19, 0.09), (1.22, 0.15), (1.14, 0.20), (1.06, 0.30), (0.97, 0.45),
                  (0.92, 0.485), (0.885, 0.44), (0.85, 0.28), (0.82, 0.13)]  # fmt: skip
        return self.place((spline(points) + np.array([d, 0.0])) * (side, 1))

    def parts(self) -> dict[str, Floats]:
        """Box [x1, y1, x2, y2] of each anatomical part, cut at the borders of the image."""
        outlines = {
            'left lung': self.lung(LEFT), 'right lung': self.lung(RIGHT), 'heart': self.heart(),
            'left scapula': self.scapula(LEFT), 'right scapula': self.scapula(RIGHT),
        }  # fmt: skip
        return {name: np.clip(bounds(outline), 0, 1) for name, outline in outlines.items()}


class Lesion(NamedTuple):
    """One finding.

    Attributes:
        look: One of `LOOKS`.
        outline: (K, 2) visible border: the contour of half the full brightness.
        value: Brightness in [0, 1].
        inner: Outlines inside: the hole of a cavity, the lines of a fibrosis.
    """

    look: str
    outline: Floats
    value: float
    inner: tuple[Floats, ...] = ()


class Scene(NamedTuple):
    """A patient and the lesions."""

    patient: Patient
    lesions: list[Lesion]


def draw_composition(rng: np.random.Generator) -> dict[str, int]:
    """Draw the number of lesions of each look; every look is independent of the others."""
    normal = rng.random() < 0.06
    low, high = [(0, 0), (1, 1), (2, 4), (5, 9)][rng.choice(4, p=[0.40, 0.27, 0.18, 0.15])]
    counts = {
        'small round': int(rng.integers(low, high + 1)),
        'medium blurred': int(rng.integers(1, 4)) * int(rng.random() < 0.55),
        'mass': int(rng.random() < 0.15),
        'cavity': (1 + int(rng.random() < 0.2)) * int(rng.random() < 0.30),
        'fibrosis': int(rng.random() < 0.20),
        'effusion': (1 + int(rng.random() < 0.15)) * int(rng.random() < 0.45),
    }
    return dict.fromkeys(counts, 0) if normal else counts


def draw_scene(seed: Sequence[int]) -> Scene:
    """Draw a scene.

    Composition and shapes are kept while patient and positions are drawn again until everything fits: dropping what
    does not fit would tie the looks of one image to each other. Only what fits into none of many patients, about five
    scenes in a thousand, gets another composition.

    Args:
        seed: Whole numbers >= 0 that name the scene, e.g. (seed, split, image).
    """
    composition, geometry = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    while True:
        counts = draw_composition(composition)
        shapes = [_shape(composition, look) for look in _PLACING_ORDER for _ in range(counts[look])]
        for _ in range(_PATIENTS):
            patient = Patient(geometry)
            lesions = _place_all(geometry, patient, counts['effusion'], shapes)
            if lesions is not None:
                return Scene(patient, lesions)


def _place_all(rng: np.random.Generator, patient: Patient, effusions: int, shapes: list[Lesion]) -> list[Lesion] | None:
    sides = rng.permutation([RIGHT, LEFT])[:effusions]
    lesions = [_effusion(rng, patient, int(side)) for side in sides]
    free = _free_places(patient, lesions)
    for shape in shapes:
        lesion = _place(rng, free, shape, lesions)
        if lesion is None:
            return None
        lesions.append(lesion)
    return lesions


def _shape(rng: np.random.Generator, look: str) -> Lesion:
    """A lesion around the origin."""
    if look == 'small round':
        return Lesion(look, blob(rng, rng.uniform(0.060, 0.090), rng.uniform(0.94, 1.06)), rng.uniform(0.66, 0.84))
    if look == 'medium blurred':
        outline = blob(rng, rng.uniform(0.15, 0.195), rng.uniform(0.88, 1.13), rough=0.08)
        return Lesion(look, outline, rng.uniform(0.62, 0.78))
    if look == 'mass':
        return Lesion(
            look, blob(rng, rng.uniform(0.18, 0.245), rng.uniform(0.9, 1.1), rough=0.07), rng.uniform(0.86, 1.0)
        )
    if look == 'cavity':
        outline = blob(rng, rng.uniform(0.13, 0.19), rng.uniform(0.9, 1.1), rough=0.03)
        return Lesion(look, outline, rng.uniform(0.8, 0.95), (outline * rng.uniform(0.62, 0.70),))
    frame = blob(rng, rng.uniform(0.19, 0.25), rng.uniform(0.85, 1.18))
    lines = []
    for heading in rng.uniform(-0.4, 0.4, 24) + rng.uniform(0, np.pi) + np.tile([0.0, 0.0, 1.1, -1.1], 6):
        middle = np.sqrt(rng.uniform(0, 0.6)) * frame[rng.integers(len(frame))]
        step = rng.uniform(0.03, 0.055) * np.array([np.cos(heading), np.sin(heading)])
        bend = rng.uniform(-0.4, 0.4) * step[::-1] * (1, -1)
        path = spline(
            [middle - step, middle - step / 3 + bend, middle + step / 3 - bend / 2, middle + step], closed=False
        )
        lines.append(stroke(path, rng.uniform(0.004, 0.0075), 0.003))
    hull = cv2.convexHull(np.concatenate(lines).astype(np.float32))[:, 0].astype(np.float64)
    return Lesion(look, hull, rng.uniform(0.75, 0.95), tuple(lines))


def _effusion(rng: np.random.Generator, patient: Patient, side: int) -> Lesion:
    """Fluid at the base of a lung: below a meniscus that climbs the chest wall, above the diaphragm."""
    inner, lateral, medial = 0.22 if side == RIGHT else 0.40, rng.uniform(0.66, 0.76), rng.uniform(0.79, 0.83)
    lung = patient.lung_uv(side) * (side, 1)

    def surface(u: Floats) -> Floats:
        climb = (medial - lateral) * np.clip((u - inner) / (1 - inner), 0, 1) ** 2.2
        return medial - climb + 0.09 * np.exp(-(u - inner) / 0.05)

    below = (lung[:, 0] >= inner) & (lung[:, 1] >= surface(lung[:, 0]))
    floor = lung[below]
    u = np.linspace(inner, floor[0, 0], 24)
    outline = np.concatenate([floor, np.stack([u, surface(u)], 1)])
    seam = stroke(patient.place(floor * (side, 1)), 0.014)
    return Lesion('effusion', patient.place(outline * (side, 1)), rng.uniform(0.9, 1.0), (seam,))


def _free_places(patient: Patient, effusions: list[Lesion]) -> Pixels:
    """Map of where lesions may lie: the lungs without heart, mediastinum and fluid."""
    free = np.zeros((_GRID, _GRID), np.uint8)
    covers = (patient.heart(), patient.mediastinum(), *(lesion.outline for lesion in effusions))
    for outline, value in ((patient.lung(RIGHT), 1), (patient.lung(LEFT), 1), *((cover, 0) for cover in covers)):
        cv2.fillPoly(free, [_cells(outline)], (value,))
    return free


def _cells(outline: Floats) -> NDArray[np.int32]:
    return np.rint(outline * _GRID - 0.5).astype(np.int32)


def _place(rng: np.random.Generator, free: Pixels, shape: Lesion, others: list[Lesion]) -> Lesion | None:
    """Move a lesion to one of the places where it fits, all being equally likely; None when there is none."""
    reach = int(np.ceil(np.abs(shape.outline).max() * _GRID)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    cv2.fillConvexPoly(kernel, np.rint(shape.outline * _GRID).astype(np.int32) + reach, (1,))
    y, x = np.nonzero(cv2.erode(free, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0,)))
    centres = (np.stack([x, y], 1) + rng.random(2)) / _GRID
    box = bounds(shape.outline)
    for other in others:
        taken = bounds(other.outline)
        low, high = np.maximum(centres + box[:2], taken[:2]), np.minimum(centres + box[2:], taken[2:])
        shared = np.clip(high - low, 0, None).prod(1)
        keep = shared <= _MAX_IOU * ((box[2:] - box[:2]).prod() + (taken[2:] - taken[:2]).prod() - shared)
        if other.look != 'effusion':  # fluid is cut out of `free` already
            apart = 0.5 * ((box[2:] - box[:2]).max() + (taken[2:] - taken[:2]).max())
            keep &= np.hypot(*(centres - (taken[:2] + taken[2:]) / 2 + (box[:2] + box[2:]) / 2).T) >= apart
        centres = centres[keep]
    if not len(centres):
        return None
    centre = centres[rng.integers(len(centres))]
    return shape._replace(outline=shape.outline + centre, inner=tuple(inner + centre for inner in shape.inner))
