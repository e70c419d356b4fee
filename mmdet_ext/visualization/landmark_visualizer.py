"""Boxes as mmdet draws them, with their landmarks."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.structures.bbox import get_box_tensor
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from numpy.typing import NDArray

Color = tuple[int, int, int]

# Left and right eye, nose, left and right mouth corner: apart from each other for eyes that cannot tell red from green.
COLORS: tuple[Color, ...] = ((230, 159, 0), (86, 180, 233), (240, 228, 66), (213, 94, 0), (204, 121, 167))


@VISUALIZERS.register_module()
class LandmarkLocalVisualizer(DetLocalVisualizer):
    """mmdet's visualizer for detectors with landmarks.

    Draws `keypoints` of `gt_instances`, (N, K, 3) in x, y, v, and of `pred_instances`, (n, K, 2) in x, y; pixels of the
    image. Each landmark k has its own colour. Visible ones (v = 2, and all predicted ones) are discs, hidden ones
    (v = 1) rings, absent ones (v = 0) and those that are not finite are not drawn. Predictions below `pred_score_thr`
    are left out with their boxes. Instances without `keypoints` are drawn as mmdet does.

    Args:
        name: Of this instance, as for `DetLocalVisualizer`.
        landmark_colors: RGB of each landmark; where there are more landmarks they begin again.
        landmark_radius: In pixels; default: a twentieth of the shorter side of the box, 1 to 5.
        args: Of `DetLocalVisualizer`.
        kwargs: Of `DetLocalVisualizer`.

    Raises:
        ValueError: No colour, a radius that is not above 0, or (when drawing) keypoints of another shape.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        *args: Any,
        landmark_colors: Sequence[Color] = COLORS,
        landmark_radius: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, *args, **kwargs)
        if not landmark_colors or any(len(color) != 3 for color in landmark_colors):
            raise ValueError(f'landmark_colors must be RGB triples, at least one, got {landmark_colors!r}')
        if landmark_radius is not None and not landmark_radius > 0:
            raise ValueError(f'landmark_radius must be above 0, got {landmark_radius!r}')
        self.landmark_colors = [tuple(color) for color in landmark_colors]
        self.landmark_radius = landmark_radius

    def _draw_instances(
        self, image: np.ndarray, instances: InstanceData, classes: Sequence[str] | None, palette: Sequence[Color] | None
    ) -> np.ndarray:
        """Draw boxes and landmarks.

        Args:
            image: (H, W, 3) uint8, RGB.
            instances: Of the ground truth or of a prediction, on the CPU.
            classes: Names of the classes.
            palette: Colours of the classes.

        Returns:
            The picture, RGB.
        """
        drawn = super()._draw_instances(image, instances, classes, palette)
        if 'keypoints' not in instances or not len(instances):
            return drawn
        points, visible = _points(instances.keypoints, len(instances))
        number, landmarks = points.shape[:2]
        colors = np.resize(np.array(self.landmark_colors), (landmarks, 3))
        radius = np.broadcast_to(self._radius(instances, number)[:, None], (number, landmarks))
        for shown, filled in ((visible >= 2, True), (visible == 1, False)):
            shown = shown & np.isfinite(points).all(axis=-1)
            if not shown.any():
                continue
            edges = [tuple(color) for color in np.broadcast_to(colors, (number, landmarks, 3))[shown].tolist()]
            with warnings.catch_warnings():
                # Landmarks of a face at the border may be outside; mmengine warns of each.
                warnings.filterwarnings('ignore', message='.*out of bounds')
                self.draw_circles(
                    points[shown],
                    radius[shown],
                    edge_colors=edges,
                    face_colors=edges if filled else 'none',
                    line_widths=1,
                    alpha=1.0,
                )
        # matplotlib would make room for landmarks outside of the image.
        self.ax_save.set(xlim=(0, self.width), ylim=(self.height, 0))
        return self.get_image()

    def _radius(self, instances: InstanceData, number: int) -> NDArray[np.floating]:
        """(N,) in pixels."""
        if self.landmark_radius is not None or 'bboxes' not in instances:
            return np.full(number, self.landmark_radius or 2.0)
        boxes = np.asarray(get_box_tensor(instances.bboxes))
        sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        return np.clip(np.nan_to_num(sides / 20), 1, 5)


def _points(keypoints: Any, number: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Places (N, K, 2) and visibility (N, K)."""
    values = np.asarray(keypoints, dtype=float)
    if values.ndim != 3 or len(values) != number or values.shape[2] not in (2, 3):
        raise ValueError(
            f'keypoints to draw must be ({number}, K, 2) in x, y or ({number}, K, 3) in x, y, v, got shape '
            f'{tuple(values.shape)}'
        )
    return values[..., :2], values[..., 2] if values.shape[2] == 3 else np.full(values.shape[:2], 2.0)
