"""Draws during training whom the detections of some validation images listen to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..module_outputs import unwrapped


@HOOKS.register_module()
class RelationVisualizationHook(Hook):
    """Partners of detections as pictures in every backend of the runner's visualizer (files, TensorBoard, WandB).

    The first images of a validation, the same every time: one panel for each relation with weights and each of the best
    detections, see `mmdet_ext.analysis.relation_probe.pictures.draw_partners`. Pictures are named
    `relations_<image>`, their step is the iteration. The model stays as it is, and validations and images that are not
    drawn cost nothing.

    Args:
        interval: Draw in every validation of this number.
        num_images: How many images, the first of the main process.
        score_thr: Detections below it are not drawn.
        max_detections: How many detections of an image, best first.
        stage: Which stage of a cascade; default the last one with relations.

    Raises:
        ValueError: A number below 1, or (before training) a model without relations.
    """

    def __init__(
        self,
        interval: int = 1,
        num_images: int = 2,
        score_thr: float = 0.3,
        max_detections: int = 2,
        stage: int | None = None,
    ) -> None:
        for name, value in (('interval', interval), ('num_images', num_images), ('max_detections', max_detections)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'RelationVisualizationHook: {name} must be a whole number from 1 on, got {value!r}')
        self.interval, self.num_images = interval, num_images
        self.score_thr, self.max_detections, self.stage = score_thr, max_detections, stage
        self._validations = 0
        self._drawn = 0
        self._recorders: tuple[Any, ...] = ()
        self._nodes: list[Any] = []

    def before_run(self, runner: Runner) -> None:
        """Look for the relations, so that a model without any is refused at once."""
        # Imported here: the package does not need the pictures to register its hooks.
        from mmdet_ext.analysis.relation_probe.nodes import find_relations, relation_head

        model = unwrapped(runner.model)
        self._nodes = find_relations(relation_head(model, self.stage))

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to look, if this validation is one to draw."""
        from mmdet_ext.analysis.relation_probe.record import MapRecorder, PredictionRecorder

        self._validations += 1
        self._drawn = 0
        if is_main_process() and (self._validations - 1) % self.interval == 0:
            heads = unwrapped(runner.model).get_submodule('roi_head')
            self._recorders = PredictionRecorder(heads), MapRecorder(self._nodes)
            for recorder in self._recorders:
                recorder.__enter__()

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Forget the batch before."""
        if self._recorders:
            predictions, maps = self._recorders
            predictions.last = None
            maps.clear()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DetDataSample] = ()
    ) -> None:
        """Draw the images of the batch, as long as there are some to draw."""
        if not self._recorders:
            return
        predictions, maps = self._recorders
        if predictions.last is not None:
            for index, sample in enumerate(outputs[: self.num_images - self._drawn]):
                self._draw(runner, sample, index, predictions.last, maps.seen)
        self._drawn += len(outputs)
        if self._drawn >= self.num_images:
            self._stop()

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Take everything away that looked."""
        self._stop()

    def _stop(self) -> None:
        for recorder in self._recorders:
            recorder.__exit__()
        self._recorders = ()

    def _draw(self, runner: Runner, sample: DetDataSample, index: int, prediction: Any, seen: Any) -> None:
        from mmdet_ext.analysis.relation_probe.partners import view_image
        from mmdet_ext.analysis.relation_probe.pictures import draw_partners

        classes = runner.visualizer.dataset_meta['classes']
        view = view_image(sample, index, prediction, seen, self._nodes, classes, self.score_thr)
        figure = draw_partners(view, classes, self.max_detections)
        # No folder in the name: the local backend would not make it.
        name = f'relations_{Path(sample.img_path).stem}'
        if figure is None:
            print_log(f'{name}: nothing to draw, no detection of score {self.score_thr} or more', 'current')
            return
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
        runner.visualizer.add_image(name, np.ascontiguousarray(pixels), step=runner.iter)
