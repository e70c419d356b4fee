"""Pictures of predictions beside the ground truth, readable for small images too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from mmdet.evaluation.functional import bbox_overlaps
from numpy.typing import NDArray

from mmdet_ext.evaluation.confusion import NOT_FOUND, name_objects
from mmdet_ext.evaluation.objects import Objects

# Bright enough for dark radiographs, told apart side by side; neighbours in the list are far from each other.
_COLORS = ('#ffd23f', '#3bceac', '#ff5d8f', '#54a0ff', '#c8d6e5', '#ff9f43', '#9be564', '#c58bff', '#f8f3d4', '#00d8ff')
_SAME_PLACE_IOU = 0.5
_PANEL_INCHES = 3.7
_DPI = 140
_FONT = 8.5


def class_colors(classes: Sequence[str]) -> dict[str, str]:
    """A hex colour for each class: ten chosen ones, or evenly spread hues where there are more classes."""
    if len(classes) <= len(_COLORS):
        return dict(zip(classes, _COLORS, strict=False))
    hues = matplotlib.colormaps['hsv'](np.linspace(0, 1, len(classes), endpoint=False))
    return {name: to_hex(color) for name, color in zip(classes, hues, strict=True)}


def best_per_place(detected: Objects, score_thr: float) -> NDArray[np.int64]:
    """Rows of the most confident name for each place: above a score, and no better one covers it, of any class."""
    order = np.argsort(-detected.scores, kind='stable')
    rows = order[detected.scores[order] >= score_thr]
    overlaps = bbox_overlaps(detected.boxes[rows], detected.boxes[rows])
    kept: list[int] = []
    for index in range(len(rows)):
        if not kept or overlaps[index, kept].max() < _SAME_PLACE_IOU:
            kept.append(index)
    return rows[np.array(kept, np.int64)]


def keep_best_per_place(detected: Objects, score_thr: float) -> Objects:
    """The detections of `best_per_place`."""
    return detected[best_per_place(detected, score_thr)]


def choose_images(truth: Mapping[int, Objects], labels: Sequence[int]) -> list[int]:
    """For each label the first image, in order of ids, that shows it and was not chosen yet; no look at predictions."""
    chosen: list[int] = []
    for label in labels:
        shows = (image_id for image_id in sorted(truth) if label in truth[image_id].labels and image_id not in chosen)
        chosen += [image_id for image_id, _ in zip(shows, range(1), strict=False)]
    return chosen


def draw_comparison(
    image_file: str | Path,
    truth: Objects,
    detections: Mapping[str, Objects],
    classes: Sequence[str],
    out: str | Path,
    score_thr: float = 0.3,
) -> Path:
    """Draw the ground truth and beside it one panel for each detector.

    The colour of a box is its class. A detection is drawn solid where it is on an object of its class, dashed where
    not; dotted white boxes are objects that the detector did not find.

    Args:
        image_file: The image.
        truth: Its annotated objects.
        detections: Title of the panel -> detections.
        classes: Class names.
        out: Picture to write; the suffix is the format.
        score_thr: Detections below it are not drawn.

    Returns:
        The path written.

    Raises:
        FileNotFoundError: The image is missing or cannot be read.
    """
    pixels = cv2.imread(str(image_file))
    if pixels is None:
        raise FileNotFoundError(f'image {image_file} is missing or not readable')
    height, width = pixels.shape[:2]
    n_panels = len(detections) + 1
    figure = Figure(figsize=(n_panels * _PANEL_INCHES, _PANEL_INCHES * height / width + 0.34), facecolor='white')
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    figure.subplots_adjust(0, 0, 1, 1 - 0.34 / figure.get_size_inches()[1], wspace=0.02)
    for axes in panels:
        axes.imshow(pixels[..., ::-1], interpolation='bicubic')
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_axis_off()
    _draw_panel(panels[0], 'ground truth', truth, np.ones(len(truth), bool), classes, show_scores=False)
    for axes, (title, detected) in zip(panels[1:], detections.items(), strict=True):
        shown = keep_best_per_place(detected, score_thr)
        right = np.array([_is_right(truth, shown, index) for index in range(len(shown))], bool)
        missed = truth.boxes[name_objects(truth, shown) == NOT_FOUND]
        for x1, y1, x2, y2 in missed:
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color='white', lw=1.4, ls=(0, (1, 1.6))))
        _draw_panel(axes, _summary(title, right, len(missed)), shown, right, classes, show_scores=True)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=_DPI)
    return out


def _is_right(truth: Objects, shown: Objects, index: int) -> bool:
    same_class = truth.boxes[truth.labels == shown.labels[index]]
    return bool(len(same_class)) and bool(bbox_overlaps(same_class, shown.boxes[[index]]).max() >= _SAME_PLACE_IOU)


def _summary(title: str, right: NDArray[np.bool_], missed: int) -> str:
    counts = {'right': int(right.sum()), 'wrong': int((~right).sum()), 'missed': missed}
    return f'{title}:  ' + ', '.join(f'{count} {what}' for what, count in counts.items() if count or what == 'right')


def _draw_panel(
    axes: Axes, title: str, objects: Objects, right: NDArray[np.bool_], classes: Sequence[str], *, show_scores: bool
) -> None:
    axes.set_title(title, fontsize=10.5, pad=5, color='#1d2733')
    colors = class_colors(classes)
    for (x1, y1, x2, y2), label, fine in zip(objects.boxes, objects.labels, right, strict=True):
        style = '-' if fine else (0, (3.2, 2))
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=colors[classes[label]], lw=1.7, ls=style)
        )
    taken: list[Bbox] = []
    for index, label in enumerate(objects.labels):
        name = classes[label]
        text = f'{name} {objects.scores[index]:.2f}' if show_scores else name
        taken.append(place_label(axes, text, objects.boxes, index, colors[name], taken))


def place_label(
    axes: Axes, text: str, boxes: NDArray[np.float32], index: int, color: str, taken: Sequence[Bbox]
) -> Bbox:
    """Write a label above, below or beside its box, where it covers least of the other labels and boxes."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    axes.figure.dpi = _DPI
    label = axes.text(
        0, 0, text, fontsize=_FONT, color='#10161d', clip_on=True,
        bbox={'facecolor': color, 'edgecolor': 'none', 'alpha': 0.92, 'pad': 1.2},
    )  # fmt: skip
    own = label.get_window_extent(renderer)
    width, height = own.width + 6, own.height + 5
    to_display, frame = axes.transData.transform, axes.get_window_extent(renderer)
    outlines = [Bbox(to_display(box.reshape(2, 2))) for box in boxes]
    box = outlines[index]
    places = [
        (left, bottom)
        for bottom in (box.ymax + 1, box.ymin - height - 1)
        for left in (box.xmin, box.xmax - width, (box.xmin + box.xmax - width) / 2)
    ] + [(left, (box.ymin + box.ymax - height) / 2) for left in (box.xmax + 2, box.xmin - width - 2)]
    # A label that would leave the picture is moved inside.
    inside = [
        (np.clip(left, frame.xmin, frame.xmax - width), np.clip(bottom, frame.ymin, frame.ymax - height))
        for left, bottom in places
    ]
    extents = [Bbox.from_bounds(left, bottom, width, height) for left, bottom in inside]
    best = min(extents, key=lambda extent: 8 * _covered(extent, taken) + _covered(extent, outlines))
    x, y = axes.transData.inverted().transform((best.xmin + 3, best.ymin + 3))
    label.set_position((x, y))
    return best


def _covered(extent: Bbox, others: Sequence[Bbox]) -> float:
    shared = (Bbox.intersection(extent, other) for other in others)
    return float(sum(part.width * part.height for part in shared if part is not None))
