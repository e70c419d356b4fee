"""Scenes of the face phantom as numbers and outlines: which heads stand where, and what hides them; no pixels.

Lengths are shares of the side of the picture. Sizes are named in pixels of a picture of `NOMINAL` px, in which the
smallest faces are 8 px high. The frames of a head are described in `face_head`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .face_head import SAMPLES, Head, inside
from .phantom_drawing import Floats, bounds, stroke

NOMINAL = 256
MIN_FACE = 8.0  # px, height of the smallest faces
MIN_LABELLED = 12.0  # px; smaller faces never have landmarks
KINDS = {'portrait': 0.18, 'group': 0.24, 'crowd': 0.20, 'mixed': 0.28, 'empty': 0.10}
_FACES = {'portrait': (1, 2), 'group': (3, 7), 'crowd': (12, 30), 'mixed': (2, 9), 'empty': (0, 0)}
_HEIGHTS = {'portrait': (72.0, 165.0), 'group': (22.0, 62.0), 'crowd': (MIN_FACE, 26.0), 'mixed': (MIN_FACE, 120.0),
            'empty': (MIN_FACE, 90.0)}  # fmt: skip
_DISTRACTORS = {'portrait': (0, 2), 'group': (0, 3), 'crowd': (0, 6), 'mixed': (1, 5), 'empty': (2, 7)}
_LIKE_FACES = {'scrambled': 0.30, 'blank': 0.16, 'back': 0.22, 'ball': 0.20, 'plate': 0.12}
_MIN_SCRAMBLED = 20.0  # px; below it nobody sees in which order the parts of a face stand
_UNLABELLED = 0.15  # share of the larger faces whose landmarks nobody has marked
_BAR = 0.25  # share of pictures with a bar in front
_TRIES = 40  # places tried for a head
_MAX_IOU = 0.3  # of the boxes of two heads
_MIN_VISIBLE = 0.45  # share of a face that is not hidden
_MIN_INSIDE = 0.6  # share of the box of a larger face that lies in the picture
_SMALL = 20.0  # px; smaller heads lie in the picture as a whole


class Finding(NamedTuple):
    """One annotated face.

    Attributes:
        box: [x1, y1, x2, y2] of the whole face, also where it is hidden, cut at the borders of the picture.
        landmarks: (5, 3) x, y, v of `FACE_LANDMARKS`: v 2 visible, 1 hidden, 0 not labelled (outside the picture or,
            in all five rows, a face without landmarks); x and y are 0 where v is.
        hidden: Share of the face that something else hides.
    """

    box: Floats
    landmarks: Floats
    hidden: float


class Scene(NamedTuple):
    """A picture before it is drawn.

    Attributes:
        kind: One of `KINDS`.
        heads: In the order of painting, from far to near.
        faces: The annotations, in the order of the heads whose look is 'face'.
        bars: Outlines of the bars before everything else.
        texture: Seed of the background and of the light.
    """

    kind: str
    heads: list[Head]
    faces: list[Finding]
    bars: list[Floats]
    texture: int


def draw_scene(seed: Sequence[int]) -> Scene:
    """Draw a scene.

    Large heads are placed first and smaller ones, which stand further away, where enough of them can be seen; a head
    that finds no place in forty tries is left out.

    Args:
        seed: Whole numbers >= 0 that name the scene, e.g. (seed, split, image).
    """
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    front = _Front()
    hidden: list[Floats] = []
    for look, height in draw_composition(rng, kind):
        head = Head(rng, look, height / NOMINAL)
        for _ in range(_TRIES):
            head.move_to(_place(rng, kind, height))
            if not front.has_room(head.box(), height):
                continue
            covered = front.hides(head)
            if 1 - covered[:SAMPLES].mean() >= _MIN_VISIBLE:
                front.add(head)
                hidden.append(covered)
                break
    bars = _bars(rng, front.heads, hidden)
    faces = []
    for head, covered in zip(front.heads, hidden, strict=True):
        labelled = head.height * NOMINAL >= MIN_LABELLED and rng.random() >= _UNLABELLED
        if head.look == 'face':
            faces.append(_annotate(head, covered, labelled))
    return Scene(kind, front.heads[::-1], faces[::-1], bars, int(rng.integers(2**32)))


def draw_composition(rng: np.random.Generator, kind: str) -> list[tuple[str, float]]:
    """Draw look and height in pixels of each head, the highest first."""
    low, high = _HEIGHTS[kind]
    if kind == 'group':
        low, high = np.array([0.8, 1.25]) * rng.uniform(1.25 * low, 0.8 * high)
    elif kind == 'crowd':
        high = rng.uniform(15.0, high)
    faces = int(rng.integers(_FACES[kind][0], _FACES[kind][1] + 1))
    others = int(rng.integers(_DISTRACTORS[kind][0], _DISTRACTORS[kind][1] + 1))
    looks = ['face'] * faces + rng.choice(list(_LIKE_FACES), others, p=list(_LIKE_FACES.values())).tolist()
    spread = [(low, high)] * faces + [(MIN_FACE, high if kind == 'crowd' else _HEIGHTS['empty'][1])] * others
    heights = [float(np.exp(rng.uniform(np.log(a), np.log(b)))) for a, b in spread]
    looks = [
        'ball' if look == 'scrambled' and h < _MIN_SCRAMBLED else look for look, h in zip(looks, heights, strict=True)
    ]
    return sorted(zip(looks, heights, strict=True), key=lambda one: (-one[1], one[0]))


def _place(rng: np.random.Generator, kind: str, height: float) -> Floats:
    """A place for the centre of a head: in crowds and groups who stands further away stands higher."""
    x, y, bend = rng.uniform(0.02, 0.98), rng.uniform(0.05, 0.92), rng.normal()
    if kind == 'portrait' and height > _HEIGHTS['portrait'][0]:
        x, y = 0.25 + 0.5 * x, 0.32 + 0.2 * y
    elif kind == 'group':
        y = 0.2 + 0.35 * y
    elif kind == 'crowd':
        y = 0.12 + 0.75 * (height - MIN_FACE) / (_HEIGHTS['crowd'][1] - MIN_FACE) + 0.09 * bend
    return np.array([x, y])


class _Front:
    """The heads that are placed already; all of them are nearer than the next one."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.boxes = np.zeros((0, 4))
        self.covers: list[Floats] = []
        self.extents = np.zeros((0, 4))  # boxes around the covers

    def add(self, head: Head) -> None:
        covers = head.covers()
        self.heads.append(head)
        self.boxes = np.vstack([self.boxes, head.box()])
        self.covers += covers
        self.extents = np.vstack([self.extents, [bounds(cover) for cover in covers]])

    def has_room(self, box: Floats, height: float) -> bool:
        """Whether enough of a box is in the picture and none of the others shares too much of it."""
        shown = np.clip(box, 0, 1)
        area = (box[2] - box[0]) * (box[3] - box[1])
        least = 1 - 1e-9 if height < _SMALL else _MIN_INSIDE
        if (shown[2] - shown[0]) * (shown[3] - shown[1]) < least * area:
            return False
        low, high = np.maximum(box[:2], self.boxes[:, :2]), np.minimum(box[2:], self.boxes[:, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        areas = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)
        return bool((shared <= _MAX_IOU * (area + areas - shared)).all())

    def hides(self, head: Head) -> Floats:
        """Which points of a head (its samples, then its landmarks) lie behind its own hand or behind these heads."""
        points = head.points()
        near = (self.extents[:, :2] < points.max(0)) & (self.extents[:, 2:] > points.min(0))
        return _covered(points, [*head.hand(), *(self.covers[k] for k in np.flatnonzero(near.all(1)))])


def _covered(points: Floats, covers: Sequence[Floats]) -> Floats:
    """1 for points (P, 2) behind a cover, else 0."""
    covered = np.zeros(len(points))
    for cover in covers:
        covered[inside(points, cover)] = 1
    return covered


def _bars(rng: np.random.Generator, heads: list[Head], hidden: list[Floats]) -> list[Floats]:
    """One or two bars before everything, where they leave enough of every head; adds to `hidden`."""
    if rng.random() >= _BAR:
        return []
    bars: list[Floats] = []
    for _ in range(12):
        a, b, width = rng.uniform(0.05, 0.95), rng.normal(0, 0.06), rng.uniform(0.012, 0.04)
        bar = stroke([(a, -0.1), (a + b, 1.1)] if rng.random() < 0.7 else [(-0.1, a), (1.1, a + b)], width)
        after = [np.maximum(was, _covered(h.points(), [bar])) for h, was in zip(heads, hidden, strict=True)]
        if all(1 - now[:SAMPLES].mean() >= _MIN_VISIBLE for now in after):
            bars.append(bar)
            hidden[:] = after
        if len(bars) == 2:
            break
    return bars


def _annotate(head: Head, covered: Floats, labelled: bool) -> Finding:
    points = head.landmarks()
    seen = np.where((covered[SAMPLES:] > 0) | head.masked(), 1.0, 2.0)
    seen[((points <= 0) | (points >= 1)).any(1)] = 0
    seen *= labelled
    landmarks = np.concatenate([points * (seen > 0)[:, None], seen[:, None]], 1)
    return Finding(np.clip(head.box(), 0, 1), landmarks, float(covered[:SAMPLES].mean()))
