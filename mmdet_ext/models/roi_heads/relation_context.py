"""From data samples, proposals and feature maps to what the relations of a RoI head read."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures import DetDataSample, SampleList
from mmdet.utils import InstanceList
from torch import Tensor, nn

from mmdet_ext.models.relations import Parts, RelationContext, part_cells

from .bbox_heads import RelationBBoxHead


def _image_name(sample: DetDataSample) -> str:
    return str(sample.metainfo.get('img_path', sample.metainfo.get('img_id', 'without a path')))


def batch_parts(samples: SampleList | None) -> Parts:
    """Parts of every image, read from `data_sample.parts` (`bboxes`, `valid`) and the meta key `part_names`.

    The box of a part that is not valid is not read but replaced by zeros.

    Raises:
        ValueError: there are no samples, an image has no parts, or other part names than the first.
    """
    hint = 'put LoadParts into the train and test pipeline, and PackPartInputs at their end'
    if samples is None:
        raise ValueError(f'the relations of the box head need parts, and without data samples there are none; {hint}')
    for sample in samples:
        if sample.get('parts') is None or 'part_names' not in sample.metainfo:
            raise ValueError(f'the relations of the box head need parts, image {_image_name(sample)} has none; {hint}')
    names = tuple(samples[0].part_names)
    for sample in samples:
        if tuple(sample.part_names) != names:
            raise ValueError(
                f'image {_image_name(sample)} has the parts {tuple(sample.part_names)}, {_image_name(samples[0])} of '
                f'the same batch {names}; give LoadParts the same part_names for every data set'
            )
    valid = torch.stack([sample.parts.valid for sample in samples]).bool()
    boxes = torch.stack([sample.parts.bboxes for sample in samples])
    return Parts(boxes=torch.where(valid[..., None], boxes, 0), valid=valid, names=names)


def wants_parts(head: nn.Module) -> bool:
    """Whether a box head is a :class:`RelationBBoxHead` with a relation that reads parts."""
    if not isinstance(head, RelationBBoxHead):
        return False
    return bool(head.part_splits) or any(field.split('.')[0] == 'parts' for field in head.needs)


def part_rois(boxes: Tensor, split: tuple[int, int]) -> Tensor:
    """(B, P, 4) boxes of parts -> (B * P * r * c, 5) RoIs of their cells: by image, part, and row by row."""
    cells = part_cells(boxes, split).flatten(1, 2)
    image = torch.arange(cells.shape[0], device=cells.device, dtype=cells.dtype)
    return torch.cat([image[:, None, None].expand(-1, cells.shape[1], 1), cells], dim=-1).flatten(0, 1)


class RelationInputs:
    """What all RoIs of a batch share, however many they are and whatever the stage.

    Args:
        x: feature maps, finest level first.
        samples: data samples of the batch. None (FLOP counting, tracing): the padded input is the image.
        stride: of the finest level.
        with_parts: read the parts, see :func:`batch_parts`.

    Attributes:
        metas: the metas of every image.
        parts: boxes of the parts, or None.
    """

    def __init__(self, x: tuple[Tensor, ...], samples: SampleList | None, stride: int, with_parts: bool) -> None:
        self._maps = x
        if samples is None:
            self.metas = [dict(img_shape=tuple(side * stride for side in x[0].shape[-2:]))] * len(x[0])
        else:
            self.metas = [sample.metainfo for sample in samples]
        shapes = torch.tensor([meta['img_shape'][:2] for meta in self.metas])
        # A copy from pageable memory would wait for the device in every step.
        shapes = shapes.pin_memory() if x[0].is_cuda else shapes
        self._img_shapes = shapes.to(x[0].device, non_blocking=x[0].is_cuda)
        self.parts = batch_parts(samples) if with_parts else None
        self._pooled: dict[tuple[Hashable, tuple[int, int]], Tensor] = {}

    def context(self, rois: Tensor, counts: tuple[int, ...], key_valid: Tensor | None = None) -> RelationContext:
        """The context of these RoIs; the box head fills in their features.

        Args:
            rois: (N, 5), grouped by image.
            counts: RoIs per image.
            key_valid: (N,) bool, see :class:`RelationContext`.
        """
        return RelationContext(
            feats=rois,
            rois=rois,
            img_shapes=self._img_shapes,
            feature_maps=self._maps,
            parts=self.parts,
            key_valid=key_valid,
            counts=tuple(counts),
        )

    def part_feats(
        self, splits: Iterable[tuple[int, int]], pool: Callable[[Tensor], Tensor], source: Hashable = None
    ) -> dict[tuple[int, int], Tensor]:
        """RoI features of the part cells of every grid, pooled once.

        Args:
            splits: grids (rows, columns); (1, 1) is the part itself.
            pool: (n, 5) RoIs -> (n, ch, h, w).
            source: another one has other features: `pool` is called again.

        Returns:
            `{(r, c): (B * P * r * c, ch, h, w)}`, image-major, then part, then cell row by row.
        """
        if self.parts is None:
            return {}
        found = {}
        for split in sorted(splits):
            if (source, split) not in self._pooled:
                self._pooled[source, split] = pool(part_rois(self.parts.boxes, split))
            found[split] = self._pooled[source, split]
        return found


def check_sampler(sampler: Any, owner: str) -> None:
    """Raise a `ValueError` for samplers that ask the box head for the losses of single RoIs."""
    for part in (sampler.pos_sampler, sampler.neg_sampler):
        if hasattr(part, 'context'):
            raise ValueError(
                f'{owner}: {type(part).__name__} mines RoIs by the loss each of them has alone, but a relation head '
                'scores the RoIs of an image together; use RandomSampler, with num as large as memory allows'
            )


def sample_rois(
    assigner: Any,
    sampler: Any,
    proposals: InstanceList,
    gts: InstanceList,
    gts_ignore: InstanceList,
    x: tuple[Tensor, ...],
) -> list[SamplingResult]:
    """Assign the proposals of every image to its ground truth and draw the RoIs to learn from.

    As in mmdet, the proposals' `bboxes` are renamed `priors`.
    """
    results = []
    for i, found in enumerate(proposals):
        found.priors = found.pop('bboxes')
        assigned = assigner.assign(found, gts[i], gts_ignore[i])
        results.append(sampler.sample(assigned, found, gts[i], feats=[level[i][None] for level in x]))
    return results


def not_ground_truth(sampling_results: Sequence[SamplingResult]) -> Tensor:
    """(N,) bool: False for RoIs that are ground truth added to the proposals, which do not exist at test time."""
    flags = [
        torch.cat([res.pos_is_gt.bool(), res.pos_is_gt.new_zeros(len(res.neg_priors)).bool()])
        for res in sampling_results
    ]
    return ~torch.cat(flags)


def without_bfloat16(x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Feature maps as RoIAlign wants them: float32 in place of bfloat16, which mmcv's kernels do not know.

    RoIs take the type of the maps, and bfloat16 would move a corner at 1000 px by up to 2 px.
    """
    if all(level.dtype is not torch.bfloat16 for level in x):
        return x
    return tuple(level.float() if level.dtype is torch.bfloat16 else level for level in x)


class RelationRoIHeadMixin:
    """What the two RoI heads have in common: the data samples, with their parts, reach the box heads.

    Attributes:
        bbox_head: one head, or a list of them.
        bbox_roi_extractor: one, or a list of them.
    """

    bbox_head: Any
    bbox_roi_extractor: Any
    test_cfg: Any
    with_mask: bool
    predict_bbox: Callable[..., InstanceList]
    predict_mask: Callable[..., InstanceList]

    def _inputs(self, x: tuple[Tensor, ...], samples: SampleList | None) -> RelationInputs:
        heads, extractor = self.bbox_head, self.bbox_roi_extractor
        if not isinstance(heads, nn.ModuleList):
            heads, extractor = [heads], [extractor]
        return RelationInputs(x, samples, extractor[0].featmap_strides[0], any(map(wants_parts, heads)))

    def predict(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> InstanceList:
        """Detections of every image; the parent's, which would pass on no more of the samples than their metas."""
        x = without_bfloat16(x)
        inputs = self._inputs(x, batch_data_samples)
        # The mask branch scales boxes and masks together.
        results = self.predict_bbox(
            x, inputs.metas, rpn_results_list, self.test_cfg, rescale=rescale and not self.with_mask, inputs=inputs
        )
        return self.predict_mask(x, inputs.metas, results, rescale=rescale) if self.with_mask else results
