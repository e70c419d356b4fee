"""The face phantom: synthetic pictures of faces with boxes and five landmarks, at many scales, in crowds, half hidden.

It needs no download and is the same for everybody; its faces are drawings of nobody, and results on it say nothing
about people.

- Faces are 8 to 165 px high in pictures of 256 px (another `size` shows the same scene), alone, in groups and crowds,
  turned up to 39 degrees to a side; one picture in ten has none.
- A landmark has v 2 (visible), 1 (labelled but hidden: behind another head, a body, a hand, a bar, sunglasses or a
  mask) or 0 (not labelled). All five of a face are 0 below 12 px, as they are for a random 15 % of the others; single
  ones are 0 outside the picture. The box is that of the whole face, cut at the borders of the picture.
- Things that are no faces: heads with the parts of a face in a wrong order, without any part, or seen from behind,
  balls of the colour of skin, plates with two dots. Only the order of the parts, and for small ones the shoulders
  below, tell them from faces.

Layout of a data set: that of `phantom_files`; the annotations have `keypoints`, `num_keypoints` and `hidden` (share of
the face behind other things), and the side file `annotations/distractors_{train,val}.json` (`{file_name: [{look,
bbox}]}`) has the things that are no faces.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .phantoms.face_drawing import draw_faces
from .phantoms.face_scene import Finding, draw_scene
from .phantoms.phantom_drawing import Pixels, contact_sheet
from .phantoms.phantom_files import Phantom, Picture, content_hash, make_phantom, xywh
from .transforms.landmark_geometry import FACE_LANDMARKS

CLASSES = ('face',)
VERSION = '1'
_SIDE_FILES = ('distractors',)


def phantom_hash(out: str | os.PathLike[str]) -> str:
    """Content hash of a generated data set, see `content_hash`."""
    return content_hash(out, _SIDE_FILES)


def make_face_phantom(
    out: str | os.PathLike[str], train: int = 600, val: int = 200, size: int = 256, seed: int = 0,
    preview: bool = True, progress: bool = True, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write the data set, or find it already written; arguments, result and errors are those of `make_phantom`."""
    categories = [{'id': 1, 'name': 'face', 'keypoints': list(FACE_LANDMARKS), 'skeleton': []}]
    phantom = Phantom('face phantom', VERSION, categories, _draw, _preview, _SIDE_FILES)
    return make_phantom(phantom, out, train, val, size, seed, preview, progress, overwrite)


def _draw(key: tuple[int, int, int], size: int) -> Picture:
    scene = draw_scene(key)
    pixels = draw_faces(scene, size, np.random.default_rng((*key, size)))
    others = [
        {'look': head.look, 'bbox': xywh(np.clip(head.box(), 0, 1) * size)}
        for head in scene.heads
        if head.look != 'face'
    ]
    return Picture(pixels, [_annotate(face, size) for face in scene.faces], {'distractors': others})


def _annotate(face: Finding, size: int) -> dict[str, Any]:
    bbox = xywh(face.box * size)
    points = np.round(face.landmarks * (size, size, 1), 2)
    return {
        'category_id': 1, 'bbox': bbox, 'area': round(bbox[2] * bbox[3], 2), 'iscrowd': 0,
        'keypoints': [int(x) if k % 3 == 2 else x for k, x in enumerate(points.reshape(-1).tolist())],
        'num_keypoints': int((points[:, 2] > 0).sum()), 'hidden': round(face.hidden, 2),
    }  # fmt: skip


def _preview(images: Sequence[Pixels], objects: Sequence[list[dict[str, Any]]]) -> Pixels:
    boxes = [[a['bbox'] for a in found] for found in objects]
    points = [[p for a in found for p in np.reshape(a['keypoints'], (-1, 3)).tolist()] for found in objects]
    return contact_sheet(images, boxes, [[0] * len(found) for found in boxes], ('',), points=points)
