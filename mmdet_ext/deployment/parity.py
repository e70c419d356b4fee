"""Do two ways to run a detector find the same? Detections of both, matched one to one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

# Detections are the same when all coordinates differ by less than this, in pixels of the input ...
BOX_TOL = 0.1
# ... and their scores by less than this.
SCORE_TOL = 1e-3
# Sums in another order now and then flip a comparison, of NMS for instance: this share may have no partner.
MAX_UNMATCHED = 0.01


@dataclass
class Found:
    """Detections of one image in input pixels: boxes (n, 4), scores (n,), labels (n,), keypoints (n, K, 2) or None."""

    boxes: NDArray
    scores: NDArray
    labels: NDArray
    keypoints: NDArray | None = None

    def __len__(self) -> int:
        return len(self.scores)


@dataclass
class Parity:
    """How the detections of one image compare.

    image: its name.
    numbers: of detections, of the reference and of the other.
    matched: pairs of detections that are the same.
    unmatched: detections of either side without partner, though not by a score that is as low as any can be.
    box_error: largest difference of a coordinate over the pairs, pixels; landmarks count, too.
    score_error: largest difference of scores over the pairs.
    """

    image: str
    numbers: tuple[int, int]
    matched: int
    unmatched: int
    box_error: float
    score_error: float

    @property
    def same(self) -> bool:
        """Whether at most a share of :data:`MAX_UNMATCHED` has no partner."""
        return self.unmatched <= MAX_UNMATCHED * max(sum(self.numbers), 1)


def compare(image: str, reference: Found, other: Found, max_num: int = -1, score_thr: float = 0) -> Parity:
    """Match detections of the same label so that boxes are as near as can be, and see which are the same.

    One that is missing on one side is excused where a rounding decides whether it is in the list: its score lies within
    :data:`SCORE_TOL` of the threshold, or of the lowest score of a list that is full.

    Args:
        image: name of the image.
        reference: detections.
        other: detections.
        max_num: most detections of an image; -1: no limit.
        score_thr: scores of detections are above.
    """
    gaps = np.abs(reference.boxes[:, None] - other.boxes[None]).max(-1, initial=0)
    if reference.keypoints is not None and other.keypoints is not None:
        points = np.abs(reference.keypoints[:, None] - other.keypoints[None]).max((-1, -2), initial=0)
        gaps = np.maximum(gaps, points)
    scores = np.abs(reference.scores[:, None] - other.scores[None])
    same = (reference.labels[:, None] == other.labels[None]) & (gaps < BOX_TOL) & (scores < SCORE_TOL)
    # Every pair that is the same before the nearest.
    rows, columns = linear_sum_assignment(np.where(same, gaps / BOX_TOL, 1e3))
    hit = same[rows, columns]
    rows, columns = rows[hit], columns[hit]
    missing = 0
    for found, own in ((reference, rows), (other, columns)):
        lowest = found.scores.min(initial=1) if len(found) == max_num else score_thr
        missing += int((np.delete(found.scores, own) >= max(lowest, score_thr) + SCORE_TOL).sum())
    return Parity(
        image,
        (len(reference), len(other)),
        len(rows),
        missing,
        float(gaps[rows, columns].max(initial=0)),
        float(scores[rows, columns].max(initial=0)),
    )


def run_torch(model: Any, data: Mapping[str, Any]) -> Found:
    """Detections of an image, as the test pipeline packed it, by mmdet's own way, in input pixels."""
    batch = model.data_preprocessor(pseudo_collate([data]), False)
    with torch.no_grad():
        (sample,) = model.predict(batch['inputs'], batch['data_samples'], rescale=False)
    found = sample.pred_instances
    keypoints = found.keypoints.cpu().numpy() if 'keypoints' in found else None
    return Found(found.bboxes.cpu().numpy(), found.scores.cpu().numpy(), found.labels.cpu().numpy(), keypoints)


def onnx_feed(data: Mapping[str, Any], part_names: Sequence[str]) -> dict[str, NDArray]:
    """Inputs of the graph for one image as the test pipeline packed it.

    Raises:
        ValueError: the image is not uint8, or has not the parts of the graph.
    """
    image = data['inputs']
    if image.dtype != torch.uint8:
        raise ValueError(f'the test pipeline gives {image.dtype}, the graph wants uint8: load without to_float32')
    feed = {'images': image[None].numpy()}
    if part_names:
        sample: DetDataSample = data['data_samples']
        names = list(sample.metainfo.get('part_names', ()))
        missing = [name for name in part_names if name not in names]
        if missing or sample.get('parts') is None:
            raise ValueError(f'the image has the parts {names}, the graph needs {list(part_names)}')
        order = [names.index(name) for name in part_names]
        feed['part_boxes'] = sample.parts.bboxes[order][None].float().numpy()
        feed['part_valid'] = sample.parts.valid[order][None].bool().numpy()
    return feed


def run_onnx(session: Any, feed: Mapping[str, NDArray]) -> list[Found]:
    """Detections of every image of a batch by an onnxruntime session of :func:`.onnx_file.export_onnx`'s file."""
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, dict(feed)), strict=True))
    found = []
    for image in range(len(feed['images'])):
        own = outputs['image'] == image
        keypoints = outputs['keypoints'][own] if 'keypoints' in outputs else None
        found.append(Found(outputs['boxes'][own], outputs['scores'][own], outputs['labels'][own], keypoints))
    return found


def load_image(pipeline: Sequence[Any], path: str | Path, place: int = 0) -> dict[str, Any]:
    """An image as the test pipeline packs it, without annotations.

    Args:
        pipeline: configs of the test pipeline.
        path: of the image.
        place: stands for the image id.

    Raises:
        FileNotFoundError: there is no such image.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'There is no image {path}.')
    steps = [step for step in pipeline if not re.search(r'Load\w*Annotations', str(step['type']))]
    return Compose(steps)(dict(img_path=str(path), img_id=place))


def verify(
    session: Any, model: Any, pipeline: Sequence[Any], images: Sequence[str | Path], part_names: Sequence[str] = ()
) -> list[Parity]:
    """Run images through torch and onnxruntime.

    Args:
        session: onnxruntime session of the exported file.
        model: the detector it was exported from.
        pipeline: configs of the test pipeline.
        images: paths.
        part_names: parts that the graph reads.

    Raises:
        FileNotFoundError: an image is not there.
        ValueError: an image has another size than the graph takes, or lacks parts.
    """
    wanted = session.get_inputs()[0].shape[2:]
    config = model.test_cfg
    picking = config.get('rcnn', config)
    limits = picking.get('max_per_img', -1), picking.get('score_thr', 0)
    results = []
    for place, path in enumerate(images):
        data = load_image(pipeline, path, place)
        size = list(data['inputs'].shape[1:])
        if any(isinstance(side, int) and side != given for side, given in zip(wanted, size, strict=True)):
            raise ValueError(
                f'{path} is {size} pixels high and wide behind the test pipeline, the graph takes {wanted}: export '
                'without --size, or with that one'
            )
        (found,) = run_onnx(session, onnx_feed(data, part_names))
        reference = run_torch(model, data)
        results.append(compare(Path(path).name, reference, found, *limits))
    return results
