"""FastCocoMetric against pycocotools: every number of its evaluation, and the figures of CocoMetric."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.metrics import coco_metric
from mmdet.registry import METRICS
from pycocotools import mask as mask_api
from pycocotools.cocoeval import COCOeval

from mmdet_ext.evaluation import fast_coco_metric
from mmdet_ext.evaluation.fast_coco_metric import FastCocoMetric, fast_evaluation

pytest.importorskip('faster_coco_eval', reason='requirements/optional.txt')

SIDE, CLASSES = 200, ('a', 'b', 'c')
# Few different numbers: equal scores, equal overlaps and sizes on COCO's bounds are common.
corner, side = st.integers(0, 12).map(lambda v: 8.0 * v), st.sampled_from([0.0, 8.0, 12.5, 32.0, 40.0, 96.0])
boxes = st.tuples(corner, corner, side, side)
labels = st.integers(1, len(CLASSES))
truths = st.lists(st.tuples(boxes, labels, st.booleans()), max_size=5)
found = st.lists(st.tuples(boxes, labels, st.sampled_from([0.1, 0.5, 0.9])), max_size=8)
images = st.lists(st.tuples(truths, found), min_size=1, max_size=4)


def rle(box):
    x, y, w, h = (int(value) for value in box)
    mask = np.zeros((SIDE, SIDE), np.uint8, order='F')
    mask[y : y + h, x : x + w] = 1
    return mask_api.encode(mask)


def coco_data(scene):
    """Annotations and detections in COCO's form."""
    truth, dets = [], []
    for number, (objects, detections) in enumerate(scene, start=1):
        for box, label, crowd in objects:
            rest = dict(bbox=list(box), area=box[2] * box[3], iscrowd=int(crowd), segmentation=rle(box))
            truth.append(dict(id=len(truth) + 1, image_id=number, category_id=label, **rest))
        for box, label, score in detections:
            rest = dict(bbox=list(box), score=score, segmentation=rle(box))
            dets.append(dict(image_id=number, category_id=label, **rest))
    images = [dict(id=k + 1, width=SIDE, height=SIDE, file_name=f'{k}.png') for k in range(len(scene))]
    categories = [dict(id=k + 1, name=name) for k, name in enumerate(CLASSES)]
    return dict(info={}, images=images, categories=categories, annotations=truth), dets


def evaluated(kind, scene, iou_type, max_dets=(1, 10, 100), **params):
    """An evaluation with everything computed."""
    data, dets = coco_data(scene)
    if iou_type == 'segm':
        dets = [{key: value for key, value in row.items() if key != 'bbox'} for row in dets]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        evaluation = kind(truth, truth.loadRes(dets), iou_type)
        evaluation.params.maxDets = list(max_dets)
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(scene, *options, **params):
    if not any(detections for _, detections in scene):
        return
    ours, theirs = (evaluated(kind, scene, *options, **params) for kind in (fast_evaluation(), COCOeval))
    for name in ('precision', 'recall', 'scores'):
        np.testing.assert_allclose(ours.eval[name], theirs.eval[name], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.stats, theirs.stats, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(images, st.sampled_from(['bbox', 'segm']), st.sampled_from([0, 1]))
def test_equals_pycocotools(scene, iou_type, use_cats):
    assert_equal(scene, iou_type, useCats=use_cats)


@settings(max_examples=20, deadline=None)
@given(images, st.sampled_from([(1, 2, 3), (2, 100, 1000)]))
def test_other_limits_and_thresholds(scene, max_dets):
    assert_equal(scene, 'bbox', max_dets, iouThrs=np.array([0.01, 0.5, 0.75]))


def test_map_is_over_a_hundred_boxes():
    """Beyond it faster-coco-eval's own summary takes more boxes into mAP than pycocotools."""
    truth = [((0.0, 0.0, 40.0, 40.0), 1, False)]
    dets = [((100.0, 100.0, 40.0, 40.0), 1, 0.9)] * 100 + [((0.0, 0.0, 40.0, 40.0), 1, 0.1)]
    scene = [(truth, dets)]
    assert_equal(scene, 'bbox', (100, 300, 1000))
    assert evaluated(fast_evaluation(), scene, 'bbox', (100, 300, 1000)).stats[0] == 0


def metrics(kind, path, scene, **options):
    metric = METRICS.build(dict(type=kind, ann_file=str(path), **options))
    metric.dataset_meta = dict(classes=CLASSES)
    for number, (_, detections) in enumerate(scene, start=1):
        array = np.array([box for box, _, _ in detections], np.float32).reshape(-1, 4)
        array[:, 2:] += array[:, :2]
        pred = dict(
            bboxes=torch.from_numpy(array),
            scores=torch.tensor([score for *_, score in detections], dtype=torch.float32),
            labels=torch.tensor([label - 1 for _, label, _ in detections], dtype=torch.long),
            masks=[rle(box) for box, _, _ in detections],
        )
        metric.process({}, [dict(img_id=number, ori_shape=(SIDE, SIDE), pred_instances=pred)])
    return metric.evaluate(size=len(scene))


def random_scene(seed=0):
    rng = np.random.default_rng(seed)

    def box():
        return (*(rng.integers(0, 12, 2) * 8.0), *rng.choice([8.0, 32.0, 40.0, 96.0], 2))

    scene = []
    for _ in range(6):
        truth = [(box(), int(rng.integers(1, 4)), False) for _ in range(4)]
        near = [(one, label, float(rng.random())) for one, label, _ in truth[:3]]
        scene.append((truth, near + [(box(), int(rng.integers(1, 4)), float(rng.random())) for _ in range(4)]))
    return scene


@pytest.mark.parametrize(
    'options',
    [
        dict(metric=['bbox', 'segm'], classwise=True),
        dict(metric='proposal', proposal_nums=(10, 30, 100)),
        dict(metric='bbox', metric_items=['mAP_50', 'AR@100'], prefix='own'),
    ],
)
def test_figures_are_those_of_coco_metric(tmp_path, options):
    scene = random_scene()
    data, _ = coco_data([(truth, []) for truth, _ in scene])
    for row in data['annotations']:
        row['segmentation'] = dict(row['segmentation'], counts=row['segmentation']['counts'].decode())
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(data))
    ours, theirs = (metrics(kind, path, scene, **options) for kind in ('FastCocoMetric', 'CocoMetric'))
    assert ours == theirs
    assert any(0 < value < 1 for value in ours.values())
    assert coco_metric.COCOeval is not fast_evaluation()


def test_thresholds_may_be_a_list_or_a_number(tmp_path):
    path = tmp_path / 'ann.json'
    data, _ = coco_data([([((0.0, 0.0, 10.0, 10.0), 1, False)], [])])
    for row in data['annotations']:
        del row['segmentation']
    path.write_text(json.dumps(data))
    scene = [([], [((0.0, 0.0, 10.0, 6.0), 1, 0.5)])]
    options = dict(metric='bbox', metric_items=['mAP'])
    assert metrics('FastCocoMetric', path, scene, iou_thrs=[0.5], **options) == {'coco/bbox_mAP': 1}
    assert metrics('FastCocoMetric', path, scene, iou_thrs=0.7, **options) == {'coco/bbox_mAP': 0}


def test_the_evaluation_is_put_back_after_an_error(monkeypatch):
    before = coco_metric.COCOeval
    monkeypatch.setattr(CocoMetric, 'compute_metrics', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        FastCocoMetric().compute_metrics([])
    assert coco_metric.COCOeval is before


def test_bad_options(monkeypatch):
    with pytest.raises(ValueError, match='leave use_mp_eval out'):
        FastCocoMetric(use_mp_eval=True)
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    fast_coco_metric.fast_evaluation.cache_clear()
    with pytest.raises(ImportError, match=r'pip install -r requirements/optional\.txt installs it; CocoMetric gives'):
        FastCocoMetric()
    fast_coco_metric.fast_evaluation.cache_clear()
