"""WIDER FACE's easy, medium and hard AP."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from .face_truth import CocoFaces, FaceTruth, Flags, Floats, read_detections, read_truth
from .wider_protocol import average_precision, nearest_faces, stretch_scores
from .wider_settings import SETTINGS, ImageSettings, read_settings

HEIGHTS = {'easy': 32, 'medium': 16, 'hard': 8}


@METRICS.register_module()
class WiderFaceMetric(BaseMetric):
    """AP of faces by the official protocol of WIDER FACE (see `wider_protocol`), in several settings.

    A setting says which faces count; the others are ignored, and so are the detections that match them. For WIDER FACE
    the settings are in the official files. For other data they are ranges of the height of a face. mmdet evaluates
    WIDER FACE by `VOCMetric`, in which every face counts.

    Like the official code, detections in images without any face are left out (`empty_images`), and AP is the area
    under a curve of 1000 thresholds. Unlike it, coordinates are not rounded, and only the images that were evaluated
    count: a warning says how many images of the official files were not.

    Results are `easy_AP`, `medium_AP`, `hard_AP` in [0, 1] (or of the names in `heights`): 0 without a detection, -1
    where no face counts in a setting. The cost is one overlap matrix per image and a sort of all detections: about
    ten seconds of one core for the 3226 images of WIDER FACE's validation set with 1000 detections each.

    Args:
        settings: Folder with the official wider_{face,easy,medium,hard}_val.mat, or the json that
            `tools/dataset_tools/wider_mat2json.py` makes of them. Images are found by `img_id` ('EVENT/FILE') or by the
            last two parts of `img_path`.
        heights: Instead of `settings`, for each setting the smallest height in pixels of the original image, or
            (smallest, first too large). Default: `HEIGHTS`.
        ann_file: With heights: COCO file with the faces. Default: `gt_instances` and `ignored_instances` of the data
            samples, in pixels of the original image.
        iou_thr: Overlap that a match needs.
        num_thresholds: Number of score thresholds.
        empty_images: 'skip' or 'count' detections in images without any face; 'count' makes them wrong.
        label: Class index of the face.
        kwargs: Of mmengine's BaseMetric.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: An option is not allowed, or a file is not what it should be.
    """

    default_prefix = 'wider_face'

    def __init__(
        self, settings: str | None = None, heights: Mapping[str, float | Sequence[float]] | None = None,
        ann_file: str | None = None, iou_thr: float = 0.5, num_thresholds: int = 1000, empty_images: str = 'skip',
        label: int = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if settings is not None and (heights is not None or ann_file is not None):
            raise ValueError('WiderFaceMetric: settings come with their faces; leave heights and ann_file out')
        if not 0 < iou_thr <= 1:
            raise ValueError(f'WiderFaceMetric: iou_thr must be a number 0 < IoU <= 1, got {iou_thr!r}')
        if not isinstance(num_thresholds, int) or num_thresholds < 1:
            raise ValueError(f'WiderFaceMetric: num_thresholds must be a whole number from 1, got {num_thresholds!r}')
        if empty_images not in ('skip', 'count'):
            raise ValueError(f"WiderFaceMetric: empty_images must be 'skip' or 'count', got {empty_images!r}")
        self.official = None if settings is None else read_settings(settings)
        self.settings = settings
        self.ranges = _ranges(HEIGHTS if heights is None else heights)
        self.names = list(self.ranges) if self.official is None else list(SETTINGS)
        self.coco = None if ann_file is None else CocoFaces(ann_file, label)
        self.iou_thr, self.num_thresholds, self.label = iou_thr, num_thresholds, label
        self.empty_images = empty_images

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Match the detections of a batch; keeps scores and matches only.

        Raises:
            KeyError: An image is not in the settings or in `ann_file`, or comes without annotations.
        """
        for sample in data_samples:
            truth = self._truth(sample)
            found = read_detections(sample, self.label)
            self.results.append({
                'scores': found.scores, 'keeps': truth.keeps,
                'nearest': nearest_faces(found.boxes, truth.boxes, self.iou_thr),
            })  # fmt: skip

    def compute_metrics(self, results: list) -> dict[str, float]:
        """AP of each setting over all images."""
        if self.official is not None and len(results) < len(self.official):
            print_log(
                f'WiderFaceMetric: {len(results)} of the {len(self.official)} images in {self.settings} were '
                'evaluated; the faces of the others do not count, so the AP is not that of the official set',
                logger='current',
                level=logging.WARNING,
            )
        lengths = [len(one['scores']) for one in results]
        stretched = np.split(stretch_scores(np.concatenate([np.zeros(0), *(one['scores'] for one in results)])),
                             np.cumsum(lengths)[:-1]) if results else []  # fmt: skip
        used = [k for k, one in enumerate(results) if self.empty_images == 'count' or one['keeps'].shape[1]]
        return {
            f'{name}_AP': average_precision(
                [stretched[k] for k in used], [results[k]['nearest'] for k in used],
                [results[k]['keeps'][row] for k in used], self.num_thresholds,
            )
            for row, name in enumerate(self.names)
        }  # fmt: skip

    def _truth(self, sample: Mapping[str, Any]) -> ImageSettings:
        if self.official is None:
            truth = read_truth(sample, self.label) if self.coco is None else self.coco[sample['img_id']]
            return ImageSettings(truth.boxes, _keeps(truth, self.ranges))
        path = PurePath(str(sample.get('img_path', '')))
        names = [str(sample.get('img_id')), f'{path.parent.name}/{path.stem}']
        for name in names:
            if name in self.official:
                return self.official[name]
        raise KeyError(
            f'WiderFaceMetric: {self.settings} knows neither {names[0]!r} nor {names[1]!r}; it wants images as '
            'EVENT/FILE.jpg of the official validation set'
        )


def _ranges(heights: Mapping[str, float | Sequence[float]]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name, value in heights.items():
        low, high = (value, np.inf) if isinstance(value, int | float) else tuple(value)
        if not 0 <= low < high:
            raise ValueError(f'WiderFaceMetric: the heights of {name!r} must be a number or rise, got {value!r}')
        ranges[name] = (float(low), float(high))
    if not ranges:
        raise ValueError('WiderFaceMetric: heights must name one setting or more, got none')
    return ranges


def _keeps(truth: FaceTruth, ranges: Mapping[str, tuple[float, float]]) -> Flags:
    height: Floats = truth.boxes[:, 3] - truth.boxes[:, 1]
    return np.array([~truth.ignored & (height >= low) & (height < high) for low, high in ranges.values()])
