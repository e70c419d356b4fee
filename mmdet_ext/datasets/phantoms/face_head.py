"""Heads of the face phantom: shape, pose and what is worn, as outlines.

Two frames with the radius of the face as unit. The *front* is the plane of somebody who looks at us: x to the right of
the picture, y down, hairline at y = -1, tip of the chin at y = 1; `Head.flat` only turns and scales it. The *skin*
(u, v) lies on an ellipsoid that yaw and pitch turn before it is projected along the view (`Head.skin`): eyes, nose and
mouth move and shrink together as they do on a turned head.
"""

import numpy as np
from numpy.typing import ArrayLike

from .phantom_drawing import Floats, blob, bounds, spline, stroke

LOOKS = ('face', 'scrambled', 'blank', 'back', 'ball', 'plate')
EYES, NOSE, MOUTH = (0.42, -0.17), (0.0, 0.22, 0.2), (0.31, 0.57)  # u, v, and how far the tip of the nose sticks out
_DEPTH = 0.62  # of the ellipsoid, in units of the half width
_SMALL = 16 / 256  # height below which only the body shows that something is a head
# Parts and places of a face, and of things that have the parts but not the order of a face.
FACE = (('eye', -0.42, -0.17), ('eye', 0.42, -0.17), ('nose', 0.0, 0.0), ('mouth', 0.0, 0.57))
SCRAMBLED = (
    (('mouth', 0.0, -0.35), ('nose', 0.0, 0.1), ('eye', -0.40, 0.52), ('eye', 0.40, 0.52)),
    (('eye', 0.0, -0.15), ('mouth', 0.0, 0.57)),
    (('eye', -0.3, -0.5), ('eye', 0.35, 0.45), ('mouth', -0.05, 0.0)),
    (('eye', -0.42, -0.2), ('eye', 0.42, -0.2), ('eye', 0.0, 0.45)),
    (('mouth', 0.0, -0.25), ('mouth', 0.0, 0.45), ('nose', 0.0, -0.05)),
    (('eye', 0.0, -0.5), ('eye', 0.0, 0.05), ('mouth', 0.0, 0.6)),
)
_OVAL = [(0.0, -1.0), (0.5, -0.94), (0.84, -0.66), (0.98, -0.18), (0.93, 0.28), (0.76, 0.66), (0.44, 0.92), (0.0, 1.0)]


def _both_sides(half: list[tuple[float, float]], steps: int = 5) -> Floats:
    """Closed curve from its right half, given from top to bottom, the ends on the axis."""
    right = np.array(half)
    return spline(np.concatenate([right, right[-2:0:-1] * (-1, 1)]), steps=steps)


OVAL = _both_sides(_OVAL)
_INNER = np.concatenate([OVAL[::4] * 0.9, OVAL[::6] * 0.55, [(0.0, 0.0)]])
SAMPLES = len(_INNER)  # points that stand for the surface of a face


def inside(points: Floats, polygon: Floats) -> np.ndarray:
    """Which points (P, 2) lie in a polygon (K, 2), by the even-odd rule; bool (P,)."""
    x, y = points[:, :1], points[:, 1:]
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
    rise = np.where(y1 == y2, 1.0, y2 - y1)
    crossed = ((y1 > y) != (y2 > y)) & (x < x1 + (x2 - x1) * (y - y1) / rise)
    return crossed.sum(1) % 2 == 1


class Head:
    """A face, or something that looks like one; first around the origin, see `move_to`.

    Args:
        rng: Source of all numbers.
        look: One of `LOOKS`.
        height: Height of the box, as a share of the side of the picture.

    Attributes:
        width: Half width of the face in units of its radius.
        yaw, pitch, roll: Pose in radians.
        hair: 'short', 'long', 'bald' or 'hat'.
        wears: 'nothing', 'glasses', 'sunglasses' or 'mask'.
        parts: Parts of the face as (name, u, v).
        body: Whether neck and shoulders are there.
        texture: Seed of the colours.
    """

    def __init__(self, rng: np.random.Generator, look: str, height: float) -> None:
        n = {name: float(rng.uniform(*limits)) for name, limits in
             {'width': (0.70, 0.79), 'shoulders': (1.5, 2.0), 'neck': (0.34, 0.44), 'hand': (-1.0, 1.0),
              'crown': (1.22, 1.36)}.items()}  # fmt: skip
        pose = rng.normal(0, 1, 3) * (0.33, 0.12, 0.16)
        self.yaw, self.pitch, self.roll = np.clip(pose, (-0.68, -0.26, -0.5), (0.68, 0.26, 0.5)).tolist()
        self.hair = str(rng.choice(['short', 'long', 'bald', 'hat'], p=[0.48, 0.30, 0.10, 0.12]))
        worn = str(rng.choice(['nothing', 'glasses', 'sunglasses', 'mask'], p=[0.72, 0.12, 0.08, 0.08]))
        person, with_hand = rng.random(2)
        self.texture = int(rng.integers(2**32))
        self.look, self.height, self.width = look, height, n['width']
        self.wears = worn if look == 'face' else 'nothing'
        self.parts = SCRAMBLED[self.texture % len(SCRAMBLED)] if look == 'scrambled' else FACE
        often = {'face': 0.85, 'back': 0.9, 'scrambled': 0.5, 'blank': 0.4}.get(look, 0.0)
        self.body = person < often or (look == 'face' and height < _SMALL)
        self.at = np.zeros(2)
        self.radius = 1.0
        self._oval = self.flat(OVAL * (self.width, 1)) if look not in ('ball', 'plate') else blob(rng, 2.0, corners=40)
        box = bounds(self._oval)
        self.radius = height / float(box[3] - box[1])
        self._oval, self._box = self._oval * self.radius, box * self.radius
        self._hand = self._make_hand(n['hand']) if look == 'face' and height > 24 / 256 and with_hand < 0.12 else []
        self._back = self._make_hair(n['crown'])
        self._trunk = self._make_body(n['shoulders'], n['neck']) if self.body else []
        self._inner = self.flat(_INNER * (self.width, 1))
        self._marks = np.concatenate([self.skin([(-EYES[0], EYES[1]), EYES]), self.skin([NOSE[:2]], NOSE[2]),
                                      self.skin([(-MOUTH[0], MOUTH[1]), MOUTH])])  # fmt: skip

    def move_to(self, at: Floats) -> None:
        """Put the centre of the head there, in unit image coordinates."""
        self.at = np.asarray(at, np.float64)

    def flat(self, xy: ArrayLike) -> Floats:
        """Front (K, 2) to unit image coordinates (K, 2)."""
        c, s = np.cos(self.roll), np.sin(self.roll)
        return np.asarray(xy, np.float64) @ np.array([[c, s], [-s, c]]) * self.radius + self.at

    def skin(self, uv: ArrayLike, lift: float = 0.0) -> Floats:
        """Skin (K, 2) to unit image coordinates (K, 2); `lift` is the height above the skin."""
        u, v = np.moveaxis(np.asarray(uv, np.float64), -1, 0)
        x, z = self.width * u, _DEPTH * np.sqrt(np.clip(1 - u**2 - v**2, 0, None)) + lift
        x, z = x * np.cos(self.yaw) + z * np.sin(self.yaw), z * np.cos(self.yaw) - x * np.sin(self.yaw)
        return self.flat(np.stack([x, v * np.cos(self.pitch) + z * np.sin(self.pitch)], -1))

    def oval(self) -> Floats:
        return self._oval + self.at

    def back(self) -> Floats:
        """Outline of the hair behind the face; that of the face itself where there is none."""
        return self._back + self.at

    def trunk(self) -> list[Floats]:
        """Neck and shoulders, if there is a body."""
        return [outline + self.at for outline in self._trunk]

    def hand(self) -> list[Floats]:
        """Arm, palm and fingers before the face, if any."""
        return [outline + self.at for outline in self._hand]

    def covers(self) -> list[Floats]:
        """Everything that hides what is behind this head."""
        return [self.oval(), self.back(), *self.trunk(), *self.hand()]

    def box(self) -> Floats:
        return np.concatenate([self._box[:2] + self.at, self._box[2:] + self.at])

    def landmarks(self) -> Floats:
        """(5, 2), in the order of `FACE_LANDMARKS`."""
        return self._marks + self.at

    def points(self) -> Floats:
        """(SAMPLES + 5, 2): points that stand for the face, then the landmarks."""
        return np.concatenate([self._inner, self._marks]) + self.at

    def masked(self) -> np.ndarray:
        """Which landmarks are under what is worn; bool (5,)."""
        hidden = {'sunglasses': (True, True, False, False, False), 'mask': (False, False, True, True, True)}
        return np.array(hidden.get(self.wears, (False,) * 5))

    def _make_hair(self, crown: float) -> Floats:
        if self.look in ('ball', 'plate') or self.hair == 'bald':
            return self._oval
        w = self.width
        half = {
            'short': [(0.0, -crown), (0.62, -1.16), (0.98, -0.72), (1.06, -0.25), (0.99, 0.1), (0.6, 0.5), (0.0, 0.6)],
            'long': [(0.0, -crown), (0.66, -1.16), (1.06, -0.7), (1.2, 0.0), (1.26, 0.75), (1.05, 1.3), (0.0, 1.2)],
            'hat': [(0.0, -crown - 0.08), (0.7, -1.3), (1.02, -0.85), (1.12, -0.5), (0.6, -0.4), (0.0, -0.4)],
        }[self.hair]
        return self.flat(_both_sides([(x * w, y) for x, y in half]))

    def _make_body(self, shoulders: float, neck: float) -> list[Floats]:
        """Bodies stay upright; the neck starts under the chin of the turned head."""
        chin = self.flat([(0.0, 0.8)]) / self.radius
        base = np.array([0.35 * chin[0, 0], 1.32])
        throat = np.array([(-neck, -0.3), (neck, -0.3), (neck * 1.2, 0.3), (-neck * 1.2, 0.3)])
        throat += np.concatenate([chin, chin, [base, base]])
        half = [(0.0, 0.06), (0.45, 0.0), (0.85, 0.22), (shoulders - 0.2, 0.42), (shoulders, 0.85),
                (shoulders + 0.15, 2.8), (0.0, 2.85)]  # fmt: skip
        return [throat * self.radius, (_both_sides(half, steps=3) + base) * self.radius]

    def _make_hand(self, where: float) -> list[Floats]:
        """A hand before the mouth, a cheek or an eye, with the arm that comes from below."""
        side = 1.0 if where > 0 else -1.0
        palm = np.array([[side * 0.75, 0.75], [side * 0.3, 0.72], [side * 0.62, 0.2]][int(abs(where) * 2.999)])
        aim = np.arctan2(-1.0, -0.35 * side)
        arm = np.array([(side * 0.75, 2.3), (side * 0.3, 1.1), (0.0, 0.0)])
        outlines = [stroke(palm + arm, 0.62, 0.46)]
        outlines.append(palm + blob(np.random.default_rng(0), 0.66) * (0.9, 1.05))
        for k in range(4):
            turn = aim + (k - 1.5) * 0.22
            start = palm + 0.24 * np.array([np.cos(turn), np.sin(turn)])
            tip = start + (0.52, 0.60, 0.58, 0.46)[k] * np.array([np.cos(turn), np.sin(turn)])
            outlines.append(stroke(spline([start, (start + tip) / 2, tip], closed=False, steps=3), 0.17, 0.13))
        return [self.flat(outline) for outline in outlines]
