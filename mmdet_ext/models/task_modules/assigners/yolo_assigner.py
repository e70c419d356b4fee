"""Assignment as YOLO does it: a prior of its own for each ground truth, thresholds, and a zone between them."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from .assign_inputs import AssignInputs
from .greedy_matching import match_greedily
from .overlap_scan import Rule, scan_overlaps
from .prior_blocks import PriorBlocks, max_iof


@TASK_UTILS.register_module()
class YOLOAssigner(BaseAssigner):
    r"""Assign priors by IoU thresholds, and to each ground truth the best prior that no other one has.

    From YOLOv3 (arXiv:1804.02767, section 2.1: one prior per ground truth, a zone without objectness loss) as YOLACT++
    forks use it with any set of priors. In this order:

    1. highest IoU of a prior >= `pos_iou_thr`: it learns that ground truth (the first of equals); IoU <
       `neg_iou_thr`: background, 0; between them: ignored, -1.
    2. Background of which regions to be ignored cover more than `ignore_iof_thr` is ignored too; positives never are.
    3. With `unique_best` each ground truth gets a prior of its own by greedy matching: the pair of highest IoU first,
       of equals the lower ground truth, then the lower prior; each ground truth and each prior once. These pairs
       override 1 and 2. A ground truth that overlaps nothing gets nothing, and nothing becomes positive for it.

    IoU is overlap / max(union, 1e-6) in float32, whatever the boxes are in. The result does not depend on
    `chunk_size`, on the device, or, but for exact ties, on the order of the ground truths.

    Deviations from mmdet's `MaxIoUAssigner`: there a ground truth that overlaps nothing makes every prior of zero IoU
    positive (mmdet#8289); regions to be ignored take the best priors of a ground truth away from it; of two ground
    truths with one best prior the later one takes it and the other is left with nothing; an integer `neg_iou_thr`
    gives no negatives at all; equal best priors all become positive. Its `max_overlaps` are -1 in regions to be
    ignored, ours stay the IoU. Memory is O(priors + gts * m) instead of O(priors * gts), m being the number of ground
    truths that compete for priors.

    The result has two more properties (`get_extra_property`):

    - `num_unmatched`: ground truths without a prior of their own; with `unique_best=False` without any positive.
    - `num_conflicts`: how often a ground truth lost its best prior to another one (per level with `'per_level'`).

    Args:
        pos_iou_thr: above 0; more than 1 switches positives by threshold off.
        neg_iou_thr: a number: background is IoU < neg_iou_thr; (lo, hi): lo <= IoU < hi, and less than lo is ignored.
            Not above `pos_iou_thr`.
        unique_best: step 3.
        min_best_iou: a pair is only matched with an IoU above this; in [0, 1).
        match: what orders the pairs of step 3: `'iou'`, or `'wh'`, the IoU of the shapes with centres aligned.
            Thresholds, also `min_best_iou`, go by the full IoU. As all priors of a shape are equal to `'wh'`, it takes
            the first of them that overlaps enough: set `min_best_iou` with it.
        best_scope: `'all_levels'`, or `'per_level'`: a prior per level and ground truth, by `pred_instances.level_ids`.
        ignore_iof_thr: share of a box from which on it counts as covered; negative: regions are not looked at.
        ignore_from: whose box must be covered: `'prior'`, or `'pred'`, by `pred_instances.bboxes`.
        chunk_size: most priors at a time; memory, not results.

    Raises:
        ValueError: an option outside of what is listed here.

    Examples:
        >>> from mmengine.structures import InstanceData
        >>> priors = InstanceData(priors=torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]]))
        >>> gts = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]]), labels=torch.tensor([3, 5]))
        >>> result = YOLOAssigner(pos_iou_thr=2).assign(priors, gts)
        >>> result.gt_inds.tolist(), result.labels.tolist(), result.info['num_conflicts']
        ([1, 2, 0], [3, 5, -1], 0)
    """

    def __init__(
        self,
        pos_iou_thr: float = 0.5,
        neg_iou_thr: float | Sequence[float] = 0.4,
        unique_best: bool = True,
        min_best_iou: float = 0.0,
        match: str = 'iou',
        best_scope: str = 'all_levels',
        ignore_iof_thr: float = 0.5,
        ignore_from: str = 'prior',
        chunk_size: int = 8192,
    ) -> None:
        for name, given, allowed in (
            ('match', match, ('iou', 'wh')),
            ('best_scope', best_scope, ('all_levels', 'per_level')),
            ('ignore_from', ignore_from, ('prior', 'pred')),
        ):
            if given not in allowed:
                raise ValueError(f'YOLOAssigner: {name}={given!r}, allowed are {allowed}')
        if isinstance(neg_iou_thr, Sequence) and len(neg_iou_thr) != 2:
            raise ValueError(f'YOLOAssigner: neg_iou_thr={neg_iou_thr!r}, allowed are a number and a pair (lo, hi)')
        low, high = neg_iou_thr if isinstance(neg_iou_thr, Sequence) else (0.0, neg_iou_thr)
        for name, value, numbers in (
            ('pos_iou_thr', pos_iou_thr, [pos_iou_thr]),
            ('neg_iou_thr', neg_iou_thr, [low, high]),
            ('min_best_iou', min_best_iou, [min_best_iou]),
            ('ignore_iof_thr', ignore_iof_thr, [ignore_iof_thr]),
        ):
            if not all(isinstance(number, Real) for number in numbers):
                raise ValueError(f'YOLOAssigner: {name}={value!r}, allowed are numbers')
        if not (0 <= low <= high <= pos_iou_thr and pos_iou_thr > 0):
            raise ValueError(
                f'YOLOAssigner: neg_iou_thr={neg_iou_thr!r} with pos_iou_thr={pos_iou_thr!r}, allowed are '
                '0 <= neg_iou_thr <= pos_iou_thr (of a pair: 0 <= lo <= hi <= pos_iou_thr) and pos_iou_thr above 0'
            )
        if not 0 <= min_best_iou < 1:
            raise ValueError(f'YOLOAssigner: min_best_iou={min_best_iou!r}, allowed are 0 <= min_best_iou < 1')
        if ignore_iof_thr != ignore_iof_thr:
            raise ValueError(f'YOLOAssigner: ignore_iof_thr={ignore_iof_thr!r}, allowed are numbers; negative is off')
        if not isinstance(chunk_size, int) or chunk_size < 1:
            raise ValueError(f'YOLOAssigner: chunk_size={chunk_size!r}, allowed are integers from 1 on')
        self.pos_iou_thr, self.neg_range = pos_iou_thr, (low, high)
        self.unique_best, self.min_best_iou, self.match, self.best_scope = unique_best, min_best_iou, match, best_scope
        self.ignore_iof_thr, self.ignore_from, self.chunk_size = ignore_iof_thr, ignore_from, chunk_size

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign the priors of one image.

        Waits for a GPU once, and a second time where ground truths compete for priors.

        Args:
            pred_instances: `priors` (n, 4) xyxy; with `'per_level'` also `level_ids` (n,), integers from 0 to 255;
                with `'pred'` also `bboxes` (n, 4) xyxy, of which NaN and inverted ones count as covered by nothing.
            gt_instances: `bboxes` (k, 4) xyxy, also without area, and `labels` (k,).
            gt_instances_ignore: `bboxes` (r, 4) xyxy, regions to be ignored.
            kwargs: `img_meta`, whose `img_path` or `img_id` is named in messages; the metainfo of `gt_instances`
                serves as well. Others are accepted as everywhere in mmdet.

        Returns:
            `gt_inds` (n,): 0 background, -1 ignored, i + 1 ground truth i; `max_overlaps` (n,): highest IoU, float32;
            `labels` (n,): of the ground truth, -1 without one.

        Raises:
            ValueError: a field is missing or of the wrong shape, a box is inverted, NaN or infinite, a label negative.
        """
        inputs = AssignInputs.read(
            pred_instances,
            gt_instances,
            gt_instances_ignore,
            per_level=self.best_scope == 'per_level',
            with_predictions=self.ignore_from == 'pred',
            img_meta=kwargs.get('img_meta'),
        )
        number, gts = len(inputs.priors), inputs.gts
        if not inputs.bad.is_cuda or not number or not len(gts):
            # Without a GPU it costs nothing to look now, and an order by position needs proper boxes.
            inputs.raise_if(bool(inputs.bad))
        if not number or not len(gts):
            gt_inds = self._ignore(inputs, inputs.labels.new_zeros(number))
            return self._result(inputs, gt_inds, inputs.priors.new_zeros(number), len(gts), 0)
        rule = Rule(self.match, self.min_best_iou, inputs.safe_levels) if self.unique_best else None
        blocks = PriorBlocks(inputs.priors, self.chunk_size, len(gts))
        scan = scan_overlaps(blocks, gts, rule)
        gt_inds = self._ignore(inputs, self._by_threshold(scan.max_iou, scan.argmax))
        if rule is None:
            positive = gt_inds.new_zeros(len(gts) + 2).scatter_(0, gt_inds + 1, 1)[2:]
            bad, found = torch.stack([inputs.bad, positive.sum()]).tolist()
            inputs.raise_if(bool(bad))
            return self._result(inputs, gt_inds, scan.max_iou, len(gts) - found, 0)
        host = torch.cat([scan.first.flatten(), scan.rival.flatten(), inputs.bad[None]]).cpu().numpy()
        inputs.raise_if(bool(host[-1]))
        first, rival = host[:-1].reshape(2, len(gts), -1)
        matching = match_greedily(blocks, gts, first, rival, rule)
        matched, numbers = (
            torch.from_numpy(x).to(gts.device, non_blocking=True) for x in (matching.priors, matching.gts + 1)
        )
        gt_inds.scatter_(0, matched, numbers)
        unmatched = len(gts) - len(set(matching.gts.tolist()))
        return self._result(inputs, gt_inds, scan.max_iou, unmatched, matching.num_conflicts)

    def _by_threshold(self, max_iou: Tensor, argmax: Tensor) -> Tensor:
        """(n,) number of the ground truth from 1 on, 0 for negatives, -1 for what is between the thresholds."""
        low, high = self.neg_range
        negative = max_iou < high
        if low > 0:
            negative &= max_iou >= low
        return torch.where(max_iou >= self.pos_iou_thr, argmax + 1, negative.long() - 1)

    def _ignore(self, inputs: AssignInputs, gt_inds: Tensor) -> Tensor:
        """Background that regions to be ignored cover becomes -1."""
        if self.ignore_iof_thr < 0 or not len(inputs.regions) or not len(gt_inds):
            return gt_inds
        boxes = inputs.priors if inputs.predictions is None else inputs.predictions
        blocks = PriorBlocks(boxes, self.chunk_size, len(inputs.regions))
        covered = max_iof(blocks, inputs.regions) > self.ignore_iof_thr
        return gt_inds.masked_fill(covered & (gt_inds == 0), -1)

    @staticmethod
    def _result(
        inputs: AssignInputs, gt_inds: Tensor, max_iou: Tensor, num_unmatched: int, num_conflicts: int
    ) -> AssignResult:
        label_of = torch.cat([inputs.labels.new_full((2,), -1), inputs.labels])
        result = AssignResult(len(inputs.gts), gt_inds, max_iou, label_of[gt_inds + 1])
        result.set_extra_property('num_unmatched', num_unmatched)
        result.set_extra_property('num_conflicts', num_conflicts)
        return result
