"""A tiny WIDER FACE: drawn pictures, and labels in both formats."""

from pathlib import Path

import cv2
import numpy as np

EYES = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])
# Image, its width and height, faces (x, y, w, h, invalid); the last face of an image has no landmarks.
IMAGES = (
    ('0--Parade/0_Parade_1.jpg', 120, 90, [(10, 12, 40, 50, 0), (70, 20, 24, 30, 0), (5, 70, 6, 8, 0)]),
    ('0--Parade/0_Parade_2.jpg', 90, 120, []),
    ('1--March/1_March_7.jpg', 100, 100, [(20, 20, 60, 70, 0), (60, 5, 20, 0, 0), (1, 1, 12, 12, 1)]),
)


def landmark_words(box):
    x, y, w, h = box[:4]
    places = EYES * [w, h] + [x, y]
    return ' '.join(f'{px:.3f} {py:.3f} {hidden:.1f}' for (px, py), hidden in zip(places, (0, 0, 0, 1, 0), strict=True))


def write_wider(root, folder='WIDER_train/images', official=None, landmarks=None):
    """Draw the pictures below `folder`, and write label files of both formats, named relative to `root`."""
    root = Path(root)
    lines = {'official': [], 'landmarks': []}
    for name, width, height, faces in IMAGES:
        picture = np.full((height, width, 3), 90, np.uint8)
        for x, y, w, h, _ in faces:
            cv2.ellipse(picture, (x + w // 2, y + h // 2), (w // 2, h // 2), 0, 0, 360, (120, 180, 230), -1)
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
        lines['official'] += [name, str(len(faces))]
        lines['official'] += [f'{x} {y} {w} {h} 0 0 0 {bad} 0 0 ' for x, y, w, h, bad in faces] or [' '.join('0' * 10)]
        lines['landmarks'].append(f'# {name}')
        for index, face in enumerate(faces):
            words = landmark_words(face) if index + 1 < len(faces) else ' '.join(['-1.0'] * 15)
            lines['landmarks'].append(f'{" ".join(map(str, face[:4]))} {words} 0.9')
    for kind, target in (('official', official), ('landmarks', landmarks)):
        if target is not None:
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / target).write_text('\n'.join(lines[kind]) + '\n')
    return root
