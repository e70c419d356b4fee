"""Scores stored predictions again over thresholds, top-k and NMS, without another forward pass."""

import contextlib
import hashlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmdet_ext.engine.dataset_overlay import class_names
from mmdet_ext.engine.launch import load_config
from mmdet_ext.evaluation import CocoIoUMetric

from ..stored_predictions import ImagePredictions, read_predictions
from .report import write_sweep
from .settings import apply_nms, cut_notes, make_settings, select, stored_cut

SCORE_THRS = (0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
TOP_KS = (10, 30, 100)
_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'AR@100')
_print = partial(print, flush=True)


def run_sweep(
    config: str | Path,
    predictions: str | Path,
    *,
    score_thrs: Sequence[float] = SCORE_THRS,
    top_ks: Sequence[int] = TOP_KS,
    nms_ious: Sequence[float] = (),
    out: str | Path | None = None,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = _print,
) -> dict[str, Any]:
    """Evaluate stored predictions at every setting of a grid and write `sweep.{md,csv,png}`.

    Every COCO metric of the config's `test_evaluator` measures, so the row of the settings the predictions were stored
    with has the figures of `tools/test.py`: those of `CocoMetric`, with AR@100 (mean recall of at most 100 boxes of a
    class and image). Result size is what a metric writes as COCO json for its boxes (and masks).

    Args:
        config: Config the predictions were made with.
        predictions: Pickle of `tools/test.py --out`.
        score_thrs: Boxes with a score at or below it are dropped.
        top_ks: At most so many boxes of an image are kept, the best of all classes.
        nms_ious: Thresholds of one more NMS; none leaves the boxes as they were stored.
        out: Folder for the files; default `<predictions>_sweep` beside the pickle.
        dataset: See `load_config`.
        cfg_options: See `load_config`.
        say: Prints a line for the user.

    Returns:
        `rows`: for each setting `nms_iou`, `score_thr`, `top_k`, `metrics`, `detections` (mean over the images),
        `most` (in one image), `bytes`; `metrics`: the names; `best`: metric to the number of its best row, the one with
        the smallest result where several are; `notes`: sentences, such as on what was cut before it was stored.

    Raises:
        FileNotFoundError: Config, predictions or annotation file are not there.
        ValueError: A value of the grid, the pickle, an evaluator without annotations, or predictions of other data.
    """
    settings = make_settings(score_thrs, top_ks, nms_ious)
    cfg = load_config(config, dataset=dataset, cfg_options=cfg_options)
    images = read_predictions(predictions)
    metrics = _coco_metrics(cfg)
    notes = _check_data(cfg, metrics, images)
    cut = stored_cut(cfg, images)
    notes += cut_notes(settings, cut, images)
    for note in notes:
        say(note)
    known: dict[str, dict[str, Any]] = {}
    ordered: tuple[float | None, list[ImagePredictions]] = (-1.0, [])
    rows = []
    for number, setting in enumerate(settings, start=1):
        if ordered[0] != setting.nms_iou:
            ordered = (setting.nms_iou, apply_nms(images, setting.nms_iou, cut))
        selected = list(select(ordered[1], setting))
        # Thresholds below the lowest score, say, all leave the same boxes.
        key = _fingerprint(selected)
        if key not in known:
            known[key] = evaluate(metrics, selected)
        rows.append({'nms_iou': setting.nms_iou, 'score_thr': setting.score_thr, 'top_k': setting.top_k, **known[key]})
        say(f'[{number}/{len(settings)}] {setting}: {_outcome(known[key])}')
    names = list(rows[0]['metrics'])
    result = {
        'config': str(config),
        'predictions': str(predictions),
        'images': len(images),
        'metrics': names,
        'rows': rows,
        'best': {name: best_row(rows, name) for name in names},
        'notes': notes,
    }
    folder = Path(out) if out is not None else Path(predictions).with_name(f'{Path(predictions).stem}_sweep')
    say(f'\n{write_sweep(result, folder)}')
    say(f'Table and plot: {folder}/sweep.md, .csv, .png')
    return result


def best_row(rows: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """Number of the row with the highest value, of equals that with the smallest result; None without values."""
    known = [number for number, row in enumerate(rows) if row['metrics'][name] is not None]
    return max(known, key=lambda number: (rows[number]['metrics'][name], -rows[number]['bytes']), default=None)


def evaluate(metrics: Sequence[CocoMetric], images: Sequence[ImagePredictions]) -> dict[str, Any]:
    """Figures of one setting.

    Returns:
        `metrics` (None where there is nothing to find), `detections`, `most`, `bytes`.
    """
    found: dict[str, float | None] = {}
    size = 0
    with tempfile.TemporaryDirectory() as folder, _quiet():
        for place, metric in enumerate(metrics):
            metric.outfile_prefix = str(Path(folder, f'{place}'))
            for image in images:
                metric.process({}, [image.as_sample()])
            values = metric.evaluate(len(images))
            # Without a single box mmdet evaluates nothing, which is worth 0.
            names = [f'{metric.prefix}/{kind}_{item}' for kind in metric.metrics for item in metric.metric_items]
            found |= {name: _value(values.get(name, 0.0)) for name in names}
            size = max(size, sum(file.stat().st_size for file in Path(folder).glob(f'{place}.*.json')))
    counts = [len(image.scores) for image in images]
    return {'metrics': found, 'detections': sum(counts) / len(counts), 'most': max(counts), 'bytes': size}


def _value(value: float) -> float | None:
    """COCO's -1 is no value: there is no object."""
    return None if value == -1 else float(value)


def _outcome(row: Mapping[str, Any]) -> str:
    name, value = next(iter(row['metrics'].items()))
    return f'{name} {"n/a" if value is None else f"{value:.3f}"}, {row["detections"]:.1f} boxes per image'


def _coco_metrics(cfg: Config) -> list[CocoMetric]:
    """The COCO metrics of a config's evaluator, with the items of a sweep."""
    nodes = cfg.get('test_evaluator') or []
    nodes = nodes if isinstance(nodes, list | tuple) else [nodes]
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    metrics = []
    for node in nodes:
        cls = METRICS.get(node['type']) if isinstance(node['type'], str) else node['type']
        if cls is None:
            raise ValueError(
                f'{cfg.filename}: test_evaluator is of the unknown type {node["type"]!r}; name the module that '
                'registers it in custom_imports'
            )
        if not issubclass(cls, CocoMetric) or set(_listed(node.get('metric', 'bbox'))) - {'bbox', 'segm'}:
            continue
        if not node.get('ann_file') or node.get('format_only'):
            raise ValueError(
                f'{cfg.filename}: {node["type"]} of test_evaluator has no annotations to evaluate against; give it '
                'those of the images that were predicted: --cfg-options test_evaluator.ann_file=FILE '
                'test_evaluator.format_only=False'
            )
        if not Path(node['ann_file']).is_file():
            raise FileNotFoundError(f'{cfg.filename}: there is no annotation file {node["ann_file"]} (test_evaluator)')
        options = {key: value for key, value in node.items() if key not in ('classwise', 'outfile_prefix')}
        with _quiet():
            metric = METRICS.build(options)
        if not isinstance(metric, CocoIoUMetric):
            metric.metric_items = list(_ITEMS)
        elif metric.metric_items is None:
            metric.metric_items = ['mAP']
        metrics.append(metric)
    if not metrics:
        kinds = ', '.join(str(node['type']) for node in nodes) or 'nothing'
        raise ValueError(
            f'{cfg.filename}: test_evaluator is {kinds}; a sweep needs a CocoMetric or CocoIoUMetric for boxes or masks'
        )
    return metrics


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_data(cfg: Config, metrics: Sequence[CocoMetric], images: Sequence[ImagePredictions]) -> list[str]:
    """Give the metrics the class names, and compare the predictions with the annotations.

    Returns:
        Sentences on what is odd.
    """
    classes = class_names(cfg.test_dataloader['dataset'])
    notes = []
    for metric in metrics:
        metric.dataset_meta = {'classes': classes}
        known = set(metric._coco_api.get_img_ids())
        strange = [image.img_id for image in images if image.img_id not in known]
        if strange:
            raise ValueError(
                f'{len(strange)} of {len(images)} predicted images are not in the annotation file of test_evaluator, '
                f'such as {strange[0]!r}: the predictions are of other data. Name the config they were made with.'
            )
        if len(images) < len(known):
            notes.append(
                f'There are predictions for {len(images)} of the {len(known)} annotated images; others count as empty.'
            )
    for image in images:
        if image.labels.numel() and not 0 <= int(image.labels.min()) <= int(image.labels.max()) < len(classes):
            raise ValueError(
                f'image {image.img_id!r} has label {int(image.labels.max())}, but the config has {len(classes)} '
                'classes: the predictions are of another model. Name the config they were made with.'
            )
    return list(dict.fromkeys(notes))


def _fingerprint(images: Sequence[ImagePredictions]) -> str:
    """Same for the same boxes, whatever setting left them."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f'{len(image.scores)}.'.encode())
        for tensor in (image.bboxes, image.scores, image.labels):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what pycocotools prints and mmengine logs at every evaluation."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
