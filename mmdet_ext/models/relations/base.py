"""What a relation gets, what it gives, and how a flat batch of RoIs becomes a padded one.

A relation lets the boxes of one image inform each other. It knows nothing of detectors: it reads a `RelationContext`
and returns a `RelationOutput`, so it can be tested, exported and used in another head without a detector around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast

import torch
from mmengine.model import BaseModule
from torch import Tensor


@dataclass
class Parts:
    """Anatomy parts (or any fixed list of named regions) of every image.

    boxes: (B, P, 4) xyxy in input-image pixels.
    valid: (B, P) bool, False where an image lacks the part.
    feats: (B, P, D) RoI features of the parts, or None.
    names: P names, or None: then the parts are in the order of the relation's `part_names`.
    cell_feats: `{(r, c): (B, P, r * c, D)}`, RoI features of the cells of a grid laid over each part, row by row.
    """

    boxes: Tensor
    valid: Tensor
    feats: Tensor | None = None
    names: tuple[str, ...] | None = None
    cell_feats: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def select(self, names: tuple[str, ...], owner: str) -> 'Parts':
        """The parts of these names, in this order.

        Args:
            names: wanted names.
            owner: who asks, for the sentence of an error.

        Raises:
            ValueError: a name is not among the parts, or the parts have no names and another number.
        """
        if self.names is None:
            if self.boxes.shape[1] != len(names):
                raise ValueError(
                    f'{owner} has part_names={names}, but the context holds {self.boxes.shape[1]} parts without names'
                )
            return replace(self, names=names)
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(
                f'{owner} wants the parts {missing}, the data have {list(self.names)}: correct part_names of the '
                'relation, or of LoadParts in the pipeline'
            )
        if names == self.names:
            return self
        # Slices, not an index tensor: copying one to the device would wait for it.
        places = [self.names.index(name) for name in names]

        def take(x: Tensor) -> Tensor:
            return torch.stack([x[:, place] for place in places], dim=1)

        return Parts(
            boxes=take(self.boxes),
            valid=take(self.valid),
            feats=None if self.feats is None else take(self.feats),
            names=names,
            cell_feats={split: take(feats) for split, feats in self.cell_feats.items()},
        )


@dataclass
class RelationContext:
    """Everything a relation may look at. N RoIs of B images, C classes with the background last.

    feats: (N, D) RoI features of the whole batch.
    rois: (N, 5) `[batch_index, x1, y1, x2, y2]` in input-image pixels.
    img_shapes: (B, 2) height and width of each image, without batch padding.
    cls_logits: (N, C + 1) scores of the base classifier on the same RoIs.
    cls_weight: (C + 1, D + 1) weight and bias of the base classifier, the "global semantic pool".
    feature_maps: tuple of (B, c, h, w), finest level first.
    parts: see :class:`Parts`.
    key_valid: (N,) bool, which RoIs may serve as keys (False for ground truth added to the proposals in training).
    counts: RoIs per image when `rois` is grouped by image; None derives them, which costs a host sync.
    row_mask: (B, R) bool, False for padding, when `rois` holds R rows of every image, image by image (N = B * R): no
        size then depends on data, as `torch.export` wants it. What a relation gives for padding means nothing.
    want_maps: fill `RelationOutput.maps` (attention, adjacency) for plots.
    """

    feats: Tensor
    rois: Tensor
    img_shapes: Tensor
    cls_logits: Tensor | None = None
    cls_weight: Tensor | None = None
    feature_maps: tuple[Tensor, ...] | None = None
    parts: Parts | None = None
    key_valid: Tensor | None = None
    counts: tuple[int, ...] | None = None
    row_mask: Tensor | None = None
    want_maps: bool = False


@dataclass
class RelationOutput:
    """feats: (N, E) relation features in the row order of the input; losses and maps by name."""

    feats: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


def check_positive(name: str, value: float | None, owner: str, integer: bool = True) -> None:
    """Raise a `ValueError` unless the option `name` of `owner` is a positive int (or finite number)."""
    number = isinstance(value, int if integer else (int, float)) and not isinstance(value, bool)
    if not number or not 0 < cast(float, value) < float('inf'):
        raise ValueError(f'{owner}: {name} must be a positive {"int" if integer else "number"}, got {value!r}')


def check_part_names(names: Sequence[str], owner: str) -> tuple[str, ...]:
    """The option `part_names` of `owner` as a tuple; a `ValueError` unless it lists different names."""
    strings = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not strings or not names or len(set(names)) < len(names):
        raise ValueError(f'{owner}: part_names must be a non-empty list of different names, got {names!r}')
    return tuple(names)


def _lookup(ctx: RelationContext, path: str) -> Any:
    """`ctx.a.b` for the path 'a.b'; None where any of it is None."""
    value: Any = ctx
    for name in path.split('.'):
        value = getattr(value, name, None)
    return value


class BaseRelation(BaseModule):
    """Base of all relations.

    Args:
        in_channels: D, width of the RoI features; None only if the class does not read them.
        out_channels: E, width of the relation features.
        init_cfg: as in mmengine.

    Attributes:
        needs: names of the optional `RelationContext` fields this relation cannot do without, such as `'cls_logits'`,
            `'parts'` or, one deeper, `'parts.feats'`.
        part_splits: grids `(r, c)` of part cells whose features the head should pool, `(1, 1)` for whole parts.
        reads_feats: whether the class reads `feats`, and so has to know their width.
        gradient_to_feats: whether a gradient of the output reaches `feats`, from which what stands before it in a
            `RelationSequence` would learn.
        fills: options that a box head (or, the widths, a sequence) fills in where a config does not name them:
            `'pool_channels'`, width of the features that the classifier behind the pool reads; `'part_channels'`,
            width of the part features; `'num_classes'`.
        behind: options that differ behind another relation of a `RelationSequence`, where a config does not name them.
    """

    needs: frozenset[str] = frozenset()
    part_splits: frozenset[tuple[int, int]] = frozenset()
    reads_feats: bool = True
    gradient_to_feats: bool = True
    fills: frozenset[str] = frozenset()
    behind: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, in_channels: int | None, out_channels: int, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if self.reads_feats or in_channels is not None:
            check_positive('in_channels', in_channels, type(self).__name__)
        check_positive('out_channels', out_channels, type(self).__name__)
        self.in_channels = in_channels
        self.out_channels = out_channels

    def check(self, ctx: RelationContext) -> None:
        """Raise a `ValueError` that says which field of the context is missing or of the wrong width."""
        name = type(self).__name__
        if self.in_channels is not None and ctx.feats.shape[-1] != self.in_channels:
            raise ValueError(
                f'{name} was built with in_channels={self.in_channels} but the RoI features are '
                f'{ctx.feats.shape[-1]} wide; set in_channels={ctx.feats.shape[-1]}, or leave it out: the head knows it'
            )
        if ctx.rois.ndim != 2 or ctx.rois.shape[1] != 5:
            raise ValueError(
                f'{name}: rois must be (N, 5), [batch_index, x1, y1, x2, y2], got the shape {tuple(ctx.rois.shape)}'
            )
        for field_ in ('feats', 'cls_logits', 'key_valid'):
            rows = getattr(ctx, field_)
            # `shape[0]`, here and elsewhere: `len` would make a number of what may be a symbol of `torch.export`.
            if rows is not None and rows.shape[0] != ctx.rois.shape[0]:
                raise ValueError(f'{name}: {field_} has {len(rows)} rows for {len(ctx.rois)} RoIs')
        missing = sorted(path for path in self.needs if _lookup(ctx, path) is None)
        if missing:
            hint = ''
            if {'cls_logits', 'cls_weight'} & set(missing):
                hint = '; they come from the base classifier: set base_head=True in RelationBBoxHead'
            elif 'parts' in missing:
                hint = '; put LoadParts into the pipeline and PackPartInputs at its end, for testing too'
            raise ValueError(f'{name} needs {", ".join(missing)} in the relation context{hint}')

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """Relation features of every RoI."""
        raise NotImplementedError


class Packing:
    """A padded (B, Nmax, ...) view of a flat batch of RoIs, and the way back.

    Rows keep their order inside an image; an image may have no RoI. With `counts` nothing is read back from the
    device, and `torch.compile` sees static sizes. With `row_mask` the batch is padded already.

    Attributes:
        mask: (B, Nmax) bool, True where a row holds a RoI.
        padded: whether the rows came with their padding, by `row_mask`.
        counts: RoIs of each image; none where `padded`.
        order: rows of the batch image by image; None: they are so.
    """

    counts: tuple[int, ...]
    shape: Sequence[int]

    def __init__(self, ctx: RelationContext) -> None:
        image = ctx.rois[:, 0].long()
        self.image, self.padded = image, ctx.row_mask is not None
        self.order: Tensor | None = None
        if ctx.row_mask is not None:
            self.mask, self.shape, self.counts = ctx.row_mask, ctx.row_mask.shape, ()
            return
        num_rois, num_imgs = len(image), len(ctx.img_shapes)
        per_image = image.new_zeros(num_imgs).scatter_add(0, image, torch.ones_like(image))
        if ctx.counts is None:
            order = torch.argsort(image, stable=True)
            self.counts = tuple(per_image.tolist())
        else:
            if len(ctx.counts) != num_imgs or sum(ctx.counts) != num_rois:
                raise ValueError(
                    f'counts {ctx.counts} do not fit {num_rois} RoIs of {num_imgs} images: it must hold one number of '
                    'RoIs per image, in the order of the images'
                )
            order = torch.arange(num_rois, device=image.device)
            self.counts = ctx.counts
        width = max(0, 0, *self.counts)
        starts = per_image.cumsum(0) - per_image
        rank = torch.empty_like(order)
        rank[order] = torch.arange(num_rois, device=image.device)
        self.order = None if ctx.counts is not None else order
        self.index = image * width + rank - starts[image]
        self.shape = (num_imgs, width)
        self.mask = torch.arange(width, device=image.device) < per_image[:, None]

    def pack(self, x: Tensor) -> Tensor:
        """(N, ...) -> (B, Nmax, ...), padded with zeros."""
        if self.padded:
            return x.unflatten(0, self.shape).masked_fill(~self.mask.view(*self.shape, *[1] * (x.ndim - 1)), 0)
        num_imgs, width = self.shape
        padded = x.new_zeros((num_imgs * width, *x.shape[1:])).index_copy(0, self.index, x)
        return padded.view(num_imgs, width, *x.shape[1:])

    def unpack(self, x: Tensor) -> Tensor:
        """(B, Nmax, ...) -> (N, ...)."""
        return x.flatten(0, 1) if self.padded else x.flatten(0, 1)[self.index]

    def group(self, x: Tensor) -> Tensor:
        """(N, ...) in the order of the input -> (N, ...) image by image, `counts` rows each."""
        return x if self.order is None else x[self.order]

    def ungroup(self, x: Tensor) -> Tensor:
        """The way back from :meth:`group`."""
        return x if self.order is None else torch.empty_like(x).index_copy(0, self.order, x)
