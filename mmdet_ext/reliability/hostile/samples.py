"""Good files of every kind that is read, as bytes; the mutations start from them."""

import io
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdet_ext.graphs import CategoryGraph

CLASSES = ('lung', 'heart', 'nodule')
PARTS = ('left lung', 'right lung')


def coco(landmarks: bool = False) -> bytes:
    """Three images with two boxes each; with five landmarks a box if wanted."""
    images = [{'id': i, 'file_name': f'{i}.png', 'width': 64, 'height': 48} for i in (1, 2, 5)]
    annotations: list[dict[str, Any]] = []
    for image in images:
        for label in (1, 2):
            box = [4 * label, 5, 10, 12]
            annotation = dict(id=len(annotations) + 1, image_id=image['id'], category_id=label, bbox=box, area=120)
            annotation['iscrowd'] = 0
            if landmarks:
                annotation['keypoints'] = [6, 7, 2] * 4 + [0, 0, 0]
            annotations.append(annotation)
    categories = [{'id': number, 'name': name} for number, name in enumerate(CLASSES, start=1)]
    return json.dumps({'images': images, 'annotations': annotations, 'categories': categories}).encode()


def parts() -> bytes:
    """Part boxes of two images."""
    boxes = {'left lung': [2, 3, 20, 30], 'right lung': [30, 3, 20, 30]}
    return json.dumps({'1.png': boxes, 'deep/2.png': {'left lung': [1, 1, 5, 5]}}).encode()


def graph(suffix: str) -> bytes:
    """A category graph as `CategoryGraph.save` writes it."""
    made = CategoryGraph.identity(CLASSES)
    made.matrix[0, 1] = made.matrix[1, 0] = 0.5
    with tempfile.TemporaryDirectory() as folder:
        return made.save(Path(folder, f'g{suffix}')).read_bytes()


def matrix(suffix: str) -> bytes:
    """A bare matrix of the classes."""
    values = np.eye(len(CLASSES)) + 0.25
    if suffix == '.csv':
        return '\n'.join(','.join(map(str, row)) for row in values).encode()
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue() if suffix == '.npy' else pickle.dumps({'matrix': values}, 2)


def wider() -> bytes:
    """The official labels: two images, the second without faces."""
    return b'0--A/x.jpg\n2\n10 10 20 30 0 0 0 0 0 0 \n40 50 6 7 2 0 1 1 0 0 \n0--A/y.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n'


def retinaface() -> bytes:
    """RetinaFace's labels: landmarks visible, hidden and missing."""
    face = '10 10 20 30 ' + '12.5 13.5 0.0 ' * 3 + '15 16 1.0 -1 -1 -1 0.82'
    return f'# 0--A/x.jpg\n{face}\n{face}\n# 0--A/y.jpg\n1 2 3 4\n'.encode()


def voc() -> bytes:
    """One VOC xml."""
    box = '<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>'
    thing = f'<object><name>lung</name><difficult>0</difficult>{box}</object>'
    size = '<size><width>64</width><height>48</height><depth>3</depth></size>'
    return f'<annotation><filename>a.jpg</filename>{size}{thing}{thing}</annotation>'.encode()


def predictions() -> bytes:
    """What `tools/test.py --out` writes for two images."""
    found = {'bboxes': torch.rand(3, 4) * 40, 'scores': torch.rand(3), 'labels': torch.tensor([0, 1, 2])}
    images = [{'img_id': i, 'ori_shape': (48, 64), 'pred_instances': found} for i in (1, 2)]
    return pickle.dumps(images, 4)


def checkpoint() -> bytes:
    """Weights and a little beside them."""
    stream = io.BytesIO()
    torch.save({'state_dict': checkpoint_state(), 'meta': {'epoch': 1, 'iter': 4}, 'message_hub': {}}, stream)
    return stream.getvalue()


def checkpoint_state() -> dict[str, torch.Tensor]:
    """The weights of that checkpoint."""
    return {'a': torch.arange(12.0).reshape(3, 4), 'b': torch.linspace(-1, 1, 5)}


def screened() -> bytes:
    """A list of images that are left out."""
    return json.dumps({'format': 1, 'images': [{'image_id': 1, 'file_name': '1.png', 'reasons': ['dark']}]}).encode()


def chestx_det() -> bytes:
    """ChestX-Det's own annotations of one image."""
    polygon = [[10, 10], [40, 10], [40, 40], [10, 40]]
    entry = {'file_name': '1.png', 'syms': ['Nodule'], 'boxes': [[10, 10, 40, 40]], 'polygons': [polygon]}
    return json.dumps([entry]).encode()
