"""All that a diagnosis has found out, as plain numbers: what rules and the report read instead of model and records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray

from mmdet_ext.datasets.problems import Problem

SIZES = ('small', 'medium', 'large')
"""COCO's sizes of objects: below 32^2, below 96^2 and from there on, in pixels of the image file."""
TRIALS = (
    'plain', 'channels', 'pixels_raw', 'pixels_unit', 'pixels_imagenet', 'half', 'double', 'transposed', 'labels_up',
    'labels_down',
)  # fmt: skip
"""Names of the trials: nothing changed; channels in reverse order; no normalisation, pixels from 0 to 1, ImageNet's
mean and std; input of half and of double size; ground truth with x and y exchanged; labels one up, one down (modulo
the number of classes)."""
CONFIDENT = 0.7
"""Score from which a detection is meant seriously."""


@dataclass(frozen=True)
class Check:
    """One self-check.

    Attributes:
        name: Its id.
        passed: None where it could not be made.
        sentence: What was checked and what came out.
        figures: The numbers behind it.
        fix: What to change where it failed; empty if nothing.
    """

    name: str
    passed: bool | None
    sentence: str
    figures: Mapping[str, float] = field(default_factory=dict)
    fix: str = ''


@dataclass(frozen=True)
class StageEvidence:
    """What one head makes of the images of a split, see `StageRecord`.

    Attributes:
        kind: 'priors' or 'rois'.
        positives: Mean number of positives per image, before sampling.
        negatives: Mean number of negatives.
        ignored: Mean number of ignored priors.
        histograms: (3, SCORE_BINS) sums over images.
        above_half: Share of negatives whose highest foreground score is above 0.5.
        separation: Chance that a positive has a higher score than a negative; None where it is not known.
        best_recall: Overlap threshold -> share of objects that some prior reaches: the best possible recall.
        without_positive: Share of objects that no prior is positive for.
        without_positive_by_size: The same per size; None where there are no objects of the size.
        best_iou: Median over objects of the highest overlap with any prior.
        overlap_before: Mean overlap of positives with their objects before the regression; None without.
        overlap_after: The same afterwards.
        level_priors: Priors of each level, mean per image.
        level_positives: Positives of each level, mean per image.
    """

    kind: str
    positives: float
    negatives: float
    ignored: float
    histograms: NDArray[np.int64]
    above_half: float
    separation: float | None
    best_recall: Mapping[float, float]
    without_positive: float
    without_positive_by_size: Mapping[str, float | None]
    best_iou: float
    overlap_before: float | None
    overlap_after: float | None
    level_priors: Sequence[float]
    level_positives: Sequence[float]


@dataclass(frozen=True)
class SplitEvidence:
    """What the records of one split say. AP: COCO's, mean over overlaps of 0.5 to 0.95; None without objects.

    Attributes:
        split: 'train' or 'val'.
        n_images: Images with a record, faulty ones left out.
        n_objects: Annotated objects in them, ignored ones left out.
        faults: File and sentence of each image that gave no record.
        losses: Term (and 'total') -> fields of `LossQuantiles` by name.
        ap: AP of the detections.
        ap_50: AP at an overlap of 0.5.
        class_ap: Class -> AP.
        class_objects: Class -> number of objects.
        size_ap: Size -> AP.
        tide: Type of error -> AP (at 0.5) that would come back without errors of this type.
        tide_counts: Type of error -> number.
        names: (C, C + 1) objects by class and by the name of the best detection there, last column not found.
        label_shift: The offset of all labels, where that is what names are wrong by (else 0), the share of the found
            objects whose names are right, and the share with the best exchange of names: `(offset, now, then)`.
        renamed: That exchange, name given -> class, where it is neither none nor an offset.
        proposals: Number of proposals -> mean recall over overlaps of 0.5 to 0.95; empty without RPN.
        proposals_50: Number of proposals -> recall at 0.5.
        proposal_ap: Class-agnostic AP of the proposals; None without RPN.
        costs: 'score_thr', 'nms', 'max_per_img' -> AP that this setting costs against the best of some other values.
        best_settings: That value.
        stages: Head -> what it makes of the images.
        pixels: (2, 3) mean over images of mean and std of the input channels.
        image_pixels: (n_images, 2, 3) of each image.
        object_sizes: (n_objects,) square root of the area of each object, in pixels of the model's input.
        input_shapes: (n_images, 2) height and width of the model's input.
        ori_shapes: (n_images, 2) height and width of the image files.
        confident_background: Share of the detections above `CONFIDENT` that are on nothing.
        digests: Image file -> hash of its decoded pixels.
    """

    split: str
    n_images: int
    n_objects: int
    faults: Sequence[tuple[str, str]] = ()
    losses: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ap: float | None = None
    ap_50: float | None = None
    class_ap: Mapping[str, float | None] = field(default_factory=dict)
    class_objects: Mapping[str, int] = field(default_factory=dict)
    size_ap: Mapping[str, float | None] = field(default_factory=dict)
    tide: Mapping[str, float] = field(default_factory=dict)
    tide_counts: Mapping[str, int] = field(default_factory=dict)
    names: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 1), np.int64))
    label_shift: tuple[int, float, float] = (0, 1.0, 1.0)
    renamed: Mapping[str, str] = field(default_factory=dict)
    proposals: Mapping[int, float] = field(default_factory=dict)
    proposals_50: Mapping[int, float] = field(default_factory=dict)
    proposal_ap: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    best_settings: Mapping[str, float | None] = field(default_factory=dict)
    stages: Mapping[str, StageEvidence] = field(default_factory=dict)
    pixels: NDArray[np.float64] = field(default_factory=lambda: np.full((2, 3), np.nan))
    image_pixels: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2, 3)))
    object_sizes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    input_shapes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    ori_shapes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    confident_background: float = 0.0
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def loss(self) -> float | None:
        """Median over images of the whole loss; None without losses."""
        return self.losses['total']['median'] if 'total' in self.losses else None


@dataclass(frozen=True)
class Evidence:
    """All that is known of a config and a checkpoint.

    Attributes:
        cfg: The config.
        checkpoint: File of the weights.
        classes: Class names of the data.
        heads: Head -> 'priors' or 'rois', or another word for what the diagnosis cannot look into.
        splits: Split -> what its records say.
        problems: Of `check_config`.
        checks: Name -> self-check.
        trials: Split -> trial (see `TRIALS`) -> 'loss' and, where measured, 'ap', each a mean over the same images.
        gradients: Loss term -> norm of its gradient at the shared trunk, mean over images.
        cosines: Pair of terms -> cosine between their gradients.
        weights: Of `weight_findings`: id -> sentence without a full stop.
        limits: What could not be looked into, sentences.
        facts: Whatever else the report tells, plain values.
    """

    cfg: Config
    checkpoint: str
    classes: Sequence[str]
    heads: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, SplitEvidence] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    trials: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    gradients: Mapping[str, float] = field(default_factory=dict)
    cosines: Mapping[tuple[str, str], float] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def judged(self) -> SplitEvidence:
        """The split whose AP is asked about: 'val', else 'test', else the first; one with images if there is any."""
        order = [*(name for name in ('val', 'test') if name in self.splits), *self.splits]
        return self.splits[next((name for name in order if self.splits[name].n_images), order[0])]

    @property
    def headroom(self) -> float:
        """AP that could come back at best."""
        return 1.0 - (self.judged.ap or 0.0)
