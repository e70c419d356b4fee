"""What is read from files that somebody else made, and how to tell a right result from a wrong one."""

import contextlib
import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset

from mmdet_ext.analysis.naming import read_annotations
from mmdet_ext.analysis.stored_predictions import read_predictions
from mmdet_ext.datasets import CocoLandmarkDataset
from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.chestx_det import chestx_det_to_coco
from mmdet_ext.datasets.converters.voc_to_coco import voc_to_coco
from mmdet_ext.datasets.part_file import read_part_file
from mmdet_ext.datasets.screened_list import read_screened_list
from mmdet_ext.datasets.wider_labels import read_wider_labels
from mmdet_ext.engine.checkpoint import read_checkpoint
from mmdet_ext.evaluation.face_truth import CocoFaces
from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.graphs.legacy import import_graph

from . import samples
from .mutations import Mutation, mutate_bytes, mutate_json, mutate_text, mutate_xml
from .pickles import mutate_pickle


class WrongResultError(Exception):
    """A reader took a bad file, and what it gave is not right."""


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        name: Of the kind.
        file: File name; its suffix tells some readers what to do.
        good: Bytes of a good one.
        mutate: Makes a bad one of it.
        read: Reads the file; raises what its reader raises, or `WrongResultError`.
    """

    name: str
    file: str
    good: Callable[[], bytes]
    mutate: Mutation
    read: Callable[[Path], None]


def _require(right: Any, what: str) -> None:
    if not right:
        raise WrongResultError(what)


def _refuse_errors(problems: Any) -> None:
    """Turn the errors among problems into what training does with them."""
    errors = [str(problem) for problem in problems if problem.severity == 'error']
    if errors:
        raise ValueError('\n'.join(errors))


def _coco(path: Path, kind: type[CocoDataset] = CocoDataset) -> None:
    """As training reads it: checked first, then loaded by the data set."""
    _refuse_errors(check_coco(path, samples.CLASSES))
    with contextlib.redirect_stdout(io.StringIO()):
        data = kind(
            ann_file=str(path),
            metainfo=dict(classes=samples.CLASSES),
            data_prefix=dict(img=''),
            test_mode=True,
            pipeline=[],
        )
    for index in range(len(data)):
        for instance in data.get_data_info(index)['instances']:
            _require(0 <= instance['bbox_label'] < len(samples.CLASSES), f'label {instance["bbox_label"]}')
            _require(np.isfinite(np.array(instance['bbox'], dtype=float)).all(), f'box {instance["bbox"]}')
            _require(np.isfinite(np.array(instance.get('keypoints', []), dtype=float)).all(), 'a landmark is no number')


def _faces(path: Path) -> None:
    faces = CocoFaces(str(path))
    for image in (1, 2, 5):
        truth = faces[image]
        _require(np.isfinite(truth.boxes).all(), 'a box is no number')
        _require(truth.landmarks is None or np.isfinite(truth.landmarks).all(), 'a landmark is no number')


def _names(path: Path) -> None:
    for objects in read_annotations(path, samples.CLASSES).values():
        _require(np.isfinite(objects.boxes).all(), 'a box is no number')


def _counted(path: Path) -> None:
    graph = CategoryGraph.from_coco(path)
    _require((graph.counts == graph.counts.T).all() and (graph.counts >= 0).all(), 'counts are not symmetric')
    _require(np.isfinite(graph.matrix).all(), 'the matrix is not finite')


def _graph(path: Path) -> None:
    graph = CategoryGraph.load(path)
    size = len(graph.classes)
    _require(graph.matrix.shape == (size + 1, size + 1) and np.isfinite(graph.matrix).all(), 'the matrix')
    try:
        graph.check(graph.classes)
    except ValueError as error:  # it knows no file; whoever loads one says which
        raise ValueError(f'{path}: {error}') from error
    graph.remap(graph.classes[:1]).randomized(0)
    graph.save(path.with_name(f'copy{path.suffix}'))


def _matrix(path: Path) -> None:
    graph = import_graph(path, samples.CLASSES, 'none')
    _require(graph.matrix.shape == (4, 4) and np.isfinite(graph.matrix).all(), 'the matrix')


def _parts(path: Path) -> None:
    sizes = {'1.png': (64.0, 48.0), 'deep/2.png': (64.0, 48.0)}
    table, problems = read_part_file(path, samples.PARTS, sizes)
    _refuse_errors(problems)
    _require(table is not None and table.boxes.shape[1:] == (2, 4), 'no table')
    boxes = table.boxes[list(table.rows.values())] if table else np.zeros((0, 4))
    whole = np.isfinite(boxes).all(-1)
    _require((whole | np.isnan(boxes).all(-1)).all(), 'half a box')


def _labels(path: Path) -> None:
    for image in read_wider_labels(path):
        for face in image.faces:
            _require(np.isfinite(face.box).all() and min(face.box[2:]) >= 0, f'box {face.box}')
            _require(face.keypoints is None or np.isfinite(face.keypoints).all(), 'a landmark is no number')


def _voc(path: Path) -> None:
    root = path.parent
    for folder, name, text in (('Annotations', 'a.xml', None), ('.', 'set.txt', 'a\n')):
        (root / folder).mkdir(exist_ok=True)
        target = root / folder / name
        target.unlink(missing_ok=True)
        if text is not None:
            target.write_text(text)
        elif path.is_file():
            target.write_bytes(path.read_bytes())
    written = voc_to_coco(root, 'set.txt', samples.CLASSES, root / 'out.json')
    for annotation in written['annotations']:
        _require(np.isfinite(annotation['bbox']).all(), f'box {annotation["bbox"]}')


def _predictions(path: Path) -> None:
    for image in read_predictions(path):
        _require(image.bboxes.shape == (len(image.scores), 4), 'the shapes')
        _require(torch.isfinite(image.bboxes).all() and torch.isfinite(image.scores).all(), 'not finite')
        _require(all(isinstance(side, int) for side in image.ori_shape), f'ori_shape {image.ori_shape}')


def _checkpoint(path: Path) -> None:
    state = read_checkpoint(path).get('state_dict', {})
    for name, value in samples.checkpoint_state().items():
        _require(name not in state or torch.equal(state[name], value), f'the weights {name} are others')


def _screened(path: Path) -> None:
    for image in read_screened_list(path)['images']:
        _require('image_id' in image and 'file_name' in image, 'an entry')


def _chestx(path: Path) -> None:
    made = chestx_det_to_coco(path, path.with_name('out.json'), size=(64, 64)).coco
    for annotation in made['annotations']:
        _require(np.isfinite(annotation['bbox']).all(), f'box {annotation["bbox"]}')


_LANDMARKS = functools.partial(samples.coco, landmarks=True)

TARGETS: tuple[Target, ...] = (
    Target('annotations, COCO', 'train.json', samples.coco, mutate_json, _coco),
    Target('annotations, COCO, counted for a graph', 'train.json', samples.coco, mutate_json, _counted),
    Target('annotations, COCO, for names', 'train.json', samples.coco, mutate_json, _names),
    Target('annotations, VOC', 'a.xml', samples.voc, mutate_xml, _voc),
    Target('annotations, ChestX-Det', 'chest.json', samples.chestx_det, mutate_json, _chestx),
    Target(
        'landmarks, COCO', 'faces.json', _LANDMARKS, mutate_json, functools.partial(_coco, kind=CocoLandmarkDataset)
    ),
    Target('landmarks, COCO, for metrics', 'faces.json', _LANDMARKS, mutate_json, _faces),
    Target('labels, WIDER FACE', 'labels.txt', samples.wider, mutate_text, _labels),
    Target('labels, RetinaFace', 'label.txt', samples.retinaface, mutate_text, _labels),
    Target('parts', 'parts.json', samples.parts, mutate_json, _parts),
    Target('graph, json', 'g.catgraph.json', functools.partial(samples.graph, '.catgraph.json'), mutate_json, _graph),
    Target('graph, npz', 'g.npz', functools.partial(samples.graph, '.npz'), mutate_bytes, _graph),
    Target('matrix, pickle', 'm.pkl', functools.partial(samples.matrix, '.pkl'), mutate_pickle, _matrix),
    Target('matrix, npy', 'm.npy', functools.partial(samples.matrix, '.npy'), mutate_bytes, _matrix),
    Target('matrix, csv', 'm.csv', functools.partial(samples.matrix, '.csv'), mutate_text, _matrix),
    Target('predictions', 'p.pkl', samples.predictions, mutate_pickle, _predictions),
    Target('checkpoint', 'c.pth', samples.checkpoint, mutate_bytes, _checkpoint),
    Target('screened images', 'screened.json', samples.screened, mutate_json, _screened),
)
