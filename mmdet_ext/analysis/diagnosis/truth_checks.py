"""Self-checks of the measure and of the box coders: what is true must score as true."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_ext.analysis.relation_probe.detector import build_evaluator, quiet
from mmdet_ext.evaluation.average_precision import COCO_IOUS, detection_ap, mean_ap
from mmdet_ext.evaluation.matching import pair_table
from mmdet_ext.evaluation.objects import ImageObjects, Objects

from .evidence import Check

ENOUGH = 0.99
MOST_BOXES = 2000
_MOST_PER_IMAGE = 100


def truth_of(info: Mapping[str, Any]) -> ImageObjects:
    """Annotated objects of an image, as detections too."""
    real = [each for each in info.get('instances', ()) if not each.get('ignore_flag')]
    ignored = [each['bbox'] for each in info.get('instances', ()) if each.get('ignore_flag')]
    truth = Objects(
        np.array([each['bbox'] for each in real], np.float32),
        np.array([each['bbox_label'] for each in real], np.int64),
        np.ones(len(real), np.float32),
    )
    return ImageObjects(truth, truth, np.array(ignored, np.float32).reshape(-1, 4))


def check_truth_as_predictions(
    evaluator: Any, metainfo: Mapping[str, Any], infos: Iterable[Mapping[str, Any]], size: int
) -> Check:
    """Give the annotations of a loader to the config's own evaluator as if they were detections: AP must be 1.

    Args:
        evaluator: Config of the evaluator.
        metainfo: Of the data set.
        infos: Its images, as `get_data_info` gives them.
        size: Their number.
    """
    name = 'truth_as_predictions'
    crowded = 0
    try:
        with quiet():
            built = build_evaluator(evaluator, metainfo)
            for metric in built.metrics:
                if 'bbox' in getattr(metric, 'metrics', ()):
                    metric.metrics = ['bbox']
                if hasattr(metric, 'outfile_prefix'):
                    metric.outfile_prefix, metric.format_only = None, False
            for info in infos:
                crowded = max(crowded, sum(not each.get('ignore_flag') for each in info.get('instances', ())))
                built.process([_as_sample(info)])
            metrics = built.evaluate(size)
    except Exception as error:  # metrics of any kind, in any state
        text = ' '.join(str(error).split())
        return Check(name, None, f'The evaluator does not take boxes alone ({type(error).__name__}: {text:.200}).')
    ap = next((float(value) for key, value in metrics.items() if 'AP' in key), None)
    if ap is None or not np.isfinite(ap):
        return Check(name, None, f'The evaluator gives no AP, but {", ".join(metrics) or "nothing"}.')
    sentence = f'The annotations, taken as detections, have an AP of {ap:.3f} by the evaluator of the config.'
    if ap < ENOUGH and crowded > _MOST_PER_IMAGE:
        text = f'{sentence} An image has {crowded} objects, and COCO counts {_MOST_PER_IMAGE} detections.'
        return Check(name, None, text, {'ap': ap})
    fix = (
        'Give val_evaluator the `ann_file` of val_dataloader.dataset and both the same classes; count annotation ids '
        'from 1, for pycocotools never matches an object with the id 0.'
    )
    return Check(name, ap >= ENOUGH, sentence, {'ap': ap}, fix)


def _as_sample(info: Mapping[str, Any]) -> DetDataSample:
    shape = (info.get('height', 0), info.get('width', 0))
    objects = truth_of(info)
    truth = {'bboxes': torch.from_numpy(objects.truth.boxes), 'labels': torch.from_numpy(objects.truth.labels)}
    sample = DetDataSample(
        metainfo={'img_id': info['img_id'], 'ori_shape': shape, 'img_shape': shape, 'scale_factor': (1.0, 1.0)}
    )
    sample.gt_instances = InstanceData(**truth)
    regions = torch.from_numpy(objects.ignored)
    sample.ignored_instances = InstanceData(bboxes=regions, labels=torch.zeros(len(regions), dtype=torch.long))
    sample.pred_instances = InstanceData(**truth, scores=torch.ones(len(objects.truth)))
    return sample


def check_coders(model: nn.Module, images: Iterable[ImageObjects], num_classes: int) -> Check:
    """Encode objects against boxes beside them, decode them, and measure AP: it must be 1.

    Args:
        model: The detector.
        images: Some images with objects.
        num_classes: C.
    """
    kept, boxes = [], 0
    for image in images:
        if boxes < MOST_BOXES:
            kept.append(image)
            boxes += len(image.truth)
    figures, faults = {}, []
    for name, coder in _coders(model):
        try:
            figures[name] = _round_trip(coder, kept, num_classes)
        except Exception as error:  # noqa: PERF203  (coders of any kind; there are few)
            faults.append(f'{name} ({type(coder).__name__}) is no coder of boxes against boxes: {error}')
    if not figures or not boxes:
        return Check('coders', None, f'{"; ".join(faults) or "There is no box coder, or no object"}.')
    told = ', '.join(f'{ap:.3f} by {name}' for name, ap in figures.items())
    fix = 'Look at target_means and target_stds (none may be 0) and clip_border of the bbox_coder of that head.'
    return Check(
        'coders',
        min(figures.values()) >= ENOUGH,
        f'Objects encoded and decoded again have an AP of {told}.',
        figures,
        fix,
    )


def _coders(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        coder = getattr(module, 'bbox_coder', None)
        if hasattr(coder, 'encode') and hasattr(coder, 'decode'):
            yield name, coder


def _round_trip(coder: Any, images: list[ImageObjects], num_classes: int) -> float:
    again = []
    for image in images:
        boxes = torch.from_numpy(image.truth.boxes).float()
        found = boxes
        if len(boxes):
            priors = beside(boxes)
            if 'Point' in type(coder).__name__:
                priors = (boxes[:, :2] + boxes[:, 2:]) / 2
            # YOLO's coder measures in cells.
            stride = [32.0] if 'stride' in inspect.signature(coder.encode).parameters else []
            found = coder.decode(priors, coder.encode(priors, boxes, *stride), *stride)
        detected = Objects(found.detach().numpy(), image.truth.labels, image.truth.scores)
        again.append(ImageObjects(image.truth, detected, image.ignored))
    table = pair_table(again, num_classes, 'coco', None)
    return float(mean_ap(detection_ap(table, COCO_IOUS)))


def beside(boxes: Tensor) -> Tensor:
    """Boxes (n, 4) a little off and a little larger than these, as priors are."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + size * size.new_tensor([0.08, -0.06])
    size = size * size.new_tensor([1.25, 0.9])
    return torch.cat([centre - size / 2, centre + size / 2], 1)
