"""Pictures of single images: anchors at one cell, assigned positives, proposals, and detections beside the truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import nn

from mmdet_ext.analysis.detection_pictures import draw_comparison
from mmdet_ext.analysis.figures import new_figure, save_figure

from .record import ImageRecord

SCORE_THR = 0.3
_PANEL, _PROPOSALS = 3.7, 30
_TRUTH, _POSITIVE, _PROPOSAL = '#ffffff', '#3bceac', '#ffb347'


def anchors_at_cell(model: nn.Module, input_shape: tuple[int, int]) -> dict[str, list[NDArray[np.float64]]]:
    """Anchors of each level at the cell in the middle of the input, for every head that has an anchor generator.

    Args:
        model: The detector.
        input_shape: Height and width of the model's input.

    Returns:
        Name of the head -> for each level (A, 4) xyxy in pixels of the input.
    """
    found = {}
    for name in ('rpn_head', 'bbox_head'):
        generator: Any = getattr(getattr(model, name, None), 'prior_generator', None)
        if not hasattr(generator, 'base_anchors'):
            continue
        levels = []
        for base, stride in zip(generator.base_anchors, generator.strides, strict=True):
            cell = np.array(
                [input_shape[1] // (2 * stride[0]) * stride[0], input_shape[0] // (2 * stride[1]) * stride[1]]
            )
            levels.append(base.cpu().numpy().astype(np.float64) + np.tile(cell, 2))
        found[name] = levels
    return found


def draw_anchors(record: ImageRecord, anchors: Mapping[str, Sequence[NDArray[np.float64]]]) -> Figure:
    """One panel for each head: the anchors of every level at one cell, over an image and its objects.

    Args:
        record: Of the image.
        anchors: See `anchors_at_cell`.

    Raises:
        FileNotFoundError: The image is missing or cannot be read.
    """
    # A single panel would fill the page.
    figure, panels = _open(record, [*anchors, ''][: max(2, len(anchors))])
    for axes in panels[len(anchors) :]:
        axes.clear()
        axes.set_axis_off()
    factors = np.tile(np.array(record.ori_shape[::-1]) / np.maximum(record.input_shape[::-1], 1), 2)
    for axes, levels in zip(panels, anchors.values(), strict=False):
        _outline(axes, record.truth.boxes, _TRUTH, 1.2, ':')
        for place, boxes in enumerate(levels):
            color = level_color(place, len(levels))
            _outline(axes, boxes * factors, color, 1.5)
            axes.plot([], [], color=color, label=f'level {place}')
        axes.legend(fontsize=7, loc='lower right', framealpha=0.8)
        # Anchors may be larger than the image: show all of them.
        every = np.concatenate(
            [boxes * factors for boxes in levels] + [np.array([[0.0, 0.0, *record.ori_shape[::-1]]])]
        )
        low, high = every[:, :2].min(0), every[:, 2:].max(0)
        axes.set(xlim=(low[0] - 2, high[0] + 2), ylim=(high[1] + 2, low[1] - 2))
    return figure


def level_color(place: int, levels: int) -> str:
    """Colour of a level."""
    return to_hex(matplotlib.colormaps['plasma']((place + 0.5) / max(levels, 1)))


def draw_matching(record: ImageRecord) -> Figure | None:
    """Positives of every head, and the best proposals; None where the image has neither.

    Raises:
        FileNotFoundError: The image is missing or cannot be read.
    """
    titles = [f'{name}: {int(stage.assigned[0])} positives' for name, stage in record.stages.items()]
    if record.proposals is not None:
        titles.append(f'best {min(_PROPOSALS, len(record.proposals))} proposals')
    if not titles:
        return None
    figure, panels = _open(record, titles)
    for axes, stage in zip(panels, record.stages.values(), strict=False):
        _outline(axes, stage.positives, _POSITIVE, 0.9)
        missed = record.truth.boxes[stage.gt_positives == 0]
        _outline(axes, record.truth.boxes[stage.gt_positives > 0], _TRUTH, 1.2, ':')
        _outline(axes, missed, '#ff5d8f', 1.6)
    if record.proposals is not None:
        axes = panels[len(record.stages)]
        _outline(axes, record.proposals.boxes[:_PROPOSALS], _PROPOSAL, 0.9)
        _outline(axes, record.truth.boxes, _TRUTH, 1.2, ':')
    return figure


def draw_image(record: ImageRecord, classes: Sequence[str], folder: Path) -> dict[str, Path]:
    """Write the pictures of one image.

    Args:
        record: Of the image.
        classes: Class names.
        folder: Where they go.

    Returns:
        'detections' and, where there is something to show, 'matching' -> file.

    Raises:
        FileNotFoundError: The image is missing or cannot be read.
    """
    stem = f'{record.split}_{record.index:07d}'
    found = record.detections
    known = found[found.labels < len(classes)]
    written = {
        'detections': draw_comparison(
            record.file, record.truth, {'detections': known}, classes, folder / f'{stem}_detections.png', SCORE_THR
        )
    }
    matching = draw_matching(record)
    if matching is not None:
        written['matching'] = save_figure(matching, folder / f'{stem}_matching.png')
    return written


def _open(record: ImageRecord, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A row of panels that show the image."""
    pixels = cv2.imread(record.file)
    if pixels is None:
        raise FileNotFoundError(f'image {record.file} is missing or not readable')
    height, width = pixels.shape[:2]
    figure = new_figure(_PANEL * len(titles), _PANEL * height / width + 0.3)
    panels = np.atleast_1d(figure.subplots(1, len(titles))).tolist()
    for axes, title in zip(panels, titles, strict=True):
        axes.imshow(pixels[..., ::-1])
        axes.set_title(title, fontsize=9.5)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_axis_off()
    return figure, panels


def _outline(axes: Axes, boxes: NDArray[Any], color: str, width: float, style: str = '-') -> None:
    for x1, y1, x2, y2 in boxes:
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, lw=width, ls=style))
