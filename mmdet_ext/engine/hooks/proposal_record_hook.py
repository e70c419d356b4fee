"""Puts the proposals of a two-stage detector's RPN into the data samples while it is evaluated."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mmdet.models.detectors import RPN
from mmdet.registry import HOOKS
from mmdet.structures import SampleList
from mmdet.structures.bbox import get_box_tensor, scale_boxes
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdet_ext.evaluation.rpn_recall_metric import RPNRecallMetric

from ..module_outputs import uncompiled, unwrapped


@HOOKS.register_module()
class ProposalRecordHook(Hook):
    """Gives each data sample `rpn_proposals`, and measures them by `RPNRecallMetric` where the config does not.

    One line in a config or on the command line measures the RPN of a Faster, Mask or Cascade R-CNN:
    `default_hooks = dict(proposals=dict(type='ProposalRecordHook'))`. It works in validation and test, on several ranks
    and in half precision. Nothing is computed twice: during the evaluation the result of `rpn_head.predict` is noted on
    its way to the RoI head. Of a model under `torch.compile` the evaluation runs uncompiled.

    `rpn_proposals` has `bboxes` (n, 4) in pixels of the image file and `scores` (n,), float32, best first. It is not
    named `proposals`, for a detector takes those instead of asking its RPN, in pixels of its input.

    A model that is mmdet's `RPN` alone gets the metric, too; its `pred_instances` are the proposals.

    Args:
        measure: Add the metric where the evaluator has none. One with options of its own is written into the evaluator.

    Raises:
        ValueError: Before evaluation, a model without RPN, or test-time augmentation.
    """

    def __init__(self, measure: bool = True) -> None:
        self.measure = measure
        self._looking = contextlib.ExitStack()

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to look."""
        self._begin(runner, runner.val_loop.evaluator)

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to look."""
        self._begin(runner, runner.test_loop.evaluator)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Leave the model as it was."""
        self._looking.close()

    def after_test_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Leave the model as it was."""
        self._looking.close()

    def after_run(self, runner: Runner) -> None:
        """Leave the model as it was, also after an evaluation that failed."""
        self._looking.close()

    def _begin(self, runner: Runner, evaluator: Evaluator) -> None:
        # An evaluation that failed, and was caught by somebody, may have left something.
        self._looking.close()
        model = unwrapped(runner.model)
        if isinstance(model, BaseTTAModel):
            raise ValueError(
                'ProposalRecordHook: with test-time augmentation each version of an image has proposals of its own; '
                'test without --tta, or take the hook out of the config'
            )
        alone = isinstance(model, RPN)
        if not alone and not hasattr(model, 'rpn_head'):
            raise ValueError(
                f'ProposalRecordHook: {type(model).__name__} has no RPN (model.rpn_head); the hook is for two-stage '
                'detectors such as FasterRCNN, take it out of the config'
            )
        if self.measure and not any(isinstance(metric, RPNRecallMetric) for metric in evaluator.metrics):
            added = RPNRecallMetric(proposals='pred_instances') if alone else RPNRecallMetric()
            added.dataset_meta = evaluator.dataset_meta
            evaluator.metrics.append(added)
        if not alone:
            self._looking.enter_context(uncompiled(runner.model))
            self._looking.enter_context(_noting(model.rpn_head))


@contextlib.contextmanager
def _noting(head: Any) -> Iterator[None]:
    """While it is open, the `predict(feats, data_samples, rescale)` of a head leaves its boxes in the data samples."""
    before, predict = vars(head).get('predict'), head.predict

    def note(x: Any, batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        results = predict(x, batch_data_samples, rescale=rescale)
        for sample, found in zip(batch_data_samples, results, strict=True):
            boxes = get_box_tensor(found.bboxes).detach().float()
            if not rescale:
                boxes = scale_boxes(boxes, [1 / side for side in sample.metainfo.get('scale_factor', (1, 1))[:2]])
            sample.rpn_proposals = InstanceData(bboxes=boxes, scores=found.scores.detach().float())
        return results

    head.predict = note
    try:
        yield
    finally:
        del head.predict
        if before is not None:
            head.predict = before
