"""Pictures of the phantoms, drawn anew: no file is needed."""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from matplotlib.patches import Rectangle

from mmdet_ext.analysis.figures import new_figure, save_figure
from mmdet_ext.analysis.graph_plot import plot_category_graph
from mmdet_ext.datasets.chest_phantom import CLASSES, name_classes
from mmdet_ext.datasets.phantoms import face_scene
from mmdet_ext.datasets.phantoms.chest_drawing import draw_chest
from mmdet_ext.datasets.phantoms.chest_scene import draw_scene
from mmdet_ext.datasets.phantoms.face_drawing import draw_faces as paint_faces
from mmdet_ext.graphs import CategoryGraph

TRAIN_IMAGES = 600


def draw_category_graph(out: Path) -> None:
    """Co-occurrence in the training images of the phantom as its configs use it (seed 0)."""
    found = [
        {'image_id': k, 'category_id': CLASSES.index(name) + 1, 'bbox': [0, 0, 1, 1]}
        for k in range(TRAIN_IMAGES)
        for name in name_classes([lesion.look for lesion in draw_scene((0, 0, k)).lesions])
    ]
    coco = {
        'images': [{'id': k, 'file_name': f'{k}.png', 'width': 160, 'height': 160} for k in range(TRAIN_IMAGES)],
        'annotations': [{'id': number + 1, 'area': 1, 'iscrowd': 0, **entry} for number, entry in enumerate(found)],
        'categories': [{'id': number + 1, 'name': name} for number, name in enumerate(CLASSES)],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'train.json'
        file.write_text(json.dumps(coco), encoding='utf-8')
        plot_category_graph(CategoryGraph.from_coco(file), out, title='chest phantom, 600 training images')


def draw_parts(out: Path) -> None:
    """Part boxes on a radiograph, and the cells of the lungs."""
    size, split = 320, (3, 2)
    scene = draw_scene((0, 0, 2))
    pixels = draw_chest(scene, size, np.random.default_rng((0, 0, 2, size)))
    figure = new_figure(6.4, 3.4)
    for axes, with_cells in zip(figure.subplots(1, 2), (False, True), strict=True):
        axes.imshow(pixels, cmap='gray', vmin=0, vmax=255)
        for name, box in scene.patient.parts().items():
            x1, y1, x2, y2 = box * size
            if with_cells and 'lung' not in name:
                continue
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec='#ffb347', lw=1.4))
            if with_cells:
                rows, columns = split
                axes.hlines(np.linspace(y1, y2, rows + 1), x1, x2, color='#ffb347', lw=0.8)
                axes.vlines(np.linspace(x1, x2, columns + 1), y1, y2, color='#ffb347', lw=0.8)
            else:
                axes.text(x1 + 3, y1 + 4, name, color='#ffb347', fontsize=6.5, va='top')
        axes.set_title('cells of the lungs, 3 x 2' if with_cells else 'parts', fontsize=9)
        axes.set_axis_off()
    save_figure(figure, out)


def draw_faces(out: Path) -> None:
    """Pictures of the face phantom with boxes and landmarks."""
    size = 256
    figure = new_figure(10, 2.8)
    for axes, number in zip(figure.subplots(1, 4), (0, 2, 4, 7), strict=True):
        scene = face_scene.draw_scene((0, 0, number))
        pixels = paint_faces(scene, size, np.random.default_rng((0, 0, number, size)))
        axes.imshow(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        for face in scene.faces:
            x1, y1, x2, y2 = face.box * size
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec='#3ddc84', lw=1))
            points = face.landmarks[face.landmarks[:, 2] > 0]
            fill = ['#3ddc84' if state == 2 else 'none' for state in points[:, 2]]
            axes.scatter(*(points[:, :2] * size).T, s=9, c=fill, edgecolors='#3ddc84', linewidths=0.6)
        axes.set(xlim=(0, size), ylim=(size, 0))
        axes.set_axis_off()
    save_figure(figure, out)
