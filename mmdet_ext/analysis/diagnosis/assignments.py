"""Who is matched with whom: watches the assigners and samplers of a detector's heads while its losses are computed."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.models.dense_heads import AnchorHead, RPNHead, YOLOV3Head
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .image_losses import replaced
from .prior_stages import prior_stage
from .record import StageRecord
from .roi_stages import roi_stage


@dataclass
class Matching:
    """One call of an assigner, for one image, and of the sampler behind it.

    Attributes:
        priors: (N, 4) xyxy in pixels of the input, as the assigner got them.
        gts: (G, 4) ground truth in pixels of the input.
        gt_inds: (N,) 0 for negatives, -1 for ignored ones, else the number of the object, from 1 on.
        sampled: The sampler's result; None where it was not called.
    """

    priors: Tensor
    gts: Tensor
    gt_inds: Tensor
    sampled: Any = None


@dataclass
class _Watched:
    """What was seen of one head or stage: its matchings, and what its losses got."""

    name: str
    head: nn.Module
    stage: int = 0
    matchings: list[Matching] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


class StageWatch:
    """Context in which assigners, samplers and heads are watched; `records` tells what was seen."""

    def __init__(self, model: Any, sample: DetDataSample) -> None:
        self._meta = sample.metainfo
        self._stages: list[_Watched] = []
        self._limits: list[str] = []
        self._patches = contextlib.ExitStack()
        self._dense(getattr(model, 'rpn_head', None), 'rpn_head')
        head = getattr(model, 'bbox_head', None)
        self._dense(head, 'rpn_head' if isinstance(head, RPNHead) else 'bbox_head')
        self._roi(getattr(model, 'roi_head', None))
        if not self._stages and not self._limits:
            self._limits.append(f'{type(model).__name__} has no head with anchors or RoIs: no matching is shown')

    def _dense(self, head: Any, name: str) -> None:
        if isinstance(head, AnchorHead | YOLOV3Head) and getattr(head, 'assigner', None) is not None:
            self._stages.append(_Watched(name, head))
        elif head is not None:
            self._limits.append(
                f'{name} is a {type(head).__name__}, which has no anchors and assigner as AnchorHead has: its matching '
                'is not shown'
            )

    def _roi(self, head: Any) -> None:
        if isinstance(head, CascadeRoIHead):
            numbers = range(head.num_stages)
            self._stages += [_Watched(f'roi_head.{number}', head, number) for number in numbers]
        elif isinstance(head, StandardRoIHead):
            self._stages.append(_Watched('roi_head', head))
        elif head is not None:
            self._limits.append(f'roi_head is a {type(head).__name__}: its matching is not shown')

    def __enter__(self) -> 'StageWatch':
        with contextlib.ExitStack() as patches:
            for watched in self._stages:
                head: Any = watched.head
                if watched.name.startswith('roi_head'):
                    assigner, sampler = head.bbox_assigner, head.bbox_sampler
                    if isinstance(assigner, list):
                        assigner, sampler = assigner[watched.stage], sampler[watched.stage]
                    if not watched.stage:
                        patches.enter_context(replaced(head, _bbox_forward=self._forward(head._bbox_forward)))
                else:
                    assigner, sampler = head.assigner, getattr(head, 'sampler', None)
                    patches.enter_context(replaced(head, loss_by_feat=_keep_inputs(head.loss_by_feat, watched)))
                patches.enter_context(replaced(assigner, assign=_keep_result(assigner.assign, watched)))
                if sampler is not None:
                    patches.enter_context(replaced(sampler, sample=_keep_sampled(sampler.sample, watched)))
            self._patches = patches.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._patches.close()

    def _forward(self, method: Any) -> Any:
        """`_bbox_forward`, whose first argument is the stage where there are several."""
        rois = [watched for watched in self._stages if watched.name.startswith('roi_head')]

        def forward(*args: Any, **kwargs: Any) -> Any:
            results = method(*args, **kwargs)
            stage = kwargs.get('stage', args[0] if args and isinstance(args[0], int) else 0)
            rois[stage].outputs.append(results)
            return results

        return forward

    def records(self, limits: list[str]) -> dict[str, StageRecord]:
        """What was seen, by name of the head.

        Args:
            limits: Gets a sentence for each head of which nothing can be told.
        """
        scale = torch.tensor(self._meta.get('scale_factor', (1.0, 1.0))[:2], dtype=torch.float32).repeat(2)
        found = {}
        for watched in self._stages:
            build = roi_stage if watched.name.startswith('roi_head') else prior_stage
            record = build(watched.head, watched.stage, watched.matchings, watched.outputs, self._meta, scale)
            if isinstance(record, StageRecord):
                found[watched.name] = record
            elif not limits:  # where there are no losses, that is the reason
                limits.append(f'matching of {watched.name} ({type(watched.head).__name__}) is not shown: {record}')
        limits += self._limits
        return found


def watch_stages(model: Any, sample: DetDataSample) -> StageWatch:
    """Watch every head of a detector that is known to match priors or RoIs with objects.

    Args:
        model: The detector.
        sample: Of the one image whose losses will be computed.
    """
    return StageWatch(model, sample)


def _keep_inputs(method: Any, watched: _Watched) -> Any:
    def loss_by_feat(*args: Any, **kwargs: Any) -> Any:
        watched.outputs.append(args)
        return method(*args, **kwargs)

    return loss_by_feat


def _keep_result(method: Any, watched: _Watched) -> Any:
    def assign(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        pred = kwargs.get('pred_instances', args[0] if args else None)
        gts = kwargs.get('gt_instances') or next((arg for arg in args[1:] if isinstance(arg, InstanceData)), None)
        if pred is not None and gts is not None and 'priors' in pred:
            # A copy: a sampler may put ground truth in front.
            watched.matchings.append(
                Matching(get_box_tensor(pred.priors), get_box_tensor(gts.bboxes), result.gt_inds.clone())
            )
        return result

    return assign


def _keep_sampled(method: Any, watched: _Watched) -> Any:
    def sample(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        if watched.matchings:
            # Some weigh the samples too.
            watched.matchings[-1].sampled = result[0] if isinstance(result, tuple) else result
        return result

    return sample
